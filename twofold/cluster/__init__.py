"""The embedded cluster: a Valkey server, the trainer and the inferer, supervised by one process."""
