"""What is sent of a module is what a server asks for: inputs by columns, weights by path."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tests.twofold.nets.architectures_table import DLRM
from trainer.api.graphs import require_same
from trainer.reading.weights import read_shapes
from twofold import spec, toml_spec
from twofold.client import modules
from twofold.nets import InvalidModule, trace
from twofold.nets.net import load
from twofold.nets.packing import Packed, pack
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

REAL, INTEGER = dataset_pb2.COLUMN_KIND_REAL, dataset_pb2.COLUMN_KIND_INTEGER
TEXT, ARRAY = dataset_pb2.COLUMN_KIND_CATEGORY, dataset_pb2.COLUMN_KIND_ARRAY
NOTHING = spec_pb2.DataSpec()


def column(name: str, kind: Any = REAL, **more: Any) -> dataset_pb2.Column:
    return dataset_pb2.Column(name=name, kind=kind, distinct_count=5, **more)


NUMBERS = (column("a"), column("b", INTEGER), column("c"), column("label", INTEGER))
IMAGES = (
    column("image", ARRAY, shape=[3, 8, 8], data_type=graph_pb2.DATA_TYPE_FP32),
    column("tokens", ARRAY, shape=[7], data_type=graph_pb2.DATA_TYPE_INT64),
    column("label", INTEGER),
)


class Named(nn.Module):
    """Takes what it is given, by the names of its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 2)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        return torch.cat([image.mean(dim=(2, 3)), self.embed(tokens).mean(1)], dim=1)


class Lone(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    def forward(self, rows: Tensor, scale: float = 1.0) -> Tensor:
        return self.net(rows * scale)


def inputs(packed: Packed) -> dict[str, tuple[int, list[int]]]:
    return {each.name: (each.data_type, list(each.shape)) for each in packed.graph.inputs}


FP32, INT64 = graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_INT64


def test_a_lone_argument_of_any_name_is_x() -> None:
    class Any_(nn.Module):  # noqa: N801 - a name
        def forward(self, rows: Tensor) -> Tensor:
            return rows * 2

    assert inputs(pack(Any_(), NUMBERS, NOTHING)) == {"x": (FP32, [-1, 3])}


def test_texts_are_category_beside_x() -> None:
    columns = (column("t", TEXT), *NUMBERS, column("u", TEXT), column("v", TEXT))

    assert inputs(pack(DLRM(), columns, NOTHING)) == {
        "x": (FP32, [-1, 3]),
        "category": (INT64, [-1, 3]),
    }


def test_arrays_are_inputs_by_their_names_in_the_order_of_forward() -> None:
    found = inputs(pack(Named(), IMAGES[::-1], spec_pb2.DataSpec(target="label")))

    assert list(found.items()) == [("image", (FP32, [-1, 3, 8, 8])), ("tokens", (INT64, [-1, 7]))]


def test_a_lone_argument_is_the_only_array() -> None:
    found = inputs(pack(nn.Sequential(nn.Flatten()), IMAGES[:1] + IMAGES[2:], NOTHING))

    assert found == {"image": (FP32, [-1, 3, 8, 8])}


def test_features_and_the_target_are_those_of_the_spec() -> None:
    narrow = spec_pb2.DataSpec(target="a", features=["c", "label"])

    assert inputs(pack(nn.Sequential(nn.Linear(2, 1)), NUMBERS, narrow)) == {"x": (FP32, [-1, 2])}
    other = spec_pb2.DataSpec(target="a")
    assert inputs(pack(nn.Sequential(nn.Linear(3, 1)), NUMBERS, other)) == {"x": (FP32, [-1, 3])}


def test_targets_and_weight_are_no_features() -> None:
    several = spec_pb2.DataSpec(targets=["a", "label"], weight="b")

    assert inputs(pack(nn.Sequential(nn.Linear(1, 2)), NUMBERS, several)) == {"x": (FP32, [-1, 1])}


@pytest.mark.parametrize(
    ("module", "columns", "message"),
    [
        (Lone(), NUMBERS, r"forward\(\) has an argument rows; the columns make: x \[3\]; rename"),
        (DLRM(), NUMBERS, r"has an argument category; the columns make: x \[3\]"),
        (nn.Sequential(nn.Linear(4, 1)), NUMBERS, "0 does not run on the example: mat1 and mat2"),
        ("resnet", NUMBERS, "it is a str; give a torch.nn.Module, or what twofold.nets.trace"),
        (nn.Sequential(nn.Linear(3, 1).half()), NUMBERS, "0.weight is float16, .*call .float"),
    ],
)
def test_what_does_not_fit_the_columns_is_told(module: Any, columns: Any, message: str) -> None:
    with pytest.raises(InvalidModule, match=message):
        pack(module, columns, NOTHING)


def test_columns_that_no_argument_takes_are_no_features_unless_they_are_asked_for() -> None:
    columns = (*IMAGES, column("d"))
    names = [each.name for each in columns if each.name != "label"]

    assert list(inputs(pack(Named(), columns, NOTHING))) == ["image", "tokens"]
    with pytest.raises(
        InvalidModule, match=r"test_packing\.py:\d+: `def forward.* not take x, "
    ) as e:
        pack(Named(), columns, spec_pb2.DataSpec(features=names))
    assert e.value.fields["code"].startswith("def forward(self, ")


def test_where_forward_is_torchs_no_line_is_named() -> None:
    """Who called the tracer is no part of the module."""
    columns = (*NUMBERS, column("t", TEXT))

    with pytest.raises(InvalidModule, match=r"^module: forward\(\) has an argument input; "):
        pack(nn.Sequential(nn.Linear(3, 1)), columns, NOTHING)


def test_weights_are_what_a_server_compares_with_the_graph(tmp_path: Path) -> None:
    """Also those that lie otherwise in memory, or share it."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            both = torch.randn(4, 3)
            self.left, self.right = nn.Parameter(both[:2].t()), nn.Parameter(both[1:3].t())
            self.register_buffer("shift", both[0], persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return (x - self.shift) @ self.left * (x @ self.right)  # pyright: ignore[reportOperatorIssue]

    module = Odd()
    packed = pack(module, NUMBERS, NOTHING)

    path = tmp_path / "weights"
    path.write_bytes(packed.weights)
    require_same(packed.graph, read_shapes(path))
    net = load(packed.graph, safetensors.torch.load(packed.weights))
    x = torch.randn(4, 3)
    torch.testing.assert_close(net(x), module(x))


def test_what_was_traced_is_packed_as_it_is() -> None:
    traced = trace(nn.Sequential(nn.Linear(3, 2)), torch.rand(2, 3), names={"input": "x"})

    packed = pack(traced, (), NOTHING)

    assert packed.graph == traced.graph
    assert safetensors.torch.load(packed.weights).keys() == traced.state.keys()


def test_a_spec_with_what_was_packed_is_completed_by_the_server() -> None:
    """The client's own way, for a truth table."""
    asked = toml_spec.from_dict({"model": "own", "data": {"dataset": "xor"}})
    table = modules.builtin_dataset("xor")
    assert table is not None
    columns = table.columns
    packed = modules.pack(
        nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)), columns, asked.data
    )
    weights = dataset_pb2.Dataset(name="datasets/" + "ab" * 32)

    done = spec.complete(
        modules.completed(asked, packed, weights), columns, 4, spec.Bounds(1 << 20, 1 << 30)
    )

    assert done.network.graph.head == graph_pb2.HEAD_SIGMOID
    assert list(done.network.graph.inputs) == list(packed.graph.inputs)
