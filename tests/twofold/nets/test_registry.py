"""twofold.nets.load: from a server, a cache or a folder, verified and replayed each time."""
# pyright: reportUnknownMemberType=false

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.inferer import artifacts
from tests.trainer.api.serving import Served, serving
from twofold import Client, errors, nets
from twofold.nets import registry
from twofold.nets.net import Net
from twofold.nets.net import load as load_net
from twofold.principal import LOCAL
from twofold.seams import SystemClock
from twofold.versions import set_alias


@contextmanager
def served(folder: Path) -> Generator[Served]:
    """The trainer's API in this process, on an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    api = serving(folder)
    try:
        yield asyncio.run_coroutine_threadsafe(api.__aenter__(), loop).result(20)
        asyncio.run_coroutine_threadsafe(api.__aexit__(None, None, None), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    """A registry with m@1, whose alias is stable, and m@2."""
    with served(tmp_path / "api") as running:
        artifacts.put(running.store, "m", artifacts.classifier(1))
        artifacts.put(running.store, "m", artifacts.classifier(2))
        set_alias(running.store, SystemClock(), LOCAL, "m", "stable", 1)
        yield running


def load(api: Served, what: str, cache: Path) -> Net:
    return nets.load(what, server=api.address, cache=cache)


def same(net: torch.nn.Module, seed: int) -> bool:
    _, expected = artifacts.classifier(seed)
    found, wanted = net.state_dict(), expected.state_dict()
    return found.keys() == wanted.keys() and all(
        torch.equal(found[key], wanted[key]) for key in wanted
    )


@pytest.mark.parametrize(
    ("what", "number"), [("m", 2), ("m@1", 1), ("m@stable", 1), ("m:stable", 1), ("m@latest", 2)]
)
def test_a_version_comes_as_a_module_in_eval_mode(
    api: Served, tmp_path: Path, what: str, number: int
) -> None:
    net = load(api, what, tmp_path / "cache")

    assert same(net, number)
    assert not net.training
    assert net.manifest is not None
    assert (net.manifest.model, net.manifest.version) == ("m", number)
    assert (
        f"m@{number}: x FP32 [-1, 2], category BYTES [-1, 1] -> "
        "probabilities FP32 [-1, 3], label BYTES [-1, 1]"
    ) in repr(net)


def test_forward_gives_logits(api: Served, tmp_path: Path) -> None:
    _, expected = artifacts.classifier(1)
    rows = torch.randn(4, 2), torch.tensor([[0], [1], [-1], [0]])

    net = load(api, "m@1", tmp_path / "cache")

    assert torch.equal(net(*rows), expected.eval()(*rows))


def test_what_is_cached_is_not_fetched_again(
    api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(api, "m@1", tmp_path / "cache")
    monkeypatch.delattr("twofold.client.blocking.resources.Models.pull")

    assert same(load(api, "m@stable", tmp_path / "cache"), 1)


def test_the_cache_is_private_and_by_digest(api: Served, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    load(api, "m@1", cache)
    with Client(train=api.address) as client:
        digest = client.models.version("m", 1).manifest_sha256

    assert [entry.name for entry in (cache / "models").iterdir()] == [digest]
    assert [path.stat().st_mode & 0o777 for path in (cache, cache / "models")] == [0o700] * 2


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json", "graph.pb"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_damaged_cache_is_fetched_anew(
    api: Served, tmp_path: Path, name: str, *, gone: bool
) -> None:
    load(api, "m@1", tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "models").iterdir()
    if gone:
        (entry / name).unlink()
    else:
        (entry / name).write_bytes((entry / name).read_bytes()[:-1] + b"?")

    assert same(load(api, "m@1", tmp_path / "cache"), 1)


def test_a_cache_that_others_may_write_is_refused(api: Served, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)

    with pytest.raises(errors.InvalidField, match="may be written by others") as caught:
        load(api, "m@1", tmp_path / "shared")

    assert caught.value.fields["field"] == "cache"


def test_a_link_is_no_cache(api: Served, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(errors.InvalidField, match="is no folder of its own"):
        load(api, "m@1", tmp_path / "link")


@pytest.fixture
def folder(api: Served, tmp_path: Path) -> Path:
    """m@1 as pulled."""
    with Client(train=api.address) as client:
        return client.models.pull("m", 1, tmp_path / "pulled").folder


def test_a_pulled_folder_needs_no_server(folder: Path) -> None:
    assert same(nets.load(folder), 1)
    assert same(nets.load(str(folder)), 1)


def test_the_plain_state_dict_is_the_nets_own(folder: Path) -> None:
    plain = safetensors.torch.load_file(folder / "state_dict.safetensors")
    net = nets.load(folder)

    assert plain.keys() == net.state_dict().keys()
    net.load_state_dict(plain)
    assert same(net, 1)


def replaced(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def without_golden(folder: Path) -> None:
    (folder / "golden.safetensors").unlink()


def consistent_lie(folder: Path) -> None:
    """Other weights, and a manifest that has their digest: golden replay alone can tell."""
    from twofold import manifest  # noqa: PLC0415 - for this case alone

    files = artifacts.files_of(*artifacts.classifier(2))
    (folder / "weights.safetensors").write_bytes(files["weights.safetensors"])
    found = manifest.decode((folder / "manifest.json").read_bytes())
    for file in found.files:
        if file.name == "weights.safetensors":
            file.sha256 = manifest.sha256_hex(files["weights.safetensors"])
    (folder / "manifest.json").write_bytes(manifest.encode(found))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replaced("graph.pb", b"\xff"), "graph.pb differs"),
        (replaced("weights.safetensors", bytes(1 << 20)), "weights.safetensors has more than"),
        (replaced("manifest.json", b"{"), "not JSON"),
        (without_golden, "golden.safetensors cannot be"),
        (consistent_lie, "golden replay: "),
    ],
)
def test_a_changed_folder_is_corrupt(
    folder: Path, change: Callable[[Path], object], told: str
) -> None:
    change(folder)

    with pytest.raises(errors.Corrupt, match=told):
        nets.load(folder)


def test_a_folder_that_is_no_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidField, match="allowed: a folder that `twofold models pull` w"):
        nets.load(tmp_path)


@pytest.mark.parametrize("what", ["M", "m@1@2", "", "m@..", "./nowhere", "models/m/versions/1"])
def test_what_names_no_version_is_refused(api: Served, tmp_path: Path, what: str) -> None:
    with pytest.raises(errors.InvalidField, match=r"what is .*allowed"):
        load(api, what, tmp_path / "cache")


def test_unknown_versions_are_not_found(api: Served, tmp_path: Path) -> None:
    for what in ("m@9", "n", "m@canary"):
        with pytest.raises(errors.NotFound):
            load(api, what, tmp_path / "cache")


def test_another_process_may_fetch_the_same(
    api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twofold.client.blocking.resources import Models  # noqa: PLC0415 - for this test alone

    real = Models.pull

    def pull(models: Models, model: str, version: int | str, out: Path) -> object:
        real(models, model, version, out)
        raise errors.InvalidField("it was there first", field="out")

    monkeypatch.setattr(Models, "pull", pull)

    assert same(load(api, "m@1", tmp_path / "cache"), 1)


def test_a_module_of_the_users_may_be_called_manifest() -> None:
    spec, net = artifacts.constant(7)
    graph = net.graph
    (module,) = graph.modules
    for node in graph.nodes:
        if node.module == module.path:
            node.module = "manifest"
    state = {key.replace(module.path, "manifest"): value for key, value in net.state_dict().items()}
    module.path = "manifest"
    renamed = load_net(graph, state)
    files = artifacts.files_of(spec, renamed)
    manifest = artifacts.manifest_of("m", spec, renamed, files)

    built = registry.build(manifest, files)

    assert built.manifest is manifest
    assert "manifest.weight" in built.state_dict()


def test_the_package_imports_no_torch_until_it_is_asked() -> None:
    code = "import twofold.nets, sys; print('torch' in sys.modules, 'grpc' in sys.modules)"

    found = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=25
    )

    assert found.stdout.strip() == "False False"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = nets.nope  # pyright: ignore[reportAttributeAccessIssue] - absent on purpose
