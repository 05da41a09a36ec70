"""A process of the site: started, killed, stopped, and started again. For one thread alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import twofold.cluster

_GUARD = Path(twofold.cluster.__file__).with_name("guard.py")
_END_LIMIT_S = 30.0


class Part:
    """`python -m` something, ended by the kernel when this process dies; not started yet."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.starts = 0
        #: Whether what runs was started with an armed fault point.
        self.is_armed = False
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process, also where it has ended since."""
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, armed: str = "") -> None:
        """Starts it, unless it runs; `armed` is what TWOFOLD_FAULTS says."""
        if self.is_running():
            return
        self.starts += 1
        self.is_armed = bool(armed)
        guarded = [sys.executable, "-IS", str(_GUARD), str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own argument list, no shell
                [*guarded, sys.executable, "-P", "-m", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._environment, "TWOFOLD_FAULTS": armed},
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if it runs."""
        if self._process is not None and self.is_running():
            self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends it by a signal and waits; by SIGKILL where that does not help."""
        if self._process is None:
            return
        self.send(number)
        self.send(signal.SIGCONT)  # a stopped process ends by SIGKILL alone
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
