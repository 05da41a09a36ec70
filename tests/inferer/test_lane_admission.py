"""Who is let in, when, and who waits for whom: priorities, time, other versions."""

import asyncio
import math

import pytest

from inferer.batcher import Limits, QueuePolicy, Wishes
from inferer.convert import Inputs
from inferer.lane import Answer, Lane
from tests.inferer.fakes import FakeProgram, rows
from tests.inferer.lane_bench import SLOW_S, Bench, turn
from twofold.errors import DeadlineExceeded, QueueFull


async def test_a_higher_priority_passes_those_that_wait() -> None:
    bench = Bench(SLOW_S, queues=[QueuePolicy(10), QueuePolicy(10)])
    first = bench.ask(1.0)
    await turn()
    low = bench.ask(*range(8), wishes=Wishes(2))
    high = bench.ask(1.0, 2.0, wishes=Wishes(1))
    await turn()
    for task in (first, high, low):
        bench.thread.run_next()
        await task
        await turn()

    assert bench.program.batches == [[1], [2], [8]]


async def test_a_full_queue_of_one_priority_turns_nobody_else_away() -> None:
    bench = Bench(SLOW_S, queues=[QueuePolicy(10), QueuePolicy(3)])
    tasks = [bench.ask(1.0)]
    await turn()
    tasks.append(bench.ask(1.0, 2.0, wishes=Wishes(2)))
    await turn()

    with pytest.raises(QueueFull, match=r"2 rows wait .* 2 more exceed 3; come back"):
        await bench.ask(1.0, 2.0, wishes=Wishes(2))

    tasks.append(bench.ask(*range(5), wishes=Wishes(1)))
    await turn()
    assert bench.lane.queue_rows == 7
    for task in tasks:
        task.cancel()


async def test_what_cannot_be_in_time_is_refused_at_once_and_never_runs() -> None:
    """A row takes a second, and a second was measured when the version was loaded."""
    bench = Bench(SLOW_S)
    text = r"versions/1 needs at least 3e\+03 ms .* of which 2.9e\+03 ms are left; allow more time"
    with pytest.raises(DeadlineExceeded, match=text):
        await bench.ask(1.0, 2.0, 3.0, patience_s=2.9)
    running = bench.ask(1.0, 2.0, 3.0, patience_s=3.1)
    await turn()

    with pytest.raises(DeadlineExceeded):  # behind three rows that run
        await bench.ask(4.0, patience_s=3.9)
    waiting = bench.ask(4.0, patience_s=4.1)
    await turn()
    with pytest.raises(DeadlineExceeded):  # and one that waits
        await bench.ask(5.0, patience_s=4.9)
    bench.clock.now_s += 2.0
    last = bench.ask(5.0, patience_s=3.1)
    await turn()

    assert bench.lane.queue_rows == 2
    assert len(bench.thread.waiting) == 1
    for task in (running, waiting, last):
        task.cancel()


async def test_only_what_waits_before_a_request_counts() -> None:
    bench = Bench(SLOW_S, queues=[QueuePolicy(100), QueuePolicy(100)])
    tasks = [bench.ask(1.0), bench.ask(*range(8), wishes=Wishes(2))]
    await turn()

    with pytest.raises(DeadlineExceeded):
        await bench.ask(1.0, patience_s=3.0, wishes=Wishes(2))
    tasks.append(bench.ask(1.0, patience_s=3.0, wishes=Wishes(1)))
    await turn()

    assert bench.lane.queue_rows == 9
    for task in tasks:
        task.cancel()


async def test_another_version_on_the_thread_counts_until_it_should_be_done() -> None:
    bench = Bench(SLOW_S)
    other = bench.another(Limits(max_batch_size=8, max_queue_size=10))
    first = bench.ask(*range(8))
    await turn()
    bench.lane = other

    with pytest.raises(DeadlineExceeded):
        await bench.ask(1.0, patience_s=8.9)
    bench.clock.now_s += 30.0  # it takes longer than expected: nobody knows for how long
    task = bench.ask(1.0, patience_s=1.1)
    await turn()

    assert other.queue_rows == 1
    for each in (first, task):
        each.cancel()


