"""What a version policy may say, and which versions it means."""

import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer.policies import Policies, VersionPolicy
from twofold.errors import InvalidField

_NUMBERS = st.sets(st.integers(1, 30))


@pytest.mark.parametrize(
    ("policy", "eligible", "kept"),
    [
        (VersionPolicy(), {1, 2, 4, 7}, [7, 4]),
        (VersionPolicy(count=1), {1, 2, 4, 7}, [7]),
        (VersionPolicy(count=3), {1, 2, 4, 7}, [7, 4, 2]),
        (VersionPolicy(count=None), {1, 2, 4, 7}, [7, 4, 2, 1]),
        (VersionPolicy(None, frozenset({1, 4, 9})), {1, 4}, [4, 1]),
    ],
)
def test_which_versions_count(policy: VersionPolicy, eligible: set[int], kept: list[int]) -> None:
    assert policy.eligible({1, 2, 4, 7}) == eligible
    assert policy.kept({1, 2, 4, 7}) == kept


@given(_NUMBERS, st.integers(1, 5))
def test_the_newest_ones_are_kept_and_no_others(numbers: set[int], count: int) -> None:
    kept = VersionPolicy(count).kept(numbers)

    assert len(kept) == min(count, len(numbers))
    assert all(left < min(kept) for left in numbers - set(kept))


def test_a_model_has_its_own_policy_or_the_default() -> None:
    text = """
    [default]
    version_policy = { latest = 3 }
    max_batch_size = 8

    [models.all]
    version_policy = "all"

    [models.two]
    version_policy = { specific = [1, 4] }

    [models.other]
    max_batch_size = 64
    """
    policies = Policies.parse(tomllib.loads(text))

    assert policies.of("all") == VersionPolicy(count=None)
    assert policies.of("two") == VersionPolicy(None, frozenset({1, 4}))
    assert policies.of("other") == policies.of("unheard-of") == VersionPolicy(3)


def test_without_a_word_the_newest_two_are_kept() -> None:
    assert Policies.parse({}).of("any") == VersionPolicy(2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("none", "default.version_policy is 'none'; allowed: { latest = 2 }, \"all\" or"),
        (2, "default.version_policy is 2; allowed: "),
        ({}, "default.version_policy is {}; allowed: "),
        ({"latest": 1, "specific": [1]}, "allowed: "),
        ({"newest": 1}, "allowed: "),
        ({"latest": 0}, "default.version_policy.latest is 0; allowed: a whole number from 1 to 1"),
        ({"latest": True}, "latest is True; allowed: a whole number"),
        ({"latest": "2"}, "latest is '2'; allowed: a whole number"),
        ({"latest": 1.5}, "latest is 1.5; allowed: a whole number"),
        ({"specific": []}, r"specific is \[\]; allowed: a list of 1 to 1,000 version numbers"),
        ({"specific": 3}, "specific is 3; allowed: a list"),
        ({"specific": [1, -4]}, "specific is -4; allowed: a whole number from 1 to"),
        ({"specific": [1 << 63]}, "allowed: a whole number from 1 to 9223372036854775807"),
    ],
)
def test_what_is_no_policy_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        Policies.parse({"default": {"version_policy": value}})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"default": 3}, "default is 3; allowed: a table"),
        ({"models": []}, r"models is \[\]; allowed: a table"),
        ({"models": {"m": 1}}, "models.m is 1; allowed: a table"),
        ({"models": {"../m": {}}}, r"models is \.\./m; allowed: "),
        ({"models": {"m": {"version_policy": 1}}}, "models.m.version_policy is 1; allowed: "),
    ],
)
def test_what_is_no_configuration_is_refused(tables: Mapping[str, object], message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        Policies.parse(tables)
