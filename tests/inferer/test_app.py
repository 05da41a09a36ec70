"""The whole inferer over real gRPC and a real store."""

import asyncio
import itertools
import urllib.request
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from inferer import app
from tests.inferer import artifacts
from tests.inferer.server import Running, outputs_of, running, settings_for
from tests.twofold import arrays
from tests.valkey import Valkey
from tests.waiting import until
from twofold.config import InfererSettings, UnusableSettings
from twofold.errors import InvalidTensor
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL
from twofold.queue.plan import announcement
from twofold.rpc import from_rpc_error
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.versions import set_alias, withdraw

X = np.zeros((1, 2), np.float32)


@pytest.fixture
def settings(tmp_path: Path) -> InfererSettings:
    return settings_for(tmp_path / "store")


async def value_of(server: Running, version: str = "") -> tuple[str, float]:
    """The version that answered, and its answer, which tells the version too."""
    response = await server.infer("m", {"x": X}, version)
    return response.model_version, float(outputs_of(response)["value"][0, 0])


async def until_serves(server: Running, number: int, version: str = "") -> None:
    async def does() -> bool:
        return (await value_of(server, version))[0] == str(number)

    await until(does)


async def put(store: LocalStore, value: float) -> int:
    return await asyncio.to_thread(artifacts.put, store, "m", artifacts.constant(value))


async def test_a_published_version_answers(store: LocalStore, settings: InfererSettings) -> None:
    spec, net = made = artifacts.classifier()
    number = artifacts.put(store, "digits", made)
    inputs = artifacts.raw_inputs(spec, 3)
    async with running(settings) as server:
        response = await server.infer("digits", inputs)

    expected = artifacts.answer(spec, net, inputs)
    got = outputs_of(response)
    assert (response.model_name, response.model_version) == ("digits", str(number))
    np.testing.assert_allclose(got["probabilities"], expected["probabilities"], atol=1e-6)
    assert got["label"].tolist() == expected["label"].tolist()


async def test_images_and_identifiers_are_answered_raw(
    store: LocalStore, settings: InfererSettings
) -> None:
    """What any client of the protocol sees: metadata, configuration, tensors of any rank."""
    image = artifacts.module(arrays.conv(maps=True), "dark", "bright")
    ids = artifacts.module(arrays.tokens(), "dark", "bright")
    artifacts.put(store, "image", image)
    artifacts.put(store, "ids", ids)
    asked = pb.ModelMetadataRequest(name="image")
    async with running(settings) as server:
        for name, (spec, net) in (("image", image), ("ids", ids)):
            inputs = artifacts.raw_inputs(spec, 3)
            got = outputs_of(await server.infer(name, inputs))
            expected = artifacts.answer(spec, net, inputs)
            assert list(got) == list(expected)
            for output, array in expected.items():
                np.testing.assert_allclose(got[output], array, rtol=1e-5, atol=1e-6)
        metadata = await server.call("ModelMetadata", asked, pb.ModelMetadataResponse)
        config = await server.call(
            "ModelConfig", pb.ModelConfigRequest(name="image"), pb.ModelConfigResponse
        )

    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs] == [
        ("image", "FP32", [-1, 3, 6, 6])
    ]
    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.outputs] == [
        ("logits", "FP32", [-1, 2]),
        ("maps", "FP32", [-1, 4, 6, 6]),
        ("best", "INT64", [-1]),
    ]
    assert metadata.properties["array_columns"] == '["image"]'
    assert [list(one.dims) for one in config.config.input] == [[3, 6, 6]]
    assert config.config.parameters["form"].string_value
    assert "eager" in config.config.parameters["form_reason"].string_value
    assert [list(one.dims) for one in config.config.output] == [[2], [4, 6, 6], []]


async def test_reloads_under_load_fail_nothing_and_mix_nothing(
    store: LocalStore, settings: InfererSettings
) -> None:
    """Every answer is what its version computes, and no client ever sees a version go back."""
    reload_count, client_count = 12, 4
    seen: list[list[tuple[str, float]]] = [[] for _ in range(client_count)]
    await put(store, 1)

    async def ask(server: Running, answers: list[tuple[str, float]]) -> None:
        while not answers or answers[-1][0] != str(reload_count):
            answers.append(await value_of(server))

    async with running(settings) as server:
        await until_serves(server, 1)
        clients = [asyncio.create_task(ask(server, answers)) for answers in seen]
        for number in range(2, reload_count + 1):
            assert await put(store, number) == number
            await until_serves(server, number)
        await asyncio.gather(*clients)

    for answers in seen:
        assert all(float(version) == value for version, value in answers)
        numbers = [int(version) for version, _ in answers]
        assert all(before <= after for before, after in itertools.pairwise(numbers))
    assert {version for answers in seen for version, _ in answers} == {
        str(number) for number in range(1, reload_count + 1)
    }


