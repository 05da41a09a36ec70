"""The edge to redis-py: typed replies, our own retries, and errors of our tree.

redis-py 8 repeats commands ten times by itself and parses replies by command name. Both are
switched off: what a lost answer means is decided here, and replies are as RESP2 sends them.
"""

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, Self, TypeVar, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from twofold.errors import Internal, LimitExceeded, Unavailable

Argument = str | bytes | int
#: A reply of RESP2.
Reply = bytes | int | list["Reply"] | None
Result = TypeVar("Result")
#: Keys and arguments of one run of a script.
Run = tuple[Sequence[str], Sequence[Argument]]

#: Half-open connections are noticed after this long; blocking reads must stay below it.
REPLY_TIMEOUT_S = 5.0
BLOCK_LIMIT_S = 2.0
CONNECT_TIMEOUT_S = 2.0
#: How long a command is repeated while the server is away: bridges a restart, not an outage.
PATIENCE_S = 1.5
_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)
#: More than every watcher, worker and handler of one process needs at once.
_MAX_CONNECTIONS = 1_024
#: Stalls shorter than this are not remembered: no lease is so short.
_SHORT_S = 0.1

_log = logging.getLogger(__name__)


class NoGroup(Exception):
    """The consumer group is gone, as after FLUSHALL."""


class GroupExists(Exception):
    """The consumer group is there already."""


