"""The first version of a process loads like any other, since others were loaded before it."""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

import pytest

from inferer import app, rehearsal
from inferer.engine import Engine
from inferer.loading import Loaded, Loader
from tests.inferer import artifacts
from tests.inferer.server import running, settings_for
from tests.inferer.test_main import environment
from tests.waiting import until
from twofold.store import LocalStore


async def test_nothing_is_imported_by_the_first_load_of_a_process(
    store: LocalStore, tmp_path: Path
) -> None:
    artifacts.put(store, "m", artifacts.classifier())

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.inferer.watched_inferer"),
        env=environment(tmp_path),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    rehearsed, (model, imported), has_compiler = map(json.loads, output.splitlines())
    assert rehearsed[0] == "rehearsal"
    assert (model, imported) == ("m", [])
    assert not has_compiler  # a second of every start, and 70 MB


async def rehearsals(monkeypatch: pytest.MonkeyPatch, folder: Path, *, is_empty: bool) -> list[str]:
    """What an inferer rehearses until it is ready, and the load among it."""
    store, done = LocalStore(folder / "store"), list[str]()
    load = Loader.load

    def watched(self: Loader, tenant: str, model: str, number: int) -> Loaded:
        done.append(model)
        return load(self, tenant, model, number)

    def note(name: str, *_: object) -> None:
        done.append(name)

    monkeypatch.setattr(Loader, "load", watched)
    for name in ("usual", "others"):
        monkeypatch.setattr(app, f"rehearse_{name}", partial(note, name))
    if not is_empty:
        artifacts.put(store, "m", artifacts.constant(1))
    async with running(settings_for(folder / "store")) as server:
        await until(server.is_server_ready)
        if is_empty:
            artifacts.put(store, "m", artifacts.constant(1))
            await until(lambda: server.is_ready("m"))
    return done


async def test_all_kinds_are_rehearsed_where_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert await rehearsals(monkeypatch, tmp_path, is_empty=True) == ["usual", "others", "m"]


async def test_who_is_served_is_not_disturbed_by_rehearsals(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert await rehearsals(monkeypatch, tmp_path, is_empty=False) == ["usual", "m"]


def test_rehearsals_go_all_the_way_and_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded: list[Loaded] = []
    load = Loader.load

    def watched(self: Loader, tenant: str, model: str, number: int) -> Loaded:
        loaded.append(load(self, tenant, model, number))
        return loaded[-1]

    monkeypatch.setattr(Loader, "load", watched)
    made: list[Engine] = []

    def make(*, threads: int, device: str) -> Engine:
        made.append(Engine(threads=threads, device=device))
        return made[-1]

    for rehearse in (rehearsal.rehearse_usual, rehearsal.rehearse_others) * 2:
        rehearse(make, 1, "cpu")

    assert [[*each.signature.inputs] for each in loaded] == [
        ["x", "category"],
        ["x", "category"],
        ["image"],
    ]
    assert all(each.program.expected_s(1) < 1 for each in loaded)  # warm
    assert len(made) == 2
    assert not caplog.records


def test_a_rehearsal_that_fails_is_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load(*_: object) -> Loaded:
        raise RuntimeError("no luck")

    monkeypatch.setattr(Loader, "load", load)

    def make(*, threads: int, device: str) -> Engine:
        return Engine(threads=threads, device=device)

    rehearsal.rehearse_usual(make, 1, "cpu")

    assert "a rehearsal failed" in caplog.text
