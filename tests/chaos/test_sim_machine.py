"""Hypothesis drives the same simulation step by step, and shrinks what it finds."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.chaos.sim import trouble
from tests.chaos.sim.stage import Stage, Wish
from tests.chaos.sim.trouble import Trouble
from tests.chaos.sim.workers import Script
from twofold.internal.v1 import record_pb2

_SECOND_US = 1_000_000
_moments = st.integers(0, 2 * _SECOND_US)
_endings = st.lists(st.sampled_from(("failed", "evicted", "data")), max_size=2)
_troubles = st.builds(
    Trouble,
    what=st.sampled_from(trouble.KINDS),
    which=st.sampled_from(("worker0", "worker1", "api0")),
    at_us=st.just(0),
    length_us=st.integers(0, 9 * _SECOND_US),
    step=st.integers(1, 60),
    point=st.sampled_from(("", *trouble.POINTS)),
)


class Machine(RuleBasedStateMachine):
    """A site with two workers; every example ends with the checker's word."""

    def __init__(self) -> None:
        super().__init__()
        self._stage = Stage(0)
        self._count = 0

    @initialize(seed=st.integers(0, 1_000), way_us=st.sampled_from((800, 100_000)))
    def build(self, seed: int, way_us: int) -> None:
        self._stage = Stage(seed)
        self._stage.site.network.way_us = way_us
        self._stage.start(2, 1, has_reader=True)

    @rule(mood=st.floats(0, 1), train_us=_moments, endings=_endings)
    def ask(self, mood: float, train_us: int, endings: list[str]) -> None:
        self._count += 1
        record = record_pb2.JobRecord(request_sha256="a" * 64)
        record.request_id = f"00000000-0000-4000-8000-{self._count:012x}"
        record.spec.model = "m"
        record.spec.limits.max_retries = 2
        # Scripts are used up; Hypothesis keeps its own list.
        self._stage.ask(Wish(record, Script(list(endings), train_us), mood=mood))

    @rule(one=_troubles)
    def break_something(self, one: Trouble) -> None:
        self._stage.cause(one.aimed())

    @rule(delay_us=_moments)
    def go_on(self, delay_us: int) -> None:
        self._stage.advance(delay_us)

    def teardown(self) -> None:
        result = self._stage.finish()
        assert result.violations == ()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=12)
