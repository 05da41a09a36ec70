"""U-CUT and U-BAD: uploads that are cut off, and files that no table can be made of."""

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from tests.chaos.rows.uploads import BadFile, corpus, cutting, mutated, seeds
from tests.trainer.api.serving import Served, describe, error_of, serving
from tests.trainer.fakes import eventually
from trainer.api.upload import committed_size
from trainer.checker import dataset_of, start_checking_child
from trainer.childproc import Child
from twofold import errors, housekeeping, keys
from twofold.client import AsyncClient, Connection
from twofold.client.uploads import Upload
from twofold.collector import Policy
from twofold.housekeeping import Place
from twofold.internal.v1 import child_pb2
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, World
from twofold.v1 import dataset_pb2, dataset_pb2_grpc

SIZE_BYTES = 6 << 20
TENANT = "local"


def upload_of(folder: Path, seed: int) -> tuple[Upload, bytes]:
    content = random.Random(seed).randbytes(SIZE_BYTES)  # noqa: S311 - a seed must give the same
    file = folder / "big.csv"
    file.write_bytes(content)
    header = dataset_pb2.UploadHeader(
        format=dataset_pb2.DATASET_FORMAT_CSV,
        size_bytes=SIZE_BYTES,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return Upload(header, lambda: file.open("rb")), content


@pytest.mark.parametrize("seed", range(4))
async def test_u_cut_upload_goes_on_where_it_was_cut_and_is_never_half_visible(
    tmp_path: Path, seed: int
) -> None:
    """No connection lives long enough for the whole file, so each must go on from the last."""
    chance = random.Random(seed)  # noqa: S311 - a seed must give the same
    upload, content = upload_of(tmp_path, seed)
    async with (
        serving(tmp_path, describe) as api,
        cutting(
            api.address,
            lambda: chance.randrange(1 << 20, SIZE_BYTES // 2),
            lambda: committed_size(api.store, TENANT, upload.header.sha256),
        ) as (proxy, address),
        AsyncClient(connection=Connection(train=address)) as client,
    ):
        proxy.on_cut = lambda: check_nothing_visible(api)

        dataset = await client.datasets.put(upload)

        assert dataset.name == f"datasets/{upload.header.sha256}"
        assert api.store.read(keys.dataset_file(TENANT, upload.header.sha256)) == content
        assert api.store.names("tmp") == []
        assert proxy.cuts >= 2


def check_nothing_visible(api: Served) -> None:
    assert api.store.names(keys.datasets(TENANT)) == []


@pytest.mark.parametrize("seed", range(2))
async def test_u_cut_upload_that_nobody_goes_on_with_is_swept(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed must give the same
    upload, _ = upload_of(tmp_path, seed)
    retry = replace(Connection().retry, attempts=1)
    cuts = iter([chance.randrange(2 << 20, SIZE_BYTES)])
    async with (
        serving(tmp_path, describe) as api,
        cutting(
            api.address,
            lambda: next(cuts, None),
            lambda: committed_size(api.store, TENANT, upload.header.sha256),
        ) as (_, address),
        AsyncClient(connection=Connection(train=address, retry=retry)) as client,
    ):
        with pytest.raises(errors.Unavailable):
            await client.datasets.put(upload)
        part = keys.upload_part(TENANT, upload.header.sha256).rpartition("/")[2]
        await eventually(lambda: api.store.names("tmp") == [part])
        check_nothing_visible(api)

        place = Place(api.store, RedisQueue("unix:///nowhere"), World(Later()), TENANT)
        (removal,) = await housekeeping.collect(place, Policy())

        assert removal.name == f"uploads/{upload.header.sha256}"
        assert api.store.names("tmp") == []


class Later(SystemClock):
    """Two days from now."""

    def time_ms(self) -> int:
        return super().time_ms() + 2 * 86_400_000


@dataclass
class OneChild:
    """Lets one real checking process read all files: it must outlive each."""

    child: Child

    async def __call__(
        self, path: Path, file_format: dataset_pb2.DatasetFormat
    ) -> dataset_pb2.Dataset:
        check = child_pb2.CheckRequest(path=str(path), format=file_format)
        async with asyncio.timeout(20):
            await self.child.send(child_pb2.ChildRequest(check=check))
            event = await self.child.receive()
        assert event is not None, "the checking process died"
        return dataset_of(event.checked)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    child = await start_checking_child()
    try:
        async with serving(tmp_path, OneChild(child)) as served:
            yield served
    finally:
        await child.close()


async def put(api: Served, file: BadFile) -> errors.TwofoldError | None:
    """The refusal of a file; None where it was taken."""
    header = dataset_pb2.UploadHeader(
        format=file.format,
        size_bytes=len(file.content),
        sha256=hashlib.sha256(file.content).hexdigest(),
    )
    messages = [dataset_pb2.UploadDatasetRequest(header=header)]
    for begin in range(0, len(file.content), 1 << 20):
        chunk = file.content[begin : begin + (1 << 20)]
        messages.append(dataset_pb2.UploadDatasetRequest(chunk=chunk))
    stub: dataset_pb2_grpc.DatasetServiceAsyncStub = dataset_pb2_grpc.DatasetServiceStub(
        api.channel
    )
    call = stub.UploadDataset(iter(messages))
    try:
        await call
    except grpc.aio.AioRpcError:
        return await error_of(call)
    return None


def fault_of(file: BadFile, refusal: errors.TwofoldError | None) -> str:
    """What is wrong with an answer; "" for nothing."""
    if not isinstance(refusal, errors.InvalidData):
        return f"{file.name}: {refusal!r}"
    if re.search(r"Traceback|0x[0-9a-f]{8}|pyarrow|/tmp|\n", refusal.message):
        return f"{file.name}: tells too much: {refusal.message}"
    wanted = {"row": file.row, "column": file.column}
    told = {name: refusal.fields.get(name) for name in wanted}
    expected = {name: None if value is None else str(value) for name, value in wanted.items()}
    return "" if told == expected else f"{file.name}: {told}, not {expected}: {refusal.message}"


async def test_u_bad_files_are_refused_with_the_place_and_nothing_of_them_stays(
    api: Served,
) -> None:
    files = corpus()
    assert len(files) >= 60
    assert len({(file.format, file.name) for file in files}) == len(files)

    faults = [fault_of(file, await put(api, file)) for file in files]

    assert [fault for fault in faults if fault] == []
    assert api.store.names(keys.datasets(TENANT)) == []
    assert api.store.names("tmp") == []


@pytest.mark.parametrize("seed", range(2))
async def test_u_bad_mutations_of_good_files_never_end_the_checking_process(
    api: Served, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed must give the same
    count = 0
    for file_format, content in seeds().items():
        assert await put(api, BadFile("whole", file_format, content)) is None
        for number in range(75):
            file = BadFile(f"mutation {number}", file_format, mutated(content, chance))
            refusal = await put(api, file)
            if refusal is None:
                continue
            count += 1
            assert fault_of(place_of(file, refusal), refusal) == ""
    assert count > 100
    assert api.store.names("tmp") == []


def place_of(file: BadFile, refusal: errors.TwofoldError) -> BadFile:
    """The file with whatever place it was refused for: a mutation may hit any."""
    find: Callable[[str], str | None] = refusal.fields.get
    row = find("row")
    return replace(file, row=int(row) if row else None, column=find("column"))
