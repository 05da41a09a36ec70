from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inferer.policies import VersionPolicy
from inferer.versions import DEFAULT, Need, Plan, Retention, Serving, Stored, needs, plan
from twofold.versions import VersionState

RETENTION = Retention(grace_s=60, max_pinned=2, pin_s=600, policy=VersionPolicy(1))
ALL = VersionPolicy(count=None)
TWO_AND_FOUR = VersionPolicy(None, frozenset({2, 4}))


def stored(
    *numbers: int, withdrawn: Iterable[int] = (), aliases: Mapping[str, int] | None = None
) -> Stored:
    states = tuple(VersionState(number, number in set(withdrawn)) for number in numbers)
    return Stored(states, aliases or {})


def decide(what: Stored, policy: VersionPolicy | None = None, **serving: object) -> Plan:
    retention = replace(RETENTION, policy=policy or RETENTION.policy)
    return plan(what, Serving(**serving), 100.0, retention)  # pyright: ignore[reportArgumentType] - fields by name


@pytest.mark.parametrize(
    ("what", "serving", "channels", "load", "unload"),
    [
        (stored(), {}, {}, None, ()),
        (stored(1, 2), {}, {}, 2, ()),
        (stored(1, 2), {"loaded": {2}}, {"": 2}, None, ()),
        (stored(1, 2), {"loaded": {1}, "channels": {"": 1}}, {"": 1}, 2, ()),
        (stored(1, 2), {"loaded": {1, 2}, "channels": {"": 1}}, {"": 2}, None, ()),
        (stored(1, 2), {"bad": {2}}, {}, 1, ()),
        (stored(1, 2), {"loaded": {1}, "channels": {"": 1}, "bad": {2}}, {"": 1}, None, ()),
        (stored(1, 2), {"loaded": {1}, "channels": {"": 1}, "held": {2}}, {"": 1}, None, ()),
        (stored(1, 2, withdrawn=[2]), {}, {}, 1, ()),
        # A withdrawn version serves until its replacement is loaded ...
        (stored(1, 2, withdrawn=[2]), {"loaded": {2}, "channels": {"": 2}}, {"": 2}, 1, ()),
        (stored(1, 2, withdrawn=[2]), {"loaded": {1, 2}, "channels": {"": 2}}, {"": 1}, None, ()),
        # ... or is known to be none.
        (stored(1, withdrawn=[1]), {"loaded": {1}, "channels": {"": 1}}, {}, None, ()),
        (
            stored(1, 2, withdrawn=[2]),
            {"loaded": {2}, "channels": {"": 2}, "bad": {1}},
            {},
            None,
            (),
        ),
        # A store that lost its folders does not end serving.
        (stored(), {"loaded": {4}, "channels": {"": 4}}, {"": 4}, None, ()),
        # Aliases, also to withdrawn versions; a bad target leaves the old one.
        (stored(1, 2, aliases={"a": 1}), {"loaded": {2}}, {"": 2}, 1, ()),
        (stored(1, withdrawn=[1], aliases={"a": 1}), {"loaded": {1}}, {"a": 1}, None, ()),
        (
            stored(1, 2, aliases={"a": 2}),
            {"loaded": {1}, "channels": {"": 1, "a": 1}, "bad": {2}},
            {"": 1, "a": 1},
            None,
            (),
        ),
        (stored(1, 2, aliases={"a": 9}), {"loaded": {2}}, {"": 2}, None, ()),
        # Asked for by number: the latest two; the default comes first.
        (stored(1, 2, 3), {"loaded": {3}, "pinned": {1: 5.0, 2: 6.0}}, {"": 3}, 2, ()),
        (stored(1, 2, 3), {"pinned": {1: 5.0}}, {}, 3, ()),
        (
            stored(1, 2, 3, 4),
            {"loaded": {1, 2, 3, 4}, "pinned": {1: 5.0, 2: 6.0, 3: 7.0}},
            {"": 4},
            None,
            (1,),
        ),
        (stored(1), {"loaded": {1}, "pinned": {7: 5.0}}, {"": 1}, None, ()),
        # Replaced 59 and 61 seconds ago.
        (stored(1, 2), {"loaded": {1, 2}, "replaced": {1: 41.0}}, {"": 2}, None, ()),
        (stored(1, 2), {"loaded": {1, 2}, "replaced": {1: 39.0}}, {"": 2}, None, (1,)),
    ],
)
def test_what_to_do(
    what: Stored,
    serving: dict[str, object],
    channels: Mapping[str, int],
    load: int | None,
    unload: tuple[int, ...],
) -> None:
    step = decide(what, None, **serving)

    assert (dict(step.channels), step.load) == (channels, load)
    assert step.unload == frozenset(unload)


