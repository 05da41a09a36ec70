"""Files are parsed by a limited child; whatever it does, the caller gets an answer."""

from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.trainer.toy_child import PROGRAM
from trainer import childproc
from trainer.checker import FileChecker, GraphChecker
from trainer.childproc import ChildLost
from twofold.errors import InvalidData, InvalidField
from twofold.v1 import dataset_pb2, graph_pb2

CSV = dataset_pb2.DATASET_FORMAT_CSV
Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    return write_file


def make_checker(time_limit_s: float = 20) -> FileChecker:
    return FileChecker(partial(childproc.start, ("--check",), program=PROGRAM), time_limit_s)


async def test_a_good_file_is_described(write: Write) -> None:
    dataset = await make_checker()(write(b"a\n1\n"), CSV)

    assert dataset.row_count == 4
    assert [column.name for column in dataset.columns] == ["a", "label"]


async def test_a_refusal_has_row_and_column(write: Write) -> None:
    with pytest.raises(InvalidData) as caught:
        await make_checker()(write(b"refuse"), CSV)

    assert caught.value.message == "not a number"
    assert caught.value.fields == {"row": "3", "column": "a"}


async def test_a_refusal_of_the_whole_file_names_neither(write: Write) -> None:
    with pytest.raises(InvalidData) as caught:
        await make_checker()(write(b"vague"), CSV)

    assert caught.value.message == "no rows"
    assert caught.value.fields == {}


@pytest.mark.parametrize("content", [b"hang", b"die"])
async def test_a_file_that_breaks_the_limits_is_refused(write: Write, content: bytes) -> None:
    with pytest.raises(InvalidData, match="more memory or time"):
        await make_checker(0.5)(write(content), CSV)


async def test_a_checker_that_cannot_start_is_not_the_files_fault(write: Write) -> None:
    checker = FileChecker(partial(childproc.start, ("broken",), program=PROGRAM))

    with pytest.raises(ChildLost):
        await checker(write(b"a"), CSV)


def graph_of(name: str) -> graph_pb2.Graph:
    graph = graph_pb2.Graph()
    graph.inputs.add(name=name)
    return graph


@pytest.fixture
async def graphs() -> AsyncGenerator[GraphChecker]:
    start = partial(childproc.start, ("--check",), program=PROGRAM)
    checker = GraphChecker(start, time_limit_s=20)
    yield checker
    await checker.close()


async def test_one_process_measures_many_graphs(graphs: GraphChecker) -> None:
    """The toy child answers with its process id."""
    measured = [await graphs(graph_of("x")) for _ in range(3)]

    assert len(set(measured)) == 1


async def test_a_refused_graph_names_the_field(graphs: GraphChecker) -> None:
    before = await graphs(graph_of("x"))
    with pytest.raises(InvalidField) as caught:
        await graphs(graph_of("refuse"))

    assert caught.value.fields["field"] == "network.graph.nodes[1]"
    assert await graphs(graph_of("x")) == before


async def test_a_graph_that_kills_its_checker_is_refused_and_the_next_one_is_measured(
    graphs: GraphChecker,
) -> None:
    before = await graphs(graph_of("x"))
    with pytest.raises(InvalidField, match="within the limits of time and memory"):
        await graphs(graph_of("die"))

    assert await graphs(graph_of("x")) != before


async def test_a_graph_that_takes_too_long_is_refused() -> None:
    start = partial(childproc.start, ("--check",), program=PROGRAM)
    checker = GraphChecker(start, time_limit_s=1.5)
    try:
        with pytest.raises(InvalidField, match="within the limits of time and memory"):
            await checker(graph_of("hang"))
    finally:
        await checker.close()


async def test_a_child_is_replaced_after_its_share(
    graphs: GraphChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.checker.GRAPHS_PER_CHILD", 2)

    measured = [await graphs(graph_of("x")) for _ in range(4)]

    assert len(set(measured)) == 2
