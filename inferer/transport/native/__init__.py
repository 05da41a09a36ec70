"""The native transport: gRPC over HTTP/2 by libnghttp2 (`ngh2`) on the event loop itself.

All that one turn of the event loop reads, on whatever connection, is handed over before anything
is computed, so that it can be one batch; every connection's answers leave in one write. There is no
task, thread or queue per call.

`framing` has the rules of gRPC without I/O, `connection` speaks HTTP/2, `calls` serves one call,
`hub` holds what connections share, `bounds` says what a caller may do, `server` listens and drains.
`ngh2` is imported by `connection` alone; its interface is young, so it is used in the release that
was tested, and where another one or none is installed the reference transport serves.
"""

import importlib
import logging
from importlib.metadata import PackageNotFoundError, version

from inferer.transport import Application, Server
from inferer.transport.tls import Tls
from twofold.seams import Clock

#: The release of ngh2 that the tests were run with.
TESTED = "0.3.0"

_log = logging.getLogger(__name__)


def is_usable() -> bool:
    """Whether the tested release is installed; logs a warning where it is not."""
    try:
        found = version("ngh2")
    except PackageNotFoundError:
        found = "none"
    if found != TESTED:
        extra = {"needed": TESTED, "found": found, "serves": "grpcio"}
        _log.warning("the native transport needs another release of ngh2", extra=extra)
    return found == TESTED


def make_server(
    application: Application, clock: Clock, max_message_bytes: int, tls: Tls | None
) -> Server:
    """The server, where `is_usable`."""
    module = importlib.import_module("inferer.transport.native.server")
    made: Server = module.NativeServer(application, clock, max_message_bytes, tls)
    return made
