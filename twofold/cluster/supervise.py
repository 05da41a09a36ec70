"""Keeps one part running: starts it, passes its output on, starts it again when it dies.

What happens after a death is decided by `next_action`, a function of plain data.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from twofold.seams import Clock, SystemClock

_GUARD = Path(__file__).with_name("guard.py")
#: A part that refuses its settings: starting it again would change nothing.
EXIT_UNUSABLE = 2
#: How often a starting part is asked; a fraction of the second that a start takes.
_PROBE_INTERVAL_S = 0.05
_LINE_LIMIT = 16_384
#: How long output may still come after a part's end; something it started may hold the pipe.
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """When a part that died is started again."""

    first_delay_s: float = 0.2
    longest_delay_s: float = 15.0
    #: A part that ran this long had recovered: the next death starts from the first delay.
    healthy_after_s: float = 30.0
    #: Deaths in a row after which a part that never answered is given up.
    attempts_to_answer: int = 3


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Death:
    """How a part ended, and what is known of it before that."""

    exit_code: int
    ran_s: float
    has_answered: bool
    failure_count: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after `delay_s`; `failure_count` goes into its next death."""

    delay_s: float
    failure_count: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop the cluster with `exit_code`."""

    exit_code: int
    reason: str


def next_action(death: Death, policy: Policy) -> Restart | GiveUp:
    """What to do about a death that nobody asked for."""
    if not death.has_answered and death.exit_code == EXIT_UNUSABLE:
        return GiveUp(EXIT_UNUSABLE, "it refuses its settings")
    failure_count = 1 if death.ran_s >= policy.healthy_after_s else death.failure_count + 1
    if not death.has_answered and failure_count >= policy.attempts_to_answer:
        return GiveUp(1, f"it died {failure_count} times before it answered")
    # 2 to the 60th would overflow nothing, but is far past any longest delay.
    doubled = policy.first_delay_s * 2 ** min(failure_count - 1, 60)
    return Restart(min(doubled, policy.longest_delay_s), failure_count)


def describe_exit(code: int) -> str:
    """The code in words, or the signal's name: "exit code 1", "SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


@dataclass(frozen=True, slots=True)
class Part:
    """A program of the cluster."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    #: Whether it answers; asked again and again until it does.
    probe: Callable[[], Awaitable[bool]]
    #: How long it may take to end after SIGTERM.
    stop_s: float
    inherited: Sequence[int] = ()


@dataclass(eq=False)
class Supervisor:
    """Runs one part until told to stop. Owned by one asyncio task."""

    part: Part
    #: Takes the part's name and a line.
    say: Callable[[str, str], None]
    policy: Policy = DEFAULT_POLICY
    clock: Clock = field(default_factory=SystemClock)
    #: Set once the part has answered.
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    restart_count: int = 0
    process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether the part's process is there."""
        return self.process is not None and self.process.returncode is None

    async def run(self, stopping: asyncio.Event) -> GiveUp | None:
        """Keeps the part running; ends it once `stopping` is set."""
        failure_count = 0
        while not stopping.is_set():
            started_s = self.clock.monotonic_s()
            exit_code = await self._run_once(stopping)
            if stopping.is_set():
                break
            ran_s = self.clock.monotonic_s() - started_s
            death = Death(exit_code, ran_s, self.answered.is_set(), failure_count)
            action = next_action(death, self.policy)
            if isinstance(action, GiveUp):
                self._say(f"{describe_exit(exit_code)}: {action.reason}")
                return action
            failure_count = action.failure_count
            self._say(f"died: {describe_exit(exit_code)}; restart in {action.delay_s:g} s")
            await first(stopping.wait(), self.clock.sleep(action.delay_s))
            self.restart_count += 1
        return None

    async def _run_once(self, stopping: asyncio.Event) -> int:
        """The exit code of one run, which `stopping` ends."""
        reading, writing = os.pipe()
        try:
            process = await self._start(writing)
        finally:
            os.close(writing)
        output = asyncio.create_task(self._pass_on(reading))
        probing = asyncio.create_task(self._probe())
        try:
            await first(process.wait(), stopping.wait())
            if process.returncode is None:
                await self._end(process)
        finally:
            probing.cancel()
            _kill_group(process)
            await first(output, asyncio.sleep(_LAST_WORDS_S))
        return await process.wait()

    async def _start(self, output: int) -> asyncio.subprocess.Process:
        # A pipe of our own: with asyncio's, wait() would also wait for whatever else holds it.
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-IS",
            str(_GUARD),
            str(os.getpid()),
            *self.part.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=self.part.environment,
            # Ctrl-C in a terminal reaches `up` alone, which then drains in order.
            start_new_session=True,
            pass_fds=self.part.inherited,
        )
        return self.process

    async def _probe(self) -> None:
        while not await self.part.probe():
            await self.clock.sleep(_PROBE_INTERVAL_S)
        if self.restart_count or not self.answered.is_set():
            self._say("answers")
        self.answered.set()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await first(process.wait(), self.clock.sleep(self.part.stop_s))
        if process.returncode is None:
            self._say(f"still runs {self.part.stop_s:g} s after SIGTERM: killed")

    async def _pass_on(self, reading: int) -> None:
        """Every line of the part with its name in front; an endless line in pieces."""
        async with _stream(reading) as stream:
            rest = b""
            while chunk := await stream.read(_LINE_LIMIT):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LINE_LIMIT:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._say(line.decode("utf-8", "backslashreplace").rstrip())
            if rest:
                self._say(rest.decode("utf-8", "backslashreplace").rstrip())

    def _say(self, text: str) -> None:
        self.say(self.part.name, text)


@asynccontextmanager
async def _stream(reading: int) -> AsyncGenerator[asyncio.StreamReader]:
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        yield stream
    finally:
        transport.close()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Ends whatever the part left behind in its process group, and the part if it still runs."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def first(*awaitables: Awaitable[object]) -> None:
    """Returns when one of them is done; cancels the others and waits for that."""
    tasks = [asyncio.ensure_future(one) for one in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
