"""A module of the user's goes through a session like any network, from the weights it came with."""
# pyright: reportUnknownVariableType=false

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer.jobs import BOUNDS, FakeReporter, request_for
from tests.twofold import losses
from tests.twofold.modules import graph_of
from trainer.api.graphs import require_same
from trainer.checker import GraphChecker
from trainer.child import check_graph
from trainer.gates import NotBlessed
from trainer.reading.weights import read_shapes
from trainer.session import Session
from twofold import spec, toml_spec
from twofold.errors import Corrupt, InvalidField
from twofold.internal.v1 import child_pb2
from twofold.nets import values
from twofold.nets.net import init
from twofold.v1 import graph_pb2


def weights_at(path: Path, graph: graph_pb2.Graph, seed: int = 3) -> Path:
    whole = graph_pb2.Graph()
    whole.CopyFrom(graph)
    whole.head = graph_pb2.HEAD_RAW
    save_file(init(whole, seed).weights(), path)
    return path


def xor_job(folder: Path, **training: toml_spec.Value) -> child_pb2.TrainRequest:
    """A request to train a module of one output on xor."""
    table = spec.truth_table("xor")
    tree: dict[str, object] = {
        "model": "own",
        "data": {"dataset": "xor"},
        "training": {"epochs": 300, "learning_rate": 0.05, **training},
    }
    asked = toml_spec.from_dict(tree)
    asked.network.graph.CopyFrom(graph_of(2, 1, width=8))
    asked.network.weights = "ab" * 32
    done = spec.complete(asked, table.columns, table.row_count, BOUNDS)
    request = request_for(done, folder)
    request.weights_path = str(weights_at(folder / "weights", asked.network.graph))
    return request


def test_a_module_learns_and_is_exported_with_its_head(tmp_path: Path) -> None:
    request = xor_job(tmp_path)
    made = Session(request, FakeReporter()).run()

    exported = graph_pb2.Graph.FromString((Path(request.artifact_path) / "graph.pb").read_bytes())
    assert made.metrics["accuracy"] == 1.0
    assert exported.head == graph_pb2.HEAD_SIGMOID
    assert [tensor.name for tensor in made.outputs] == ["probabilities", "label"]


def test_training_begins_with_the_weights_that_came(tmp_path: Path) -> None:
    """A rate of almost nothing leaves them where they were."""
    request = xor_job(tmp_path, epochs=1, learning_rate=1e-30, optimizer="sgd")
    Session(request, FakeReporter()).run()

    trained = load_file(Path(request.artifact_path) / "weights.safetensors")
    for name, tensor in load_file(request.weights_path).items():
        torch.testing.assert_close(trained[name], tensor, rtol=0, atol=0)


def test_a_module_whose_parameters_change_nothing_is_told_so(tmp_path: Path) -> None:
    request = xor_job(tmp_path, epochs=1)
    graph = request.spec.network.graph
    answer = graph.nodes[-1].name
    graph.nodes.add(name="cut", function=graph_pb2.FUNCTION_DETACH, arguments=[values.node(answer)])

    with pytest.raises(InvalidField, match=r"network\.graph is a module that learns nothing"):
        Session(request, FakeReporter()).run()


@pytest.mark.parametrize(
    ("value", "is_trained", "shown"),
    [
        (float("nan"), True, "nan"),
        (float("nan"), False, "nan"),
        (float("-inf"), True, "-inf"),
        (float("-inf"), False, ""),
    ],
)
def test_a_weight_that_no_example_reaches_must_be_a_number(
    tmp_path: Path,
    value: float,
    is_trained: bool,  # noqa: FBT001 - a column of the table
    shown: str,
) -> None:
    request = xor_job(tmp_path, epochs=1)
    request.spec.network.graph.states.add(
        path="rare", data_type=graph_pb2.DATA_TYPE_FP32, shape=[2], trainable=is_trained
    )
    weights = load_file(request.weights_path)
    save_file({**weights, "rare": torch.tensor([1.0, value])}, request.weights_path)

    if not shown:  # a mask
        assert Session(request, FakeReporter()).run().files
        return
    with pytest.raises(NotBlessed, match=f"rare holds {shown}"):
        Session(request, FakeReporter()).run()


def test_weights_that_cannot_be_read_are_corrupt(tmp_path: Path) -> None:
    request = xor_job(tmp_path)
    Path(request.weights_path).write_bytes(b"x" * 100)

    with pytest.raises(Corrupt, match="the network's weights cannot be read"):
        Session(request, FakeReporter()).run()


def test_a_graph_is_measured_by_the_checking_process() -> None:
    graph = graph_of(2, 1, width=8)
    graph.head = graph_pb2.HEAD_RAW

    measured = check_graph(graph)

    assert measured.refusal == ""
    assert measured.row_elements >= 8 + 8 + 1


def test_operands_that_do_not_fit_are_refused_by_their_node() -> None:
    graph = graph_of(2, 1, width=8)
    graph.head = graph_pb2.HEAD_RAW
    graph.inputs[0].shape[1] = 3

    measured = check_graph(graph)

    assert measured.refusal.startswith("network.graph.nodes[")
    assert measured.field.startswith("network.graph.nodes[")


def test_weights_must_be_those_of_the_graph(tmp_path: Path) -> None:
    graph = graph_of(2, 1, width=8)
    shapes = read_shapes(weights_at(tmp_path / "w", graph))
    require_same(graph, shapes)

    with pytest.raises(InvalidField, match=r"without hidden\.0\.bias"):
        require_same(graph, {name: one for name, one in shapes.items() if name != "hidden.0.bias"})
    with pytest.raises(InvalidField, match="with the unknown extra"):
        require_same(graph, {**shapes, "extra": ("F32", (1,))})
    with pytest.raises(InvalidField, match=r"output\.bias as F64\[1\]; allowed: .*FP32\[1\]"):
        require_same(graph, {**shapes, "output.bias": ("F64", (1,))})


async def test_the_process_that_measures_graphs_works_under_its_limits() -> None:
    graph = graph_of(2, 1, width=8)
    graph.head = graph_pb2.HEAD_RAW
    wrong = graph_of(2, 1, width=8)
    wrong.inputs[0].shape[1] = 3
    checker = GraphChecker()
    try:
        assert await checker(graph) >= 8 + 8 + 1
        with pytest.raises(InvalidField, match=r"network\.graph\.nodes"):
            await checker(wrong)
        assert await checker(graph) >= 8 + 8 + 1
        assert await checker(graph, losses.squared()) > await checker(graph)
        assert await checker(None, losses.squared()) > 0
        with pytest.raises(InvalidField, match=r"training\.loss_graph\.inputs\[0\]"):
            await checker(graph, losses.squared(2))
    finally:
        await checker.close()
