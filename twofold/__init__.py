"""Train PyTorch models from a queue, serve them over gRPC: the client's public surface.

Importing this package imports neither torch nor a server.
"""

__version__ = "0.1.0"
