"""Uploaded files are parsed, and users' graphs measured, by a limited child, never by a service.

`python -m trainer.child FD --check` sets its own limits on memory and processor time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from trainer import childproc
from trainer.childproc import Child, ChildLost
from twofold.errors import InvalidData, InvalidField
from twofold.internal.v1 import child_pb2
from twofold.v1 import dataset_pb2, graph_pb2

#: Wall-clock seconds for one file; the child's own limit on processor time ends it earlier.
TIME_LIMIT_S = 300.0
#: Files checked at once: each may take a core.
CONCURRENT = 2

#: Wall-clock seconds for one graph, with the start of the child that measures it.
GRAPH_TIME_LIMIT_S = 60.0
#: Graphs that one child measures: it stays, since torch takes a second to import.
GRAPHS_PER_CHILD = 100

StartChild: TypeAlias = Callable[[], Awaitable[Child]]


async def start_checking_child() -> Child:
    """A child that answers CheckRequests and nothing else."""
    return await childproc.start(("--check",))


async def start_graph_child() -> Child:
    """A child that answers CheckGraphRequests and nothing else."""
    return await childproc.start(("--check-graphs",))


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


class GraphChecker:
    """Measures graphs one at a time, in a process that is kept; close() it."""

    def __init__(
        self,
        start_child: StartChild = start_graph_child,
        time_limit_s: float = GRAPH_TIME_LIMIT_S,
    ) -> None:
        self._start_child = start_child
        self._time_limit_s = time_limit_s
        self._turn = asyncio.Lock()
        self._child: Child | None = None
        self._count = 0

    async def __call__(
        self, graph: graph_pb2.Graph | None, loss: graph_pb2.Graph | None = None
    ) -> int:
        """Numbers that all nodes of a graph, and of a loss of its results, compute per row.

        None is for a network of the catalogue, which needs no check.

        Raises:
            InvalidField: operands do not fit each other, a result is too large, the outputs are not
                those that the graph names, or it takes more time or memory than the limits.
            ChildLost: the checker itself cannot be started.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._time_limit_s):
                    measured = await self._ask(await self._living(), graph, loss)
            except (TimeoutError, ChildLost) as error:
                await self.close()
                field = "training.loss_graph" if graph is None else "network.graph"
                nodes = sum(len(each.nodes) for each in (graph, loss) if each is not None)
                what = f"a graph of {nodes} nodes"
                allowed = "one that is checked within the limits of time and memory"
                raise InvalidField.of(field, what, allowed) from error
            except BaseException:
                await self.close()  # its answer may still come
                raise
        if measured.refusal:
            raise InvalidField(
                measured.refusal,
                field=measured.field,
                value=measured.value,
                allowed=measured.allowed,
            )
        return measured.row_elements

    async def close(self) -> None:
        """Ends the child."""
        child, self._child = self._child, None
        if child is not None:
            await child.close()

    async def _living(self) -> Child:
        if self._child is not None and (
            self._count >= GRAPHS_PER_CHILD or not self._child.is_alive
        ):
            await self.close()
        if self._child is None:
            self._child, self._count = await self._start_child(), 0
        self._count += 1
        return self._child

    @staticmethod
    async def _ask(
        child: Child, graph: graph_pb2.Graph | None, loss: graph_pb2.Graph | None
    ) -> child_pb2.GraphChecked:
        check = child_pb2.CheckGraphRequest(graph=graph, loss_graph=loss)
        await child.send(child_pb2.ChildRequest(check_graph=check))
        event = await child.receive()
        if event is None or not event.HasField("graph_checked"):
            raise ChildLost("the child ended while it measured a graph")
        return event.graph_checked


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
