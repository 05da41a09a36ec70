"""A job's metric series, by both clients."""

from tests.twofold.client.points import metric_points
from tests.twofold.client.serving import Servers
from twofold import AsyncClient
from twofold.client import Client, JobHandle, MetricPoint


def with_points(client: Client, servers: Servers, count: int) -> JobHandle:
    job = servers.training.add()
    servers.training.points[job.name] = metric_points(count)
    return client.jobs.handle(job)


def test_points_are_plain_records(client: Client, servers: Servers) -> None:
    first, second = with_points(client, servers, 2).metrics()

    assert first == MetricPoint(
        epoch=1,
        step=10,
        time_s=1_700_000_001.0,
        loss=1.0,
        validation_loss=2.0,
        learning_rate=0.1,
        attempt="01J00000000000000000000001",
    )
    assert second.metrics == {"accuracy": 0.5}


def test_all_pages_are_read(client: Client, servers: Servers) -> None:
    handle = with_points(client, servers, 5)  # pages of two

    assert [point.epoch for point in handle.metrics()] == [1, 2, 3, 4, 5]
    assert set(servers.training.max_points) == {0}


def test_a_limit_is_the_servers_to_keep(client: Client, servers: Servers) -> None:
    with_points(client, servers, 3).metrics(max_points=100)

    assert set(servers.training.max_points) == {100}


async def test_asyncio_reads_the_same(client: Client, servers: Servers) -> None:
    handle = with_points(client, servers, 5)
    async with AsyncClient(connection=servers.connection()) as aclient:
        found = await aclient.jobs.handle(handle.job).metrics(max_points=50)

    assert found == handle.metrics()
    assert servers.training.max_points[0] == 50
