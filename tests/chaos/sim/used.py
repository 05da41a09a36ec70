"""A site as most are: its store and its queue know each other, and were compared before."""

from functools import cache

from tests.chaos.sim.schedule import drive
from tests.chaos.sim.site import Node, Site


def make_used(site: Site) -> None:
    """Gives a new site what another's first process left."""
    other = _other()
    site.server.data, site.server.expires = other.server.snapshot()
    site.server.run_id = other.server.run_id
    site.disk.root = other.disk.root.copy()


@cache
def _other() -> Site:
    site = Site(0)
    site.start("first", _compare)
    site.schedule.run(lambda: False)
    return site


def _compare(node: Node) -> None:
    node.process.spawn(lambda: drive(node.ledger.recover()))
