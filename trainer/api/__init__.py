"""The trainer's gRPC services over the ledger and the store."""
