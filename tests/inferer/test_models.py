import asyncio
import gc
import itertools
import logging
import math
import weakref
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from inferer.holdings import Served
from inferer.models import LOAD_WAIT_S, Models
from inferer.policies import VersionPolicy
from inferer.reference import Reference
from inferer.refusals import Refused
from inferer.versions import Stored
from tests.inferer.site import Bench
from twofold.errors import (
    Corrupt,
    DeadlineExceeded,
    InvalidField,
    NotFound,
    TwofoldError,
    Unavailable,
)

DEFAULT = Reference()


@pytest_asyncio.fixture
async def bench() -> AsyncGenerator[Bench]:
    made = Bench(VersionPolicy(1))
    task = asyncio.create_task(made.models.run())
    yield made
    task.cancel()


async def test_requests_follow_the_current_version(bench: Bench) -> None:
    bench.store(1)
    assert await bench.number() == 1

    bench.store(1, 2)
    await bench.idle()

    assert await bench.number() == 2
    assert bench.models.versions("m") == [1, 2]
    assert repr(bench.models) == "<Models 1 models, 2 loaded, 0 to load>"


class Read:
    """What a load has read."""


async def test_a_refused_version_keeps_nothing_of_what_was_loaded(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The error's traceback would hold the files, as long as the version stands in the store."""
    caplog.set_level(logging.CRITICAL, "inferer.models")  # pytest keeps log lines with tracebacks
    files = weakref.WeakSet[Read]()

    async def load(name: str, number: int) -> Served:
        read = Read()
        files.add(read)
        raise Refused(f"{name}/{number} is damaged", "sha")

    bench.models = Models(load, bench.clock)
    task = asyncio.create_task(bench.models.run())
    bench.store(1)
    await bench.idle()
    task.cancel()

    assert bench.models.refused() == {("m", 1): "sha"}
    gc.collect()
    assert list(files) == []


async def test_an_empty_store_is_settled_at_once(bench: Bench) -> None:
    assert not bench.models.settled.is_set()

    bench.models.update({})

    await asyncio.wait_for(bench.models.settled.wait(), 5)


async def test_the_old_version_serves_until_the_new_one_is_ready(bench: Bench) -> None:
    bench.store(1)
    await bench.number()
    bench.loads.gates[2] = asyncio.Event()
    bench.store(1, 2)
    await bench.idle()
    assert bench.loads.begun[-1] == ("m", 2)
    assert await bench.number() == 1

    bench.loads.gates[2].set()
    await bench.idle()

    assert await bench.number() == 2


async def test_a_request_waits_for_the_first_version(bench: Bench) -> None:
    gate = bench.loads.gates[1] = asyncio.Event()
    bench.store(1)
    waiting = asyncio.create_task(bench.number())
    await bench.idle()
    assert not waiting.done()

    gate.set()

    assert await waiting == 1


async def test_waiting_ends_with_the_deadline(bench: Bench) -> None:
    bench.loads.gates[1] = asyncio.Event()
    bench.store(1)

    with pytest.raises(DeadlineExceeded, match="the current version of models/m is being loaded"):
        await bench.number(patience_s=0.01)


async def test_waiting_ends_after_a_while_for_callers_without_a_deadline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOAD_WAIT_S <= 30
    monkeypatch.setattr("inferer.models.LOAD_WAIT_S", 0.01)
    bench.loads.gates[1] = asyncio.Event()
    bench.store(1)

    with pytest.raises(Unavailable, match="try again"):
        await bench.number(patience_s=math.inf)


async def test_a_refused_version_is_not_tried_again(bench: Bench) -> None:
    bench.store(1)
    await bench.number()
    bench.loads.fail[2] = Refused("wrong answers", "sha")

    for aliases in ({}, {"a": 1}, {"b": 1}):
        bench.store(1, 2, aliases=aliases)
        await bench.idle()

    assert bench.loads.begun.count(("m", 2)) == 1
    assert await bench.number() == 1
    assert bench.models.refused() == {("m", 2): "sha"}
    assert bench.models.load_statistics.failures == 1
    with pytest.raises(Corrupt, match="models/m/versions/2 was refused"):
        await bench.number(Reference(number=2))


async def test_a_refused_version_is_tried_again_once_forgiven(bench: Bench) -> None:
    bench.loads.fail[1] = Refused("wrong answers", "sha")
    bench.store(1)
    await bench.idle()
    with pytest.raises(Corrupt):
        await bench.number()
    bench.loads.fail.clear()

    bench.models.forgive("m", 1)

    assert await bench.number() == 1


async def test_an_unreadable_store_is_tried_again_later_and_later(bench: Bench) -> None:
    bench.loads.fail[1] = Unavailable("the store cannot be used now")
    bench.store(1)
    tried_s: list[float] = []
    for _ in range(1200):
        before = len(bench.loads.begun)
        bench.models.update({})
        await bench.idle()
        if len(bench.loads.begun) > before:
            tried_s.append(bench.clock.now_s)
        bench.clock.now_s += 0.25

    gaps = [after - before for before, after in itertools.pairwise(tried_s)]
    assert gaps[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert set(gaps[8:]) == {60.0}
    bench.loads.fail.clear()
    bench.clock.now_s += 60
    bench.models.update({})
    assert await bench.number() == 1


async def test_an_old_version_is_loaded_when_asked_for_and_dropped_when_others_are(
    bench: Bench,
) -> None:
    bench.store(1, 2, 3, 4)
    await bench.number()
    for number in (1, 2, 3):
        bench.clock.now_s += 1
        assert await bench.number(Reference(number=number)) == number
        bench.models.update({})
        await bench.idle()

    assert bench.models.versions("m") == [2, 3, 4]


async def test_a_replaced_version_stays_for_its_grace(bench: Bench) -> None:
    bench.store(1)
    await bench.number()
    bench.store(1, 2)
    await bench.idle()
    bench.clock.now_s += 59
    bench.models.update({})
    assert bench.models.versions("m") == [1, 2]

    bench.clock.now_s += 2
    bench.models.update({})

    assert bench.models.versions("m") == [2]


async def test_an_unloaded_version_is_freed_after_its_last_request(bench: Bench) -> None:
    bench.store(1)
    held = await bench.models.find("m", DEFAULT, math.inf)
    freed = weakref.ref(held)
    bench.store(1, 2)
    await bench.idle()
    bench.clock.now_s += 61
    bench.models.update({})
    gc.collect()
    assert freed() is held

    del held
    gc.collect()

    assert freed() is None


async def test_a_model_that_vanished_keeps_serving(bench: Bench) -> None:
    bench.store(1)
    await bench.number()

    bench.models.update({})
    bench.models.update({"m": Stored()})
    await bench.idle()

    assert await bench.number() == 1


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (Reference(number=9), "models/m/versions/9 does not exist; versions: 1, 2; aliases: a"),
        (Reference(channel="z"), "alias z of models/m does not exist; versions: 1, 2; aliases: a"),
    ],
)
async def test_what_does_not_exist_says_what_does(
    bench: Bench, reference: Reference, message: str
) -> None:
    bench.store(1, 2, aliases={"a": 1})

    with pytest.raises(NotFound) as caught:
        await bench.number(reference)

    assert caught.value.message == message


