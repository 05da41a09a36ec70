"""The queue's server is killed, restarted or stands still: nothing acknowledged is lost."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.twofold.lifecycle.bench import POLICY, TENANT, Bench
from tests.valkey import Valkey
from tests.waiting import until
from twofold import faults, keys, publish
from twofold.errors import Unavailable
from twofold.jobs import Phase, State
from twofold.principal import LOCAL
from twofold.queue import RedisQueue, follow_versions
from twofold.queue.connection import Connection, Stalls
from twofold.store import LocalStore

REQUEST = "6fa459ea-ee8a-4ca4-894e-db77e160355e"


async def test_every_call_is_unavailable_without_a_server_and_works_again_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await bench.create(REQUEST)
    claim = await bench.claim()
    bench.export(claim)
    bench.valkey.kill()
    monkeypatch.setattr(bench.queue._connection, "_patience_s", 0.0)
    ledger = bench.ledger

    for act in (
        bench.create(),
        bench.get(job_id),
        bench.watch(job_id),
        ledger.list(LOCAL, 1, "", [], ""),
        ledger.claim("w2", 1),
        ledger.beat(claim, Phase.JOB_PHASE_TRAINING),
        ledger.reap(),
        ledger.promote(),
        ledger.depth(),
        ledger.announce_versions(TENANT),
        ledger.hand_back(claim),
    ):
        with pytest.raises(Unavailable):
            await act

    bench.valkey.start()
    assert await bench.create(REQUEST) == job_id
    await ledger.beat(claim, Phase.JOB_PHASE_TRAINING)
    assert (await bench.publish(claim)).version == 1
    assert (await bench.get(job_id)).state == State.JOB_STATE_SUCCEEDED


async def test_short_restart_is_bridged(bench: Bench) -> None:
    job_id = await bench.create()
    bench.valkey.kill()
    starting = asyncio.create_task(asyncio.to_thread(bench.valkey.start))

    assert (await bench.get(job_id)).state == State.JOB_STATE_PENDING

    await starting


async def test_first_job_is_accepted_within_a_second_of_the_servers_return(bench: Bench) -> None:
    """Also by a call that came while it was away, and over connections from before."""
    await asyncio.gather(*(bench.ledger.depth() for _ in range(8)))
    took_s: list[float] = []
    for _ in range(3):
        await asyncio.to_thread(bench.valkey.kill)
        with pytest.raises(Unavailable):
            await bench.create()
        waiting = asyncio.create_task(bench.create())
        await asyncio.sleep(0.1)  # it must have found nobody
        await asyncio.to_thread(bench.valkey.start)
        begun_s = time.monotonic()
        for job_id in (await waiting, await bench.create()):
            took_s.append(time.monotonic() - begun_s)
            await bench.ledger.cancel(LOCAL, job_id)

    assert min(took_s[::2]) < 1  # a busy machine may be slow once
    assert min(took_s[1::2]) < 1


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(
    valkey: Valkey, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    policy = replace(POLICY, max_queued_jobs=1_000)
    async with Bench(valkey, tmp_path / "store", policy) as bench:

        async def submit() -> None:
            while len(acknowledged) < 40:
                with suppress(Unavailable):
                    acknowledged.append(await bench.create())

        submitting = [asyncio.create_task(submit()) for _ in range(4)]
        for count in (5, 15, 25):

            async def are_made(least: int = count) -> bool:
                return len(acknowledged) >= least

            await until(are_made)
            await asyncio.to_thread(valkey.restart)
        await asyncio.gather(*submitting)
        claimed = [(await bench.claim()).job.id for _ in acknowledged]

        assert set(acknowledged) <= set(claimed)


async def test_blocked_claim_returns_when_the_server_dies(bench: Bench) -> None:
    await bench.create()
    await bench.claim()
    waiting = asyncio.create_task(bench.ledger.claim("w2", 10))
    await asyncio.sleep(0.05)  # it must be blocked in the read; nothing tells when

    await asyncio.to_thread(bench.valkey.restart)
    job_id = await bench.create()

    async with asyncio.timeout(8):
        claim = await waiting or await bench.claim("w2")
    assert claim.job.id == job_id


async def test_follow_outlives_an_outage(bench: Bench, other: Bench) -> None:
    await bench.create()
    claim = await bench.claim()
    followed = bench.ledger.follow(claim)
    await anext(followed)
    waiting = asyncio.ensure_future(anext(followed))

    await asyncio.to_thread(bench.valkey.restart)
    await other.ledger.cancel(LOCAL, claim.job.id)

    async with asyncio.timeout(10):
        while (job := await waiting).state != State.JOB_STATE_CANCELLING:
            waiting = asyncio.ensure_future(anext(followed))
    assert job.state == State.JOB_STATE_CANCELLING


async def test_decision_made_while_the_server_is_away_is_applied_by_a_repeat(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.create()
    claim = await bench.claim()
    monkeypatch.setattr(bench.queue._connection, "_patience_s", 0.0)
    faults.arm("publish.staged", bench.valkey.kill)
    with pytest.raises(Unavailable):
        await bench.publish(claim)
    outcome = publish.read_outcome(bench.store, TENANT, claim.job.id)
    assert outcome is not None
    assert bench.visible() == [1]
    faults.disarm()
    bench.valkey.start()

    assert await bench.publish(claim) == outcome

    assert (await bench.get(claim.job.id)).state == State.JOB_STATE_SUCCEEDED


async def test_cancel_without_the_server_is_kept_by_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is UNAVAILABLE, but if the cancellation was written it wins."""
    job_id = await bench.create()
    claim = await bench.claim()
    monkeypatch.setattr(bench.queue._connection, "_patience_s", 0.0)
    faults.arm("ledger.cancel_asked", bench.valkey.kill)
    with pytest.raises(Unavailable):
        await bench.ledger.cancel(LOCAL, job_id)
    faults.disarm()
    bench.valkey.start()

    assert (await bench.publish(claim)).state == State.JOB_STATE_CANCELLED
    assert bench.visible() == []


