"""Whatever bytes come as a graph: they are refused by name, or they are a net that runs."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.twofold.nets import mutations
from twofold.v1 import graph_pb2

_SEEDS = mutations.seeds()
_DATA = [seed.SerializeToString(deterministic=True) for seed in _SEEDS]
_SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_WARNINGS = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("data", _DATA)
def test_the_seeds_themselves_run(data: bytes) -> None:
    assert mutations.check(data) == "ran"


@_WARNINGS
@_SETTINGS
@given(st.sampled_from(_DATA), st.integers(0, (1 << 32) - 1))
def test_changed_bytes_are_refused_or_run(data: bytes, seed: int) -> None:
    mutations.check(mutations.with_changed_bytes(data, random.Random(seed)))  # noqa: S311 - a test


@_WARNINGS
@_SETTINGS
@given(st.sampled_from(_SEEDS), st.integers(0, (1 << 32) - 1))
def test_changed_fields_are_refused_or_run(graph: graph_pb2.Graph, seed: int) -> None:
    changed = graph_pb2.Graph.FromString(graph.SerializeToString())
    mutations.change_fields(changed, random.Random(seed))  # noqa: S311 - likewise

    mutations.check(changed.SerializeToString())


def test_mutations_break_graphs_and_leave_some_whole() -> None:
    """A fuzz test that only ever refuses, or never does, tests little."""
    source = random.Random(8)  # noqa: S311 - likewise
    found: list[str] = []
    for _ in range(60):
        changed = graph_pb2.Graph.FromString(source.choice(_DATA))
        mutations.change_fields(changed, source)
        found.append(mutations.check(changed.SerializeToString()))

    assert found.count("refused") > 10
    assert found.count("ran") > 5
