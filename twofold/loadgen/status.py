"""What became of a call, from what HTTP/2 and gRPC say of it. Pure.

Sources: doc/http-grpc-status-mapping.md and doc/PROTOCOL-HTTP2.md of gRPC.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from google.rpc import code_pb2

#: Name of what is no gRPC status: an answer with status OK that is none.
INVALID_ANSWER = "INVALID_ANSWER"
#: grpc-status as it stands behind a good answer.
OK_TRAILER = (b"grpc-status", b"0")
#: HTTP's status as it stands before each answer.
OK_STATUS = (b":status", b"200")

_HTTP: Mapping[bytes, str] = {
    b"400": "INTERNAL",
    b"401": "UNAUTHENTICATED",
    b"403": "PERMISSION_DENIED",
    b"404": "UNIMPLEMENTED",
    b"429": "UNAVAILABLE",
    b"502": "UNAVAILABLE",
    b"503": "UNAVAILABLE",
    b"504": "UNAVAILABLE",
}
_NO_ERROR, _REFUSED, _CANCEL, _CALM, _INADEQUATE = 0x0, 0x7, 0x8, 0xB, 0xC
_RESET: Mapping[int, str] = {
    _REFUSED: "UNAVAILABLE",
    _CANCEL: "CANCELLED",
    _CALM: "RESOURCE_EXHAUSTED",
    _INADEQUATE: "PERMISSION_DENIED",
}
Headers = Iterable[tuple[bytes, bytes]]


def of_trailers(trailers: Headers) -> tuple[str, str]:
    """Name of the status and message; UNKNOWN where there is none."""
    found = dict(trailers)
    number = found.get(b"grpc-status", b"")
    if not number.isdigit():
        return "UNKNOWN", "the answer has no grpc-status"
    message = unquote_to_bytes(found.get(b"grpc-message", b"")).decode(errors="replace")
    return name_of(int(number)), message


def of_http(headers: Headers) -> tuple[str, str]:
    """Name of the status and message of an answer that is not gRPC's."""
    number = dict(headers).get(b":status", b"")
    return _HTTP.get(number, "UNKNOWN"), f"the server answered HTTP status {number.decode()}"


def of_reset(error_code: int) -> tuple[str, str]:
    """Name of the status and message of a stream that was ended without trailers."""
    if error_code == _NO_ERROR:
        return "INTERNAL", "the server ended the answer without a status"
    name = _RESET.get(error_code, "INTERNAL")
    return name, f"the server reset the stream, HTTP/2 error {error_code}"


def name_of(number: int) -> str:
    """The name of a status code; UNKNOWN for a number that is none."""
    found = code_pb2.Code.DESCRIPTOR.values_by_number.get(number)
    return "UNKNOWN" if found is None else found.name
