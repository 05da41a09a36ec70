"""A Python in which little is installed: as a bare GPU image has torch and what torch needs."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
#: What design.md promises to do with, and what torch itself needs.
_THERE = (
    *("torch", "torchgen", "functorch", "numpy", "safetensors", "google", "google.protobuf"),
    *("sympy", "mpmath", "jinja2", "markupsafe", "networkx", "filelock", "fsspec"),
    *("typing_extensions", "setuptools", "twofold", "trainer", "inferer", "bench"),
)
_GUARD = f"""
import sys

THERE = frozenset({_THERE})


class Bare:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        is_google = top == "google" and rest and not rest.startswith("protobuf")
        is_known = top in THERE or top in sys.stdlib_module_names or top.startswith("_")
        return None if is_google or not is_known else self._finder.find_spec(name, path, target)


sys.meta_path = [Bare(finder) for finder in sys.meta_path if hasattr(finder, "find_spec")]
"""


def run(code: str, timeout_s: float = 60) -> str:
    """What `code` prints in such a Python; raises AssertionError with its messages."""
    done = subprocess.run(  # noqa: S603 - a test's own code
        [sys.executable, "-c", _GUARD + code],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout
