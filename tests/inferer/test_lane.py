import asyncio
import gc
import math
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from inferer.batcher import Limits, Wishes
from inferer.convert import Inputs
from inferer.lane import Answer
from tests.inferer.fakes import rows
from tests.inferer.lane_bench import SLOW_S, Bench, turn
from twofold.errors import DeadlineExceeded, Internal, QueueFull, Unavailable


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
