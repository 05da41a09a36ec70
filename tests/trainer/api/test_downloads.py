"""Files of versions over the wire: whole, from an offset, bounded, honest about what is missing."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from tests.trainer.api.serving import Served, serving
from trainer.api.downloads import CHUNK_BYTES, MAX_STREAMS, Downloads, find
from twofold import errors, keys, manifest, rpc
from twofold.principal import LOCAL
from twofold.v1 import model_pb2, model_pb2_grpc

WEIGHTS = bytes(range(256)) * (10 << 10)  # 2.5 chunks
NAME = "models/m/versions/1"
FOLDER = keys.version("local", "m", 1)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        publish(served)
        yield served


def publish(api: Served, weights: bytes = WEIGHTS) -> bytes:
    made = model_pb2.Manifest(format_version=1, model="m", version=1)
    made.files.add(
        name="weights.safetensors",
        size_bytes=len(WEIGHTS),
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )
    api.store.create(f"{FOLDER}/weights.safetensors", weights)
    api.store.create(keys.version_manifest("local", "m", 1), manifest.encode(made))
    return manifest.encode(made)


Messages = list[model_pb2.DownloadModelFileResponse]


async def download(
    api: Served, file: str = "weights.safetensors", offset: int = 0, name: str = NAME
) -> Messages:
    request = model_pb2.DownloadModelFileRequest(name=name, file=file, offset_bytes=offset)
    stub: model_pb2_grpc.ModelServiceAsyncStub = model_pb2_grpc.ModelServiceStub(api.channel)
    return [message async for message in stub.DownloadModelFile(request)]


async def refusal(
    api: Served, file: str = "weights.safetensors", offset: int = 0, name: str = NAME
) -> errors.TwofoldError:
    try:
        await download(api, file, offset, name)
    except grpc.aio.AioRpcError as error:
        return rpc.from_rpc_error(error)
    raise AssertionError("the call succeeded")


async def test_a_file_comes_whole_after_what_it_is(api: Served) -> None:
    header, *chunks = await download(api)

    assert header.header.name == NAME
    assert header.header.file.size_bytes == len(WEIGHTS)
    assert header.header.file.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert b"".join(message.chunk for message in chunks) == WEIGHTS
    assert [len(message.chunk) for message in chunks] == [CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES / 2]


@pytest.mark.parametrize("offset", [1, CHUNK_BYTES + 3, len(WEIGHTS)])
async def test_a_stream_begins_where_it_is_asked_to(api: Served, offset: int) -> None:
    header, *chunks = await download(api, offset=offset)

    assert header.header.offset_bytes == offset
    assert b"".join(message.chunk for message in chunks) == WEIGHTS[offset:]


async def test_the_manifest_comes_as_the_very_bytes_that_its_digest_is_of(api: Served) -> None:
    stored = api.store.read(keys.version_manifest("local", "m", 1)) or b""

    header, *chunks = await download(api, "manifest.json", name="models/m/versions/latest")

    assert b"".join(message.chunk for message in chunks) == stored
    assert header.header.file.sha256 == hashlib.sha256(stored).hexdigest()
    assert header.header.name == NAME


@pytest.mark.parametrize("file", ["", "claim", "../1/claim", "graph.pb", "withdrawn.json"])
async def test_what_the_manifest_does_not_list_is_no_file(api: Served, file: str) -> None:
    api.store.create(keys.version_claim("local", "m", 1), b"claim")

    refused = await refusal(api, file)

    assert isinstance(refused, errors.InvalidField)
    assert refused.fields["allowed"] == "manifest.json, weights.safetensors"


@pytest.mark.parametrize("offset", [-1, len(WEIGHTS) + 1])
async def test_offsets_are_those_of_the_file(api: Served, offset: int) -> None:
    refused = await refusal(api, offset=offset)

    assert isinstance(refused, errors.InvalidField)
    assert refused.fields["field"] == "offset_bytes"


async def test_unknown_versions_are_not_found(api: Served) -> None:
    for name in ("models/m/versions/2", "models/n/versions/1", "models/m/versions/stable"):
        assert isinstance(await refusal(api, name=name), errors.NotFound)


async def test_a_shorter_file_is_corrupt_and_a_missing_one_not_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        publish(api, WEIGHTS[:-1])

        assert isinstance(await refusal(api), errors.Corrupt)
        api.store.remove(f"{FOLDER}/weights.safetensors")
        assert isinstance(await refusal(api), errors.NotFound)


async def test_streams_of_one_principal_are_bounded(api: Served) -> None:
    downloads = Downloads(api.desk)
    stored = find(api.store, "local", ("m", 1), "weights.safetensors")
    streams = [downloads.stream(LOCAL, stored, 0) for _ in range(MAX_STREAMS + 1)]
    for stream in streams[:-1]:
        await anext(stream)

    with pytest.raises(errors.LimitExceeded, match="16 streams are open"):
        await anext(streams[-1])
    await streams[0].aclose()
    assert [len(message.chunk) async for message in downloads.stream(LOCAL, stored, 0)][1:]
    for stream in streams[1:]:
        await stream.aclose()


async def test_a_drain_ends_streams_so_that_clients_go_on_elsewhere(api: Served) -> None:
    api.desk.draining.set()

    assert isinstance(await refusal(api), errors.Unavailable)
