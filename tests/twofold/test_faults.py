import ast
import errno
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from twofold import faults

ROOT = Path(__file__).parents[2]
POINT, OTHER = "publish.claimed", "publish.linked"


def called_points() -> Iterator[tuple[Path, ast.expr]]:
    """The argument of every call of `fault` in the product."""
    for package in ("twofold", "trainer", "inferer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Call) and _is_fault(node.func):
                    yield path, node.args[0]


def _is_fault(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id == "fault") or (
        isinstance(function, ast.Attribute) and function.attr == "fault"
    )


def test_every_point_that_the_code_passes_is_listed() -> None:
    unlisted = [
        (path.name, ast.unparse(name))
        for path, name in called_points()
        if not isinstance(name, ast.Constant) or name.value not in faults.POINTS
    ]

    assert unlisted == []


def test_every_point_that_is_listed_is_passed_somewhere() -> None:
    passed = {name.value for _, name in called_points() if isinstance(name, ast.Constant)}

    assert faults.POINTS - passed == frozenset()


def test_nothing_happens_unless_armed() -> None:
    hits: list[str] = []
    faults.fault(POINT)
    faults.arm(POINT, lambda: hits.append("hit"))
    faults.fault(POINT)
    faults.fault(OTHER)
    faults.disarm()
    faults.fault(POINT)

    assert hits == ["hit"]


@pytest.mark.parametrize(
    ("armed", "reached", "status"),
    [
        (f"{POINT}=kill", 0, -signal.SIGKILL),
        (f"{POINT}=kill@3", 2, -signal.SIGKILL),
        (f"{OTHER}=kill,{POINT}=exit@2", 1, 70),
        ("", 5, 0),
    ],
)
def test_a_process_is_armed_by_its_environment(armed: str, reached: int, status: int) -> None:
    program = (
        "import sys; from twofold import faults; faults.arm_from(sys.argv[1])\n"
        f"for _ in range(5): faults.fault({POINT!r}); print('reached', flush=True)"
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


@pytest.mark.parametrize(
    ("armed", "failing"),
    [
        ("errno:ENOSPC", [1]),
        ("errno:ENOSPC@2", [2]),
        ("errno:ENOSPC@2+", [2, 3, 4]),
    ],
)
def test_an_errno_is_raised_at_its_hits(armed: str, failing: list[int]) -> None:
    faults.arm_from(f"{POINT}={armed}")
    failed: list[tuple[int, int | None]] = []
    for hit in range(1, 5):
        try:
            faults.fault(POINT)
        except OSError as error:
            failed.append((hit, error.errno))

    assert failed == [(hit, errno.ENOSPC) for hit in failing]


def test_sleep_takes_its_time() -> None:
    faults.arm_from(f"{POINT}=sleep:0.05")
    begin_s = time.monotonic()

    faults.fault(POINT)

    assert time.monotonic() - begin_s >= 0.05


@pytest.mark.parametrize(
    "text",
    [
        f"{POINT}=explode",
        f"{POINT}=",
        f"{POINT}=errno:EVERYTHING",
        f"{POINT}=errno:errorcode",
        f"{POINT}=sleep:long",
        f"{POINT}=kill@often",
        "no.such.point=kill",
    ],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        faults.arm_from(text)
