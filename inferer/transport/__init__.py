"""The seam between the wire and the service: calls of bytes, whatever carries them.

A transport turns its requests into `Call`s, hands them to an `Application` and turns the errors of
`twofold.errors` that come out into its own statuses. Nothing above the seam knows a transport.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Literal, NamedTuple, Protocol


class Call(Protocol):
    """What is known of a call beside its messages.

    Cancellation has no field: the transport cancels the coroutine or iterator that serves the call
    when the caller leaves, gives up or runs out of time.
    """

    @property
    def path(self) -> str:
        """For example "/inference.GRPCInferenceService/ModelInfer"."""
        ...

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Names in lower case."""
        ...

    @property
    def peer(self) -> str:
        """Who is at the other end, for logs; the transport's own spelling."""
        ...

    @property
    def deadline_s(self) -> float:
        """On the scale of Clock.monotonic_s; infinite when the caller set none."""
        ...


class PlainCall(NamedTuple):
    """A Call of a transport that has no object of its own for it; see there."""

    path: str
    metadata: Sequence[tuple[str, str | bytes]] = ()
    peer: str = ""
    deadline_s: float = math.inf


class Reply(Protocol):
    """Where the answer to a unary call goes: exactly one of the two, once."""

    def answer(self, message: bytes) -> None:
        """The call succeeded."""
        ...

    def fail(self, error: Exception) -> None:
        """It did not; what is no TwofoldError is a defect: INTERNAL."""
        ...


class Application(Protocol):
    """What a transport serves. Raises TwofoldError; anything else is a defect: INTERNAL."""

    def kind(self, path: str) -> Literal["unary", "stream"] | None:
        """How calls of this path are served; None: nothing here."""
        ...

    async def unary(self, call: Call, message: bytes) -> bytes:
        """The answer to one message."""
        ...

    def begin(self, call: Call, message: bytes, reply: Reply) -> Callable[[], object] | None:
        """Serves a unary call without a task for it where it can; what `unary` serves, otherwise.

        Returns what to call where the caller leaves or runs out of time before the reply; the reply
        may come all the same. None: there is nothing to call, the reply has come.
        """
        ...

    def stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The answers to a stream of messages; also where one side sends only one."""
        ...


class Server(Protocol):
    """A transport that serves an application."""

    async def start(self, address: str) -> str:
        """Listens on HOST:PORT and returns it with the real port; raises OSError."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Takes no new calls, lets running ones finish for `grace_s`, then cancels them."""
        ...
