"""The trainer: an API that takes jobs, and workers that train and publish them."""