async def test_server_that_stands_still_is_noticed_unless_that_was_short(
    bench: Bench, other: Bench
) -> None:
    await other.queue.time_ms()
    bench.valkey.pause()
    asking = asyncio.create_task(other.queue.time_ms())
    await asyncio.sleep(0.3)  # the server must stand still for a while
    bench.valkey.resume()
    await asking

    assert other.queue._connection.steady_s(0.25) < 60
    assert other.queue._connection.steady_s(60) == float("inf")


async def test_followers_of_versions_hear_of_changes_and_of_reconnects(bench: Bench) -> None:
    heard = follow_versions(bench.valkey.url, TENANT)
    async with asyncio.timeout(15):
        await anext(heard)
        await bench.ledger.announce_versions(TENANT)
        await anext(heard)
        waiting = asyncio.ensure_future(anext(heard))
        await asyncio.sleep(0)
        await asyncio.to_thread(bench.valkey.restart)
        await waiting


async def test_follower_hears_of_a_publication_at_once(bench: Bench) -> None:
    heard = follow_versions(bench.valkey.url, TENANT)
    await anext(heard)
    waiting = asyncio.ensure_future(anext(heard))
    await bench.create()
    await bench.publish(await bench.claim())

    async with asyncio.timeout(1):
        await waiting


async def test_unreachable_server_is_unavailable_and_its_text_names_nothing(
    tmp_path: Path,
) -> None:
    async with RedisQueue(f"unix://{tmp_path}/none.sock", patience_s=0.05) as queue:
        with pytest.raises(Unavailable) as caught:
            await queue.time_ms()

    assert str(tmp_path) not in str(caught.value)


async def test_script_is_loaded_again_where_the_server_lost_it(bench: Bench) -> None:
    await bench.create()
    bench.valkey.command("SCRIPT", "FLUSH")

    await bench.create()

    assert (await bench.ledger.depth()).waiting == 2


async def test_wiped_server_fences_running_attempts(bench: Bench, store: LocalStore) -> None:
    await bench.create()
    claim = await bench.claim()
    bench.valkey.command("FLUSHALL")

    with pytest.raises(publish.Fenced):
        await bench.publish(claim)

    assert not store.exists(keys.job_outcome(TENANT, claim.job.id))
    assert await bench.ledger.claim("w1", 0.05) is None
    assert await bench.ledger.reap() == 0


async def test_connection_counts_time_since_an_outage_that_was_long_enough(bench: Bench) -> None:
    async with Connection(bench.valkey.url, patience_s=0) as connection:
        await connection.call("PING")
        bench.valkey.kill()
        with pytest.raises(Unavailable):
            await connection.call("PING")
        await asyncio.sleep(0.2)  # the outage must last
        assert connection.steady_s(0.1) == 0
        bench.valkey.start()
        with suppress(Unavailable):  # a connection that died meanwhile
            await connection.call("PING")
        await connection.call("PING")

        assert 0 < connection.steady_s(0.2) < 60
        assert connection.steady_s(60) == float("inf")


async def test_stalls_remember_the_last_one_of_each_length() -> None:
    stalls = Stalls()
    for end_s, length_s in ((10, 5), (20, 1), (30, 3), (40, 2), (50, 0.01)):
        stalls.add(end_s, length_s)

    assert [stalls.last_end_s(length_s) for length_s in (0.5, 2, 2.5, 4)] == [40, 40, 30, 10]
    assert stalls.last_end_s(6) == float("-inf")
