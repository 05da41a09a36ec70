"""The end of a run: everything is mended, then all must come to rest within a bounded time."""

from collections.abc import Sequence

from tests.chaos import final
from tests.chaos.checker import TERMINAL
from tests.chaos.final import Final, state_name
from tests.chaos.sim.disk import SimHandle
from tests.chaos.sim.schedule import Thread
from tests.chaos.sim.site import ROOT, TENANT, Site
from tests.chaos.sim.streams import Stream
from twofold import publish
from twofold.queue import schema
from twofold.queue.connection import Argument, Reply, Run, Script
from twofold.store import LocalStore

_LOOK_US = 1_000_000
#: Far longer than anything that goes on takes, with the slowest disk and network and users who
#: repeat their jobs at the end of the first: 97 s were seen. What stands still does so for ever.
_LIMIT_US = 300_000_000


class Settling:
    """Mends a site and waits."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._users: list[Thread] = []
        # Not of the machine's processes: no crash kills it, and it looks without taking time.
        self._store = LocalStore(ROOT, disk=SimHandle(site.disk, _go_on))

    def expect(self, user: Thread) -> None:
        """A user who must have got their answers."""
        self._users.append(user)

    def settle(self, begun_us: int, quiet_us: int) -> None:
        """Runs on a thread of its own; nothing new is broken after `begun_us`."""
        try:
            self._settle(begun_us, quiet_us)
        finally:
            # Also where what is left cannot even be read: a run must end.
            self._site.is_over = True

    def _settle(self, begun_us: int, quiet_us: int) -> None:
        site = self._site
        site.schedule.pause(begun_us)
        while site.schedule.now_us < quiet_us:
            # At rest already, and nobody is about to wake up: what is to come has come.
            if site.schedule.now_us >= site.trouble_until_us and self._is_at_rest():
                break
            site.schedule.pause(_LOOK_US)
        site.mend()
        limit_us = site.schedule.now_us + _LIMIT_US
        while site.schedule.now_us < limit_us:
            if self._is_at_rest() and not self._is_writing():
                site.note("harness", "settled")
                break
            site.schedule.pause(_LOOK_US)

    def _is_at_rest(self) -> bool:
        """Every user has an answer, and every job that the queue knows has ended."""
        site = self._site
        data = site.server.data
        queue = data.get(schema.queue(TENANT).encode())
        if isinstance(queue, Stream) and queue.entries:
            return False
        if schema.delayed(TENANT).encode() in data or not all(user.is_done for user in self._users):
            return False
        prefix = schema.job(TENANT, "").encode()
        jobs = [value for key, value in data.items() if key.startswith(prefix)]
        states = [int(job.get(b"state", b"0")) for job in jobs if isinstance(job, dict)]
        if not all(state_name(state) in TERMINAL for state in states):
            return False
        return all(publish.read_outcome(self._store, TENANT, job) for job in self._acknowledged())

    def _is_writing(self) -> bool:
        """Whether somebody is still at the disk; what a fault left behind cannot be told apart."""
        was_hurt = any(event.kind == "fault" for event in self._site.history.events)
        return not was_hurt and bool(self._store.names("tmp"))

    def _acknowledged(self) -> list[str]:
        return [
            str(event.fields["job"])
            for event in self._site.history.events
            if event.kind == "ok" and "job" in event.fields
        ]

    async def read_final(self) -> Final:
        """What is left."""
        return await final.read(self._store, _Direct(self._site), TENANT, self._store.names("tmp"))


def _go_on(_: str) -> None:
    """Nothing happens at a step."""


class _Direct:
    """A Commands without a network."""

    def __init__(self, site: Site) -> None:
        self._server = site.server

    async def close(self) -> None: ...

    def steady_s(self, stall_s: float) -> float:
        return stall_s

    async def call(self, *arguments: Argument) -> Reply:
        return self._server.execute(arguments)

    async def block(self, timeout_s: float, *arguments: Argument) -> Reply:
        del timeout_s
        return self._server.execute(arguments)

    async def call_all(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        return [self._server.execute(command) for command in commands]

    async def evaluate(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Reply:
        return self._server.evaluate(script, keys, arguments)

    async def evaluate_all(self, script: Script, runs: Sequence[Run]) -> list[Reply]:
        return [self._server.evaluate(script, keys, arguments) for keys, arguments in runs]
