"""Versions that are kept warm, and the room that there is for them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from inferer.models import Models
from inferer.policies import Policies, VersionPolicy
from inferer.reference import Reference
from inferer.refusals import Refused
from inferer.versions import Stored
from tests.inferer.site import DEFAULT, UNIT_BYTES, Bench
from twofold.errors import LimitExceeded, NotFound, Unavailable
from twofold.versions import VersionState


@asynccontextmanager
async def running(policy: VersionPolicy | None = None, budget: int = 0) -> AsyncGenerator[Bench]:
    """`budget`: how many versions without weights have room."""
    made = Bench(policy, budget * UNIT_BYTES, max_pinned=8)
    task = asyncio.create_task(made.models.run())
    try:
        yield made
    finally:
        task.cancel()


async def test_a_rollback_serves_the_version_before_at_once() -> None:
    """Within the very call that tells of the withdrawal: nothing is loaded for it."""
    async with running() as bench:
        bench.store(1, 2, 3)
        await bench.idle()
        assert bench.loads.begun == [("m", 3), ("m", 2)]

        bench.store(1, 2, 3, withdrawn=(3,))

        assert bench.models.ready("m", DEFAULT).number == 2
        await bench.idle()
        assert bench.loads.begun[2:] == [("m", 1)], "the next rollback is prepared"
        assert bench.models.versions("m") == [1, 2, 3], "the withdrawn one has its grace"


async def test_spares_come_after_everything_that_serves() -> None:
    async with running() as bench:
        gate = bench.loads.gates[1] = asyncio.Event()
        for name in ("a", "b", "c"):
            bench.store(1, 2, name=name)
        await bench.idle()

        assert bench.loads.begun == [("a", 2), ("b", 2), ("c", 2), ("a", 1)]
        assert bench.models.settled.is_set(), "it does not wait for spares"
        bench.store(5, name="d")
        gate.set()
        await bench.idle()
        assert bench.loads.begun[4:] == [("d", 5), ("b", 1), ("c", 1)]


async def test_each_model_has_its_policy() -> None:
    bench = Bench()
    only = VersionPolicy(None, frozenset({1}))
    policies = Policies(VersionPolicy(1), {"all": VersionPolicy(None), "one": only})
    bench.models = Models(bench.loads.load, bench.clock, policies=policies)
    task = asyncio.create_task(bench.models.run())
    for name in ("all", "one", "other"):
        bench.store(1, 2, 3, name=name)
    await bench.idle()
    task.cancel()

    assert bench.models.versions("all") == [1, 2, 3]
    assert bench.models.versions("one") == [1]
    assert bench.models.versions("other") == [3]
    assert bench.models.ready("one", DEFAULT).number == 1


async def test_a_policy_without_a_version_says_so() -> None:
    async with running(VersionPolicy(None, frozenset({7}))) as bench:
        bench.store(1, 2)
        message = "versions: 1, 2; aliases: none; its version_policy lets none but 7 serve"
        with pytest.raises(NotFound, match=message):
            await bench.number()

        assert await bench.number(Reference(number=1)) == 1


async def test_who_is_asked_for_makes_the_least_recently_used_go() -> None:
    async with running(VersionPolicy(1), budget=3) as bench:
        bench.store(1, 2, 3, 4, 5)
        for number in (1, 2, 1, 3):
            bench.clock.now_s += 6
            assert await bench.number(Reference(number=number)) == number

        assert bench.models.versions("m") == [1, 3, 5], "2 was asked for longer ago than 1"
        assert bench.models.load_statistics.evictions == 1
        assert bench.models.used_bytes == bench.models.budget_bytes == 3 * UNIT_BYTES
        await bench.idle()
        assert len(bench.loads.begun) == 4, "who had to go is not loaded again, unasked"
        bench.clock.now_s += 6
        assert await bench.number(Reference(number=2)) == 2
        assert bench.models.versions("m") == [2, 3, 5]


async def test_a_spare_takes_free_room_and_goes_before_a_request_is_refused() -> None:
    async with running(budget=2) as bench:
        bench.store(1, 2, 3)
        await bench.idle()
        assert bench.models.versions("m") == [2, 3]
        bench.clock.now_s += 6
        assert await bench.number(Reference(number=1)) == 1
        assert bench.models.versions("m") == [1, 3]

        for _ in range(3):
            bench.clock.now_s += 6
            bench.models.update({})
            await bench.idle()
        assert bench.models.versions("m") == [1, 3], "a spare pushes nobody out"
        assert len(bench.loads.begun) == 3

        bench.clock.now_s += 600
        bench.models.update({})
        await bench.idle()
        assert bench.models.versions("m") == [2, 3], "nobody asked for 1 any more"


async def test_what_serves_never_goes_and_what_finds_no_room_is_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(VersionPolicy(1), budget=2) as bench:
        bench.store(1, 2, 3, aliases={"stable": 2})
        await bench.idle()
        for _ in range(3):
            with pytest.raises(LimitExceeded, match="models/m/versions/1 finds no room"):
                await bench.number(Reference(number=1))

        assert bench.models.versions("m") == [2, 3]
        reasons = [status.reason for status in bench.models.index()]
        assert reasons == ["there is no room in the memory budget now", "", ""]
        # A new version finds none, and what served goes on.
        for _ in range(3):
            bench.store(1, 2, 3, 4, aliases={"stable": 2})
            bench.clock.now_s += 1
            await bench.idle()
        assert await bench.number() == 3
        told = [record for record in caplog.records if "no room" in record.message]
        assert [record.__dict__["version"] for record in told] == [1, 4], "one line each"
        assert bench.models.load_statistics.full > 2

        bench.store(1, 2, 3, 4, aliases={"stable": 3})
        bench.clock.now_s += 1
        bench.models.update({})
        await bench.idle()
        assert await bench.number() == 4, "2 has made room"
        assert bench.models.versions("m") == [3, 4]


async def test_a_version_larger_than_the_budget_is_refused_for_good() -> None:
    async with running(budget=3) as bench:
        bench.loads.weights = {2: 3 * UNIT_BYTES}
        bench.store(1)
        await bench.idle()
        for _ in range(3):
            bench.store(1, 2)
            bench.clock.now_s += 100
            await bench.idle()

        assert await bench.number() == 1
        too_large = (
            f"models/m/versions/2 is too large: it takes {4 * UNIT_BYTES} bytes of memory, and "
            f"TWOFOLD_MEMORY_BUDGET_BYTES is {3 * UNIT_BYTES}; raise it"
        )
        with pytest.raises(LimitExceeded, match=too_large):
            await bench.number(Reference(number=2))
        assert bench.measured.count(("m", 2)) == 1
        assert bench.models.load_statistics.refusals == 1
        assert bench.models.refused() == {("m", 2): "sha"}
        assert bench.loads.begun == [("m", 1)]


async def test_two_that_push_each_other_out_get_their_time_and_are_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has just come stays; who asks for the other one waits for that long."""
    async with running(VersionPolicy(1), budget=2) as bench:
        bench.store(1, 2, 3)
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", later := Later())
        assert await bench.number(Reference(number=1)) == 1
        for number in (2, 1, 2):
            asked = asyncio.create_task(bench.number(Reference(number=number)))
            await bench.idle()
            assert not asked.done()
            assert later.delay_s == pytest.approx(0.1)
            bench.clock.now_s += 0.1
            later.act()
            assert await asked == number

        assert bench.models.load_statistics.thrashes == 2
        told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        assert told == ["versions push each other out; the memory budget is small"]