@pytest.mark.parametrize(
    ("policy", "what", "serving", "channels", "load", "unload"),
    [
        # The newest serves before the one before it is loaded; what is neither goes.
        (VersionPolicy(), stored(1, 2, 3), {}, {}, (3, Need.SERVED), ()),
        (VersionPolicy(), stored(1, 2, 3), {"loaded": {3}}, {"": 3}, (2, Need.SPARE), ()),
        (VersionPolicy(), stored(1, 2, 3), {"loaded": {1, 2, 3}}, {"": 3}, None, (1,)),
        # A place is taken by what is loaded: a newer version may turn out to be damaged.
        (
            VersionPolicy(),
            stored(1, 2, 3),
            {"loaded": {1, 2}, "channels": {"": 2}},
            {"": 2},
            (3, Need.SERVED),
            (),
        ),
        # A spare is not one that was withdrawn or refused, and waits while it is held.
        (
            VersionPolicy(),
            stored(1, 2, 3, withdrawn=[2]),
            {"loaded": {3}},
            {"": 3},
            (1, Need.SPARE),
            (),
        ),
        (
            VersionPolicy(),
            stored(1, 2, 3),
            {"loaded": {3}, "bad": {2}},
            {"": 3},
            (1, Need.SPARE),
            (),
        ),
        (VersionPolicy(), stored(1, 2), {"loaded": {2}, "held": {1}}, {"": 2}, None, ()),
        # What was asked for is loaded before a spare.
        (
            VersionPolicy(),
            stored(1, 2, 3),
            {"loaded": {3}, "pinned": {1: 99.0}},
            {"": 3},
            (1, Need.ASKED),
            (),
        ),
        # A rollback is a flip, and then the next spare is loaded.
        (
            VersionPolicy(),
            stored(1, 2, 3, withdrawn=[3]),
            {"loaded": {2, 3}, "channels": {"": 3}},
            {"": 2},
            (1, Need.SPARE),
            (),
        ),
        (ALL, stored(1, 2, 3), {"loaded": {2, 3}}, {"": 3}, (1, Need.SPARE), ()),
        (ALL, stored(1, 2, 3), {"loaded": {1, 2, 3}}, {"": 3}, None, ()),
        # Only what is named serves by default; another still answers by number and alias.
        (TWO_AND_FOUR, stored(1, 2, 3, 4, 5), {}, {}, (4, Need.SERVED), ()),
        (TWO_AND_FOUR, stored(1, 2, 3), {"loaded": {2, 3}}, {"": 2}, None, (3,)),
        (TWO_AND_FOUR, stored(1, 2, 4), {"loaded": {4}}, {"": 4}, (2, Need.SERVED), ()),
        (TWO_AND_FOUR, stored(1, 3), {"loaded": {3}}, {}, None, (3,)),
        (TWO_AND_FOUR, stored(1, aliases={"a": 1}), {"loaded": {1}}, {"a": 1}, None, ()),
        (TWO_AND_FOUR, stored(1), {"pinned": {1: 99.0}}, {}, (1, Need.ASKED), ()),
        (TWO_AND_FOUR, stored(2, 4, withdrawn=[4]), {"loaded": {2}}, {"": 2}, None, ()),
        # A policy is no reason to end serving where the store lost a version.
        (TWO_AND_FOUR, stored(5), {"loaded": {4}, "channels": {"": 4}}, {"": 4}, None, ()),
    ],
)
def test_policies(
    policy: VersionPolicy,
    what: Stored,
    serving: dict[str, object],
    channels: Mapping[str, int],
    load: tuple[int, Need] | None,
    unload: tuple[int, ...],
) -> None:
    step = decide(what, policy, **serving)

    assert dict(step.channels) == channels
    assert (None if step.load is None else (step.load, step.need)) == load
    assert step.unload == frozenset(unload)


def test_what_was_asked_for_by_number_is_kept_for_its_time() -> None:
    """Ten minutes after the last request."""
    for age_s, unload in ((599.0, frozenset[int]()), (601.0, frozenset({1}))):
        step = decide(stored(1, 2), loaded={1, 2}, channels={"": 2}, pinned={1: 100.0 - age_s})
        assert step.unload == unload


def test_of_versions_that_come_every_second_the_last_replaced_ones_stay() -> None:
    replaced = {number: 40.5 + number for number in range(1, 31)}
    numbers = range(1, 32)
    step = decide(stored(*numbers), loaded=set(numbers), channels={"": 31}, replaced=replaced)

    assert step.unload == set(range(1, 15))


