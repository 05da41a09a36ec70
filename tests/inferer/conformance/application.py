"""An application that does what the path says, and counts what became of its calls."""

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Literal

from inferer.transport import Call, Reply
from inferer.transport.tasks import Tasks
from twofold.errors import InvalidField, NotFound, QueueFull

UNARY = "/test.Unary/"
STREAM = "/test.Stream/"
#: What Talk sends at most: without back-pressure it is all made at once.
TALK_BYTES = 64 << 10
TALK_MESSAGES = 512
#: A text that must be percent-encoded: beyond ASCII, a percent sign, a line break.
ODD_TEXT = "größer als 100 % \n 中"

_ERRORS: dict[bytes, Callable[[], Exception]] = {
    b"full": lambda: QueueFull("10 rows wait", retry_after_s=0.25, resource="models/m"),
    b"invalid": lambda: InvalidField.of("rows", 9, "1 to 8"),
    b"text": lambda: NotFound(ODD_TEXT),
    b"break": lambda: RuntimeError("the secret is 42"),
}


class FakeApplication:
    """See Application. Methods that wait do so until `release` is set."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.release = asyncio.Event()
        #: Calls that began and neither ended nor were cancelled.
        self.running = 0
        self.cancelled = 0
        #: Messages that streams have made, and taken.
        self.produced = 0
        self.consumed = 0
        self._unary = {
            "Echo": _echo,
            "Tasked": _echo,
            "Slow": self._slow,
            "Fail": _fail,
            "Huge": _huge,
            "Metadata": _echo,
        }
        self._streams = {
            "Echo": self._echo_all,
            "Talk": self._talk,
            "Listen": self._listen,
            "Deaf": self._deaf,
            "Fail": self._fail_each,
        }
        self._tasks = Tasks()

    def kind(self, path: str) -> Literal["unary", "stream"] | None:
        if path.startswith(UNARY) and path.removeprefix(UNARY) in {*self._unary, "Late"}:
            return "unary"
        is_stream = path.startswith(STREAM) and path.removeprefix(STREAM) in self._streams
        return "stream" if is_stream else None

    async def unary(self, call: Call, message: bytes) -> bytes:
        self.calls.append(call)
        name = call.path.removeprefix(UNARY)
        self.running += 1
        try:
            if name == "Metadata":
                return _described(call)
            return await self._unary["Slow" if name == "Late" else name](message)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def begin(self, call: Call, message: bytes, reply: Reply) -> Callable[[], object] | None:
        """Echo is answered at once; Late answers also who has left; the rest runs in tasks."""
        if call.path == UNARY + "Echo":
            self.calls.append(call)
            reply.answer(message)
            return None
        cancel = self._tasks.begin(self.unary(call, message), reply)
        return self._ignored if call.path == UNARY + "Late" else cancel

    def _ignored(self) -> None:
        self.cancelled += 1

    async def stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        self.calls.append(call)
        self.running += 1
        try:
            async for answer in self._streams[call.path.removeprefix(STREAM)](messages):
                self.produced += 1
                yield answer
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def is_idle(self) -> bool:
        """Whether no call runs."""
        return self.running == 0

    async def has_begun(self, count: int = 1) -> bool:
        """Whether so many calls came."""
        return len(self.calls) >= count

    async def has_cancelled(self, count: int = 1) -> bool:
        """Whether so many calls were cancelled."""
        return self.cancelled >= count

    async def _slow(self, message: bytes) -> bytes:
        await self.release.wait()
        return message

    async def _echo_all(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            self.consumed += 1
            yield message

    async def _talk(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Sends without reading, and without ever waiting by itself."""
        del messages
        for _ in range(TALK_MESSAGES):
            yield bytes(TALK_BYTES)

    async def _listen(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Reads to the end; then tells how many."""
        count = 0
        async for _ in messages:
            count += 1
            self.consumed += 1
        yield str(count).encode()

    async def _deaf(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Reads nothing before `release`."""
        await self.release.wait()
        async for answer in self._listen(messages):
            yield answer

    async def _fail_each(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Fails where a message names an error; echoes the others."""
        async for message in messages:
            yield await (_fail if message in _ERRORS else _echo)(message)


async def _echo(message: bytes) -> bytes:
    return message


async def _fail(message: bytes) -> bytes:
    make = _ERRORS.get(message, _ERRORS[b"break"])
    error = make()
    raise error


async def _huge(message: bytes) -> bytes:
    """As many bytes as the message says."""
    return _pattern(int(message))


@functools.lru_cache(maxsize=4)
def _pattern(length: int) -> bytes:
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def huge(length: int) -> bytes:
    """What Huge answers."""
    return _pattern(length)


def _described(call: Call) -> bytes:
    """The metadata as JSON pairs; bytes as {"hex": ...}."""
    pairs = [
        (name, value if isinstance(value, str) else {"hex": value.hex()})
        for name, value in call.metadata
    ]
    return json.dumps(pairs).encode()
