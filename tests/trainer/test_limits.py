"""The limits themselves are tried in a process of their own: this one must stay as it is."""

import resource
import signal
import subprocess
import sys

import pytest

from trainer import limits
from trainer.limits import OutOfTime

Limit = tuple[int, int]


def run(script: str) -> str:
    """What a new process prints that runs `script` after `from trainer import limits`."""
    command = [sys.executable, "-c", "import sys\nfrom trainer import limits\n" + script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=25)  # noqa: S603 - our own text
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_memory_beyond_the_limit_is_a_memory_error_and_only_within() -> None:
    script = """
limits.BASE_BYTES = 300 << 20  # more than there is yet, and soon filled
with limits.checking(0):
    try:
        bytearray(limits.memory_limit(0))
    except MemoryError:
        print("refused")
print(len(bytearray(limits.memory_limit(0))) > 0)
"""

    assert run(script) == "refused\nTrue"


def test_time_beyond_the_limit_is_a_refusal_and_the_process_lives() -> None:
    script = """
limits.harden()
limits.BASE_CPU_S = 0
for _ in range(2):
    try:
        with limits.checking(0):
            while True:
                pass
    except limits.OutOfTime as error:
        print(error.message.split(";")[0])
"""
    text = "the file takes more time to read than its size permits"

    assert run(script) == f"{text}\n{text}"


def test_a_hardened_process_writes_no_file_and_no_core() -> None:
    script = """
import resource, tempfile
with tempfile.TemporaryFile(buffering=0) as file:
    limits.harden()
    print(resource.getrlimit(resource.RLIMIT_CORE))
    try:
        file.write(b"x")
    except OSError as error:
        print(error.strerror)
"""

    assert run(script).splitlines() == ["(0, 0)", "File too large"]


def test_a_larger_file_may_take_more() -> None:
    assert limits.memory_limit(1 << 30) > limits.memory_limit(0) >= limits.BASE_BYTES
    assert limits.cpu_limit_s(1 << 30) > limits.cpu_limit_s(0) == limits.BASE_CPU_S


class FakeResource:
    """The kernel's table of limits."""

    def __init__(self, hard: int) -> None:
        self.limits: dict[int, Limit] = dict.fromkeys(range(16), (hard, hard))
        self.seen: list[tuple[int, Limit]] = []

    def getrlimit(self, kind: int) -> Limit:
        return self.limits[kind]

    def setrlimit(self, kind: int, limit: Limit) -> None:
        self.limits[kind] = limit
        self.seen.append((kind, limit))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> FakeResource:
    fake = FakeResource(getattr(request, "param", resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "getrlimit", fake.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", fake.setrlimit)
    return fake


def test_limits_are_set_for_one_file_and_taken_back(kernel: FakeResource) -> None:
    before, handler = dict(kernel.limits), signal.getsignal(signal.SIGXCPU)
    with limits.checking(100):
        soft, hard = kernel.limits[resource.RLIMIT_AS]
        within = signal.getsignal(signal.SIGXCPU)

    assert (soft, hard) == (limits.memory_limit(100), resource.RLIM_INFINITY)
    assert within is not handler
    assert kernel.limits == before
    assert signal.getsignal(signal.SIGXCPU) is handler


def test_limits_are_taken_back_after_a_refusal(kernel: FakeResource) -> None:
    before = dict(kernel.limits)
    with pytest.raises(OutOfTime), limits.checking(100):
        signal.raise_signal(signal.SIGXCPU)

    assert kernel.limits == before


@pytest.mark.parametrize("kernel", [1_000], indirect=True)
def test_no_limit_is_raised_above_what_the_process_was_given(kernel: FakeResource) -> None:
    limits.harden()
    with limits.checking(1 << 40):
        pass

    assert all(soft <= hard <= 1_000 for _, (soft, hard) in kernel.seen)
    assert kernel.limits[resource.RLIMIT_CPU] == (1_000, 1_000)


def test_hardening_bounds_files_cores_and_time(kernel: FakeResource) -> None:
    limits.harden()

    assert kernel.limits[resource.RLIMIT_CORE] == kernel.limits[resource.RLIMIT_FSIZE] == (0, 0)
    assert kernel.limits[resource.RLIMIT_CPU] == (limits.HARD_CPU_S, limits.HARD_CPU_S)
