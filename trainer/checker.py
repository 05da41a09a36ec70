"""Uploaded files are parsed by a limited child, never by a service.

`python -m trainer.child FD --check` sets its own limits on memory and processor time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from trainer import childproc
from trainer.childproc import Child, ChildLost
from twofold.errors import InvalidData
from twofold.internal.v1 import child_pb2
from twofold.v1 import dataset_pb2

#: Wall-clock seconds for one file; the child's own limit on processor time ends it earlier.
TIME_LIMIT_S = 300.0
#: Files checked at once: each may take a core.
CONCURRENT = 2

StartChild: TypeAlias = Callable[[], Awaitable[Child]]


async def start_checking_child() -> Child:
    """A child that answers CheckRequests and nothing else."""
    return await childproc.start(("--check",))


class FileChecker:
    """Checks files, at most CONCURRENT at a time, each in a process of its own."""

    def __init__(
        self, start_child: StartChild = start_checking_child, time_limit_s: float = TIME_LIMIT_S
    ) -> None:
        self._start_child = start_child
        self._time_limit_s = time_limit_s
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def __call__(
        self, path: Path, file_format: dataset_pb2.DatasetFormat
    ) -> dataset_pb2.Dataset:
        """Rows and columns of the file at an absolute path.

        Raises:
            InvalidData: it is refused, or needs more time or memory than the limits.
            ChildLost: the checker itself cannot be started.
        """
        async with self._slots:
            child = await self._start_child()
            try:
                checked = await self._ask(child, path, file_format)
            finally:
                await child.close()
        return dataset_of(checked)

    async def _ask(
        self, child: Child, path: Path, file_format: dataset_pb2.DatasetFormat
    ) -> child_pb2.Checked:
        check = child_pb2.CheckRequest(path=str(path), format=file_format)
        try:
            async with asyncio.timeout(self._time_limit_s):
                await child.send(child_pb2.ChildRequest(check=check))
                event = await child.receive()
        except (TimeoutError, ChildLost):
            event = None
        if event is None or not event.HasField("checked"):
            text = "the file needs more memory or time to read than is allowed; make it smaller"
            raise InvalidData(text)
        return event.checked


def dataset_of(checked: child_pb2.Checked) -> dataset_pb2.Dataset:
    """What was found in the file; raises InvalidData where it was refused."""
    if not checked.refusal:
        return checked.dataset
    fields: dict[str, object] = {}
    if checked.row:
        fields["row"] = checked.row
    if checked.column:
        fields["column"] = checked.column
    raise InvalidData(checked.refusal, **fields)
