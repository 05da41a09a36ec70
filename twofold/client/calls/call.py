"""A call and a page of a list, as data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

T = TypeVar("T")
#: Whom a call is for: the trainer or the inferer.
Server = Literal["train", "infer"]

#: Seconds a control call may take in all, retries included: the trainer's slowest check takes some.
CONTROL_TIMEOUT_S = 30.0
#: Seconds a prediction may take in all, retries included.
INFER_TIMEOUT_S = 10.0
#: Seconds an upload may take in all: 4 GiB, the default limit, at 10 MB/s.
UPLOAD_TIMEOUT_S = 600.0
#: Seconds a download of one file may take in all: as for uploads.
DOWNLOAD_TIMEOUT_S = 600.0
#: Resources asked for at once when a whole list is read; the server's largest page.
PAGE_SIZE = 1_000


class Serializable(Protocol):
    """A protobuf message, as far as sending one goes."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Its bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One RPC: T is what its answer is read as."""

    server: Server
    path: str
    request: bytes
    decode: Callable[[bytes], T]
    timeout_s: float
    """Default deadline, retries included."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list."""

    items: list[T]
    next_token: str
    """Empty on the last page."""


def page_size(limit: int | None, have: int) -> int:
    """How many resources to ask for next when `limit` (None: all) are wanted and `have` are had."""
    return PAGE_SIZE if limit is None else max(0, min(PAGE_SIZE, limit - have))


def named(collection: str, identifier: str) -> str:
    """The resource name of `identifier`, which may be one already."""
    prefix = f"{collection}/"
    return identifier if identifier.startswith(prefix) else prefix + identifier


def to_trainer(
    path: str,
    request: Serializable,
    decode: Callable[[bytes], T],
    timeout_s: float = CONTROL_TIMEOUT_S,
) -> Call[T]:
    """A call of the trainer's API."""
    return Call("train", path, request.SerializeToString(), decode, timeout_s)


def to_inferer(path: str, request: Serializable, decode: Callable[[bytes], T]) -> Call[T]:
    """A call of the inferer."""
    return Call("infer", path, request.SerializeToString(), decode, INFER_TIMEOUT_S)
