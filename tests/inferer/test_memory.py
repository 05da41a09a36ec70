"""Which versions go for the sake of another, and when."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer.memory import Resident, Room, make_room, size_of, stay_s
from inferer.versions import Need
from twofold.v1 import model_pb2

_NOW_S = 100.0


def loaded(
    number: int, size: int, need: Need = Need.ASKED, used_s: float = 0.0, stays_until_s: float = 0.0
) -> Resident:
    return Resident("m", number, size, need, used_s, stays_until_s)


SERVED = loaded(9, 40, Need.SERVED, used_s=1.0)
SPARE = loaded(8, 20, Need.SPARE, used_s=2.0)
OLD, NEW = loaded(1, 20, used_s=5.0), loaded(2, 20, used_s=6.0)


@pytest.mark.parametrize(
    ("residents", "size", "need", "expected"),
    [
        ([SERVED, SPARE, OLD, NEW], 0, Need.ASKED, []),
        ([SERVED], 60, Need.ASKED, []),
        # The least recently used goes, though the policy's spare was used less recently.
        ([SERVED, SPARE, NEW, OLD], 20, Need.ASKED, [1]),
        ([SERVED, SPARE, NEW, OLD], 40, Need.ASKED, [1, 2]),
        ([SERVED, SPARE, NEW, OLD], 60, Need.ASKED, [1, 2, 8]),
        # What serves never goes.
        ([SERVED, SPARE, NEW, OLD], 61, Need.ASKED, None),
        ([SERVED, SPARE, NEW, OLD], 61, Need.SERVED, None),
        # A spare makes no room.
        ([SERVED, OLD], 40, Need.SPARE, []),
        ([SERVED, OLD], 41, Need.SPARE, None),
        # A small one does not go where a larger one has to.
        ([SERVED, loaded(1, 5, used_s=1.0), loaded(2, 50, used_s=2.0)], 50, Need.ASKED, [2]),
    ],
)
def test_who_goes(
    residents: Sequence[Resident], size: int, need: Need, expected: list[int] | None
) -> None:
    room = make_room(residents, size, need, 100, _NOW_S)

    assert (None if room is None else [gone.number for gone in room.unload]) == expected


def test_who_has_just_come_stays_unless_a_channel_needs_the_room() -> None:
    """Else two versions that push each other out would do nothing but load."""
    came = loaded(1, 60, stays_until_s=103.0)
    other = loaded(2, 20, stays_until_s=101.0)

    assert make_room([came, other], 60, Need.ASKED, 100, _NOW_S) == Room(wait_until_s=103.0)
    assert make_room([came, other], 35, Need.ASKED, 100, _NOW_S) == Room(wait_until_s=101.0)
    assert make_room([came, other], 60, Need.ASKED, 100, 103.0) == Room([came])
    urgent = make_room([came, other], 60, Need.SERVED, 100, _NOW_S)
    assert urgent is not None
    assert came in urgent.unload


@pytest.mark.parametrize(("load_s", "expected"), [(0.0, 0.1), (0.05, 0.5), (60.0, 5.0)])
def test_a_version_stays_in_proportion_to_what_its_load_took(
    load_s: float, expected: float
) -> None:
    assert stay_s(load_s) == expected


_RESIDENTS = st.lists(
    st.builds(
        loaded,
        st.integers(1, 1000),
        st.integers(1, 50),
        st.sampled_from(Need),
        st.floats(0, 100),
        st.floats(90, 110),
    ),
    max_size=8,
    unique_by=lambda resident: resident.number,
)


@given(_RESIDENTS, st.integers(1, 60), st.sampled_from(Need))
def test_the_budget_holds_and_nobody_goes_in_vain(
    residents: list[Resident], size: int, need: Need
) -> None:
    budget = 100
    room = make_room(residents, size, need, budget, _NOW_S)
    movable = [one for one in residents if one.need is not Need.SERVED]
    fixed = sum(one.size_bytes for one in residents if one not in movable)

    if room is None:
        assert need is Need.SPARE or fixed + size > budget
        return
    gone = list(room.unload)
    assert all(one.need is not Need.SERVED for one in gone)
    assert need is not Need.SPARE or not gone
    left = sum(one.size_bytes for one in residents if one not in gone)
    if room.wait_until_s is not None:
        assert not gone
        assert room.wait_until_s > _NOW_S
        later = make_room(residents, size, need, budget, room.wait_until_s)
        assert later is not None
        assert later.wait_until_s is None
    else:
        assert left + size <= budget
        for one in gone:
            assert left + one.size_bytes + size > budget


def test_a_version_takes_its_weights_and_something_beside() -> None:
    manifest = model_pb2.Manifest(
        files=[
            model_pb2.File(name="weights.safetensors", size_bytes=1 << 20),
            model_pb2.File(name="graph.pb", size_bytes=1000),
            model_pb2.File(name="golden.safetensors", size_bytes=1 << 30),
        ]
    )

    assert 1 << 20 < size_of(manifest) < 2 << 20
