"""A copy of the code with a bug planted in it, and programs run there."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.planted.catalogue import Bug

_ROOT = Path(__file__).parents[3]
_PACKAGES = ("twofold", "trainer", "inferer", "tests")


class DoesNotApply(Exception):
    """The code has moved on: the patch must be made anew."""


@contextmanager
def planted(bug: Bug) -> Generator[Path]:
    """A folder with the packages and the bug in them; raises DoesNotApply."""
    with tempfile.TemporaryDirectory(prefix="twofold-planted-") as name:
        folder = Path(name)
        for package in _PACKAGES:
            # With times and compiled files: only what the patch touches is compiled again.
            shutil.copytree(_ROOT / package, folder / package, symlinks=True)
        _apply(bug, folder)
        yield folder


def uproot(bug: Bug, folder: Path) -> None:
    """Takes the bug out of the copy again."""
    _apply(bug, folder, "--reverse")


def _apply(bug: Bug, folder: Path, *options: str) -> None:
    # Within a repository git would look for the files from its root and skip them in silence.
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["git", "apply", "--verbose", *options, str(bug.patch)],  # noqa: S607 - as every checkout has it
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or "Skipped" in done.stderr:
        raise DoesNotApply(f"{bug.patch.name} must be made anew: {done.stderr.strip()}")


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """`python -m` something of that copy, in a session of its own; its output is piped."""
    environment = {
        # Figures of the copy's code would only confuse those of the checkout's.
        **{name: value for name, value in os.environ.items() if not name.startswith("COV")},
        "PYTHONPATH": str(folder),
    }
    return subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-P", "-m", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
