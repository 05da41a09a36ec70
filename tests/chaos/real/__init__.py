"""Tier R: a real Valkey, real files and forked toy processes, broken at random."""

from tests.chaos.real.scenario import run
from tests.chaos.runs import Tier

#: A run mostly waits, for leases and for servers to come back: it computes 0.7 s in some 5 s.
TIER = Tier("R", run, width=8)
