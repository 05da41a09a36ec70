import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twofold import faults

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.disarm()


def test_nothing_happens_unless_armed() -> None:
    hits: list[str] = []
    faults.fault("a")
    faults.arm("a", lambda: hits.append("a"))
    faults.fault("a")
    faults.fault("b")
    faults.disarm()
    faults.fault("a")

    assert hits == ["a"]


@pytest.mark.parametrize(
    ("armed", "reached", "status"),
    [
        ("p=kill", 0, -signal.SIGKILL),
        ("p=kill@3", 2, -signal.SIGKILL),
        ("other=kill,p=exit@2", 1, 70),
        ("", 5, 0),
    ],
)
def test_a_process_is_armed_by_its_environment(armed: str, reached: int, status: int) -> None:
    program = (
        "import sys; from twofold import faults; faults.arm_from(sys.argv[1])\n"
        "for _ in range(5): faults.fault('p'); print('reached', flush=True)"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program, armed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.count("reached") == reached
    assert done.returncode == status


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(KeyError):
        faults.arm_from("p=explode")