async def test_a_timeout_is_about_waiting_and_not_about_the_answer() -> None:
    bench = Bench(SLOW_S)
    running = bench.ask(1.0, wishes=Wishes(timeout_s=0.5))  # takes a second
    await turn()
    with pytest.raises(DeadlineExceeded):
        await bench.ask(2.0, wishes=Wishes(timeout_s=0.9))
    waiting = bench.ask(3.0, wishes=Wishes(timeout_s=1.1))
    await turn()
    assert bench.lane.queue_rows == 1

    bench.clock.now_s += 1.0
    bench.thread.run_next()
    await running
    await turn()
    bench.thread.run_next()

    assert (await waiting).outputs["value"].tolist() == [[6.0]]


async def test_a_timeout_counts_the_batches_before_its_own() -> None:
    """One row runs and eight wait, each a batch of its own: the next begins after 9 s."""
    bench = Bench(SLOW_S)
    bench.lane = bench.another(Limits(max_batch_size=1, max_queue_size=10))
    tasks = [bench.ask(1.0) for _ in range(9)]
    await turn()

    refused = bench.ask(1.0, wishes=Wishes(timeout_s=8.9))
    await turn()
    tasks.append(bench.ask(1.0, wishes=Wishes(timeout_s=9.1)))
    await turn()

    assert isinstance(refused.exception(), DeadlineExceeded)
    assert bench.lane.queue_rows == 9
    for task in tasks:
        task.cancel()


async def test_a_fast_version_knows_that_a_slow_one_has_the_thread() -> None:
    bench = Bench(SLOW_S)
    running = bench.ask(*range(8))
    await turn()
    fast = Lane("models/f/versions/1", FakeProgram(0.002), Limits(8, 8), bench.turns, bench.clock)
    bench.lane = fast

    with pytest.raises(DeadlineExceeded):
        await bench.ask(1.0, patience_s=7.0)
    task = bench.ask(1.0, patience_s=9.0)
    await turn()

    assert fast.queue_rows == 1
    for each in (running, task):
        each.cancel()


async def test_who_comes_later_makes_nobody_late_by_a_longer_batch() -> None:
    bench = Bench(SLOW_S)
    bench.program.pace = 1.0
    tasks = [bench.ask(1.0)]
    await turn()
    tasks.append(bench.ask(1.0, 2.0, patience_s=3.5))
    tasks.append(bench.ask(*range(5)))
    await turn()
    bench.clock.now_s += 1.0
    for task in tasks:
        bench.thread.run_next()
        await task
        await turn()

    assert bench.program.batches == [[1], [2], [5]]


async def test_who_becomes_late_behind_a_full_batch_is_told() -> None:
    bench = Bench(SLOW_S)
    tasks = [bench.ask(1.0)]
    await turn()
    tasks.append(bench.ask(*range(8)))
    late = bench.ask(1.0, patience_s=50.0)
    await turn()
    for task in tasks:
        bench.thread.run_next()
        bench.clock.now_s += 30.0
        await task
        await turn()

    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(late, 1)
    assert bench.program.batches == [[1], [8]]


async def test_whoever_is_refused_when_a_batch_is_cut_brings_doubt_too() -> None:
    """What ran took longer than expected, so that all who wait are late; each was in time."""
    bench = Bench(SLOW_S)
    bench.program.pace = 4.0
    running = bench.ask(1.0)
    await turn()
    waiting = [bench.ask(1.0, patience_s=10.5) for _ in range(9)]
    await turn()
    bench.clock.now_s += 4.0
    bench.thread.run_next()
    await running
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {DeadlineExceeded}
    assert bench.lane._outlook.least_s(1) == pytest.approx(0.99**9)


async def answered(bench: Bench, pace: float) -> None:
    """One batch of a row, which takes so much of what is expected."""
    bench.program.pace = pace
    task = bench.ask(1.0)
    await turn()
    bench.thread.run_next()
    await task


async def test_no_outlier_makes_a_version_refuse() -> None:
    bench = Bench(SLOW_S)
    for pace in (1.0, 1000.0, 1.0, *[1000.0] * 15):
        await answered(bench, pace)

    task = bench.ask(1.0, patience_s=1.1)
    await turn()

    assert len(bench.thread.waiting) == 1
    task.cancel()


