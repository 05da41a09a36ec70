"""Uploads are visible whole or not at all; what stays of a broken one is a part to go on from."""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from tests.trainer.api.serving import JOB, Served, error_of, serving
from tests.trainer.fakes import eventually
from trainer.api import upload
from trainer.datasets import add_dataset
from twofold import errors, faults, keys, locks, rpc
from twofold.internal.v1 import record_pb2
from twofold.v1 import dataset_pb2, dataset_pb2_grpc

CSV = dataset_pb2.DATASET_FORMAT_CSV
CONTENT = b"a,label\n1,0\n2,1\n"
SHA = hashlib.sha256(CONTENT).hexdigest()
Request = dataset_pb2.UploadDatasetRequest


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, max_upload_bytes=1_000_000) as served:
        yield served


def header(**changes: object) -> Request:
    made = dataset_pb2.UploadHeader(
        format=CSV, size_bytes=len(CONTENT), sha256=SHA, display_name="digits"
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return Request(header=made)


def chunks(content: bytes = CONTENT, size: int = 5) -> Iterator[Request]:
    for begin in range(0, len(content), size):
        yield Request(chunk=content[begin : begin + size])


def stub_of(api: Served) -> "dataset_pb2_grpc.DatasetServiceAsyncStub":
    return dataset_pb2_grpc.DatasetServiceStub(api.channel)


async def upload_all(api: Served, *requests: Request) -> dataset_pb2.Dataset:
    return (await stub_of(api).UploadDataset(iter(requests))).dataset


def leftovers(api: Served) -> list[Path]:
    folder = api.store.path("local").parent / "tmp"
    return list(folder.iterdir()) if folder.exists() else []


async def test_an_upload_is_checked_stored_and_described(api: Served) -> None:
    dataset = await upload_all(api, header(), *chunks())

    assert dataset.name == f"datasets/{SHA}"
    assert (dataset.display_name, dataset.format, dataset.size_bytes) == ("digits", CSV, 16)
    assert dataset.row_count == 100
    assert dataset.create_time.seconds > 0
    assert api.store.read(keys.dataset_file("local", SHA)) == CONTENT
    get = dataset_pb2.GetDatasetRequest(name=f"datasets/{SHA}")
    assert (await stub_of(api).GetDataset(get)).dataset == dataset
    assert leftovers(api) == []


async def test_uploading_what_is_there_answers_without_the_file(api: Served) -> None:
    first = await upload_all(api, header(), *chunks())

    assert await upload_all(api, header(display_name="other")) == first


@pytest.mark.parametrize(
    ("requests", "kind", "text"),
    [
        ([], errors.InvalidField, "header is nothing"),
        ([Request(chunk=b"a")], errors.InvalidField, "header is chunk"),
        ([Request()], errors.InvalidField, "header is an empty message"),
        ([header(format=0)], errors.InvalidField, "DATASET_FORMAT_CSV"),
        ([header(format=99)], errors.InvalidField, "header.format is 99"),
        ([header(size_bytes=0)], errors.InvalidField, "header.size_bytes is 0"),
        ([header(size_bytes=-1)], errors.InvalidField, "header.size_bytes is -1"),
        ([header(size_bytes=1_000_001)], errors.LimitExceeded, "above the limit of 1000000"),
        ([header(offset=-1)], errors.InvalidField, "header.offset is -1; "),
        ([header(offset=17)], errors.InvalidField, "0 to 16"),
        ([header(sha256="../../etc/passwd")], errors.InvalidField, "header.sha256"),
        ([header(display_name="a\nb")], errors.InvalidField, "display_name"),
        ([header(display_name="a\u202eb")], errors.InvalidField, "display_name"),
        ([header(display_name="x" * 256)], errors.InvalidField, "display_name"),
        ([header(), header()], errors.InvalidField, "part is header"),
        ([header(), Request()], errors.InvalidField, "part is an empty message"),
        ([header(), Request(chunk=bytes(1 << 20) + b"x")], errors.InvalidField, "1048577 bytes"),
        ([header(), *chunks(CONTENT + b"x")], errors.LimitExceeded, "longer than the 16 bytes"),
        ([header(), *chunks(CONTENT[::-1])], errors.InvalidData, "announced was"),
    ],
)
async def test_what_is_not_the_announced_file_is_refused(
    api: Served, requests: list[Request], kind: type[errors.TwofoldError], text: str
) -> None:
    error = await error_of(stub_of(api).UploadDataset(iter(requests)))

    assert isinstance(error, kind)
    assert text in error.message
    assert leftovers(api) == []
    assert api.store.names(keys.datasets("local")) == []


async def test_a_stream_that_ends_early_may_be_gone_on_with(api: Served) -> None:
    """gRPC may tell a client that goes away by an end: nothing of what has come is lost by it."""
    error = await error_of(stub_of(api).UploadDataset(iter([header(), *chunks(CONTENT[:-1])])))

    assert isinstance(error, errors.InvalidData)
    assert "15 bytes came of the 16" in error.message
    assert await committed(api) == 15
    dataset = await upload_all(api, header(offset=15), Request(chunk=CONTENT[15:]))
    assert dataset.size_bytes == 16
    assert leftovers(api) == []


async def test_a_refused_file_is_not_stored_and_says_where(tmp_path: Path) -> None:
    async def refuse(path: Path, file_format: dataset_pb2.DatasetFormat) -> dataset_pb2.Dataset:
        assert await asyncio.to_thread(path.read_bytes) == CONTENT
        assert file_format == CSV
        raise errors.InvalidData("not a number (row 3, column a)", row=3, column="a")

    async with serving(tmp_path, refuse) as api:
        error = await error_of(stub_of(api).UploadDataset(iter([header(), *chunks()])))

        assert isinstance(error, errors.InvalidData)
        assert error.fields == {"row": "3", "column": "a"}
        assert leftovers(api) == []
        assert api.store.names(keys.datasets("local")) == []


async def committed(api: Served, sha256: str = SHA) -> int:
    request = dataset_pb2.GetUploadRequest(sha256=sha256)
    return (await stub_of(api).GetUpload(request)).committed_size_bytes


async def test_a_client_that_goes_away_leaves_what_another_stream_goes_on_from(api: Served) -> None:
    for offset in (0, 5, 10):
        with_chunk = asyncio.Event()
        faults.arm("upload.chunk", with_chunk.set)
        await cut_upload(api, offset, with_chunk)
        assert await committed(api) == offset + 5
        assert api.store.names(keys.datasets("local")) == []

    dataset = await upload_all(api, header(offset=15), Request(chunk=CONTENT[15:]))

    assert dataset.size_bytes == len(CONTENT)
    assert api.store.read(keys.dataset_file("local", SHA)) == CONTENT
    assert await committed(api) == 0
    assert leftovers(api) == []


async def cut_upload(api: Served, offset: int, has_chunk: asyncio.Event) -> None:
    """Sends 5 bytes, and goes away once the server has them."""

    async def cut() -> AsyncIterator[Request]:
        yield header(offset=offset)
        yield Request(chunk=CONTENT[offset : offset + 5])
        await asyncio.Event().wait()

    call = stub_of(api).UploadDataset(cut())
    await has_chunk.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    part = keys.upload_part("local", SHA).rpartition("/")[2]
    await eventually(lambda: api.store.names("tmp") == [part])


async def test_bytes_that_have_come_are_dropped_where_a_stream_begins_before_their_end(
    api: Served,
) -> None:
    plant_part(api, b"junk of another length")

    assert await upload_all(api, header(), *chunks())
    assert api.store.read(keys.dataset_file("local", SHA)) == CONTENT


def plant_part(api: Served, content: bytes) -> Path:
    part = api.store.temporary().with_name(keys.upload_part("local", SHA).rpartition("/")[2])
    part.write_bytes(content)
    return part


async def test_a_part_of_another_file_costs_a_repeat_and_nothing_else(api: Served) -> None:
    plant_part(api, b"junk!")
    assert await committed(api) == 5
    error = await error_of(
        stub_of(api).UploadDataset(iter([header(offset=5), *chunks(CONTENT[5:])]))
    )

    assert isinstance(error, errors.Conflict)
    assert "no part of this file" in error.message
    assert await committed(api) == 0
    assert api.store.names(keys.datasets("local")) == []
    assert await upload_all(api, header(), *chunks())


async def test_more_than_has_come_cannot_be_skipped(api: Served) -> None:
    plant_part(api, CONTENT[:3])
    error = await error_of(stub_of(api).UploadDataset(iter([header(offset=5)])))

    assert isinstance(error, errors.Conflict)
    assert "3 bytes have come, not 5" in error.message


async def test_a_part_that_is_a_data_sets_own_file_is_never_written(api: Served) -> None:
    """A crash between the data set's name and the part's end leaves one file with two names."""
    part = plant_part(api, CONTENT)
    api.store.make_folder(f"{keys.datasets('local')}/{SHA}")
    api.store.path(keys.dataset_file("local", SHA)).hardlink_to(part)
    assert await committed(api) == 0
    faults.arm("upload.chunk", lambda: check_untouched(api))

    assert await upload_all(api, header(), *chunks())
    check_untouched(api)


def check_untouched(api: Served) -> None:
    assert api.store.read(keys.dataset_file("local", SHA)) == CONTENT


async def test_one_stream_at_a_time_writes_a_file(api: Served) -> None:
    may_end = asyncio.Event()

    async def slow() -> AsyncIterator[Request]:
        yield header()
        await may_end.wait()
        for chunk in chunks():
            yield chunk

    first = stub_of(api).UploadDataset(slow())
    await eventually(lambda: len(leftovers(api)) == 2)
    error = await error_of(stub_of(api).UploadDataset(iter([header(), *chunks()])))
    assert isinstance(error, errors.Conflict)
    assert "another stream uploads" in error.message
    may_end.set()

    assert (await first).dataset.size_bytes == len(CONTENT)
    assert leftovers(api) == []


async def test_a_data_set_is_not_deleted_while_its_file_is_written(api: Served) -> None:
    add(api, 1)
    lock = api.store.path(keys.upload_lock("local", f"{1:064x}"))
    request = dataset_pb2.DeleteDatasetRequest(name=f"datasets/{1:064x}")
    with locks.held(lock, "busy"):
        assert isinstance(await error_of(stub_of(api).DeleteDataset(request)), errors.Conflict)

    await stub_of(api).DeleteDataset(request)
    assert leftovers(api) == []


async def test_a_call_cancelled_as_it_opens_its_file_leaves_no_lock(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, may_open = threading.Event(), threading.Event()
    open_part = upload._open_part

    def slowly(path: Path) -> int:
        opening.set()
        may_open.wait()
        return open_part(path)

    monkeypatch.setattr(upload, "_open_part", slowly)
    receiving = asyncio.create_task(
        upload.receiving(api.store, "local", header().header).__aenter__()
    )
    await asyncio.to_thread(opening.wait)
    receiving.cancel()
    may_open.set()

    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert leftovers(api) == []
    monkeypatch.undo()
    assert await upload_all(api, header(), *chunks())


async def test_an_upload_that_stands_still_is_ended(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "IDLE_LIMIT_S", 0.1)

    async def stall() -> AsyncIterator[Request]:
        yield header()
        await asyncio.Event().wait()

    call = stub_of(api).UploadDataset(stall())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call

    assert isinstance(rpc.from_rpc_error(caught.value), errors.DeadlineExceeded)
    assert leftovers(api) == []


def add(api: Served, number: int) -> None:
    sha256 = f"{number:064x}"
    temporary = api.store.temporary()
    temporary.write_bytes(b"x")
    dataset = dataset_pb2.Dataset(name=f"datasets/{sha256}")
    dataset.create_time.FromSeconds(number)
    add_dataset(api.store, "local", temporary, dataset)


async def test_lists_are_newest_first_page_by_page(api: Served) -> None:
    for number in (3, 1, 2):
        add(api, number)
    request = dataset_pb2.ListDatasetsRequest(page_size=2)
    first = await stub_of(api).ListDatasets(request)
    request.page_token = first.next_page_token
    second = await stub_of(api).ListDatasets(request)

    assert [one.create_time.seconds for one in first.datasets] == [3, 2]
    assert [one.create_time.seconds for one in second.datasets] == [1]
    assert second.next_page_token == ""


async def test_bad_pages_and_names_are_refused(api: Served) -> None:
    stub, bad_token = stub_of(api), "*"
    for call in (
        stub.ListDatasets(dataset_pb2.ListDatasetsRequest(page_size=-1)),
        stub.ListDatasets(dataset_pb2.ListDatasetsRequest(page_token=bad_token)),
        stub.GetDataset(dataset_pb2.GetDatasetRequest(name="datasets/../x")),
        stub.GetDataset(dataset_pb2.GetDatasetRequest(name=SHA)),
        stub.DeleteDataset(dataset_pb2.DeleteDatasetRequest(name="datasets/x")),
    ):
        assert isinstance(await error_of(call), errors.InvalidField)


async def test_a_data_set_is_deleted_once(api: Served) -> None:
    add(api, 1)
    request = dataset_pb2.DeleteDatasetRequest(name=f"datasets/{1:064x}")
    await stub_of(api).DeleteDataset(request)

    assert isinstance(await error_of(stub_of(api).DeleteDataset(request)), errors.NotFound)
    assert api.store.names(keys.datasets("local")) == []


async def test_a_data_set_that_a_live_job_needs_is_kept(api: Served) -> None:
    add(api, 1)
    record = record_pb2.JobRecord()
    record.spec.data.dataset = f"{1:064x}"
    api.store.create(keys.job_spec("local", JOB), record.SerializeToString())
    request = dataset_pb2.DeleteDatasetRequest(name=f"datasets/{1:064x}")
    error = await error_of(stub_of(api).DeleteDataset(request))

    assert isinstance(error, errors.WrongState)
    assert f"jobs/{JOB}" in error.message
    api.store.create(keys.job_outcome("local", JOB), b"")
    await stub_of(api).DeleteDataset(request)


def test_a_full_disk_is_told_from_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = upload.IncomingFile(tmp_path / "f", 0, contextlib.nullcontext())

    class Broken:
        number = 28  # ENOSPC

        def write(self, chunk: bytes) -> int:
            raise OSError(self.number, "x", len(chunk))

        def close(self) -> None:
            raise OSError(self.number, "x")

    broken = Broken()
    incoming._file.close()
    monkeypatch.setattr(incoming, "_file", broken)
    with pytest.raises(errors.LimitExceeded, match="no room"):
        incoming.write(b"x")
    broken.number = 5  # EIO
    with pytest.raises(errors.Unavailable, match="could not be written"):
        incoming.finish()

    incoming.discard()
    incoming.close()
    assert not incoming.path.exists()
