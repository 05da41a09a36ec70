"""The queue beside a plain account of what should leave it, and in which order."""

import itertools
import math
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inferer.batcher import Batcher, Entry, Limits, QueuePolicy, Wishes

MAX_BATCH, MAX_QUEUE = 8, 20
DELAY = QueuePolicy(MAX_QUEUE, 2.0, timeout_action="DELAY")
LEVELS: Sequence[tuple[QueuePolicy, ...]] = (
    (),
    (DELAY,),
    (QueuePolicy(MAX_QUEUE, 2.0), QueuePolicy(MAX_QUEUE)),
    (QueuePolicy(4), QueuePolicy(MAX_QUEUE, 3.0, allow_timeout_override=False), DELAY),
)


class Requests(RuleBasedStateMachine):
    """No request is lost, answered twice or overtaken against the rules; rows stay bounded."""

    @initialize(
        queues=st.sampled_from(LEVELS),
        delay_s=st.sampled_from([0.0, 1.5]),
        preferred=st.sampled_from([(), (4,), (3, 6)]),
        default=st.integers(1, 3),
    )
    def begin(
        self,
        queues: tuple[QueuePolicy, ...],
        delay_s: float,
        preferred: tuple[int, ...],
        default: int,
    ) -> None:
        level = min(default, max(len(queues), 1))
        self.limits = Limits(MAX_BATCH, MAX_QUEUE, delay_s, preferred, queues, level)
        self.batcher = Batcher[int](self.limits)
        self.now_s = 0.0
        # By ticket, in order of arrival: the entry, its level, the latest end of its timeout.
        self.waiting: dict[int, tuple[Entry[int], int, float]] = {}
        self.left: list[int] = []

    def _leave(self, entries: Sequence[Entry[int]]) -> None:
        for entry in entries:
            assert entry.ticket not in self.left
            self.left.append(entry.ticket)
            assert self.waiting.pop(entry.ticket)[0] is entry

    def _rows(self, level: int) -> int:
        return sum(entry.rows for entry, other, _ in self.waiting.values() if other == level)

    @rule(
        rows=st.integers(1, MAX_BATCH),
        patience_s=st.sampled_from([1.0, 3.0, math.inf, math.inf]),
        wishes=st.builds(
            Wishes, st.integers(0, 5), st.sampled_from([0.5, 2.5, math.inf, math.inf])
        ),
    )
    def arrive(self, rows: int, patience_s: float, wishes: Wishes) -> None:
        policies = self.limits.policies
        is_level = 1 <= wishes.priority <= len(policies)
        level = wishes.priority if is_level else self.limits.default_priority_level
        policy = policies[level - 1]
        has_room = self.batcher.has_room(rows, wishes.priority)
        queued = self._rows(level)
        assert has_room == (not queued or queued + rows <= policy.max_queue_size)
        assert self.batcher.queue_of(wishes.priority) == (queued, policy)
        if has_room:
            deadline_s = self.now_s + patience_s
            entry = self.batcher.admit(rows, rows, self.now_s, deadline_s, wishes)
            assert entry.ticket not in self.waiting
            assert entry.ticket not in self.left
            timeout_s = policy.default_timeout_s
            if policy.allow_timeout_override:
                timeout_s = min(timeout_s, wishes.timeout_s)
            self.waiting[entry.ticket] = (entry, level, self.now_s + timeout_s)

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

    def _is_delaying(self, level: int) -> bool:
        return self.limits.policies[level - 1].timeout_action == "DELAY"

    def _order(self, *, is_ready: bool = True) -> list[list[Entry[int]]]:
        """Who runs before whom: groups in order; in those of fresh requests the order counts too.

        The others of a group, whose time was over, stand in the order in which that was noticed.
        """
        groups: list[list[Entry[int]]] = []
        for level in range(1, len(self.limits.policies) + 1):
            own = [(entry, at_s) for entry, other, at_s in self.waiting.values() if other == level]
            is_delaying = self._is_delaying(level) and is_ready
            over = [entry for entry, at_s in own if is_delaying and at_s <= self.now_s]
            groups += [[entry for entry, _ in own if entry not in over], over]
        return groups

    @rule(times=st.sampled_from([(0.0, 0.0), (0.0, 0.0), (0.25, 0.75), (0.5, 2.0)]))
    def run(self, times: tuple[float, float] = (0.0, 0.0)) -> None:
        least_s, batch_s = times
        groups, now_s = self._order(), self.now_s
        is_held_up = self._has_waited_for_the_delay()
        late_s = now_s + (batch_s if self.batcher.rows > MAX_BATCH else least_s)

        cut = self.batcher.cut(now_s, least_s, batch_s)

        for entry in cut.expired:
            _, level, over_s = self.waiting[entry.ticket]
            is_over = over_s <= now_s and not self._is_delaying(level)
            assert is_over or entry.deadline_s <= late_s
        for entry in cut.batch:
            _, level, over_s = self.waiting[entry.ticket]
            assert entry.deadline_s > late_s
            assert over_s > now_s or self._is_delaying(level)
        self._check_order(groups, cut.batch, cut.expired)
        self._check_size(groups, cut.batch, cut.expired, (now_s + batch_s, is_held_up))
        self._leave([*cut.batch, *cut.expired])

    def _has_waited_for_the_delay(self) -> bool:
        delay_s = self.limits.max_queue_delay_s
        arrivals = [entry.arrival_s for entry, _, _ in self.waiting.values()]
        return bool(delay_s and arrivals and min(arrivals) + delay_s <= self.now_s)

    def _check_order(
        self,
        groups: Sequence[Sequence[Entry[int]]],
        batch: Sequence[Entry[int]],
        expired: Sequence[Entry[int]],
    ) -> None:
        """Nobody of a group runs before all of the groups before; fresh ones keep their order."""
        rank = {entry.ticket: number for number, group in enumerate(groups) for entry in group}
        ranks = [rank[entry.ticket] for entry in batch]
        assert ranks == sorted(ranks)
        for number, group in enumerate(groups):
            live = [entry for entry in group if entry not in expired]
            own = [entry for entry in batch if rank[entry.ticket] == number]
            if any(found > number for found in ranks):
                assert len(own) == len(live)
            if number % 2 == 0:
                assert own == live[: len(own)]

    def _check_size(
        self,
        groups: Sequence[Sequence[Entry[int]]],
        batch: Sequence[Entry[int]],
        expired: Sequence[Entry[int]],
        times: tuple[float, bool],
    ) -> None:
        """A batch is as large as may be, or has the largest preferred size that can be made."""
        urgent_s, is_held_up = times
        rows = sum(entry.rows for entry in batch)
        assert rows <= MAX_BATCH
        assert all(entry.deadline_s > urgent_s for entry in batch[:-1])
        live = [entry for group in groups for entry in group if entry not in expired]
        assert bool(batch) == bool(live)
        if not batch or batch[-1].deadline_s <= urgent_s:
            return
        if any(map(self._is_over, live)):
            return
        sums = list(itertools.accumulate(entry.rows for entry in live))
        longest = max(total for total in sums if total <= MAX_BATCH)
        preferred = {*sums} & {*self.limits.preferred_batch_size}
        assert rows == (max(preferred) if preferred and not is_held_up else longest)

    def _is_over(self, entry: Entry[int]) -> bool:
        return entry.delay_s <= self.now_s

    @invariant()
    def counts_add_up(self) -> None:
        if not hasattr(self, "batcher"):
            return
        assert len(self.batcher) == len(self.waiting)
        assert self.batcher.rows == sum(entry.rows for entry, _, _ in self.waiting.values())
        for level in range(1, len(self.limits.policies) + 1):
            most = sum(map(self._rows, range(1, level + 1)))
            over = sum(
                entry.rows
                for entry, other, _ in self.waiting.values()
                if other == level and self._is_over(entry)
            )
            assert most - over <= self.batcher.rows_before(level) <= most

    @invariant()
    def a_batch_is_due_when_it_is_full_or_preferred_or_somebody_waited_long_enough(self) -> None:
        if not hasattr(self, "batcher"):
            return
        due_s = self.batcher.due_s()
        assert (due_s is None) == (not self.waiting)
        if due_s is None:
            return
        entries = [entry for group in self._order(is_ready=False) for entry in group]
        oldest_s = min(entry.arrival_s for entry in entries) + self.limits.max_queue_delay_s
        sums = set(itertools.accumulate(entry.rows for entry in entries))
        is_full = self.batcher.rows >= MAX_BATCH
        is_preferred = bool(sums & {*self.limits.preferred_batch_size})
        if is_full or (is_preferred and self.limits.max_queue_delay_s and not self._delays):
            assert due_s == -math.inf
        elif not self._delays:
            assert due_s == oldest_s
        else:
            assert due_s <= oldest_s

    @property
    def _delays(self) -> bool:
        return any(map(self._is_delaying, range(1, len(self.limits.policies) + 1)))

    def teardown(self) -> None:
        if not hasattr(self, "batcher"):
            return
        for _ in range(len(self.waiting)):
            self.run()
        assert len(self.batcher) == 0
        assert not self.waiting


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
