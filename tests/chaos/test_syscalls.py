"""The order of system calls: nothing is acknowledged, and no step taken, before it is durable.

kill -9 cannot show a missing fsync, since the kernel's cache survives it. So a small program of
real parts runs under strace, and what it asked the kernel for is checked.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.twofold.samples import FILES, JOB, export, sample_attempt, sample_record
from tests.twofold.samples import trained_manifest as trained
from tests.valkey import Valkey
from twofold import publish
from twofold.jobs import Policy
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import SystemClock, World
from twofold.store import LocalStore

ROOT = Path(__file__).parents[2]
REQUEST_ID = "0c9f5a52-8b9f-4f3b-9a6e-3f9e4f1f7d11"
CALLS = "write,fsync,fdatasync,linkat,mkdir,mkdirat,rename,renameat,renameat2,sendto"
BEGIN, DONE = "begin", "acknowledged"

# One line of strace -ff -ttt -T -y: when, call, arguments, result, duration.
_LINE = re.compile(r"(\d+\.\d+) (\w+)\((.*)\) += \d+(?:<.*>)? <(\d+\.\d+)>")
_ON = re.compile(r'\d+<(?P<path>[^>]*)>(?:, "(?P<data>.*)"(?:\.\.\.)?, .*)?')
_LINK = re.compile(r'\d+<(/[^>]*)>, "([^"]+)", \d+<(/[^>]*)>, "([^"]+)", 0')
_MKDIR = re.compile(r'(?:\d+<(?P<folder>/[^>]*)>, )?"(?P<name>[^"]+)", \d+')


@dataclass(frozen=True, slots=True)
class Step:
    """A call that succeeded."""

    #: When it began; of a sync, when it was over.
    at_s: float
    kind: str
    path: str = ""
    #: What was linked, or the bytes written or sent.
    other: str = ""


async def submit(root: Path, url: str) -> None:
    """Accepts a job, as the API does."""
    queue = RedisQueue(url)
    ledger = Ledger(LocalStore(root), queue, World(), Policy())
    os.write(1, BEGIN.encode())
    job = await ledger.create(LOCAL, sample_record(request_id=REQUEST_ID))
    os.write(1, f"{DONE} {job.name}".encode())
    await queue.close()


def publish_sample(root: Path) -> None:
    """Publishes an attempt's files, as a worker does."""
    store = LocalStore(root)
    export(store, sample_attempt())
    os.write(1, BEGIN.encode())
    publish.publish(store, SystemClock(), sample_attempt(), trained(), may_decide=lambda: True)
    os.write(1, DONE.encode())


@pytest.fixture(scope="session")
def strace() -> str:
    """The tracer; where it is missing CI fails, which installs it, and others skip."""
    found = shutil.which("strace")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs strace")
    probe = [found, "-o", "/dev/null", "true"]
    if subprocess.run(probe, check=False, capture_output=True).returncode != 0:  # noqa: S603
        pytest.skip("tracing is forbidden here")
    return found