@pytest.mark.parametrize("name", ["weights.safetensors", "graph.pb", "golden.safetensors"])
async def test_a_damaged_version_changes_nothing(
    store: LocalStore, settings: InfererSettings, name: str
) -> None:
    await put(store, 1)
    await put(store, 2)
    path = store.path(f"local/models/m/2/{name}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    artifacts.overwrite(store, "m", 2, name, bytes(data))
    async with running(settings) as server:
        served = await value_of(server)
        index = await server.call(
            "RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.infer("m", {"x": X}, "2")

    assert served == ("1", 1.0)
    states = {model.version: (model.state, model.reason) for model in index.models}
    assert states["1"] == ("READY", "")
    assert states["2"] == ("UNAVAILABLE", f"{name} differs from its manifest")
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS


async def test_a_version_with_wrong_golden_answers_is_refused_once(
    store: LocalStore, settings: InfererSettings, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, 1)
    wrong = {"golden.safetensors": artifacts.files_of(*artifacts.constant(7))["golden.safetensors"]}
    artifacts.put(store, "m", artifacts.constant(2), files=wrong)
    async with running(settings) as server:
        await until_serves(server, 1)
        await put(store, 3)  # loading it takes several looks at the store
        await until_serves(server, 3)

    assert [record.message for record in caplog.records].count("version refused") == 1


async def test_a_repaired_version_is_tried_again(
    store: LocalStore, settings: InfererSettings
) -> None:
    await put(store, 1)
    tolerances = [{"device": "cuda", "precision": "fp32"}]
    artifacts.remake_manifest(store, "m", 1, {"tolerances": tolerances})
    async with running(settings) as server:
        with pytest.raises(grpc.aio.AioRpcError, match="refused: it is damaged"):
            await value_of(server)
        tolerances[0]["device"] = "cpu"
        artifacts.remake_manifest(store, "m", 1, {"tolerances": tolerances})

        async def is_ready() -> bool:
            return await server.is_ready("m")

        await until(is_ready)
        assert await value_of(server) == ("1", 1.0)


async def test_old_versions_load_when_asked_for_by_number(
    store: LocalStore, settings: InfererSettings
) -> None:
    for value in (1, 2, 3, 4):
        await put(store, value)
    async with running(settings) as server:
        await until_serves(server, 4)
        was_ready = await server.is_ready("m", "1")

        assert await value_of(server, "1") == ("1", 1.0)
        assert not was_ready
        assert await server.is_ready("m", "1")
        assert not await server.is_ready("m", "2")
        assert await value_of(server) == ("4", 4.0)


async def test_aliases_and_withdrawals_move_traffic(
    store: LocalStore, settings: InfererSettings
) -> None:
    clock = SystemClock()
    for value in (1, 2):
        await put(store, value)
    set_alias(store, clock, LOCAL, "m", "stable", 1)
    async with running(settings) as server:
        assert await value_of(server, ":stable") == ("1", 1.0)
        await asyncio.to_thread(set_alias, store, clock, LOCAL, "m", "stable", 2)
        await until_serves(server, 2, ":stable")
        await asyncio.to_thread(withdraw, store, clock, LOCAL, "m", 2)
        await until_serves(server, 1)

        assert await value_of(server, ":stable") == ("2", 2.0)
        with pytest.raises(grpc.aio.AioRpcError, match="alias canary of models/m does not exist"):
            await value_of(server, ":canary")


async def test_a_new_model_answers_without_waiting_for_the_next_look(
    store: LocalStore, tmp_path: Path
) -> None:
    """An unknown name is looked up at once, but not again and again."""
    async with running(settings_for(tmp_path / "store", poll_interval_s=3600)) as server:
        await put(store, 1)

        assert await value_of(server) == ("1", 1.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.infer("other", {"x": X})

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "model other does not exist; there are: m"


async def test_redis_tells_of_versions_at_once(
    store: LocalStore, tmp_path: Path, valkey: Valkey
) -> None:
    await put(store, 1)
    changed = settings_for(tmp_path / "store", poll_interval_s=3600, redis_url=valkey.url)
    async with running(changed) as server:
        await until_serves(server, 1)
        await put(store, 2)
        valkey.command(*(str(part) for part in announcement(LOCAL.tenant)))
        await until_serves(server, 2)


async def test_a_model_that_cannot_be_read_stops_no_other(
    store: LocalStore, settings: InfererSettings
) -> None:
    await put(store, 1)
    artifacts.put(store, "broken", artifacts.constant(1))
    set_alias(store, SystemClock(), LOCAL, "broken", "stable", 1)
    store.path("local/models/broken/aliases/stable/1.json").chmod(0o600)
    store.path("local/models/broken/aliases/stable/1.json").write_text("junk")
    async with running(settings) as server:
        assert await value_of(server) == ("1", 1.0)
        await put(store, 2)
        await until_serves(server, 2)


async def test_the_metrics_page_names_what_is_loaded(
    store: LocalStore, settings: InfererSettings
) -> None:
    await put(store, 1)
    async with running(settings) as server:
        await value_of(server)
        await server.infer("m", {"x": np.zeros((3, 2), np.float32)})
        url = f"http://{server.app.metrics_address}/metrics"
        page = await asyncio.to_thread(read, url)

    labels = '{model="m",version="1"}'
    for line in (
        f"nv_inference_request_success{labels} 2.0",
        'nv_inference_request_failure{model="m",reason="REJECTED",version="1"} 0.0',
        f"nv_inference_count{labels} 4.0",
        f"nv_inference_exec_count{labels} 2.0",
        'twofold_inferer_batch_rows_bucket{le="1.0",model="m",version="1"} 1.0',
        f"twofold_inferer_batch_rows_sum{labels} 4.0",
        f"twofold_inferer_request_seconds_count{labels} 2.0",
        f"twofold_inferer_queue_rows{labels} 0.0",
        "twofold_inferer_loads_total 1.0",
        "twofold_inferer_load_failures_total 0.0",
        "twofold_inferer_load_seconds_count 1.0",
    ):
        assert line in page.splitlines()


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own page
        return response.read().decode()


async def test_the_store_need_not_be_there_yet(
    store: LocalStore, settings: InfererSettings
) -> None:
    async with running(settings) as server:
        await until(server.is_server_ready)
        await put(store, 1)

        assert await value_of(server) == ("1", 1.0)


@pytest.mark.parametrize("field", ["infer_address", "metrics_address"])
async def test_an_address_in_use_is_refused(settings: InfererSettings, field: str) -> None:
    async with running(settings) as server:
        taken = {"infer_address": server.app.address, "metrics_address": server.app.metrics_address}
        other = settings.model_copy(update={field: taken[field]})
        with pytest.raises(OSError, match=f"cannot listen on {taken[field]}"):
            async with running(other):
                pass


async def test_an_unusable_redis_url_is_refused(settings: InfererSettings) -> None:
    with pytest.raises(UnusableSettings, match="TWOFOLD_REDIS_URL is 'localhost'"):
        async with running(settings.model_copy(update={"redis_url": "localhost"})):
            pass


async def test_draining_finishes_what_runs_and_says_so(store: LocalStore, tmp_path: Path) -> None:
    """Health first, then no new calls; a request in the middle of its batch gets its answer."""
    artifacts.put(store, "slow", artifacts.slow())
    rows = np.zeros((512, 2), np.float32)
    async with running(settings_for(tmp_path / "store", drain_s=10)) as server:
        await until(server.is_server_ready)
        await server.infer("slow", {"x": X})
        statuses = server.watch_health()
        seen = [await anext(statuses)]
        asked = [asyncio.create_task(server.infer("slow", {"x": rows})) for _ in range(4)]
        await asyncio.sleep(0)
        server.app.stop()
        seen += [status async for status in statuses]
        answers = await asyncio.gather(*asked)

    assert seen == ["SERVING", "NOT_SERVING"]
    assert [answer.model_version for answer in answers] == ["1"] * 4


async def test_errors_tell_code_reason_and_input(
    store: LocalStore, settings: InfererSettings
) -> None:
    await put(store, 1)
    async with running(settings) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.infer("m", {"x": np.zeros((1, 3), np.float32)})

    error = from_rpc_error(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(error, InvalidTensor)
    assert error.fields == {
        "input": "x",
        "expected": "FP32 [-1, 2]",
        "got": "FP32 [1, 3]",
    }


def test_a_user_without_a_home_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container that runs as any user."""
    monkeypatch.delenv("TWOFOLD_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)

    assert app._cache() is None
    assert "TWOFOLD_CACHE" in caplog.text


async def test_it_comes_to_rest_once_all_is_loaded_and_before_it_says_so(
    store: LocalStore, settings: InfererSettings
) -> None:
    artifacts.put(store, "m", artifacts.constant(1))
    seen: list[bool] = []

    made = app.App(settings, at_rest=lambda: seen.append(made.health.is_serving))

    async def is_serving() -> bool:
        return made.health.is_serving

    task = asyncio.create_task(made.run())
    await until(is_serving)

    assert seen == [False]
    made.stop()
    await task