async def test_who_became_slower_for_good_refuses_and_lets_somebody_try_again() -> None:
    bench = Bench(SLOW_S)
    for pace in [3.0] * 16:
        await answered(bench, pace)

    task, refused = bench.ask(1.0, patience_s=1.5), 0
    await turn()
    while not bench.thread.waiting:
        assert isinstance(task.exception(), DeadlineExceeded)
        task, refused = bench.ask(1.0, patience_s=1.5), refused + 1
        await turn()

    assert 30 < refused < 100
    bench.program.pace = 1.0  # it is fast again, and this request shows it
    bench.thread.run_next()
    await task
    task = bench.ask(1.0, patience_s=1.1)
    await turn()
    assert not task.done()
    task.cancel()


async def test_a_version_that_turns_out_slow_leaves_the_loop() -> None:
    bench = Bench(seconds=0.0004)
    bench.program.pace = 5.0
    for _ in range(16):
        await bench.ask(1.0)
    assert bench.thread.waiting == []

    task = bench.ask(1.0)
    await turn()

    assert len(bench.thread.waiting) == 1
    bench.thread.run_next()
    await task


async def test_a_busy_version_leaves_the_thread_to_others_after_each_batch() -> None:
    bench = Bench(SLOW_S)
    busy, other = bench.lane, bench.another(Limits(max_batch_size=8, max_queue_size=100))
    tasks = [bench.ask(*range(8))]
    await turn()
    tasks.append(bench.ask(*range(1, 9)))
    bench.lane = other
    lone = bench.ask(1.0)
    await turn()
    bench.lane = busy
    bench.clock.now_s += 8.0
    bench.thread.run_next()
    await turn()
    bench.thread.run_next()
    await lone

    assert bench.program.batches == [[8], [1]]
    for task in tasks:
        task.cancel()


async def test_long_batches_have_as_much_of_the_thread_as_short_ones() -> None:
    bench = Bench(SLOW_S)
    bench.lane = bench.another(Limits(max_batch_size=8, max_queue_size=100))
    tasks = [bench.ask(*range(8)) for _ in range(2)]
    await turn()
    bench.lane = bench.another(Limits(max_batch_size=1, max_queue_size=100))
    tasks += [bench.ask(1.0) for _ in range(12)]
    await turn()
    while bench.thread.waiting:
        bench.thread.run_next()
        bench.clock.now_s += sum(bench.program.batches[-1]) * SLOW_S
        await turn()

    await asyncio.gather(*tasks)
    assert bench.program.batches == [[8], *[[1]] * 8, [8], *[[1]] * 4]


async def test_a_version_that_is_always_busy_on_the_loop_keeps_nobody_waiting() -> None:
    bench = Bench()
    busy, other = bench.lane, bench.another(Limits(max_batch_size=8, max_queue_size=100))
    asked = 0

    def again(_: object) -> None:
        nonlocal asked
        asked += 1
        busy.admit(Inputs({"x": rows(1)}, 1), math.inf, again)

    again(None)
    bench.lane = other
    before = asked
    await bench.ask(1.0)

    assert asked - before <= 6


async def test_an_answer_that_cannot_be_taken_harms_no_other() -> None:
    bench = Bench()

    def fail(_: object) -> None:
        raise RuntimeError

    taken: list[object] = []
    for done in (fail, taken.append):
        bench.lane.admit(Inputs({"x": rows(1)}, 1), math.inf, done)
    await turn()

    assert bench.program.batches == [[1, 1]]
    assert [type(outcome) for outcome in taken] == [Answer]


async def test_a_preferred_size_that_fell_apart_waits_on() -> None:
    bench = Bench()
    limits = Limits(8, 100, max_queue_delay_s=3600, preferred_batch_size=(2,))
    bench.lane = bench.another(limits)
    taken: list[object] = []
    inputs = Inputs({"x": rows(1)}, 1)
    tickets = [bench.lane.admit(inputs, math.inf, taken.append) for _ in range(2)]
    bench.lane.withdraw(tickets[1])  # their batch was due
    await turn()
    assert bench.program.batches == []

    await bench.ask(3.0)

    assert bench.program.batches == [[1, 1]]
    assert len(taken) == 1
