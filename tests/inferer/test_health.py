import pytest
from grpc_health.v1 import health_pb2

from inferer.health import Health
from twofold.errors import InvalidField, NotFound

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def asking(service: str = "") -> bytes:
    return health_pb2.HealthCheckRequest(service=service).SerializeToString()


def status(answer: bytes) -> int:
    return health_pb2.HealthCheckResponse.FromString(answer).status


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
def test_the_status_is_that_of_the_whole_server(service: str) -> None:
    health = Health()

    assert status(health.check(asking(service))) == NOT_SERVING
    health.set_serving(is_serving=True)
    assert status(health.check(asking(service))) == SERVING


def test_another_service_is_not_found() -> None:
    with pytest.raises(NotFound):
        Health().check(asking("twofold.v1.TrainingService"))


def test_junk_is_refused() -> None:
    with pytest.raises(InvalidField):
        Health().check(b"\xff\xff")


async def test_a_watch_tells_every_change_and_ends_with_the_server() -> None:
    health = Health()
    watch = health.watch(asking())
    assert status(await anext(watch)) == NOT_SERVING

    health.set_serving(is_serving=True)
    assert status(await anext(watch)) == SERVING
    health.set_serving(is_serving=True)
    health.set_serving(is_serving=False)
    assert status(await anext(watch)) == NOT_SERVING
    health.close()

    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_watch_of_an_unknown_service_says_so() -> None:
    health = Health()
    watch = health.watch(asking("other"))

    assert status(await anext(watch)) == UNKNOWN
    health.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
