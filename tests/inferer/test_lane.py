import asyncio
import gc
import math
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from inferer.batcher import NO_WISHES, Limits, QueuePolicy, Wishes
from inferer.convert import Inputs
from inferer.lane import Answer, Lane, Turns
from tests.inferer.fakes import FakeClock, FakeProgram, FakeThread, rows
from twofold.errors import DeadlineExceeded, Internal, QueueFull, Unavailable

SLOW_S = 1.0


class Bench:
    """A lane and what it stands on."""

    def __init__(
        self, seconds: float = 0.0, delay_s: float = 0.0, queues: Sequence[QueuePolicy] = ()
    ) -> None:
        self.clock = FakeClock()
        self.program = FakeProgram(seconds)
        self.thread = FakeThread()
        limits = Limits(8, 10, max_queue_delay_s=delay_s, queues=tuple(queues))
        self.turns = Turns(self.thread)
        self.lane = self.another(limits)

    def another(self, limits: Limits) -> Lane:
        """A lane of another version on the same thread."""
        return Lane("models/m/versions/1", self.program, limits, self.turns, self.clock)

    def ask(
        self, *values: float, patience_s: float = math.inf, wishes: Wishes = NO_WISHES
    ) -> "asyncio.Task[Answer]":
        inputs = Inputs({"x": rows(*values)}, len(values))
        deadline_s = self.clock.now_s + patience_s
        return asyncio.create_task(self.lane.submit(inputs, deadline_s, wishes))


