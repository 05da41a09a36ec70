"""The harness's side of the zygote: fork processes, see how they ended."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Self

from tests.chaos.real.options import Options

_ROOT = Path(__file__).parents[3]
_PROGRAM = "tests.chaos.real.zygote"


class Nursery:
    """A zygote of this process; everything forked from it ends with it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [sys.executable, "-m", _PROGRAM, str(number)],
                cwd=_ROOT,
                env={**os.environ, "TWOFOLD_FAULTS": ""},
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
            )
        self._socket = ours
        self._lines = ours.makefile("rw")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the zygote and with it everything that it forked."""
        self._lines.close()
        self._socket.close()
        self._process.wait(timeout=10)

    def fork(self, options: Options) -> int:
        """Starts a process; its pid."""
        return self._ask({"fork": asdict(options)}) or 0

    def poll(self, pid: int) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._ask({"poll": pid})

    def reap(self, pid: int) -> None:
        """Waits for its end; its pid may be another's from then on."""
        self._ask({"reap": pid})

    def _ask(self, request: dict[str, object]) -> int | None:
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        answer: object = json.loads(self._lines.readline())
        return answer if isinstance(answer, int) else None


@cache
def shared() -> Nursery:
    """The one of this process, for many runs in a row; it ends with the process."""
    return Nursery()
