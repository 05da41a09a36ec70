"""The process: its settings, its line in the log, its end."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from inferer import __main__ as entry
from tests.inferer import artifacts
from tests.inferer.server import Caller, outputs_of
from twofold.store import LocalStore


def environment(folder: Path, **changes: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TWOFOLD_")}
    return {
        **own,
        "TWOFOLD_STORE": str(folder / "store"),
        "TWOFOLD_REDIS_URL": "",
        "TWOFOLD_INFER_ADDRESS": "127.0.0.1:0",
        "TWOFOLD_METRICS_ADDRESS": "127.0.0.1:0",
        "TWOFOLD_POLL_INTERVAL_S": "0.05",
        "TWOFOLD_DRAIN_S": "5",
        **changes,
    }


@contextlib.asynccontextmanager
async def started(folder: Path, **changes: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "inferer"),
        env=environment(folder, **changes),
        stderr=asyncio.subprocess.PIPE,
    )
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process, message: str) -> dict[str, str]:
    """The next log line with this message."""
    assert process.stderr is not None
    while data := await process.stderr.readline():
        fields: dict[str, str] = json.loads(data)
        if fields["message"] == message:
            return fields
    raise AssertionError(f"no line {message!r}")


async def test_it_serves_until_told_to_stop_and_exits_0(store: LocalStore, tmp_path: Path) -> None:
    artifacts.put(store, "m", artifacts.constant(3))
    async with started(tmp_path, TWOFOLD_INSECURE="i-know") as process:
        await line(process, "exposure without TLS and tokens is accepted by the operator")
        listening = await line(process, "listening")
        await line(process, "ready")
        async with grpc.aio.insecure_channel(listening["address"]) as channel:
            server = Caller(channel)
            response = await server.infer("m", {"x": np.zeros((1, 2), np.float32)})
        process.terminate()
        await line(process, "stopped")

        assert await process.wait() == 0
    assert outputs_of(response)["value"].tolist() == [[3.0]]
    assert listening["metrics"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TWOFOLD_MAX_BATCH_SIZE", "0"),
        ("TWOFOLD_INFER_ADDRESS", "0.0.0.0:8001"),
        ("TWOFOLD_REDIS_URL", "localhost:6379"),
        ("TWOFOLD_MODELS_FILE", "none.toml"),
    ],
)
def test_unusable_settings_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    keep_logging(monkeypatch)
    for name, default in environment(tmp_path).items():
        monkeypatch.setenv(name, default)
    monkeypatch.setenv(variable, value)

    assert entry.main() == 2
    assert f"{variable} is {value!r}" in capsys.readouterr().err


def test_a_port_in_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_logging(monkeypatch)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for name, default in environment(tmp_path).items():
            monkeypatch.setenv(name, default)
        monkeypatch.setenv("TWOFOLD_INFER_ADDRESS", address)

        assert entry.main() == 2
    assert capsys.readouterr().err == f"cannot listen on {address}: is it in use?\n"


@pytest.mark.parametrize(("transport", "is_lazy"), [("native", True), ("grpcio", False)])
def test_the_collector_comes_seldom_where_calls_leave_nothing_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str, *, is_lazy: bool
) -> None:
    keep_logging(monkeypatch)
    thresholds: list[int] = []

    def set_threshold(*values: int) -> None:
        thresholds.append(values[0])

    monkeypatch.setattr("gc.set_threshold", set_threshold)
    taken = tmp_path / "not a folder"
    taken.touch()
    for name, value in environment(tmp_path, TWOFOLD_TRANSPORT=transport).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TWOFOLD_INFER_ADDRESS", f"unix:{taken}/socket")

    assert entry.main() == 2
    assert [young > 10_000 for young in thresholds] == [True] * is_lazy


def keep_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process the tests' own logging and thread switching stay as they are."""
    for name in ("twofold.log.setup", "sys.setswitchinterval", "gc.set_threshold", "gc.freeze"):
        monkeypatch.setattr(name, _nothing)


def _nothing(*_: object) -> None: ...


async def test_a_load_that_hangs_does_not_delay_the_end(store: LocalStore, tmp_path: Path) -> None:
    """A thread in the middle of a load is left behind."""
    artifacts.put(store, "m", artifacts.constant(3))
    code = (
        "import threading\n"
        "from twofold import faults\n"
        "from inferer import __main__ as entry\n"
        "faults.arm('inferer.read', threading.Event().wait)\n"
        "entry.leave(entry.main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        env=environment(tmp_path, TWOFOLD_DRAIN_S="0"),
        stderr=asyncio.subprocess.PIPE,
    )
    await line(process, "listening")
    process.terminate()

    assert await asyncio.wait_for(process.wait(), 15) == 0
