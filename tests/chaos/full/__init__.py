"""Tier P: full processes with torch, killed and stopped at random while clients use them."""

import atexit
from multiprocessing import util

from tests.chaos.full.plan import plan_of
from tests.chaos.full.scenario import Scenario
from tests.chaos.full.site import Site
from tests.chaos.runs import Result, Tier

#: The site of this process; seeds run on it one after the other, until one breaks something.
_sites: list[Site] = []


def run(seed: int) -> Result:
    """Runs one seed on this process's site, which is started for the first one."""
    site = _site()
    result = Scenario(site, plan_of(seed)).run()
    if result.violations:
        close()  # what is broken must not break the next seed
    return result


def close() -> None:
    """Ends the site."""
    while _sites:
        _sites.pop().close()


def _site() -> Site:
    if not _sites:
        _sites.append(Site())
        # Processes of a pool leave without atexit; the main one knows nothing of finalizers' order.
        atexit.register(close)
        util.Finalize(None, close, exitpriority=10)
        _sites[0].start()
    _sites[0].wait_until_ready()
    return _sites[0]


#: Two side by side: a seed mostly waits for leases, yet each start of torch takes a core.
TIER = Tier("P", run, width=2)
