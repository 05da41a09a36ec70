"""Runs a command that ends when its supervisor dies: `guard.py PARENT_PID COMMAND...`.

A script that imports nothing of this project: it runs for 10 ms and becomes the command. Linux
sends SIGTERM to the command when the supervisor dies, kill -9 included; elsewhere it is only run.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

#: prctl(2): the signal this process gets when its parent dies; it survives execve(2).
_PR_SET_PDEATHSIG = 1
EXIT_ORPHANED = 75


def main(arguments: Sequence[str]) -> NoReturn:
    """Becomes the command; ends if the supervisor is gone already."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The supervisor may have died before prctl; then nobody would ever send the signal.
    if os.getppid() != int(parent):
        sys.exit(EXIT_ORPHANED)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor's own argument list, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
