"""The checker of leaked keys finds planted ones, on every server that a test may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.twofold.lifecycle.bench import Bench
from tests.valkey import Valkey, immortal_keys, take_leaks
from twofold.principal import LOCAL
from twofold.queue import schema

ROOT = Path(__file__).parents[2]
PLANTED = [
    "queue",
    "twofold:queue",
    "twofold:{local}:queue2",
    "twofold:{local}:versions:number",
    "twofold:{local}:request:6fa459ea-ee8a-4ca4-894e-db77e160355e",
    "twofold:{local}:job:01J00000000000000000000000",
    "twofold:{local}:events:01J00000000000000000000000",
    "other:{local}:queue",
]


@pytest.mark.parametrize("key", PLANTED)
def test_a_planted_key_is_found_unless_it_expires(valkey: Valkey, key: str) -> None:
    kind = key.split(":")[-2:][0]
    if kind == "job":
        valkey.command("HSET", key, "format", 1, "id", "01J00000000000000000000000", "model", "m")
        valkey.command("HSET", key, "state", 4)
    else:
        valkey.command("SET", key, "x")
    assert take_leaks() == [key]

    valkey.command("PEXPIRE", key, 60_000)
    valkey.start()  # as every test does: whoever starts it is looked at again
    assert take_leaks() == []


async def test_what_a_queue_at_work_holds_is_no_leak(valkey: Valkey, tmp_path: Path) -> None:
    async with Bench(valkey, tmp_path / "store") as bench:
        waiting, delayed = await bench.create(), await bench.create_delayed()
        held = await bench.claim()
        await bench.ledger.reconcile()
        assert len(valkey.keys()) > 5
        assert immortal_keys(valkey.socket) == []

        for job in (waiting, delayed, held.job.id):
            await bench.ledger.cancel(LOCAL, job)
        await bench.ledger.cancelled(held)
        assert immortal_keys(valkey.socket) == []
        for key in (schema.job("local", delayed), schema.events("local", delayed)):
            valkey.command("PERSIST", key)

    assert sorted(take_leaks()) == sorted(
        [schema.job("local", delayed), schema.events("local", delayed)]
    )


@pytest.mark.parametrize("end", ["stop", "kill", "restart"])
def test_a_server_of_a_tests_own_is_looked_at_before_it_ends(tmp_path: Path, end: str) -> None:
    server = Valkey(tmp_path)
    server.start()
    server.command("SET", "x", "x")
    getattr(server, end)()
    assert "x" in take_leaks()
    server.kill()
    take_leaks()


def test_a_server_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    server = Valkey(tmp_path)
    server.start()
    server.command("SET", "x", "x")
    server.pause()
    assert take_leaks() == []
    server.kill()
    assert take_leaks() == []


@pytest.mark.slow
def test_a_test_that_leaks_fails(tmp_path: Path) -> None:
    """The fixtures do it, without the test's asking."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_leaking.py").write_text(
        "from tests.valkey import Valkey\n"
        "def test_shared(valkey): valkey.command('SET', 'shared', 'x')\n"
        "def test_own(tmp_path):\n"
        "    server = Valkey(tmp_path)\n"
        "    server.start()\n"
        "    server.command('SET', 'own', 'x')\n"
        "    server.kill()\n"
        "def test_clean(valkey): valkey.command('SET', 'clean', 'x', 'PX', 60_000)\n"
    )
    options = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    result = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert "3 passed, 2 errors" in result.stdout, result.stdout
    assert "assert ['shared'] == []" in result.stdout
    assert "assert ['own'] == []" in result.stdout


def test_servers_are_started_in_one_place_only() -> None:
    """Else tests might use one that nobody looks at."""
    starters = {
        path.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if "--unixsocket" in path.read_text() and path != Path(__file__)
    }

    assert starters == {"valkey.py"}
