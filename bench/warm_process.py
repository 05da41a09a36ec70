"""A warm process of a bench: it says its versions, then answers lines."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class WarmProcess:
    """Belongs to one thread."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.versions = self._line()

    def ask(self, order: str) -> str:
        """The answer to a line; raises SystemExit where the process has ended."""
        if self._process.stdin is None:
            raise RuntimeError("the process has no input")
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit("a measured process ended early; its message is above")
        return line.strip()


@contextmanager
def started(*command: str) -> Generator[WarmProcess]:
    """Runs `command` in the checkout; its input ends with the block."""
    with subprocess.Popen(  # noqa: S603 - our own
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield WarmProcess(process)
        if process.stdin is not None:
            process.stdin.close()
