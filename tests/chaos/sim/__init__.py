"""Tier S: the real protocol code under virtual time, its disk and server in memory."""

from tests.chaos.runs import Result, Tier
from tests.chaos.sim import scenario, serving

#: Every so many seeds are of serving, the others of queue and publishing.
_SERVING_EVERY = 8


def run(seed: int) -> Result:
    """A seed's result."""
    if seed % _SERVING_EVERY == _SERVING_EVERY - 1:
        return serving.run(seed)
    return scenario.run(seed)


TIER = Tier("S", run, width=2)
