"""Limits of a process that checks uploads; each test spoils an interpreter of its own."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from trainer import limits

ROOT = Path(__file__).parents[2]


def run(program: str, *, is_measured: bool = True) -> str:
    """What a program prints in an interpreter of its own, whose limits may then be spoilt."""
    result = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd=ROOT,
        # What may write no file cannot write down its coverage either.
        env=dict(os.environ) if is_measured else {"PATH": os.environ["PATH"]},
    )
    return result.stdout + result.stderr[-300:]


BASE = "import resource, signal, time; from trainer import limits\n"


def test_memory_beyond_the_limit_is_an_error_and_the_limit_ends() -> None:
    printed = run(
        BASE + "limits.BASE_BYTES = 1 << 29\n"
        "with limits.checking(0):\n"
        "    try: bytearray(1 << 30)\n"
        "    except MemoryError: print('refused')\n"
        "print(len(bytearray(1 << 30)))\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY)\n"
    )

    assert printed.split() == ["refused", str(1 << 30), "True"]


def test_time_beyond_the_limit_is_a_refusal_and_the_limit_ends() -> None:
    printed = run(
        BASE + "limits.BASE_CPU_S = 0\n"
        "try:\n"
        "    with limits.checking(0):\n"
        "        while True: pass\n"
        "except limits.OutOfTime as error: print(error.code, error.message)\n"
        "print(signal.getsignal(signal.SIGXCPU) == signal.SIG_DFL)\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY)\n"
    )

    refusal, *rest = printed.splitlines()
    assert refusal.startswith("INVALID_ARGUMENT the file takes more time to read")
    assert rest == ["True", "True"]


def test_a_hardened_process_writes_no_file_and_ends_some_time() -> None:
    printed = run(
        BASE + "limits.harden()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_CPU))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import os\n"
        "try: os.write(os.memfd_create('file'), b'x')\n"
        "except OSError as error: print(error.errno)\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (9, 9))\n"
        "limits.harden()\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU))\n"
        "with limits.checking(1 << 40): print(resource.getrlimit(resource.RLIMIT_CPU))\n",
        is_measured=False,
    )

    assert printed.splitlines() == ["(0, 0) (3600, 3600)", "27", "(9, 9)", "(9, 9)"]


def test_the_limits_grow_with_the_file() -> None:
    assert limits.memory_limit(0) == 2 << 30
    assert limits.memory_limit(100) == (2 << 30) + 2_400
    assert limits.cpu_limit_s(0) == 20
    assert limits.cpu_limit_s(1 << 30) == 20 + 512


@pytest.mark.parametrize(("hard", "lowered"), [(resource.RLIM_INFINITY, 3_600), (9, 9)])
def test_no_limit_is_ever_raised(monkeypatch: pytest.MonkeyPatch, hard: int, lowered: int) -> None:
    limited: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_CPU: (hard, hard)}.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limited.__setitem__)

    limits.harden()

    assert limited == {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_CPU: (lowered, lowered),
    }
