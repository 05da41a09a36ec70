"""Tier R: a real Valkey, real files and forked toy processes, broken at random."""

from tests.chaos.real.scenario import run
from tests.chaos.runs import Tier

#: A run mostly waits: for leases, for servers to come back.
TIER = Tier("R", run, width=16)