async def test_an_unknown_model_says_which_there_are(bench: Bench) -> None:
    with pytest.raises(NotFound, match="model m does not exist; there are none yet"):
        await bench.number()
    for index in range(25):
        bench.store(1, name=f"n{index:02}")

    with pytest.raises(NotFound, match=r"there are: n00, n01, .*, n19, \.\.\.$"):
        await bench.number()


async def test_a_model_whose_versions_are_all_withdrawn_has_no_default(bench: Bench) -> None:
    bench.store(1)
    await bench.number()

    bench.store(1, withdrawn=(1,))

    with pytest.raises(NotFound, match="the current version of models/m does not exist"):
        await bench.number()
    assert await bench.number(Reference(number=1)) == 1


async def test_wishes_for_versions_that_are_not_there_are_forgotten(bench: Bench) -> None:
    bench.store(1)
    await bench.number()
    for number in range(2, 50):
        with pytest.raises(NotFound):
            await bench.number(Reference(number=number))

    assert bench.models._models["m"].pinned == {}


async def test_many_models_load_in_turn(bench: Bench) -> None:
    """One model with much to load does not keep the others waiting."""
    bench.store(1, 2, 3, name="a", aliases={"x": 1, "y": 2})
    bench.store(1, name="b")
    await bench.idle()

    assert bench.loads.begun.index(("b", 1)) == 1
    assert len(bench.loads.begun) == 4


async def test_the_index_tells_each_version_and_its_state(bench: Bench) -> None:
    bench.loads.fail = {2: Refused("wrong answers", "sha"), 3: Unavailable("away")}
    bench.store(1, 2, 3, 4)
    await bench.number()
    for number in (2, 3):
        with pytest.raises(TwofoldError):
            await bench.number(Reference(number=number), patience_s=0.05)

    assert [(status.number, status.state, status.reason) for status in bench.models.index()] == [
        (1, "UNAVAILABLE", "not loaded; asking for it by number loads it"),
        (2, "UNAVAILABLE", "wrong answers"),
        (3, "UNAVAILABLE", "the store cannot be read now"),
        (4, "READY", ""),
    ]


async def test_the_index_tells_what_is_being_loaded(bench: Bench) -> None:
    bench.loads.gates[1] = asyncio.Event()
    bench.store(1)
    bench.store(2, name="n")
    await bench.idle()

    assert [status.state for status in bench.models.index()] == ["LOADING", "LOADING"]


async def test_readiness_asks_for_nothing(bench: Bench) -> None:
    bench.store(1, 2)
    await bench.number()

    assert bench.models.is_ready("m", DEFAULT)
    assert not bench.models.is_ready("m", Reference(number=1))
    assert not bench.models.is_ready("other", DEFAULT)
    await bench.idle()
    assert bench.loads.begun == [("m", 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Reference()),
        ("3", Reference(number=3)),
        (":stable", Reference(channel="stable")),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected


@pytest.mark.parametrize("text", ["v3", "-1", "3.0", "٣", "9" * 20, ":", ":..", ":7", "stable"])
def test_wrong_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="model_version is"):
        Reference.parse(text)
