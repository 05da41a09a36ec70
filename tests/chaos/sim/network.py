"""Between a process and the server: time, lost answers, outages. See twofold.queue.connection."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar, cast

from tests.chaos.sim.redis import Server
from tests.chaos.sim.schedule import Process, Thread
from twofold.errors import LimitExceeded, Unavailable
from twofold.queue.connection import (
    REPLY_TIMEOUT_S,
    Argument,
    GroupExists,
    NoGroup,
    Reply,
    Run,
    Script,
    Stalls,
)

_T = TypeVar("_T")
#: As those of the real connection.
_PAUSES_US = (20_000, 50_000, 100_000, 200_000, 400_000)
_TIMEOUT_US = int(REPLY_TIMEOUT_S * 1e6)


class _Lost(Exception):
    """The connection broke before the answer was there."""


class Network:
    """What all connections share: the server and its troubles."""

    def __init__(self, server: Server) -> None:
        self.server = server
        #: The longest way of a request or an answer.
        self.way_us = 800
        server.on_news = self._announce
        #: Nobody answers until then; connections break at once.
        self.away_until_us = 0
        #: The server stands still until then, and does afterwards what it was sent.
        self.paused_until_us = 0
        #: Rises with each outage: answers under way are lost.
        self.generation = 0
        self._backlog: list[Callable[[], object]] = []
        self._waiters: dict[bytes, list[Thread]] = {}

    def go_away(self, until_us: int) -> None:
        """Breaks every connection; nobody answers until then."""
        self.generation += 1
        self.away_until_us = until_us
        self.paused_until_us = 0
        self._backlog.clear()
        self._wake_all()

    def resume(self) -> None:
        """After a pause: does what was sent meanwhile, also of those who gave up."""
        backlog, self._backlog = self._backlog, []
        for act in backlog:
            with suppress(NoGroup, GroupExists, LimitExceeded):  # nobody hears of it
                act()

    def postpone(self, act: Callable[[], object]) -> None:
        """Keeps a command that its sender gave up."""
        self._backlog.append(act)

    def wait_for(self, key: bytes, thread: Thread) -> None:
        """Wakes the thread at the next news of a stream."""
        self._waiters.setdefault(key, []).append(thread)

    def _announce(self, key: bytes) -> None:
        for thread in self._waiters.pop(key, ()):
            thread.process.schedule.wake(thread)

    def _wake_all(self) -> None:
        for key in list(self._waiters):
            self._announce(key)


class SimConnection:
    """A Commands of one process."""

    def __init__(self, network: Network, process: Process, patience_s: float) -> None:
        self._network = network
        self._process = process
        self._schedule = process.schedule
        self._patience_us = int(patience_s * 1e6)
        self._stalls = Stalls()
        self._away_since_us: int | None = None
        #: This process is cut off from the server until then.
        self.cut_until_us = 0
        #: So many of the next answers are lost after the command took effect.
        self.losing = 0

    async def close(self) -> None:
        """See Connection."""

    def steady_s(self, stall_s: float) -> float:
        """See Connection."""
        now_us = self._schedule.now_us
        if self._away_since_us is not None and now_us - self._away_since_us >= stall_s * 1e6:
            return 0.0
        return now_us / 1e6 - self._stalls.last_end_s(stall_s)

    async def call(self, *arguments: Argument) -> Reply:
        """See Connection."""
        return self._patiently(lambda: self._network.server.execute(arguments), str(arguments[0]))

    async def block(self, timeout_s: float, *arguments: Argument) -> Reply:
        """See Connection."""
        server = self._network.server
        key = cast("str", arguments[-2]).encode()

        def act() -> Reply:
            return server.execute(arguments)

        return self._patiently(act, str(arguments[0]), (key, int(timeout_s * 1e6)))

    async def call_all(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """See Connection."""
        server = self._network.server
        return self._patiently(
            lambda: [server.execute(command) for command in commands], str(commands[0][0])
        )

    async def evaluate(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Reply:
        """See Connection."""
        server = self._network.server
        return self._patiently(lambda: server.evaluate(script, keys, arguments), "EVALSHA")

    async def evaluate_all(self, script: Script, runs: Sequence[Run]) -> list[Reply]:
        """See Connection."""
        server = self._network.server
        return self._patiently(
            lambda: [server.evaluate(script, keys, rest) for keys, rest in runs], "EVALSHA"
        )

    def _patiently(
        self, act: Callable[[], _T], what: str, block: tuple[bytes, int] | None = None
    ) -> _T:
        schedule, begun_us, tries = self._schedule, self._schedule.now_us, 0
        while True:
            try:
                reply = self._once(act, what, block)
            except _Lost as error:
                if self._away_since_us is None:
                    self._away_since_us = begun_us
                pause_us = _PAUSES_US[min(tries, len(_PAUSES_US) - 1)]
                if schedule.now_us - begun_us + pause_us > self._patience_us:
                    raise Unavailable("the queue's server is out of reach") from error
                schedule.pause(int(pause_us * (0.5 + schedule.random.random() / 2)))
                tries += 1
            else:
                since_us = self._away_since_us
                if since_us is None:
                    since_us = begun_us + (block[1] if block else 0)
                now_us = schedule.now_us
                self._stalls.add(now_us / 1e6, (now_us - since_us) / 1e6)
                self._away_since_us = None
                return reply

    def _once(self, act: Callable[[], _T], what: str, block: tuple[bytes, int] | None) -> _T:
        network, draw = self._network, self._schedule.random.random
        self._process.step(what, int(draw() * network.way_us))
        self._reach(act)
        generation = network.generation
        reply = act()
        if block is not None and not reply:
            reply = self._await_news(act, *block)
        if what != "XREADGROUP" or reply:
            self._process.step(f"answer of {what}", int(draw() * network.way_us))
        if network.generation != generation or self.cut_until_us > self._schedule.now_us:
            raise _Lost
        if self.losing:
            self.losing -= 1
            self._schedule.tell(self._process.name, f"answer of {what} lost")
            raise _Lost
        return reply

    def _reach(self, act: Callable[[], object]) -> None:
        """Returns where the server takes the command now; raises _Lost."""
        network, schedule = self._network, self._schedule
        if self.cut_until_us > schedule.now_us:
            # Swallowed without a word, until our own timeout.
            schedule.pause(min(_TIMEOUT_US, self.cut_until_us - schedule.now_us))
            raise _Lost
        if network.away_until_us > schedule.now_us:
            raise _Lost
        if network.paused_until_us <= schedule.now_us:
            return
        generation = network.generation
        schedule.pause(min(_TIMEOUT_US, network.paused_until_us - schedule.now_us))
        if network.paused_until_us > schedule.now_us:
            network.postpone(act)
            raise _Lost
        if network.generation != generation:
            raise _Lost

    def _await_news(self, act: Callable[[], _T], key: bytes, timeout_us: int) -> _T:
        """What a blocked read gets; empty at its timeout."""
        schedule, network = self._schedule, self._network
        until_us = schedule.now_us + timeout_us
        generation = network.generation
        while True:
            network.wait_for(key, schedule.running())
            schedule.pause(max(0, until_us - schedule.now_us))
            if network.generation != generation:
                raise _Lost
            reply = act()
            if reply or schedule.now_us >= until_us:
                return reply