def trace(strace: str, tmp_path: Path, *arguments: str) -> list[Step]:
    """Every step of this file's program, by time."""
    logs = tmp_path / "trace"
    logs.mkdir()
    options = ["-ff", "-ttt", "-T", "-y", "-s", "4096", "-e", f"trace={CALLS}"]
    program = [sys.executable, "-m", "tests.chaos.test_syscalls", *arguments]
    subprocess.run(  # noqa: S603 - our own interpreter
        [strace, *options, "-o", str(logs / "log"), *program],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    lines = [line for log in logs.iterdir() for line in log.read_text("ascii").splitlines()]
    steps = [step for line in lines for step in read_step(line)]
    return sorted(steps, key=lambda step: step.at_s)


def read_step(line: str) -> Iterator[Step]:
    """The step of a line; none of a call that failed, or that is about no path of interest."""
    if (match := _LINE.fullmatch(line)) is None:
        return
    begin_s, call, arguments, duration_s = match.groups()
    at_s = float(begin_s)
    if call in {"fsync", "fdatasync"} and (found := _ON.fullmatch(arguments)):
        yield Step(at_s + float(duration_s), "sync", found["path"])
    elif call in {"write", "sendto"} and (found := _ON.fullmatch(arguments)):
        yield Step(at_s, call, found["path"], found["data"])
    elif call == "linkat" and (found := _LINK.fullmatch(arguments)):
        yield Step(at_s, "link", f"{found[3]}/{found[4]}", f"{found[1]}/{found[2]}")
    elif call in {"mkdir", "mkdirat"} and (found := _MKDIR.fullmatch(arguments)):
        yield Step(at_s, "mkdir", str(Path(found["folder"] or "/", found["name"])))
    else:
        yield Step(at_s, call, other=arguments)


def faults_of(steps: Sequence[Step], root: Path) -> list[str]:
    """Each step that was taken while one before it was not durable."""
    found: list[str] = []
    durable_bytes: set[str] = set()
    loose: set[str] = set()  # names made since their folder's last sync
    for step in steps:
        is_temporary = Path(step.path).is_relative_to(root / "tmp")
        if step.kind == "sync":
            durable_bytes.add(step.path)
            loose = {name for name in loose if str(Path(name).parent) != step.path}
            continue
        if step.kind == "write" and is_temporary:
            durable_bytes.discard(step.path)
        found += [f"{step} before {name} was durable" for name in sorted(loose)]
        if step.kind == "link" and step.other not in durable_bytes:
            found.append(f"{step} before its bytes were durable")
        if step.kind == "link":
            durable_bytes.add(step.path)
        if step.kind in {"link", "mkdir"} and not is_temporary:
            loose.add(step.path)
    return found


def links(steps: Sequence[Step], root: Path) -> list[str]:
    """What was given a name, in order."""
    return [str(Path(step.path).relative_to(root)) for step in steps if step.kind == "link"]


def index_of(steps: Sequence[Step], text: str) -> int:
    """The first step that wrote or sent this."""
    return next(index for index, step in enumerate(steps) if text in step.other)


@pytest.fixture
def submitted(strace: str, valkey: Valkey, tmp_path: Path) -> list[Step]:
    return trace(strace, tmp_path, str(tmp_path / "store"), valkey.url)


@pytest.fixture
def published(strace: str, tmp_path: Path) -> list[Step]:
    return trace(strace, tmp_path, str(tmp_path / "store"))


def test_job_is_durable_before_it_is_enqueued_and_enqueued_before_it_is_accepted(
    submitted: list[Step], tmp_path: Path
) -> None:
    root = tmp_path / "store"
    done = index_of(submitted, DONE)
    job = submitted[done].other.partition("jobs/")[2]
    spec = next(i for i, step in enumerate(submitted) if step.path.endswith(f"{job}/spec.pb"))
    sent = [
        index
        for index, step in enumerate(submitted)
        if step.kind == "sendto" and "EVAL" in step.other and job in step.other
    ]

    assert faults_of(submitted, root) == []
    assert submitted[spec].kind == "link"
    assert spec < sent[0] < done
    assert links(submitted[done:], root) == []


def test_each_step_of_publishing_is_durable_before_the_next(
    published: list[Step], tmp_path: Path
) -> None:
    root = tmp_path / "store"
    begin, done = index_of(published, BEGIN), index_of(published, DONE)

    assert faults_of(published, root) == []
    assert links(published[begin:done], root) == [
        "local/models/digits/1/claim",
        *(f"local/models/digits/1/{name}" for name in FILES),
        "local/models/digits/1/manifest.staged.json",
        f"local/jobs/{JOB}/outcome",
        "local/models/digits/1/manifest.json",
    ]
    assert not [step for step in published[begin:done] if step.kind.startswith("rename")]


def test_each_sync_that_was_left_out_would_be_found(published: list[Step], tmp_path: Path) -> None:
    syncs = [index for index, step in enumerate(published) if step.kind == "sync"]
    unnoticed = [
        published[index]
        for index in syncs
        if not faults_of([*published[:index], *published[index + 1 :]], tmp_path / "store")
    ]

    assert syncs
    assert unnoticed == []


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(submit(Path(sys.argv[1]), sys.argv[2]))
    else:
        publish_sample(Path(sys.argv[1]))