class Commands(Protocol):
    """What the queue asks of a server; `Connection` is the real one, simulations have theirs."""

    async def close(self) -> None:
        """See Connection."""
        ...

    def steady_s(self, stall_s: float) -> float:
        """See Connection."""
        ...

    async def call(self, *arguments: Argument) -> Reply:
        """See Connection."""
        ...

    async def block(self, timeout_s: float, *arguments: Argument) -> Reply:
        """See Connection."""
        ...

    async def call_all(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """See Connection."""
        ...

    async def evaluate(
        self, script: "Script", keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Reply:
        """See Connection."""
        ...

    async def evaluate_all(self, script: "Script", runs: Sequence["Run"]) -> list[Reply]:
        """See Connection."""
        ...


class Connection:
    """A pool of connections to one server, made as they are needed."""

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        # redis-py leaves the keywords of from_url untyped.
        self._client: Redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            url,
            protocol=2,
            # Ours is in _patiently: redis-py's goes through asyncio.wait_for, which before Python
            # 3.12 forgets a cancellation that comes just as its own wait is over.
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=_MAX_CONNECTIONS,
            client_name="twofold",
        )
        self._client.response_callbacks.clear()
        self._stalls = Stalls()
        #: Since when commands have failed, in monotonic seconds; None: the last one worked.
        self._away_since_s: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    def steady_s(self, stall_s: float) -> float:
        """Seconds since server or network last stood still for `stall_s`; infinite: never seen."""
        now_s = time.monotonic()
        if self._away_since_s is not None and now_s - self._away_since_s >= stall_s:
            return 0.0
        return now_s - self._stalls.last_end_s(stall_s)

    async def call(self, *arguments: Argument) -> Reply:
        """One command, which must be safe to repeat.

        Raises:
            Unavailable: the server is out of reach or cannot serve.
            LimitExceeded: its memory is full.
            NoGroup: the stream's consumer group does not exist.
            GroupExists: it does, and was to be made.
        """
        return await self._patiently(lambda: self._execute(arguments))

    async def block(self, timeout_s: float, *arguments: Argument) -> Reply:
        """As `call`, for a command that waits up to `timeout_s` for news."""
        return await self._patiently(lambda: self._execute(arguments), timeout_s)

    async def call_all(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Several commands in one round trip, each safe to repeat; errors as of `call`."""
        return await self._patiently(lambda: self._pipelined(commands))

    async def evaluate(
        self, script: "Script", keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Reply:
        """Runs a script that is safe to repeat, loading it where the server has lost it."""
        return await self._patiently(lambda: self._evaluate(script, keys, arguments))

    async def evaluate_all(self, script: "Script", runs: Sequence[Run]) -> list[Reply]:
        """As `evaluate`, several runs in one round trip; each may find what the others did."""
        commands = [("EVALSHA", script.sha1, len(keys), *keys, *rest) for keys, rest in runs]
        return await self._patiently(lambda: self._evaluate_pipelined(script, commands))

    async def _execute(self, arguments: Sequence[Argument]) -> Reply:
        # redis-py leaves it untyped: without callbacks the answer is the parsed reply.
        execute = cast("Callable[..., Awaitable[Reply]]", self._client.execute_command)  # pyright: ignore[reportUnknownMemberType]
        return await execute(*arguments)

    async def _pipelined(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # pyright: ignore[reportUnknownMemberType] - redis-py
            # Errors raised by redis-py name the command in their text, in front of the code.
            replies = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return cast("list[Reply]", replies)

    async def _evaluate(
        self, script: "Script", keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Reply:
        rest = (len(keys), *keys, *arguments)
        try:
            return await self._execute(("EVALSHA", script.sha1, *rest))
        except exceptions.NoScriptError:
            # Its cache is empty after a restart; EVAL is not permitted by our ACL.
            await self._execute(("SCRIPT", "LOAD", script.text))
            return await self._execute(("EVALSHA", script.sha1, *rest))

    async def _evaluate_pipelined(
        self, script: "Script", commands: Sequence[Sequence[Argument]]
    ) -> list[Reply]:
        try:
            return await self._pipelined(commands)
        except exceptions.NoScriptError:
            await self._execute(("SCRIPT", "LOAD", script.text))
            return await self._pipelined(commands)

    async def _patiently(
        self, act: Callable[[], Awaitable[Result]], block_s: float = 0.0
    ) -> Result:
        """Repeats `act` while the server is away, up to the patience."""
        begun = time.monotonic()
        for pause_s in (*_PAUSES_S, *[_PAUSES_S[-1]] * 1_000):
            try:
                async with asyncio.timeout(REPLY_TIMEOUT_S):
                    result = await act()
            except (exceptions.RedisError, OSError) as error:
                failure = self._translated(error)
                if not isinstance(failure, Unavailable):
                    raise failure from error
                self._note_failure(error, begun)
                if time.monotonic() - begun + pause_s > self._patience_s:
                    raise failure from error
            else:
                self._note_success(begun + block_s)
                return result
            # Jitter: many clients come back after one restart. Not a secret.
            await asyncio.sleep(pause_s * (0.5 + random.random() / 2))  # noqa: S311
        raise Unavailable("the queue's server is out of reach; try again later")

    def _note_failure(self, error: Exception, begun_s: float) -> None:
        if self._away_since_s is None:
            self._away_since_s = begun_s
            _log.warning("the queue's server is away", extra={"error": type(error).__name__})

    def _note_success(self, expected_s: float) -> None:
        since_s = expected_s if self._away_since_s is None else self._away_since_s
        self._stalls.add(time.monotonic(), time.monotonic() - since_s)
        if self._away_since_s is not None:
            self._away_since_s = None
            _log.info("the queue's server is back")

    @staticmethod
    def _translated(error: Exception) -> Exception:
        """The error of our tree, whose text names no key and no address."""
        text = str(error)
        if isinstance(error, exceptions.OutOfMemoryError):
            return LimitExceeded("the queue's memory is full; try again later", limit="memory")
        if isinstance(error, exceptions.ResponseError) and not isinstance(error, _PASSING_TYPES):
            if text.startswith("NOGROUP") or "no such key" in text:
                return NoGroup()
            if text.startswith("BUSYGROUP"):
                return GroupExists()
            if not text.startswith(_PASSING):
                _log.error("the queue's server refused a command", extra={"error": text})
                return Internal()
        return Unavailable("the queue's server is out of reach; try again later")


#: Error replies that pass: disk trouble, a replica, a server that is busy or changes its role.
_PASSING = ("MISCONF", "BUSY", "NOREPLICAS", "UNBLOCKED")
#: Of these redis-py knows the code, and takes it off the text.
_PASSING_TYPES = (
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)


class Stalls:
    """When server or network last stood still for how long, in seconds of one monotonic clock."""

    def __init__(self) -> None:
        # (end, length), each later and shorter than the one before: others tell nothing more.
        self._found: list[tuple[float, float]] = []

    def add(self, end_s: float, length_s: float) -> None:
        """One more, after all others."""
        if length_s < _SHORT_S:
            return
        while self._found and self._found[-1][1] <= length_s:
            self._found.pop()
        self._found.append((end_s, length_s))

    def last_end_s(self, length_s: float) -> float:
        """When the last one of at least `length_s` ended; minus infinity: there was none."""
        ends = [end_s for end_s, stall_s in self._found if stall_s >= length_s]
        return ends[-1] if ends else float("-inf")


class Script:
    """A Lua script and the SHA-1 by which servers know it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
