"""Faults: what each does to a site. All of them pass, or are mended when it gets quiet."""

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from tests.chaos.sim.site import POLICY, Node, Site

_LEASE_US = POLICY.lease_ms * 1000
_SECOND_US = 1_000_000
#: Faults begin within this time, in which most jobs are at work: later ones strike nobody.
_WITHIN_US = 4 * _SECOND_US
#: Points of the protocol at which a process may be struck.
POINTS = (
    "publish.claimed",
    "publish.linked",
    "publish.staged",
    "publish.decided",
    "publish.visible",
    "ledger.bound",
    "ledger.journaled",
    "ledger.enqueued",
    "ledger.cancel_asked",
    "ledger.cancelled",
    "ledger.received",
    "ledger.claimed",
    "ledger.published",
    "ledger.settling",
    "ledger.settled",
    "reconcile.read",
    "reconcile.enqueued",
    "store.create.written",
    "store.create.synced",
    "store.create.linked",
    "store.create.named",
    "worker.claimed",
    "worker.trained",
    "worker.concluded",
)
_ERRORS = (errno.EIO, errno.ENOSPC, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault of the plan: what, to whom, when."""

    what: str
    which: str
    at_us: int
    length_us: int
    #: For strikes: after so many of the process' own steps, or at this hit of `point`.
    step: int = 0
    point: str = ""

    def aimed(self) -> "Trouble":
        """As it is, but at what all share where its kind hits that."""
        return replace(self, which=target(self.what, self.which))


def draw(source: random.Random, nodes: list[str]) -> Trouble:
    """A fault; its kind, victim and time as the seed has it."""
    what = source.choice(_KINDS)
    struck = source.random() < 0.5
    return Trouble(
        what,
        target(what, source.choice(nodes)),
        int(source.random() * _WITHIN_US),
        int(source.random() * 2.5 * _LEASE_US),
        source.randrange(1, 60),
        source.choice(POINTS) if struck else "",
    )


def target(what: str, node: str) -> str:
    """What a fault of this kind hits: the node, or what all share."""
    return "redis" if what in _OF_REDIS else "store" if what in _OF_STORE else node


def cause(site: Site, trouble: Trouble) -> None:
    """Lets it happen at its time; runs on a thread of its own."""
    site.schedule.pause(trouble.at_us)
    if not site.is_quiet:
        _KIND_OF[trouble.what](site, trouble)


def _strike(act: Callable[[Site, Node, Trouble], None], site: Site, trouble: Trouble) -> None:
    """Strikes a process at one of its next steps, or as it comes to a point."""
    node = site.nodes[trouble.which]
    process = node.process
    trap = partial(act, site, node, trouble)
    if trouble.point:
        process.points[trouble.point] = 1 + trouble.step % 3, trap
    else:
        process.traps[process.step_count + trouble.step] = trap


def _kill(site: Site, node: Node, trouble: Trouble) -> None:
    site.note_fault("kill", node.name, trouble.length_us)
    node.kill()
    site.start_later(node.name, trouble.length_us // 3)


def _stop(site: Site, node: Node, trouble: Trouble) -> None:
    site.note_fault("stop", node.name, trouble.length_us)
    node.process.stopped_until_us = site.schedule.now_us + trouble.length_us


def _crash(site: Site, node: Node, trouble: Trouble) -> None:
    """The machine: all processes, and what its disk had not synced."""
    del node
    site.note_fault("crash", "machine", trouble.length_us)
    for one in site.nodes.values():
        one.kill()
    site.disk.crash()
    for name in site.nodes:
        site.start_later(name, trouble.length_us // 3)


def _lose_answers(site: Site, node: Node, trouble: Trouble) -> None:
    site.note_fault("lost", node.name)
    for connection in node.connections:
        connection.losing = 1 + trouble.step % 7


def _terminate(site: Site, trouble: Trouble) -> None:
    node = site.nodes[trouble.which]
    site.note_fault("term", node.name)
    node.stop()
    if trouble.point:  # an impatient supervisor
        kill = partial(_kill, site, node, trouble)
        node.process.traps[node.process.step_count + trouble.step % 16] = kill
    site.schedule.pause(3 * _SECOND_US + trouble.length_us // 4)
    if site.nodes[node.name] is node:
        node.kill()
        site.restart(node.name)


def _cut(site: Site, trouble: Trouble) -> None:
    site.note_fault("cut", trouble.which, trouble.length_us)
    for connection in site.nodes[trouble.which].connections:
        connection.cut_until_us = site.schedule.now_us + trouble.length_us


def _jump(site: Site, trouble: Trouble) -> None:
    site.note_fault("clock", trouble.which)
    site.nodes[trouble.which].process.skew_ms = 3_600_000 * (1 if trouble.step % 2 else -1)


def _fail_disk(site: Site, trouble: Trouble) -> None:
    site.note_fault("disk", "store")
    numbers = [_ERRORS[trouble.step % 3]] * (1 + trouble.step % 9)
    site.disk_errors[""] = numbers


def _restart(site: Site, trouble: Trouble) -> None:
    site.note_fault("restart", "redis", trouble.length_us)
    site.network.go_away(site.schedule.now_us + trouble.length_us // 3)
    site.server.restart()


def _wipe(site: Site, trouble: Trouble) -> None:
    site.note_fault("wipe", "redis", trouble.length_us)
    site.note("harness", "wipe")
    if trouble.step % 2:  # the data directory is gone; else FLUSHALL
        site.network.go_away(site.schedule.now_us + trouble.length_us // 3)
        site.server.restart()
    site.server.execute(["FLUSHALL"])


def _fail_over(site: Site, trouble: Trouble) -> None:
    replica = site.server.snapshot()
    site.schedule.pause(trouble.length_us // 2)
    if site.is_quiet:
        return
    site.note_fault("failover", "redis", trouble.length_us)
    site.note("harness", "wipe")
    site.network.go_away(site.schedule.now_us + trouble.length_us // 8)
    site.server.fail_over(replica)


def _pause(site: Site, trouble: Trouble) -> None:
    site.note_fault("pause", "redis", trouble.length_us)
    site.network.paused_until_us = site.schedule.now_us + trouble.length_us
    site.schedule.pause(trouble.length_us)
    site.network.resume()


def _fill(site: Site, trouble: Trouble) -> None:
    site.note_fault("full", "redis", trouble.length_us)
    site.server.is_full = True
    site.schedule.pause(trouble.length_us)
    site.server.is_full = False


_KIND_OF: dict[str, Callable[[Site, Trouble], None]] = {
    "kill": partial(_strike, _kill),
    "stop": partial(_strike, _stop),
    "crash": partial(_strike, _crash),
    "lost": partial(_strike, _lose_answers),
    "term": _terminate,
    "cut": _cut,
    "clock": _jump,
    "disk": _fail_disk,
    "restart": _restart,
    "wipe": _wipe,
    "failover": _fail_over,
    "pause": _pause,
    "full": _fill,
}
KINDS = tuple(_KIND_OF)
_OF_REDIS = frozenset({"restart", "wipe", "failover", "pause", "full"})
_OF_STORE = frozenset({"disk"})
#: How often each comes, by how often it stands here.
_KINDS = (
    *("kill",) * 5,
    *("stop",) * 4,
    *("crash",) * 3,
    *("lost",) * 3,
    *("term", "cut"),
    *("clock",) * 2,
    *("disk",) * 2,
    *("restart", "pause", "full"),
    *("wipe",) * 2,
    *("failover",) * 2,
)
