"""A simulated site: disk, server, network, and the product's processes on one machine."""

import errno
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.chaos.history import Event, Memory, Value
from tests.chaos.sim.disk import SimDisk
from tests.chaos.sim.network import Network, SimConnection
from tests.chaos.sim.redis import Server
from tests.chaos.sim.schedule import (
    EPOCH_MS,
    Process,
    Schedule,
    SimClock,
    SimRandomness,
    Thread,
    inline,
)
from twofold import faults
from twofold.jobs import Policy
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import World
from twofold.store import LocalStore

TENANT = LOCAL.tenant
POLICY = Policy(lease_ms=4_000, retry_backoff_ms=2_000)
#: Beats in a lease are three, as in the product's defaults or more.
BEAT_US = 1_300_000
PATROL_US = 4_500_000
ROOT = Path("/simulated")


class Node:
    """One of the product's processes, from its start to its death."""

    def __init__(self, site: "Site", name: str, start: Callable[["Node"], None]) -> None:
        self.site = site
        self.process = Process(site.schedule, name)
        self.start = start
        self.is_stopping = False
        self._draw = site.schedule.random.random
        self.clock = SimClock(self.process)
        self.handle = site.disk.handle(self._on_disk)
        self.store = LocalStore(ROOT, disk=self.handle)
        self.connections: list[SimConnection] = []
        self.queue = RedisQueue("simulated", connect=self._connect)
        world = World(self.clock, SimRandomness(site.schedule.random), inline)
        self.ledger = Ledger(self.store, self.queue, world, POLICY, (TENANT,))

    @property
    def name(self) -> str:
        """Stays the same when it is started again."""
        return self.process.name

    def kill(self) -> None:
        """As kill -9: what the page cache has stays."""
        self.process.kill()
        self.handle.kill()

    def stop(self) -> None:
        """As SIGTERM: whoever waits looks up."""
        self.is_stopping = True
        for thread in self.process.threads:
            self.site.schedule.wake(thread)

    def _connect(self, _: str, patience_s: float) -> SimConnection:
        connection = SimConnection(self.site.network, self.process, patience_s)
        self.connections.append(connection)
        return connection

    def _on_disk(self, what: str) -> None:
        site = self.site
        self.process.step(what, int(self._draw() * site.disk_us))
        if site.disk_errors:
            site.raise_disk_error(self)


class Site:
    """All of it; owned by one run."""

    def __init__(self, seed: int) -> None:
        self.schedule = Schedule(seed)
        self.history = Memory()
        self.disk = SimDisk(self.schedule.random)
        self.server = Server(self.server_ms, self._new_id)
        self.network = Network(self.server)
        #: The longest step of the disk.
        self.disk_us = 300
        self.nodes: dict[str, Node] = {}
        #: Errors that the next steps of a node's disk, or everybody's (""), raise.
        self.disk_errors: dict[str, list[int]] = {}
        self.counts: dict[str, int] = {}
        #: It is not new: its processes were there before.
        self.is_used = False
        #: Nothing is broken on purpose any more.
        self.is_quiet = False
        #: Until then a process stands still or the server is away.
        self.trouble_until_us = 0
        #: The run is over.
        self.is_over = False
        self._call_count = 0
        self._outsider = Process(self.schedule, "harness")

    # Nodes

    def start(self, name: str, start: Callable[[Node], None]) -> Node:
        """Starts a process; `start` spawns its threads."""
        node = self.nodes[name] = Node(self, name, start)
        start(node)
        return node

    def restart(self, name: str) -> None:
        """A new process where the old one died."""
        old = self.nodes[name]
        if old.process.is_dead:
            self.schedule.tell(name, "starts again")
            self.start(name, old.start)

    def start_later(self, name: str, delay_us: int) -> None:
        """As a supervisor does with a process that died."""

        def wait() -> None:
            self.schedule.pause(delay_us)
            self.restart(name)

        self.spawn(wait)

    def mend(self) -> None:
        """From now on nothing is broken."""
        self.is_quiet = True
        self.note("harness", "quiet")
        self.disk_errors.clear()
        self.server.is_full = False
        if self.network.away_until_us > self.schedule.now_us:
            self.network.away_until_us = 0
        for name, node in self.nodes.items():
            node.process.traps.clear()
            node.process.points.clear()
            for connection in node.connections:
                connection.cut_until_us = connection.losing = 0
            self.restart(name)

    def spawn(self, act: Callable[[], object]) -> Thread:
        """A thread of the outside world, which nothing kills."""
        return self._outsider.spawn(act)

    # History

    def note(self, actor: str, kind: str, call: str = "", **fields: Value) -> None:
        """Adds an event."""
        self.history.add(Event(self.schedule.now_us * 1000, actor, kind, call, fields))
        if self.schedule.story is not None:
            told = " ".join(f"{name}={value}" for name, value in fields.items())
            self.schedule.tell(actor, f"{kind} {told}")

    def note_fault(self, what: str, which: str, length_us: int = 0) -> None:
        """A fault of the plan, and how long it lasts."""
        self.trouble_until_us = max(self.trouble_until_us, self.schedule.now_us + length_us)
        self.count(f"{what}s")
        self.note("harness", "fault", what=what, which=which)

    def count(self, what: str) -> None:
        """For the table."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def new_call(self) -> str:
        """A name for a call."""
        self._call_count += 1
        return str(self._call_count)

    # Seams

    def raise_disk_error(self, node: Node) -> None:
        """Raises the next planned error of this node's disk, if there is one."""
        for who in (node.name, ""):
            planned = self.disk_errors.get(who)
            if planned:
                number = planned.pop()
                raise OSError(number, errno.errorcode[number])

    def server_ms(self) -> int:
        """The queue server's clock."""
        return EPOCH_MS + self.schedule.now_us // 1000

    def _new_id(self) -> bytes:
        return self.schedule.random.randbytes(20).hex().encode()


def arm(points: Sequence[str], schedule: Schedule) -> None:
    """Lets traps of processes lie at these fault points."""
    for point in points:
        faults.arm(point, partial(_come_to, point, schedule))


def _come_to(point: str, schedule: Schedule) -> None:
    schedule.running().process.come_to(point)
