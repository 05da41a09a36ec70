"""What counts, and what does not."""

from twofold.loadgen.tally import Tally, Window

MS = 1_000_000


def test_requests_count_by_when_they_begin_and_the_rate_by_when_they_end() -> None:
    tally = Tally(Window(100 * MS, 200 * MS))

    tally.answered([99 * MS], 101 * MS)  # of the warm-up, though answered within
    tally.answered([100 * MS, 150 * MS], 160 * MS)
    tally.answered([199 * MS], 250 * MS)  # answered too late for the rate
    tally.answered([200 * MS], 201 * MS)  # after the end
    tally.settle()

    assert tally.latencies.count == 3
    assert tally.latencies.percentiles().max == 60
    assert tally.answered_count == 3


def test_failures_count_by_when_they_begin() -> None:
    tally = Tally(Window(100, 200))

    for start_ns in (99, 100, 199, 200):
        tally.failed("UNAVAILABLE", f"at {start_ns}", start_ns)

    assert tally.failures.counts == {"UNAVAILABLE": 2}
    assert tally.failures.examples == {"UNAVAILABLE": "at 100"}


def test_lateness_is_of_requests_within_the_window() -> None:
    tally = Tally(Window(100 * MS, 200 * MS))

    tally.sent([50 * MS], 90 * MS)
    tally.sent([110 * MS, 112 * MS], 113 * MS)
    tally.held(90 * MS)
    tally.held(150 * MS)
    tally.settle()

    assert tally.lateness.percentiles().max == 3
    assert tally.lateness.count == 2
    assert tally.held_count == 1


def test_many_answers_are_counted_as_they_come() -> None:
    """Memory does not grow with the length of a run."""
    tally = Tally(Window(0, 10**12))
    for now_ns in range(1000, 6000):
        tally.answered([now_ns - 1000], now_ns)

    assert tally.latencies.count >= 4000
    tally.settle()
    assert tally.latencies.count == tally.answered_count == 5000
