"""The server's limits, each by what a client sees of it."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.trainer.api.serving import JOB, describe, measure_graph, serving
from trainer.api import server as server_module
from trainer.api.desk import Desk
from trainer.api.server import OPTIONS, ApiServer, CannotBind, Checks
from trainer.api.usage import DatasetUsage
from twofold import errors, rpc
from twofold.seams import SystemClock
from twofold.v1 import training_pb2, training_pb2_grpc

GET = training_pb2.GetTrainingJobRequest(name=f"jobs/{JOB}")


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return (await check(health_pb2.HealthCheckRequest(service=service))).status


@pytest.mark.parametrize("service", ["", "twofold.v1.TrainingService", "twofold.v1.ModelService"])
async def test_health_is_serving_until_the_drain(tmp_path: Path, service: str) -> None:
    async with serving(tmp_path) as api:
        assert await health_of(api.channel, service) == health_pb2.HealthCheckResponse.SERVING
        draining = asyncio.create_task(api.server.drain(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        status = await health_of(api.channel, service)
        await draining

    assert status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_message_beyond_4_mib_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        stub = training_pb2_grpc.TrainingServiceStub(api.channel)
        request = training_pb2.GetTrainingJobRequest(name="x" * (4 << 20))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetTrainingJob(request)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_beyond_16_kib_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        stub = training_pb2_grpc.TrainingServiceStub(api.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetTrainingJob(GET, metadata=(("x", "y" * (64 << 10)),))

    assert caught.value.code() in {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
    }


async def test_a_silent_connection_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tuple(
        (name, 200 if name == "grpc.server_handshake_timeout_ms" else value)
        for name, value in OPTIONS
    )
    monkeypatch.setattr(server_module, "OPTIONS", quick)
    async with serving(tmp_path) as api:
        host, _, port = api.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(5):
            while await reader.read(1024):
                pass
        writer.close()


async def test_calls_beyond_the_cap_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONCURRENT_RPCS", 1)
    async with serving(tmp_path) as api:
        api.ledger.jobs[JOB] = training_pb2.TrainingJob(state=training_pb2.JOB_STATE_RUNNING)
        stub = training_pb2_grpc.TrainingServiceStub(api.channel)
        watch = stub.WatchTrainingJob(training_pb2.WatchTrainingJobRequest(name=f"jobs/{JOB}"))
        await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetTrainingJob(GET)
        watch.cancel()

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        desk = Desk(api.ledger, api.store, SystemClock(), DatasetUsage(), asyncio.Event())
        settings = api.server._settings.model_copy(update={"train_address": api.address})
        second = ApiServer(desk, settings, api.metrics, Checks(describe, measure_graph))
        with pytest.raises(CannotBind, match="TWOFOLD_TRAIN_ADDRESS"):
            await second.start()


async def test_reflection_is_not_offered(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.channel.unary_unary(path)(b"")

    assert isinstance(rpc.from_rpc_error(caught.value), errors.Unimplemented)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


#: The preface and an empty SETTINGS frame: RFC 9113, section 3.4.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
PING = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + bytes(8)


async def test_a_flood_of_pings_is_sent_away(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        host, _, port = api.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(PREFACE + PING * 100)
        received = b""
        async with asyncio.timeout(10):
            while piece := await reader.read(65_536):
                received += piece
        writer.close()

    assert b"too_many_pings" in received


async def test_a_connection_is_offered_128_streams(tmp_path: Path) -> None:
    max_concurrent_streams = bytes((0, 3, 0, 0, 0, 128))
    async with serving(tmp_path) as api:
        host, _, port = api.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(PREFACE)
        received = b""
        async with asyncio.timeout(10):
            while max_concurrent_streams not in received:
                piece = await reader.read(65_536)
                assert piece
                received += piece
        writer.close()
