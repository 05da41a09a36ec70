import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from twofold.cluster import health
from twofold.cluster.ports import Reserved

STATES = {
    "": HealthCheckResponse.SERVING,
    "draining": HealthCheckResponse.NOT_SERVING,
}


async def check(request: HealthCheckRequest, _: object) -> HealthCheckResponse:
    return HealthCheckResponse(status=STATES[request.service])


def make_server(address: str) -> grpc.aio.Server:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=health_pb2.HealthCheckRequest.FromString,
        response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})]
    )
    server.add_insecure_port(address)
    return server


async def test_only_serving_is_healthy(ports: Reserved) -> None:
    address = ports.free()
    server = make_server(address)
    await server.start()
    try:
        assert await health.is_serving(address)
        assert not await health.is_serving(address, "draining")
    finally:
        await server.stop(None)
    assert not await health.is_serving(address, timeout_s=0.5)


def test_the_command_line_answers_by_exit_code(
    ports: Reserved, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health.main([]) == 2
    assert "usage" in capsys.readouterr().err
    assert health.main([ports.free()]) == 1
