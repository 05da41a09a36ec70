"""The harness of the comparison, small and with this checkout's queue alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.killing.run import run
from bench.killing.schedule import Fault, Plan
from bench.killing.systems import TWOFOLD

#: Longer than the heartbeats of a loaded machine may be apart.
LEASE_S = 3


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_small_run_kills_and_finds_nothing_lost_doubled_or_left_running(tmp_path: Path) -> None:
    environment = {**TWOFOLD.environment, "TWOFOLD_LEASE_S": str(LEASE_S), "TWOFOLD_BEAT_S": "0.5"}
    system = replace(TWOFOLD, environment=environment)
    # While the first two jobs are at work: they take 4 s.
    faults = (Fault(2.5, "worker", 0), Fault(2.6, "job", 1), Fault(2.7, "redis", away_s=0.5))

    outcome = run(system, Plan(4, 2, 0.1, faults), tmp_path / "run", job_s=4.0)

    found = outcome.figures
    assert (found.acked, found.lost, found.doubled, found.hits) == (4, 0, 0, 2)
    assert len(found.recoveries_s) == 2
    assert (outcome.kill_count, outcome.outage_count, outcome.stray_count) == (2, 1, 0)
    assert outcome.all_done_s is not None