def test_what_each_loaded_version_is_for() -> None:
    """What serves, or was named by an operator, never goes for another's sake."""
    serving = Serving(loaded={1, 2, 3, 4}, channels={"": 4, "a": 1}, replaced={3: 99.0})
    what = stored(1, 2, 3, 4, 5, aliases={"a": 1})

    assert needs(what, serving, VersionPolicy(1)) == {
        1: Need.SERVED,
        2: Need.ASKED,
        3: Need.ASKED,
        4: Need.SERVED,
    }
    assert needs(what, serving, VersionPolicy(3))[3] is Need.SPARE
    assert needs(what, serving, TWO_AND_FOUR)[2] is Need.SERVED


def test_a_replaced_version_is_named_once_and_kept() -> None:
    step = decide(stored(1, 2), loaded={1, 2}, channels={"": 1})

    assert step.replaced == {1}
    assert step.unload == frozenset()


NUMBERS = st.integers(1, 5)


class Swaps(RuleBasedStateMachine):
    """Whatever happens, a channel that served keeps serving while anything can serve it."""

    def __init__(self) -> None:
        super().__init__()
        self.visible: set[int] = set()
        self.withdrawn: set[int] = set()
        self.aliases: dict[str, int] = {}
        self.loaded: set[int] = set()
        self.bad: set[int] = set()
        self.damaged: set[int] = set()
        self.channels: dict[str, int] = {}
        self.pinned: dict[int, float] = {}
        self.replaced: dict[int, float] = {}
        self.now_s = 0.0
        self.policy = RETENTION.policy

    @initialize(policy=st.sampled_from([RETENTION.policy, VersionPolicy(), ALL, TWO_AND_FOUR]))
    def choose(self, policy: VersionPolicy) -> None:
        self.policy = policy

    @rule(damaged=st.booleans())
    def publish(self, *, damaged: bool) -> None:
        number = max(self.visible, default=0) + 1
        self.visible.add(number)
        if damaged:
            self.damaged.add(number)

    @precondition(lambda self: self.visible)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        self.withdrawn.add(data.draw(st.sampled_from(sorted(self.visible))))

    @precondition(lambda self: self.visible)
    @rule(data=st.data(), alias=st.sampled_from(["a", "b"]))
    def alias(self, data: st.DataObject, alias: str) -> None:
        self.aliases[alias] = data.draw(st.sampled_from(sorted(self.visible)))

    @rule(number=NUMBERS)
    def ask(self, number: int) -> None:
        self.pinned[number] = self.now_s

    @rule(delay_s=st.sampled_from([1.0, 61.0]))
    def wait(self, delay_s: float) -> None:
        self.now_s += delay_s

    def _stored(self) -> Stored:
        return stored(*sorted(self.visible), withdrawn=self.withdrawn, aliases=self.aliases)

    def _good(self) -> AbstractSet[int]:
        return self.policy.eligible(self.visible - self.withdrawn - self.bad)

    def _can_serve(self, channel: str) -> bool:
        if channel == DEFAULT:
            return bool(self._good())
        return channel in self.aliases

    @rule()
    def step(self) -> None:
        serving = Serving(self.loaded, self.bad, set(), self.channels, self.pinned, self.replaced)
        retention = replace(RETENTION, policy=self.policy)
        todo = plan(self._stored(), serving, self.now_s, retention)
        for channel, number in self.channels.items():
            assert channel in todo.channels or not self._can_serve(channel)
            after = todo.channels.get(channel, number)
            if channel == DEFAULT:  # back only where it was withdrawn
                assert after >= number or number in self.withdrawn
        assert set(todo.channels.values()) <= self.loaded - todo.unload
        assert todo.unload <= self.loaded
        assert todo.load not in self.loaded | self.bad
        self.channels = dict(todo.channels)
        self.replaced.update(dict.fromkeys(todo.replaced, self.now_s))
        self.loaded -= todo.unload
        if todo.load is not None:
            (self.bad if todo.load in self.damaged else self.loaded).add(todo.load)

    @invariant()
    def channels_are_loaded_and_loads_bounded(self) -> None:
        assert set(self.channels.values()) <= self.loaded

    def teardown(self) -> None:
        """Left alone, it comes to rest at what the store says, and keeps no more than it must."""
        for _ in range(20 + len(self.visible)):  # one load at a time
            self.now_s += 61.0
            self.step()
        good = self._good()
        assert self.channels.get(DEFAULT) == (max(good) if good else None)
        for alias, number in self.aliases.items():
            assert number in self.bad or self.channels[alias] == number
        assert self.loaded == {*self.channels.values(), *self.policy.kept(good)}


TestSwaps = Swaps.TestCase
TestSwaps.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.sets(NUMBERS, min_size=1), st.sets(NUMBERS))
def test_the_default_is_the_highest_that_is_not_withdrawn(
    numbers: set[int], withdrawn: set[int]
) -> None:
    step = decide(stored(*sorted(numbers), withdrawn=withdrawn), loaded=numbers)

    good = numbers - withdrawn
    assert step.channels.get(DEFAULT) == (max(good) if good else None)
