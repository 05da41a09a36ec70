"""The asyncio client against the same servers: what its own I/O does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import pytest_asyncio

from tests.twofold.client.serving import Servers
from twofold import AsyncClient, errors, toml_spec
from twofold.client import Connection, JobFailed, JobFilter, RetryPolicy, uploads
from twofold.v1 import training_pb2

SPEC: toml_spec.Tree = {
    "model": "digits",
    "data": {"dataset": "xor"},
    "network": {"family": "mlp"},
}


def unavailable() -> errors.Unavailable:
    return errors.Unavailable("draining")


@pytest_asyncio.fixture
async def aclient(servers: Servers) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(connection=servers.connection()) as made:
        yield made


async def test_unavailable_create_is_repeated_and_makes_one_job(
    aclient: AsyncClient, servers: Servers
) -> None:
    servers.script.failures["CreateTrainingJob"] = [unavailable(), unavailable()]

    handle = await aclient.train(SPEC)

    assert servers.script.count("CreateTrainingJob") == 3
    assert len(servers.training.jobs) == 1
    assert handle.id in repr(handle)


async def test_unavailable_is_given_up(aclient: AsyncClient, servers: Servers) -> None:
    servers.script.failures["GetTrainingJob"] = [unavailable() for _ in range(9)]

    with pytest.raises(errors.Unavailable, match="draining"):
        await aclient.jobs.get("01J")

    assert servers.script.count("GetTrainingJob") == 4


async def test_error_carries_code_reason_and_fields(aclient: AsyncClient) -> None:
    with pytest.raises(errors.NotFound) as caught:
        await aclient.predict("other", [[1.0, 2.0]])

    assert caught.value.code == "NOT_FOUND"
    assert caught.value.fields == {"resource": "models/other"}


async def test_wait_returns_the_job_with_its_version(aclient: AsyncClient) -> None:
    handle = await aclient.train(SPEC)

    job = await handle.wait()

    assert job.state == training_pb2.JOB_STATE_SUCCEEDED
    assert handle.version == 7
    assert await handle.wait() is job


@pytest.mark.parametrize("error", [unavailable(), None])
async def test_broken_watch_resumes_after_the_last_event(
    aclient: AsyncClient, servers: Servers, error: errors.TwofoldError | None
) -> None:
    servers.training.breaks = [(1, error), (0, error), (2, error)]
    handle = await aclient.train(SPEC)

    cursors = [event.cursor async for event in handle.watch()]

    assert cursors == ["1", "2", "3", "4"]
    assert servers.training.cursors == ["", "1", "1", "3"]


async def test_abandoned_watch_closes_its_stream(aclient: AsyncClient) -> None:
    handle = await aclient.train(SPEC)

    async with aclosing(handle.watch()) as events:
        event = await anext(events)

    assert not event.is_terminal


async def test_cancel_refresh_and_retry(aclient: AsyncClient) -> None:
    handle = await aclient.train(SPEC)

    await handle.cancel()

    assert (await handle.refresh()).state == training_pb2.JOB_STATE_CANCELLED
    with pytest.raises(JobFailed, match="CANCELLED"):
        await handle.wait()
    assert (await handle.retry()).job.retry_of == handle.job.name


async def test_upload_goes_in_chunks_and_is_repeated_whole(
    aclient: AsyncClient, servers: Servers, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).bytes(2_500_000)
    file = tmp_path / "big.npy"
    file.write_bytes(data)
    servers.script.failures["UploadDataset"] = [unavailable()]

    dataset = await aclient.datasets.put(file)

    assert servers.datasets.contents[dataset.name.removeprefix("datasets/")] == data
    assert servers.datasets.largest_chunk == 1 << 20
    assert servers.script.count("UploadDataset") == 2


async def test_a_broken_upload_goes_on_where_the_server_has_got_to(
    aclient: AsyncClient, servers: Servers, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).bytes(2_500_000)
    file = tmp_path / "big.npy"
    file.write_bytes(data)
    # More breaks than a call has tries: each stream comes further.
    servers.datasets.breaks = [300_000] * 7
    servers.script.failures["UploadDataset"] = [errors.Conflict("another stream writes it")]

    dataset = await aclient.datasets.put(file)

    assert servers.datasets.contents[dataset.name.removeprefix("datasets/")] == data
    assert servers.datasets.offsets == [number * 300_000 for number in range(8)]


async def test_the_file_of_a_refused_upload_is_closed(
    aclient: AsyncClient, servers: Servers
) -> None:
    """Of a call that its server ends early grpcio leaves the messages where they are."""
    whole = uploads.from_arrays(np.zeros((500_000, 1)), np.zeros(500_000))
    opened: list[BinaryIO] = []

    def open_file() -> BinaryIO:
        opened.append(whole.open())
        return opened[-1]

    servers.script.failures["UploadDataset"] = [errors.LimitExceeded("too large", limit="bytes")]
    with pytest.raises(errors.LimitExceeded):
        await aclient.datasets.put(uploads.Upload(whole.header, open_file))

    assert [file.closed for file in opened] == [True]


async def test_arrays_are_uploaded_and_named_in_the_spec(
    aclient: AsyncClient, servers: Servers
) -> None:
    handle = await aclient.train(np.zeros((2, 2)), [0, 1], SPEC)

    assert handle.job.spec.data.dataset in servers.datasets.contents


async def test_lists_are_read_page_by_page(aclient: AsyncClient, servers: Servers) -> None:
    for _ in range(3):
        servers.training.add()
    for letter in "abc":
        servers.datasets.add(letter * 64, "a.csv", 10)

    assert len(await aclient.jobs.list()) == 3
    assert len(await aclient.jobs.list(JobFilter(model="other"))) == 0
    assert len(await aclient.datasets.list(limit=2)) == 2
    assert len(await aclient.models.list()) == 1
    assert len(await aclient.models.versions("digits")) == 3


async def test_models_and_datasets(aclient: AsyncClient, servers: Servers) -> None:
    digest = "a" * 64
    servers.datasets.add(digest, "a.csv", 10)

    assert (await aclient.models.get("digits")).current_version == 3
    assert (await aclient.models.version("digits", "stable")).manifest.version == 2
    assert (await aclient.models.set_alias("digits", "canary", 3)).aliases["canary"] == 3
    assert (await aclient.models.withdraw("digits", 3)).withdrawn
    assert not (await aclient.models.rollback("digits", 3)).changed
    assert (await aclient.models.rollback("digits")).withdrawn == "models/digits/versions/2"
    await aclient.datasets.delete(digest)
    with pytest.raises(errors.NotFound):
        await aclient.datasets.get(digest)


async def test_predictions_run_at_once_over_one_client(aclient: AsyncClient) -> None:
    answers = await asyncio.gather(
        *(aclient.predict("digits", [[float(row), 4.5]]) for row in range(10))
    )

    assert [answer.labels[0] for answer in answers] == ["no"] * 5 + ["yes"] * 5


async def test_columns_are_ordered_anew_when_the_version_changed_meanwhile(
    aclient: AsyncClient, servers: Servers
) -> None:
    def swap() -> None:
        servers.inferer.version = 4
        servers.inferer.numeric_columns = ["b", "a"]

    servers.inferer.on_infer = swap

    prediction = await aclient.predict("digits", {"a": [2.0], "b": [1.0]})

    assert prediction.version == 4
    assert servers.inferer.inputs[-1]["x"].tolist() == [[1.0, 2.0]]


async def test_version_that_always_changes_is_given_up(
    aclient: AsyncClient, servers: Servers
) -> None:
    def swap() -> None:
        servers.inferer.version += 1

    servers.inferer.on_infer = swap

    with pytest.raises(errors.Unavailable, match="changes too fast"):
        await aclient.predict("digits", {"a": [2.0], "b": [1.0]})


async def test_inference_tells_about_the_server(aclient: AsyncClient) -> None:
    inference = aclient.inference

    assert await inference.is_live()
    assert await inference.is_ready()
    assert await inference.is_model_ready("digits")
    assert (await inference.server_metadata()).name == "twofold"
    assert (await inference.metadata("digits")).platform == "twofold_torch"
    assert (await inference.config("digits")).config.name == "digits"
    assert (await inference.statistics("digits"))[0].name == "digits"
    assert len(await inference.index(is_ready=True)) == 1


async def test_unreachable_server_is_named() -> None:
    connection = Connection(infer="127.0.0.1:1", retry=RetryPolicy(attempts=1))

    async with AsyncClient(connection=connection) as made:
        with pytest.raises(errors.Unavailable, match=r"the inferer at 127\.0\.0\.1:1 cannot be"):
            await made.inference.is_live()


async def test_closed_client_says_so(servers: Servers) -> None:
    made = AsyncClient(servers.train, servers.infer)
    await made.jobs.list()
    await made.close()

    with pytest.raises(errors.Unavailable, match="the client is closed"):
        await made.jobs.list()


async def test_close_ends_a_call_under_way(servers: Servers) -> None:
    entered, released = threading.Event(), threading.Event()
    servers.inferer.on_infer = lambda: (entered.set(), released.wait(10))
    made = AsyncClient(infer=servers.infer)
    predicting = asyncio.create_task(made.predict("digits", [[1.0, 0.0]]))
    assert await asyncio.to_thread(entered.wait, 10)

    await made.close()

    with pytest.raises(errors.Unavailable, match="the client is closed"):
        await predicting
    released.set()


async def test_close_ends_a_watch(servers: Servers) -> None:
    released = servers.training.hold_after(1)
    made = AsyncClient(servers.train)
    handle = await made.train(SPEC)
    watching = handle.watch()
    await anext(watching)
    following = asyncio.create_task(anext(watching))  # pyright: ignore[reportArgumentType] - a coroutine at run time
    await asyncio.sleep(0)

    await made.close()

    with pytest.raises(errors.Unavailable, match="the client is closed"):
        await following
    released.set()


async def test_cancelling_the_callers_own_task_stays_a_cancellation(
    aclient: AsyncClient, servers: Servers
) -> None:
    entered, released = threading.Event(), threading.Event()
    servers.inferer.on_infer = lambda: (entered.set(), released.wait(10))
    predicting = asyncio.create_task(aclient.predict("digits", [[1.0, 0.0]]))
    assert await asyncio.to_thread(entered.wait, 10)

    predicting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await predicting
    released.set()


class FakeClock:
    """Closes the client instead of sleeping."""

    def __init__(self) -> None:
        self.client: AsyncClient | None = None

    def time_ms(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None:
        assert delay_s > 0
        assert self.client is not None
        await self.client.close()


async def test_close_ends_a_retry(servers: Servers) -> None:
    servers.script.failures["GetTrainingJob"] = [unavailable()]
    clock = FakeClock()
    clock.client = AsyncClient(connection=Connection(train=servers.train, clock=clock))

    with pytest.raises(errors.Unavailable, match="the client is closed"):
        await clock.client.jobs.get("01J")

    assert servers.script.count("GetTrainingJob") == 1
