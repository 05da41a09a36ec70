import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inferer.batcher import Batcher, Entry, Limits

MAX_BATCH, MAX_QUEUE = 8, 20


class Requests(RuleBasedStateMachine):
    """No request is lost, answered twice or overtaken; rows stay bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher[int](Limits(MAX_BATCH, MAX_QUEUE))
        self.now_s = 0.0
        # ticket -> (rows, deadline), in order of arrival.
        self.waiting: dict[int, tuple[int, float]] = {}
        self.left: list[int] = []

    def _leave(self, entries: list[Entry[int]]) -> None:
        for entry in entries:
            assert entry.ticket not in self.left
            self.left.append(entry.ticket)
            assert self.waiting.pop(entry.ticket)[0] == entry.rows

    @rule(rows=st.integers(1, MAX_BATCH), patience_s=st.sampled_from([1.0, 3.0, math.inf]))
    def arrive(self, rows: int, patience_s: float) -> None:
        has_room = self.batcher.has_room(rows)
        queued = sum(waiting for waiting, _ in self.waiting.values())
        assert has_room == (not self.waiting or queued + rows <= MAX_QUEUE)
        if has_room:
            deadline_s = self.now_s + patience_s
            ticket = self.batcher.admit(rows, rows, self.now_s, deadline_s)
            assert ticket not in self.waiting
            assert ticket not in self.left
            self.waiting[ticket] = (rows, deadline_s)

    @rule(delay_s=st.sampled_from([0.5, 2.0]))
    def wait(self, delay_s: float) -> None:
        self.now_s += delay_s

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.waiting)))
        entry = self.batcher.withdraw(ticket)
        assert entry is not None
        self._leave([entry])
        assert self.batcher.withdraw(ticket) is None

    @rule()
    def run(self) -> None:
        order = list(self.waiting)
        cut = self.batcher.cut(self.now_s)
        tickets = [entry.ticket for entry in cut.batch]
        live = [ticket for ticket in order if self.waiting[ticket][1] > self.now_s]
        assert sum(entry.rows for entry in cut.batch) <= MAX_BATCH
        assert tickets == live[: len(tickets)]
        assert not live or tickets
        assert all(entry.deadline_s <= self.now_s for entry in cut.expired)
        self._leave([*cut.batch, *cut.expired])

    @invariant()
    def counts_add_up(self) -> None:
        assert len(self.batcher) == len(self.waiting)
        assert self.batcher.rows == sum(rows for rows, _ in self.waiting.values())
        assert (self.batcher.due_s() is None) == (not self.waiting)

    def teardown(self) -> None:
        while self.waiting:
            self.run()
        assert len(self.batcher) == 0


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_lone_request_is_due_at_once() -> None:
    batcher = Batcher[str](Limits(8, 100))

    batcher.admit("a", 1, now_s=5.0)

    assert batcher.due_s() == 5.0
    assert repr(batcher) == "<Batcher 1 requests, 1 rows>"


@given(st.integers(1, 7))
def test_with_a_delay_the_oldest_request_decides_unless_the_batch_is_full(rows: int) -> None:
    batcher = Batcher[str](Limits(8, 100, max_queue_delay_s=2.0))

    batcher.admit("old", rows, now_s=5.0)
    batcher.admit("new", 8 - rows - 1 or 1, now_s=6.0) if rows < 6 else None

    assert batcher.due_s() == 7.0
    batcher.admit("last", 8, now_s=6.5)
    assert batcher.due_s() == -math.inf


def test_a_request_is_never_split() -> None:
    batcher = Batcher[str](Limits(8, 100))
    for name, rows in (("a", 5), ("b", 4), ("c", 3)):
        batcher.admit(name, rows, now_s=0.0)

    first, second = batcher.cut(1.0), batcher.cut(1.0)

    assert [entry.payload for entry in first.batch] == ["a"]
    assert [entry.payload for entry in second.batch] == ["b", "c"]


def test_an_expired_request_never_runs() -> None:
    batcher = Batcher[str](Limits(8, 100))
    batcher.admit("late", 8, now_s=0.0, deadline_s=1.0)
    batcher.admit("early", 8, now_s=0.0, deadline_s=2.0)

    cut = batcher.cut(1.0)

    assert [entry.payload for entry in cut.batch] == ["early"]
    assert [entry.payload for entry in cut.expired] == ["late"]


def test_an_empty_queue_takes_a_request_of_any_size() -> None:
    batcher = Batcher[str](Limits(64, 10))

    assert batcher.has_room(64)
    batcher.admit("large", 64, now_s=0.0)
    assert not batcher.has_room(1)
