import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import until_gone
from twofold.cluster.supervise import (
    Death,
    GiveUp,
    Part,
    Policy,
    Restart,
    Supervisor,
    describe_exit,
    next_action,
)

POLICY = Policy(first_delay_s=0.5, longest_delay_s=8, healthy_after_s=30, attempts_to_answer=3)
FAST = Policy(first_delay_s=0.01, longest_delay_s=0.02)


@pytest.mark.parametrize(
    ("death", "expected"),
    [
        (Death(1, 1.0, has_answered=True, failure_count=0), Restart(0.5, 1)),
        (Death(1, 1.0, has_answered=True, failure_count=1), Restart(1.0, 2)),
        (Death(-9, 1.0, has_answered=True, failure_count=9), Restart(8, 10)),
        (Death(-9, 30.0, has_answered=True, failure_count=9), Restart(0.5, 1)),
        (Death(2, 1.0, has_answered=True, failure_count=0), Restart(0.5, 1)),
        (Death(2, 1.0, has_answered=False, failure_count=0), GiveUp(2, "it refuses its settings")),
        (Death(1, 1.0, has_answered=False, failure_count=1), Restart(1.0, 2)),
        (
            Death(1, 1.0, has_answered=False, failure_count=2),
            GiveUp(1, "it died 3 times before it answered"),
        ),
    ],
)
def test_a_death_is_answered_with_backoff_or_the_end(
    death: Death, expected: Restart | GiveUp
) -> None:
    assert next_action(death, POLICY) == expected


@given(
    st.builds(
        Death,
        exit_code=st.integers(-64, 255),
        ran_s=st.floats(0, 1e6),
        has_answered=st.just(value=True),
        failure_count=st.integers(0, 10_000),
    )
)
def test_a_part_that_once_answered_is_never_given_up(death: Death) -> None:
    action = next_action(death, POLICY)

    assert isinstance(action, Restart)
    assert POLICY.first_delay_s <= action.delay_s <= POLICY.longest_delay_s
    assert action.failure_count == (1 if death.ran_s >= 30 else death.failure_count + 1)


@pytest.mark.parametrize(
    ("code", "text"), [(1, "exit code 1"), (-9, "SIGKILL"), (-11, "SIGSEGV"), (-99, "signal 99")]
)
def test_an_exit_is_described_in_words(code: int, text: str) -> None:
    assert describe_exit(code) == text


@dataclass
class Heard:
    """What a supervisor said; `until` waits for a line."""

    lines: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, name: str, text: str) -> None:
        self.lines.append((name, text))
        self.changed.set()

    async def until(self, is_wanted: Callable[[str], bool], count: int = 1) -> str:
        async with asyncio.timeout(10):
            while True:
                found = [text for _, text in self.lines if is_wanted(text)]
                if len(found) >= count:
                    return found[count - 1]
                self.changed.clear()
                await self.changed.wait()


def make_part(script: str, stop_s: float = 5.0) -> Part:
    async def probe() -> bool:
        return True

    return Part("toy", [sys.executable, "-c", script], dict(os.environ), probe, stop_s)


@asynccontextmanager
async def supervised(
    part: Part, policy: Policy = FAST
) -> AsyncGenerator[tuple[Supervisor, Heard, asyncio.Task[GiveUp | None]]]:
    heard, stopping = Heard(), asyncio.Event()
    supervisor = Supervisor(part, heard.say, policy)
    task = asyncio.create_task(supervisor.run(stopping))
    try:
        yield supervisor, heard, task
    finally:
        stopping.set()
        async with asyncio.timeout(10):
            await task


async def test_a_killed_part_is_started_again_and_that_is_said() -> None:
    script = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
    async with supervised(make_part(script)) as (supervisor, heard, _):
        first = await heard.until(lambda line: line.startswith("pid"))
        assert supervisor.process is not None
        os.kill(int(first.split()[1]), signal.SIGKILL)
        second = await heard.until(lambda line: line.startswith("pid"), count=2)

        assert second != first
        assert supervisor.restart_count == 1
        assert supervisor.is_running
        assert ("toy", "died: SIGKILL; restart in 0.01 s") in heard.lines
    assert not supervisor.is_running


async def test_every_line_is_passed_on_with_the_parts_name() -> None:
    script = (
        "import sys, time; print('out'); sys.stdout.flush(); print('err', file=sys.stderr);"
        "sys.stderr.flush(); sys.stdout.buffer.write(b'\\xff' + b'x' * 50_000 + b'\\nlast');"
        "sys.stdout.flush(); time.sleep(60)"
    )
    async with supervised(make_part(script)) as (_, heard, _):
        await heard.until(lambda line: line.endswith("x"))

    passed = [text for name, text in heard.lines if name == "toy"]
    assert {"out", "err", "last"} <= set(passed)
    assert sum(text.count("x") for text in passed if text.strip("x\\f") == "") >= 50_000
    assert max(len(text) for text in passed) < 50_000


async def test_a_part_that_refuses_its_settings_is_given_up() -> None:
    async def never() -> bool:
        return False

    part = Part("toy", [sys.executable, "-c", "exit(2)"], dict(os.environ), never, 1)
    async with supervised(part) as (supervisor, _, task):
        async with asyncio.timeout(10):
            given_up = await asyncio.shield(task)

    assert given_up == GiveUp(2, "it refuses its settings")
    assert supervisor.restart_count == 0
    assert not supervisor.answered.is_set()


async def test_a_part_that_ignores_sigterm_is_killed() -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(60)"
    )
    async with supervised(make_part(script, stop_s=0.1)) as (supervisor, heard, _):
        await heard.until(lambda line: line == "deaf")

    assert ("toy", "still runs 0.1 s after SIGTERM: killed") in heard.lines
    assert supervisor.process is not None
    assert supervisor.process.returncode == -signal.SIGKILL


async def test_what_a_part_leaves_in_its_group_is_killed() -> None:
    script = (
        "import subprocess, sys, time; child = subprocess.Popen(['sleep', '60']);"
        "print('child', child.pid, flush=True); sys.exit(0)"
    )
    async with supervised(make_part(script), Policy(first_delay_s=60)) as (_, heard, _):
        child = int((await heard.until(lambda line: line.startswith("child"))).split()[1])
        await heard.until(lambda line: line.startswith("died"))
        await until_gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent")
async def test_a_part_ends_when_its_supervisor_is_killed() -> None:
    supervisor = (
        "import asyncio, os, sys\n"
        "from twofold.cluster.supervise import Part, Supervisor\n"
        "async def probe(): return True\n"
        "command = [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True);'\n"
        "           'time.sleep(60)']\n"
        "say = lambda name, text: print(text, flush=True)\n"
        "part = Part('toy', command, dict(os.environ), probe, 1)\n"
        "asyncio.run(Supervisor(part, say).run(asyncio.Event()))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", supervisor, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    pid = 0
    async with asyncio.timeout(20):
        while pid == 0:
            line = (await process.stdout.readline()).strip()
            assert line
            pid = int(line) if line.isdigit() else 0
    process.kill()
    await process.wait()

    await until_gone(pid)


async def test_a_guarded_command_does_not_start_without_its_supervisor() -> None:
    guard = Path(__file__).parents[3] / "twofold" / "cluster" / "guard.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-IS", str(guard), "1", "echo", "ran", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()

    assert (process.returncode, output) == (75, b"")
