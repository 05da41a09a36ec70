"""The supervisor's side of a child process: start it, talk to it, end it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trainer.wire import WireError, read_message_async, write_message_async
from twofold.internal.v1 import child_pb2

#: What runs as a child, after `python`.
PROGRAM = ("-m", "trainer.child")
#: Importing torch from a cold disk takes tens of seconds.
START_LIMIT_S = 180.0
#: What a child may know: where programs and libraries are, its language, how to use the machine.
#: No address, secret or setting of the trainer.
_KEPT = frozenset(
    {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "TWOFOLD_FAULTS"}
)
_KEPT_PREFIXES = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "CUBLAS_")
#: The folder that holds the packages, so that a child runs the same code from any directory.
_CODE = str(Path(__file__).resolve().parent.parent)


class ChildLost(Exception):
    """The child ended, or broke the protocol, while an answer was awaited."""


def scrub(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that a child gets."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return {**kept, "PYTHONPATH": _CODE}


class Child:
    """A child process and the socket to it. Made by `spawn`; belongs to one event loop."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    def __repr__(self) -> str:
        state = "alive" if self.is_alive else f"exit code {self._process.returncode}"
        return f"Child(pid {self.pid}, {state})"

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet, as far as is known."""
        return self._process.returncode is None

    async def send(self, request: child_pb2.ChildRequest) -> None:
        """Sends a request; raises ChildLost where nobody reads."""
        try:
            await write_message_async(self._writer, request)
        except (OSError, WireError) as error:
            raise ChildLost("the child takes no requests") from error

    async def receive(self) -> child_pb2.ChildEvent | None:
        """The next event, None once the child has ended; raises ChildLost where it sent junk."""
        try:
            return await read_message_async(self._reader, child_pb2.ChildEvent)
        except OSError:  # it died with our request unread
            return None
        except WireError as error:
            # A process that dies while it writes leaves half a message: that is its end, not junk.
            if self._reader.at_eof():
                return None
            raise ChildLost("the child sent something else than events") from error

    async def exit_code(self) -> int:
        """Waits for its end; negative: the signal that ended it."""
        return await self._process.wait()

    def kill(self) -> None:
        """Ends its whole process group at once."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kills it if it lives, waits, and closes the socket."""
        self.kill()
        try:
            await self._process.wait()
        finally:
            self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def spawn(
    arguments: Sequence[str] = (), *, nice: int = 0, program: Sequence[str] | None = None
) -> Child:
    """Starts `python PROGRAM FD ARGUMENTS`, FD being one end of a socket pair; close() it."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # modules come from PYTHONPATH, never from the working directory
                *(program or PROGRAM),
                str(theirs.fileno()),
                *arguments,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # whatever a library prints belongs with the log
                env=scrub(os.environ),
                start_new_session=True,  # its own group: killed with all it started
            )
        _be_nice(process.pid, nice)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
    except BaseException:
        ours.close()
        raise
    return Child(process, reader, writer)


def _be_nice(pid: int, nice: int) -> None:
    """Lowers a process's priority; never raises it, which only root may."""
    with suppress(ProcessLookupError):
        level = max(nice, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PGRP, pid, level)


async def start(
    arguments: Sequence[str] = (), *, nice: int = 0, program: Sequence[str] | None = None
) -> Child:
    """A child that takes requests; raises ChildLost where it ends or hangs before it is ready."""
    child = await spawn(arguments, nice=nice, program=program)
    try:
        async with asyncio.timeout(START_LIMIT_S):
            event = await child.receive()
    except BaseException as error:
        await child.close()
        if isinstance(error, TimeoutError):
            raise ChildLost(f"the child was not ready after {START_LIMIT_S:.0f} s") from error
        raise
    if event is None or not event.HasField("ready"):
        await child.close()
        raise ChildLost(f"the child ended with code {await child.exit_code()} before it was ready")
    return child
