"""Train PyTorch models from a queue, serve them over gRPC: the client's public surface.

Importing this package imports neither torch nor a server; the client comes at its first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twofold.client import AsyncClient, Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> object:
    # Lazily, so that the services and the training process import no client.
    if name in ("Client", "AsyncClient"):
        from twofold import client  # noqa: PLC0415 - see above

        return client.Client if name == "Client" else client.AsyncClient
    raise AttributeError(f"module 'twofold' has no attribute {name!r}")
