"""The plan of a comparison: the same for every queue, and as hard as it says."""

import itertools

from bench.killing.schedule import make_plan


def test_a_seed_gives_one_plan() -> None:
    assert make_plan(3, 200, 8, 2.0) == make_plan(3, 200, 8, 2.0)
    assert make_plan(3, 200, 8, 2.0) != make_plan(4, 200, 8, 2.0)


def test_every_plan_kills_redis_and_lets_it_come_back_before_the_next_kill() -> None:
    for seed in range(50):
        outages = [f for f in make_plan(seed, 200, 8, 2.0).faults if f.kind == "redis"]

        assert outages
        for first, second in itertools.pairwise(outages):
            assert first.at_s + first.away_s < second.at_s


def test_workers_are_killed_in_both_ways_and_everywhere() -> None:
    plan = make_plan(1, 400, 8, 2.0)
    kinds = [fault.kind for fault in plan.faults]

    assert 0 < kinds.count("job") < kinds.count("worker")
    assert {fault.slot for fault in plan.faults if fault.kind != "redis"} == set(range(8))


def test_faults_come_in_order_while_jobs_are_submitted_and_after() -> None:
    plan = make_plan(1, 200, 8, 2.0)
    times_s = [fault.at_s for fault in plan.faults]

    assert times_s == sorted(times_s)
    assert times_s[0] < plan.submit_s < times_s[-1]
