"""The warm child is there before a job and replaced when it must be."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.trainer.fakes import sample
from tests.trainer.toy_child import PROGRAM
from trainer import childproc
from trainer.childproc import Child, ChildLost
from trainer.metrics import Metrics
from trainer.warm import WarmChild


@pytest.fixture
async def warm() -> AsyncIterator[WarmChild]:
    made = WarmChild(partial(childproc.start, program=PROGRAM), 2, Metrics())
    yield made
    await made.close()


async def test_one_child_serves_job_after_job_of_one_tenant(warm: WarmChild) -> None:
    first = await warm.ready()

    assert await warm.lend("local") is first
    await warm.give_back(replace=False)
    assert await warm.lend("local") is first


async def test_a_spent_child_is_replaced(warm: WarmChild) -> None:
    first = await warm.lend("local")
    await warm.give_back(replace=False)
    await warm.lend("local")
    await warm.give_back(replace=False)

    assert not first.is_alive
    assert await warm.ready() is not first


async def test_a_failed_child_is_replaced(warm: WarmChild) -> None:
    first = await warm.lend("local")
    await warm.give_back(replace=True)

    assert not first.is_alive
    assert sample(warm._metrics, "twofold_trainer_child_restarts_total", why="failure") == 1


async def test_another_tenants_job_gets_a_fresh_child(warm: WarmChild) -> None:
    first = await warm.lend("one")
    await warm.give_back(replace=False)

    assert await warm.lend("two") is not first
    assert not first.is_alive


async def test_a_child_that_died_idle_is_replaced(warm: WarmChild) -> None:
    first = await warm.ready()
    first.kill()
    await first.exit_code()

    assert (await warm.ready()).is_alive


async def test_a_failed_start_is_tried_again() -> None:
    calls = 0

    async def flaky() -> Child:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ChildLost("no")
        return await childproc.start(program=PROGRAM)

    warm = WarmChild(flaky, 1, Metrics())
    with pytest.raises(ChildLost):
        await warm.ready()
    assert (await warm.ready()).is_alive

    await warm.close()
    await warm.close()
