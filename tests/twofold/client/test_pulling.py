"""Pulling versions: verified, resumed, all of it or nothing, never over something else."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.twofold.client.registry.service import VERSION_FILES
from tests.twofold.client.serving import Servers
from twofold import AsyncClient, errors
from twofold.client import Client, Connection, Pulled
from twofold.client.downloads import Wanted

PullIt = Callable[[Connection, int | str, Path], Pulled]
NAMES = sorted([*VERSION_FILES, "manifest.json", "state_dict.safetensors"])
AWAY = errors.Unavailable("restarting")


def blocking(connection: Connection, version: int | str, out: Path) -> Pulled:
    with Client(connection=connection) as client:
        return client.models.pull("digits", version, out)


def asynchronous(connection: Connection, version: int | str, out: Path) -> Pulled:
    async def pull() -> Pulled:
        async with AsyncClient(connection=connection) as client:
            return await client.models.pull("digits", version, out)

    return asyncio.run(pull())


@pytest.fixture(params=[blocking, asynchronous])
def pull(request: pytest.FixtureRequest) -> PullIt:
    return request.param


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_version_comes_whole_with_its_plain_state_dict(
    pull: PullIt, servers: Servers, tmp_path: Path
) -> None:
    pulled = pull(servers.connection(), "stable", tmp_path / "out")

    assert names(tmp_path / "out") == NAMES
    for name, data in VERSION_FILES.items():
        assert (pulled.folder / name).read_bytes() == data
    weights = VERSION_FILES["weights.safetensors"]
    assert (pulled.folder / "state_dict.safetensors").read_bytes() == weights
    own = (pulled.folder / "manifest.json").read_bytes()
    assert hashlib.sha256(own).hexdigest() == pulled.manifest_sha256
    assert (pulled.version, pulled.is_new) == ("models/digits/versions/2", True)
    assert pulled.manifest.lineage.epoch == 42
    assert [file.name for file in pulled.files] == [
        "manifest.json", *VERSION_FILES, "state_dict.safetensors",
    ]  # fmt: skip
    for file in pulled.files:
        data = (pulled.folder / file.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size_bytes, file.sha256)
    assert names(tmp_path) == ["out"]


def test_a_broken_stream_is_gone_on_with_where_it_broke(
    pull: PullIt, servers: Servers, tmp_path: Path
) -> None:
    """By an error, by an early end, and with nothing come at all."""
    servers.models.breaks = [(2, AWAY), (1, None), (0, AWAY)]

    pulled = pull(servers.connection(), 1, tmp_path / "out")

    weights = VERSION_FILES["weights.safetensors"]
    assert (pulled.folder / "weights.safetensors").read_bytes() == weights
    # Manifest, graph; four streams of weights; golden rows.
    assert servers.models.offsets == [0, 0, 0, 2000, 3000, 3000, 0]


def test_an_unavailable_server_is_given_up_and_nothing_stays(
    pull: PullIt, servers: Servers, tmp_path: Path
) -> None:
    servers.models.breaks = [(0, AWAY)] * 5

    with pytest.raises(errors.Unavailable):
        pull(servers.connection(attempts=3), 1, tmp_path / "out")

    assert servers.script.count("DownloadModelFile") == 5
    assert names(tmp_path) == []


@pytest.mark.parametrize("change", [b"x", b""])
def test_other_bytes_than_the_manifest_says_are_refused(
    pull: PullIt, servers: Servers, tmp_path: Path, change: bytes
) -> None:
    weights = VERSION_FILES["weights.safetensors"]
    servers.models.files["weights.safetensors"] = change + weights[1:] + change

    with pytest.raises((errors.Corrupt, errors.Unavailable)) as caught:
        pull(servers.connection(), 1, tmp_path / "out")

    # Too few bytes look like a stream that ended early.
    assert isinstance(caught.value, errors.Corrupt if change else errors.Unavailable)
    assert names(tmp_path) == []


def test_a_digest_that_does_not_fit_is_refused(servers: Servers, tmp_path: Path) -> None:
    whole = VERSION_FILES["graph.pb"]
    servers.models.files["graph.pb"] = whole[:-1] + bytes([whole[-1] ^ 1])

    with pytest.raises(errors.Corrupt, match=r"graph.pb is not what its digest says"):
        blocking(servers.connection(), 1, tmp_path / "out")


def test_a_folder_that_holds_the_version_is_left_as_it_is(
    pull: PullIt, servers: Servers, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = pull(servers.connection(), 1, out)
    (out / "notes.txt").write_text("mine")
    count = servers.script.count("DownloadModelFile")

    again = pull(servers.connection(), 1, out)

    assert (again.is_new, again.files) == (False, first.files)
    assert servers.script.count("DownloadModelFile") == count
    assert names(out) == sorted([*NAMES, "notes.txt"])


def test_an_empty_folder_is_filled(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    assert blocking(servers.connection(), 1, tmp_path / "out").is_new


def other_version(out: Path) -> None:
    manifest = out / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"version":"1"', b'"version":"2"'))


def without_weights(out: Path) -> None:
    (out / "weights.safetensors").unlink()


def other_state(out: Path) -> None:
    (out / "state_dict.safetensors").write_bytes(b"mine")


def users_own(out: Path) -> None:
    for path in out.iterdir():
        path.unlink()
    (out / "thesis.tex").write_text("years of work")


def a_file(out: Path) -> None:
    users_own(out)
    (out / "thesis.tex").unlink()
    out.rmdir()
    out.write_text("a file")


@pytest.mark.parametrize("change", [other_version, without_weights, other_state, users_own, a_file])
def test_anything_else_is_never_overwritten(
    servers: Servers, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    out = tmp_path / "out"
    blocking(servers.connection(), 1, out)
    change(out)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    with pytest.raises(errors.InvalidField) as caught:
        blocking(servers.connection(), 1, out)

    assert caught.value.fields["field"] == "out"
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_what_appears_meanwhile_is_not_replaced(servers: Servers, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Client(connection=servers.connection()) as client:
        real = client.models._transport.download

        def download(
            wanted: Wanted, write: Callable[[bytes], object], timeout_s: float | None = None
        ) -> None:
            out.mkdir(exist_ok=True)
            (out / "thesis.tex").write_text("years of work")
            real(wanted, write, timeout_s)

        client.models._transport.download = download
        with pytest.raises(errors.InvalidField, match="cannot be written"):
            client.models.pull("digits", 1, out)

    assert names(out) == ["thesis.tex"]
    assert names(tmp_path) == ["out"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_made_is_named(servers: Servers, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(errors.InvalidField, match="cannot be written: Permission denied"):
        blocking(servers.connection(), 1, tmp_path / "out")


def test_the_default_folder_is_named_like_the_version(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Client(connection=servers.connection()) as client:
        pulled = client.models.pull("digits")

    assert pulled.folder == tmp_path / "digits@3"


def test_unknown_versions_write_nothing(pull: PullIt, servers: Servers, tmp_path: Path) -> None:
    servers.script.failures["GetModelVersion"] = [errors.NotFound("no")]

    with pytest.raises(errors.NotFound):
        pull(servers.connection(), 9, tmp_path / "out")

    assert names(tmp_path) == []
