"""What comes before HTTP/2: who connects, and whether they speak it. No I/O."""

import re
from collections.abc import Sequence
from typing import cast

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP_1 = re.compile(rb"[A-Z]{1,16} ")
_TEXT = b"this port speaks gRPC over HTTP/2 only\n"
_REFUSAL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT)
)


def refusal(data: bytes) -> bytes | None:
    """The last words to who begins with `data`; None where they begin as HTTP/2 does.

    Source: RFC 9113, 3.4. The rest of a preface that comes in pieces is libnghttp2's to check.
    """
    if _PREFACE.startswith(data[: len(_PREFACE)]):
        return None
    return _REFUSAL if _HTTP_1.match(data) else b""


def peer(name: object) -> str:
    """A socket's address as grpcio spells it."""
    if not isinstance(name, tuple):
        return "unix:"
    host, port = cast("Sequence[object]", name)[:2]
    return f"ipv6:[{host}]:{port}" if ":" in str(host) else f"ipv4:{host}:{port}"
