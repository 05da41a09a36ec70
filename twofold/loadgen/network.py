"""The sockets and the clock of a load generator: one thread, no event loop but this one.

An event loop's timers are as coarse as a millisecond, which at 20,000 requests a second is twenty
requests at a time; what waits here is `select`, which counts microseconds.
"""

import errno
import os
import select
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from twofold.errors import InvalidField, Unavailable

Owner = TypeVar("Owner")
_NS_PER_S = 1_000_000_000
#: Bytes of one read: some hundred small answers.
_READ_BYTES = 1 << 18
#: Bytes of one write of what has waited for room.
_WRITE_BYTES = 1 << 18
#: What a socket of `unix:PATH` is written as.
UNIX_PREFIX = "unix:"
#: From here on a wait may be a millisecond too long.
_COARSE_NS = 5_000_000
_READ, _BOTH = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE


class Channel(Protocol):
    """Bytes to and from a server."""

    def send(self, data: bytes) -> None:
        """Sends it, now or as soon as there is room; a loss is told by `receive`."""
        ...

    def receive(self) -> bytes | memoryview:
        """What has come since, valid until the next call; raises OSError where it is lost."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Network(Protocol[Owner]):
    """Channels to one server, and time."""

    def now_ns(self) -> int:
        """Nanoseconds that never go back."""
        ...

    def open(self, owner: Owner) -> Channel:
        """A new channel; whether it comes about is told by `Channel.receive`."""
        ...

    def wait(self, timeout_ns: int) -> Sequence[Owner]:
        """Whose channels have something to receive, or are lost.

        Returns after that time at the latest; earlier, with nobody, where there was room to write.
        """
        ...


class Sockets(Generic[Owner]):
    """See Network: non-blocking sockets to one address, on one thread."""

    #: See Network.
    now_ns = staticmethod(time.monotonic_ns)

    def __init__(self, family: int, address: object) -> None:
        self._family = family
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(_READ_BYTES)

    def __enter__(self) -> "Sockets[Owner]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, owner: Owner) -> "SocketChannel":
        """See Network."""
        made = socket.socket(self._family, socket.SOCK_STREAM)
        made.setblocking(False)  # noqa: FBT003 - its only form
        if self._family != getattr(socket, "AF_UNIX", None):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel = SocketChannel(made, self._selector, self._buffer)
        self._selector.register(made, _BOTH, (channel, owner))
        channel.connect(self._address)
        return channel

    def wait(self, timeout_ns: int) -> list[Owner]:
        """See Network."""
        if timeout_ns >= _COARSE_NS:
            ready = self._selector.select(timeout_ns / _NS_PER_S)
        else:
            ready = self._wait_precisely(timeout_ns)
        owners: list[Owner] = []
        for key, events in ready:
            channel, owner = key.data
            if events == _READ or channel.is_readable_after_writing(events):
                owners.append(owner)
        return owners

    def _wait_precisely(self, timeout_ns: int) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select(0)
        if not ready and timeout_ns > 0:
            # The selector's own descriptor is readable once any of its sockets is ready.
            select.select([self._selector], [], [], timeout_ns / _NS_PER_S)
            ready = self._selector.select(0)
        return ready

    def close(self) -> None:
        """Ends all channels."""
        for key in list(self._selector.get_map().values()):
            channel, _ = key.data
            channel.close()
        self._selector.close()


class SocketChannel:
    """See Channel: a non-blocking socket."""

    def __init__(
        self, made: socket.socket, selector: selectors.BaseSelector, buffer: bytearray
    ) -> None:
        self._socket = made
        self._selector = selector
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._unsent = bytearray()
        #: Whether the selector waits for room to write; so it does until the socket is connected.
        self._is_waiting = True
        self._lost: OSError | None = None

    def connect(self, address: object) -> None:
        """Begins to connect."""
        # A stub's view of addresses: whatever getaddrinfo gave.
        code = self._socket.connect_ex(address)  # pyright: ignore[reportArgumentType]
        if code not in (0, errno.EINPROGRESS, errno.EAGAIN):
            self._lost = OSError(code, os.strerror(code))

    def send(self, data: bytes) -> None:
        """See Channel."""
        if self._is_waiting:
            self._unsent += data
            return
        sent = self._send(data)
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._selector.modify(self._socket, _BOTH, self._selector.get_key(self._socket).data)
            self._is_waiting = True

    def is_readable_after_writing(self, events: int) -> bool:
        """Writes what waits, now that there may be room; whether there is something to receive."""
        if events & selectors.EVENT_WRITE and self._lost is None:
            sent = self._send(bytes(self._unsent[:_WRITE_BYTES]))
            del self._unsent[:sent]
            if not self._unsent and self._lost is None:
                self._selector.modify(
                    self._socket, _READ, self._selector.get_key(self._socket).data
                )
                self._is_waiting = False
        return bool(events & selectors.EVENT_READ) or self._lost is not None

    def _send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._lost = error
            return len(data)

    def receive(self) -> memoryview:
        """See Channel."""
        if self._lost is not None:
            raise self._lost
        try:
            count = self._socket.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return self._view[:0]
        if not count:
            raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
        return self._view[:count]

    def close(self) -> None:
        """See Channel."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._socket)
        self._socket.close()


def locate(address: str, timeout_s: float) -> tuple[int, object]:
    """The family and address of the socket at HOST:PORT or unix:PATH, where a server listens now.

    Raises:
        InvalidField: the text is no address.
        Unavailable: nobody listens there.
    """
    if address.startswith(UNIX_PREFIX):
        return socket.AF_UNIX, address.removeprefix(UNIX_PREFIX)
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 1 << 16):
        raise InvalidField.of("infer", address, "HOST:PORT or unix:PATH")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as made:
            return made.family, made.getpeername()
    except OSError as error:
        raise Unavailable(
            f"the inferer at {address} cannot be reached: {error.strerror or error}",
            resource=address,
        ) from error


def wake_precisely() -> None:
    """Lets this thread's sleeps end within a microsecond or so instead of 50, where Linux can.

    Source: proc(5), /proc/<pid>/timerslack_ns.
    """
    with suppress(OSError), open("/proc/self/timerslack_ns", "w", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
        file.write("1000")
