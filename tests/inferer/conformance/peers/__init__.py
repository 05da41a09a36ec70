"""Programs for environments of their own; each prints as JSON what its client sees of model m."""