class Later:
    """Takes the place of call_later for timers of a tenth of a second."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.act: Callable[[], None] = self.__init__
        self._call_later = asyncio.get_running_loop().call_later

    def __call__(
        self, delay_s: float, act: Callable[..., None], *rest: object
    ) -> asyncio.TimerHandle:
        if delay_s > 1:  # a request's patience
            return self._call_later(delay_s, act, *rest)
        self.delay_s, self.act = delay_s, act
        return self._call_later(3600, act, *rest)


async def test_what_cannot_be_measured_is_tried_later_or_refused() -> None:
    async with running(budget=3) as bench:
        bench.unreadable = [Unavailable("away"), Refused("it is no manifest", "sha")]
        bench.store(1)
        await bench.idle()
        assert [status.reason for status in bench.models.index()] == [
            "the store cannot be read now"
        ]
        bench.clock.now_s += 1
        bench.models.update({})
        await bench.idle()
        assert [status.reason for status in bench.models.index()] == ["it is no manifest"]
        assert bench.loads.begun == []


async def test_what_is_known_of_versions_goes_with_them() -> None:
    """Of a thousand versions that came and went nothing is left behind."""
    async with running(budget=4) as bench:
        for number in range(1, 60):
            bench.store(number, number + 1, number + 2)
            bench.clock.now_s += 61
            await bench.idle()
            assert await bench.number(Reference(number=number)) == number
        model = bench.models._models["m"]

        assert len(model.loaded) <= 4
        for table in (model.pinned, model.held, model.evicted, model.sizes, model.came):
            assert len(table) <= 4


def test_a_manifest_that_was_repaired_is_measured_anew() -> None:
    bench = Bench(budget_bytes=UNIT_BYTES)
    bench.models.update({"m": Stored((VersionState(1, withdrawn=False),))})
    bench.models._models["m"].sizes[1] = 1

    bench.models.forgive("m", 1)

    assert bench.models._models["m"].sizes == {}