async def turn(count: int = 5) -> None:
    """Lets the loop run what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_requests_of_one_turn_share_a_batch() -> None:
    bench = Bench()

    answers = await asyncio.gather(bench.ask(1.0), bench.ask(2.0, 3.0))

    assert bench.program.batches == [[1, 2]]
    assert [answer.outputs["value"].tolist() for answer in answers] == [[[2.0]], [[4.0], [6.0]]]
    assert {answer.batch_rows for answer in answers} == {3}
    assert {answer.compute_ns for answer in answers} == {6}


async def test_what_arrives_while_a_slow_batch_runs_is_the_next_batch() -> None:
    bench = Bench(SLOW_S)
    first = bench.ask(1.0)
    await turn()
    others = [bench.ask(2.0), bench.ask(3.0, 4.0)]
    await turn()
    assert repr(bench.lane) == "<Lane models/m/versions/1 running, <Batcher 2 requests, 3 rows>>"
    assert bench.lane.queue_rows == 3

    bench.thread.run_next()
    await first
    await turn()
    bench.thread.run_next()
    await asyncio.gather(*others)

    assert bench.program.batches == [[1], [1, 2]]


async def test_small_batches_stay_on_the_loop_and_large_ones_leave_it() -> None:
    bench = Bench(seconds=0.0003)

    await bench.ask(1.0)
    assert bench.thread.waiting == []
    large = bench.ask(*range(8))
    await turn()

    assert len(bench.thread.waiting) == 1
    bench.thread.run_next()
    await large


async def test_a_full_queue_turns_away_at_once_and_says_when_to_come_back() -> None:
    bench = Bench(seconds=0.02)
    running = bench.ask(1.0)
    await turn()
    waiting = bench.ask(*range(4))
    await turn()

    with pytest.raises(QueueFull, match=r"4 rows wait .* 7 more exceed 10; come back") as caught:
        await bench.ask(*range(7))

    assert caught.value.retry_after_s == pytest.approx(4 * 0.02)
    for task in (running, waiting):
        task.cancel()


async def test_a_request_that_fails_fails_alone_and_tells_nothing() -> None:
    bench = Bench()

    good, bad = await asyncio.gather(bench.ask(1.0), bench.ask(-1.0), return_exceptions=True)

    assert isinstance(good, Answer)
    assert isinstance(bad, Internal)
    assert "negative" not in bad.message


async def test_a_cancelled_request_never_runs_and_frees_its_place() -> None:
    bench = Bench(SLOW_S)
    first = bench.ask(1.0)
    await turn()
    second = bench.ask(2.0)
    await turn()
    second.cancel()
    await turn()
    assert bench.lane.queue_rows == 0

    bench.thread.run_next()
    await first
    await turn()

    assert second.cancelled()
    assert bench.program.batches == [[1]]
    assert bench.lane.statistics.failure.count == 1


async def test_a_request_cancelled_while_it_runs_disturbs_nobody() -> None:
    bench = Bench(SLOW_S)
    first, second = bench.ask(1.0), bench.ask(2.0)
    await turn()
    first.cancel()
    await turn()

    bench.thread.run_next()

    assert (await second).outputs["value"].tolist() == [[4.0]]


async def test_a_request_that_comes_too_late_is_refused() -> None:
    bench = Bench()

    with pytest.raises(DeadlineExceeded):
        await bench.ask(1.0, patience_s=0.0)

    assert bench.program.batches == []


async def test_a_deadline_that_passes_in_the_queue_is_told_and_never_runs() -> None:
    bench = Bench(SLOW_S)
    first = bench.ask(1.0)
    await turn()
    late = bench.ask(2.0, patience_s=5.0)
    await turn()
    bench.clock.now_s += 6.0
    bench.thread.run_next()
    await first

    with pytest.raises(DeadlineExceeded):
        await late

    assert bench.program.batches == [[1]]


async def test_versions_take_turns_and_cut_when_theirs_has_come() -> None:
    """A batch that waits for the thread grows; what is late or cancelled by then never runs."""
    bench = Bench(SLOW_S)
    other = bench.another(Limits(max_batch_size=8, max_queue_size=10))
    first = bench.ask(1.0)
    await turn()
    bench.lane, own = other, bench.lane
    kept, late, left = bench.ask(2.0), bench.ask(3.0, patience_s=5.0), bench.ask(4.0)
    await turn()
    grown = bench.ask(5.0, 6.0)
    left.cancel()
    await turn()
    bench.clock.now_s += 6.0
    bench.thread.run_next()
    await first
    await turn()
    bench.thread.run_next()
    await asyncio.gather(kept, grown)

    with pytest.raises(DeadlineExceeded):
        await late
    assert bench.program.batches == [[1], [1, 2]]
    assert (own.queue_rows, other.queue_rows, bench.turns.is_taken) == (0, 0, False)


async def test_a_turn_that_nobody_needs_any_more_is_passed_on() -> None:
    bench = Bench(SLOW_S)
    other = bench.another(Limits(max_batch_size=8, max_queue_size=10))
    first = bench.ask(1.0)
    await turn()
    bench.lane, own = other, bench.lane
    left = bench.ask(2.0)
    await turn()
    bench.lane = own
    again = bench.ask(3.0)
    left.cancel()
    await turn()
    bench.thread.run_next()
    await first
    await turn()
    bench.thread.run_next()

    assert (await again).outputs["value"].tolist() == [[6.0]]
    assert bench.program.batches == [[1], [1]]


async def test_an_engine_that_is_closed_answers_unavailable_to_who_comes_next() -> None:
    bench = Bench(SLOW_S)
    bench.turns.executor = ThreadPoolExecutor(1)
    bench.turns.executor.shutdown()

    with pytest.raises(Unavailable):
        await bench.ask(1.0)
    assert not bench.turns.is_taken


async def test_a_late_request_need_not_wait_for_the_running_batch() -> None:
    bench = Bench(SLOW_S)
    first = bench.ask(1.0)
    await turn()

    with pytest.raises(DeadlineExceeded):
        await bench.ask(2.0, wishes=Wishes(timeout_s=0.01))

    assert not first.done()
    bench.thread.run_next()
    await first


async def test_with_a_delay_a_request_waits_for_others() -> None:
    bench = Bench(delay_s=0.05)
    bench.clock.monotonic_s = asyncio.get_running_loop().time  # the timer needs a clock that runs
    first = asyncio.create_task(bench.lane.submit(Inputs({"x": rows(1)}, 1), math.inf))
    await turn()
    assert bench.program.batches == []
    second = asyncio.create_task(bench.lane.submit(Inputs({"x": rows(2)}, 1), math.inf))

    await asyncio.gather(first, second)

    assert bench.program.batches == [[1, 1]]


async def test_a_deadline_ends_the_delay() -> None:
    bench = Bench(delay_s=3600)

    with pytest.raises(DeadlineExceeded):
        await bench.ask(1.0, patience_s=0.01)

    assert bench.lane.queue_rows == 0


async def test_a_full_batch_ends_the_delay() -> None:
    bench = Bench(delay_s=3600)
    first = bench.ask(1.0)
    await turn()

    await asyncio.gather(first, bench.ask(*range(7)))

    assert bench.program.batches == [[1, 7]]


async def test_statistics_count_every_request_and_batch() -> None:
    bench = Bench()
    await asyncio.gather(
        bench.ask(1.0), bench.ask(2.0, 3.0), bench.ask(-1.0), return_exceptions=True
    )

    counted = bench.lane.statistics
    assert (counted.success.count, counted.failure.count, counted.queue.count) == (2, 1, 3)
    assert (counted.row_count, counted.batch_count) == (4, 1)
    assert (counted.parts.infer.count, counted.parts.infer.ns) == (3, 6)
    assert counted.batches[4].infer.count == 1
    assert counted.last_inference_ms == bench.clock.time_ms()


async def test_a_closed_engine_answers_unavailable() -> None:
    bench = Bench(SLOW_S)
    task = bench.ask(1.0)
    await turn()
    bench.thread.futures[0].cancel()

    with pytest.raises(Unavailable):
        await task


async def test_a_lane_is_freed_after_its_last_request() -> None:
    bench = Bench(SLOW_S)
    lane = weakref.ref(bench.lane)
    task = bench.ask(1.0)
    await turn()
    del bench.lane
    gc.collect()
    assert lane() is not None

    bench.thread.run_next()
    await task
    del task
    await turn()
    bench.thread.futures.clear()
    gc.collect()

    assert lane() is None


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
