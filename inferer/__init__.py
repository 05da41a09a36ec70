"""The inferer: hot-loads published versions and answers predictions over gRPC."""
