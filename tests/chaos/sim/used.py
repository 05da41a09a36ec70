"""A site as most are: its store and its queue know each other, and were compared before."""

from functools import cache

from tests.chaos.sim.schedule import drive
from tests.chaos.sim.site import Node, Site


def make_used(site: Site) -> None:
    """Gives a new site what another's first process left."""
    other = _other()
    site.is_used = True
    site.server.data, site.server.expires = other.server.snapshot()
    site.server.run_id = other.server.run_id
    site.disk.root = other.disk.root.copy()


@cache
def _other() -> Site:
    site = Site(0)
    site.start("first", _look_around)
    site.schedule.run(lambda: False)
    return site


def _look_around(node: Node) -> None:
    def act() -> None:
        drive(node.ledger.recover())
        drive(node.ledger.reap())

    node.process.spawn(act)
