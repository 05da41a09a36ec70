"""The whole trainer in this process, on a real queue, with a child that needs no torch."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tests.trainer.fakes import eventually, make_settings, within
from tests.trainer.toy_child import PROGRAM
from tests.twofold.samples import sample_record
from tests.valkey import Valkey
from trainer import app, childproc
from twofold.config import TrainerSettings, UnusableSettings
from twofold.principal import LOCAL
from twofold.queue import schema
from twofold.v1 import spec_pb2, training_pb2, training_pb2_grpc


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(childproc, "PROGRAM", PROGRAM)


def settings_for(tmp_path: Path, valkey: Valkey, **changes: object) -> TrainerSettings:
    fixed = {
        "redis_url": valkey.url,
        "train_address": "127.0.0.1:0",
        "metrics_address": "127.0.0.1:0",
        "drain_s": 10.0,
    }
    return make_settings(tmp_path, **{**fixed, **changes})


def listening(caplog: pytest.LogCaptureFixture) -> str:
    """The address in the line that says where the trainer listens, "" before it."""
    for record in caplog.records:
        if record.message == "listening":
            return str(vars(record)["address"])
    return ""


@asynccontextmanager
async def running(
    settings: TrainerSettings, caplog: pytest.LogCaptureFixture
) -> AsyncGenerator[str]:
    stop = asyncio.Event()
    with caplog.at_level(logging.INFO):
        task = asyncio.create_task(app.run(settings, stop))
        await eventually(lambda: bool(listening(caplog)) or task.done())
        try:
            yield listening(caplog)
        finally:
            stop.set()
            await within(task)


async def create(channel: grpc.aio.Channel, model: str) -> str:
    spec = spec_pb2.TrainingSpec(
        model=model,
        data=spec_pb2.DataSpec(dataset="xor"),
        network=spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP),
    )
    request = training_pb2.CreateTrainingJobRequest(spec=spec)
    stub = training_pb2_grpc.TrainingServiceStub(channel)
    # The server says SERVING once the queue is checked; until then calls just work or are retried.
    return (await stub.CreateTrainingJob(request)).job.name


async def watched(channel: grpc.aio.Channel, name: str) -> list[training_pb2.TrainingJob]:
    stub = training_pb2_grpc.TrainingServiceStub(channel)
    request = training_pb2.WatchTrainingJobRequest(name=name)
    async with asyncio.timeout(20):
        return [response.job async for response in stub.WatchTrainingJob(request)]


async def test_a_job_goes_from_the_api_through_the_queue_to_a_version(
    tmp_path: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(settings_for(tmp_path, valkey), caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        jobs = await watched(channel, await create(channel, "good"))

    assert jobs[0].state == training_pb2.JOB_STATE_PENDING
    assert jobs[-1].state == training_pb2.JOB_STATE_SUCCEEDED
    assert jobs[-1].model_version == "models/good/versions/1"
    assert jobs[-1].attempt_count == 1


async def test_a_running_job_is_cancelled(
    tmp_path: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(settings_for(tmp_path, valkey), caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        name = await create(channel, "stubborn")
        watching = asyncio.create_task(watched(channel, name))
        await eventually(lambda: "attempt begun" in caplog.text)
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        await stub.CancelTrainingJob(training_pb2.CancelTrainingJobRequest(name=name))
        jobs = await watching

    assert jobs[-1].state == training_pb2.JOB_STATE_CANCELLED


@pytest.mark.parametrize("role", ["both", "api"])
async def test_a_wiped_queue_is_rebuilt_by_every_role(
    tmp_path: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture, role: str
) -> None:
    async with (
        running(settings_for(tmp_path, valkey, role=role, drain_s=0.2), caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        await create(channel, "stubborn")
        await eventually(lambda: "reconciled" in caplog.text)
        name = await create(channel, "good")
        valkey.command("FLUSHALL")
        wanted = {schema.job(LOCAL.tenant, name[5:]), schema.queue(LOCAL.tenant)}
        await eventually(lambda: wanted <= set(valkey.keys()))


async def test_a_running_job_outlives_a_crash_of_its_queue(
    tmp_path: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(settings_for(tmp_path, valkey), caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        name = await create(channel, "stubborn")
        await eventually(lambda: "attempt begun" in caplog.text)
        valkey.kill()
        await eventually(lambda: "server is away" in caplog.text)
        valkey.start()
        await eventually(lambda: "server is back" in caplog.text)
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        await stub.CancelTrainingJob(training_pb2.CancelTrainingJobRequest(name=name))
        jobs = await watched(channel, name)

    assert jobs[-1].state == training_pb2.JOB_STATE_CANCELLED
    assert jobs[-1].attempt_count == 1
    assert caplog.text.count("server is away") == 1


async def test_a_worker_alone_takes_what_an_api_alone_has_queued(
    tmp_path: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    api = settings_for(tmp_path, valkey, role="api")
    async with (
        running(api, caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        name = await create(channel, "fails")
        worker = asyncio.Event()
        working = asyncio.create_task(
            app.run(settings_for(tmp_path, valkey, role="worker"), worker)
        )
        jobs = await watched(channel, name)
        worker.set()
        await within(working)

    assert jobs[-1].state == training_pb2.JOB_STATE_FAILED
    assert jobs[-1].reason == training_pb2.JOB_REASON_DIVERGED
    addresses = [vars(one)["address"] for one in caplog.records if one.message == "listening"]
    assert addresses == [address, ""]


async def test_a_stop_hands_the_job_back_for_the_next_worker(
    tmp_path: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(tmp_path, valkey)
    async with (
        running(settings, caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        name = await create(channel, "slow")
        await eventually(lambda: "attempt begun" in caplog.text)
    caplog.clear()
    async with (
        running(settings, caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        await eventually(lambda: "attempt begun" in caplog.text)
        stub = training_pb2_grpc.TrainingServiceStub(channel)
        get = training_pb2.GetTrainingJobRequest(name=name)
        job = (await stub.GetTrainingJob(get)).job

    assert job.attempt_count == 2
    assert job.eviction_count == 0


async def test_without_its_queue_it_listens_and_ends_when_told(
    tmp_path: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(tmp_path, valkey, redis_url="unix:///nowhere/valkey.sock")
    async with (
        running(settings, caplog) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await create(channel, "good")

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_queue_that_forgets_is_refused(tmp_path: Path, valkey: Valkey) -> None:
    valkey.command("CONFIG", "SET", "appendfsync", "everysec")
    try:
        with pytest.raises(UnusableSettings, match="appendfsync"):
            await within(app.run(settings_for(tmp_path, valkey), asyncio.Event()))
    finally:
        valkey.command("CONFIG", "SET", "appendfsync", "always")


async def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path, valkey: Valkey) -> None:
    file = tmp_path / "file"
    file.write_text("x")

    with pytest.raises(UnusableSettings, match="TWOFOLD_STORE"):
        await app.run(settings_for(tmp_path, valkey, store=file), asyncio.Event())


async def test_another_stores_queue_is_refused(tmp_path: Path, valkey: Valkey) -> None:
    async with app._opened(settings_for(tmp_path, valkey)) as trainer:
        await trainer.ledger.pair()
    mistyped = settings_for(tmp_path, valkey, store=tmp_path / "mistyped")

    with pytest.raises(UnusableSettings, match="belongs to store"):
        await within(app.run(mistyped, asyncio.Event()))


@pytest.mark.parametrize("field", ["train_address", "metrics_address"])
async def test_an_address_that_is_taken_is_refused(
    tmp_path: Path, valkey: Valkey, field: str
) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = settings_for(tmp_path, valkey, **{field: f"127.0.0.1:{port}"})
    async with server:
        with pytest.raises(UnusableSettings, match=f"TWOFOLD_{field.upper()}"):
            await app.run(settings, asyncio.Event())


async def test_the_depth_of_the_queue_is_measured(tmp_path: Path, valkey: Valkey) -> None:
    settings = settings_for(tmp_path, valkey, role="api")
    async with app._opened(settings) as trainer:
        await trainer.ledger.create(LOCAL, sample_record())
        measuring = asyncio.create_task(app._measure_depth(trainer))
        registry = trainer.metrics.registry
        name = "twofold_trainer_queue_depth"
        await eventually(lambda: registry.get_sample_value(name, {"kind": "dead"}) is not None)
        measuring.cancel()
        await asyncio.wait([measuring])

    kinds = ("waiting", "delayed", "running", "dead")
    assert [registry.get_sample_value(name, {"kind": kind}) for kind in kinds] == [1, 0, 0, 0]
