"""Exported versions answer what the versions answer: any batch, text in and labels out."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.inferer import artifacts
from tests.twofold import arrays
from tests.twofold.nets import families
from tests.twofold.nets.test_registry import served
from twofold import errors
from twofold.nets import catalogue, modules, onnx_export
from twofold.nets.net import Net, init
from twofold.tensors import Array
from twofold.v1 import model_pb2, spec_pb2

Made = tuple[model_pb2.FeatureSpec, Net]
BINARY = model_pb2.FeatureSpec(
    numeric_columns=["a", "b"],
    target="y",
    task=spec_pb2.TASK_CLASSIFICATION,
    labels=["no", "ja, sí ✓"],
)


def binary(family: spec_pb2.Family, seed: int = 0) -> Made:
    network = spec_pb2.NetworkSpec(family=family)
    graph = catalogue.build(network, BINARY, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED)
    return BINARY, init(graph, seed).eval()


def embedded() -> Made:
    """Embeddings of a category whose values may be unknown."""
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_EMBEDDING_MLP, hidden=[4])
    spec = artifacts.CLASSES
    graph = catalogue.build(network, spec, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED)
    return spec, init(graph, 2).eval()


def export(made: Made, out: Path) -> onnx_export.Exported:
    files = artifacts.files_of(*made)
    manifest = artifacts.manifest_of("m", *made, files)
    manifest.version = 3
    return onnx_export.export(manifest, files, out)


def run(path: Path, inputs: Mapping[str, Array]) -> dict[str, Any]:
    session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    texts = {
        name: np.array([[cell.decode() for cell in row] for row in array.tolist()], dtype=object)
        if array.dtype.kind == "O"
        else array
        for name, array in inputs.items()
    }
    return dict(zip(names, session.run(names, texts), strict=True))


@pytest.mark.parametrize(
    "made",
    [
        artifacts.classifier(1),
        artifacts.constant(3),
        binary(spec_pb2.FAMILY_LOGISTIC),
        binary(spec_pb2.FAMILY_PERCEPTRON),
        embedded(),
        artifacts.module(arrays.conv(maps=True), "a", "b"),
        artifacts.module(arrays.tokens(), "a", "b"),
    ],
    ids=[
        "classes and categories",
        "regression",
        "sigmoid",
        "step",
        "embeddings",
        "raw images",
        "identifiers",
    ],
)
def test_an_export_answers_like_the_version(made: Made, tmp_path: Path) -> None:
    spec, net = made
    exported = export(made, tmp_path / "m.onnx")

    for rows in (1, 7):
        inputs = artifacts.raw_inputs(spec, rows)
        expected = artifacts.answer(spec, net, inputs)
        found = run(exported.path, inputs)

        assert list(found) == list(expected) == list(exported.outputs)
        for name, array in expected.items():
            if name == "label":
                assert found[name].tolist() == [[cell.decode()] for [cell] in array.tolist()]
            else:
                np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


class Together(torch.nn.Module):
    """Several nets side by side: exporting one takes seconds, all of them hardly more."""

    def __init__(self, nets: Mapping[str, Net], counts: Mapping[str, int]) -> None:
        super().__init__()
        self.nets = torch.nn.ModuleDict(nets)
        self.counts = counts

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answers: list[torch.Tensor] = []
        for name, net in self.nets.items():
            count = self.counts[name]
            answers.append(net(*inputs[:count]))
            inputs = inputs[count:]
        return tuple(answers)


@pytest.mark.timeout(120)
def test_every_deep_family_answers_the_same_in_onnx() -> None:
    """Any batch: also one row, where a size of 1 could have been taken for the batch."""
    graphs = {
        spec_pb2.Family.Name(family): families.built(network).graph
        for family, network in families.NETWORKS.items()
    }
    nets = {name: init(graph, 0).eval() for name, graph in graphs.items()}
    counts = {name: len(graph.inputs) for name, graph in graphs.items()}
    together = Together(nets, counts)
    names = [f"i{place}" for place in range(sum(counts.values()))]

    def rows(count: int) -> list[torch.Tensor]:
        return [tensor for graph in graphs.values() for tensor in families.rows(graph, count)]

    arrays = [tensor.numpy() for tensor in rows(3)]
    model = onnx_export.to_proto(together, arrays, names, list(nets))
    session: Any = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    for count in (1, 5):
        inputs = rows(count)
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        found = session.run(list(nets), feed)
        with torch.no_grad():
            expected = together(*inputs)
        for name, got, wanted in zip(nets, found, expected, strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_names_types_and_batch_are_the_signatures(tmp_path: Path) -> None:
    exported = export(artifacts.classifier(1), tmp_path / "m.onnx")
    graph = onnx.load(exported.path).graph

    def shown(entry: onnx.ValueInfoProto) -> tuple[str, int, list[object]]:
        tensor = entry.type.tensor_type
        shape: list[object] = [size.dim_param or size.dim_value for size in tensor.shape.dim]
        return entry.name, tensor.elem_type, shape

    assert [shown(entry) for entry in graph.input] == [
        ("x", onnx.TensorProto.FLOAT, ["batch", 2]),
        ("category", onnx.TensorProto.STRING, ["batch", 1]),
    ]
    assert [shown(entry) for entry in graph.output] == [
        ("probabilities", onnx.TensorProto.FLOAT, ["batch", 3]),
        ("label", onnx.TensorProto.STRING, ["batch", 1]),
    ]


def test_ties_and_what_is_no_number_are_labelled_as_the_inferer_does(tmp_path: Path) -> None:
    spec, net = binary(spec_pb2.FAMILY_LOGISTIC)
    zeros = {path: torch.zeros_like(tensor) for path, tensor in net.state_dict().items()}
    net.load_state_dict({**zeros, **{key: t + 1 for key, t in zeros.items() if "deviation" in key}})
    exported = export((spec, net), tmp_path / "m.onnx")
    x = np.array([[0, 0], [np.nan, 1]], dtype=np.float32)

    found = run(exported.path, {"x": x})

    assert found["label"].tolist() == [["ja, sí ✓"], [""]]
    assert artifacts.answer(spec, net, {"x": x})["label"].tolist() == [["ja, sí ✓".encode()], [b""]]


def test_a_file_tells_its_version_and_nothing_of_the_machine(tmp_path: Path) -> None:
    exported = export(artifacts.constant(3), tmp_path / "m.onnx")

    model = onnx.load(exported.path)
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "twofold.version": "models/m/versions/3"
    }
    assert b".py" not in exported.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("mine")

    with pytest.raises(errors.InvalidField, match="not there yet"):
        export(artifacts.constant(3), tmp_path / "m.onnx")

    assert (tmp_path / "m.onnx").read_text() == "mine"


class Bags(torch.nn.Module):
    """Each row is one bag."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = modules.EmbeddingBag(6, 2, mode="sum")

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        (index,) = inputs
        starts = torch.arange(0, index.numel(), index.size(1))
        return self.bag(index.reshape(-1), starts)


def test_bags_are_exported_as_torch_has_them() -> None:
    """What looks at their beginnings is nothing that ONNX has."""
    index = np.array([[0, 1, 2], [3, 4, 5]])

    model = onnx_export.to_proto(Bags(), [index], ["x"], ["y"])

    assert {node.op_type for node in model.graph.node} >= {"Gather", "Loop"}


class Odd(torch.nn.Module):
    """ONNX has no such operator."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        product = inputs[0] @ inputs[0].T
        return torch.view_as_real(torch.linalg.eigvals(product))


def test_what_cannot_be_exported_is_refused_with_torchs_reason() -> None:
    x = np.ones((2, 2), dtype=np.float32)

    with pytest.raises(errors.Unimplemented) as caught:
        onnx_export.to_proto(Odd(), [x], ["x"], ["y"])

    message = caught.value.message
    assert message.startswith("this network cannot be exported to ONNX: ")
    assert "aten.linalg_eig" in message
    assert "\n" not in message


def test_an_export_that_answers_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = onnx_export.to_proto

    def wrong(*arguments: Any) -> onnx.ModelProto:  # noqa: ANN401 - passed on
        model = real(*arguments)
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                tensor.raw_data = (values + 1).tobytes()
        return model

    monkeypatch.setattr(onnx_export, "to_proto", wrong)

    with pytest.raises(errors.Corrupt, match="golden replay: value is off by"):
        export(artifacts.constant(3), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_command_pulls_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner  # noqa: PLC0415 - for this test alone

    from twofold.cli.app import app  # noqa: PLC0415 - likewise

    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "m.onnx"
    with served(tmp_path / "api") as api:
        artifacts.put(api.store, "m", artifacts.constant(3))
        result = CliRunner().invoke(
            app, ["--train", api.address, "models", "export", "m@1", "--out", str(out)]
        )

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == [
        "x -> value",
        "onnxruntime gives the answers of all 4 golden rows",
    ]
    assert run(out, {"x": np.zeros((2, 2), np.float32)})["value"].tolist() == [[3], [3]]


def several(task: spec_pb2.Task, family: spec_pb2.Family) -> Made:
    """Three targets of two numbers."""
    names = ["u", "v", "w"]
    spec = model_pb2.FeatureSpec(
        numeric_columns=["a", "b"],
        target="u",
        targets=names,
        task=task,
        labels=names if task == spec_pb2.TASK_MULTILABEL else [],
    )
    network = spec_pb2.NetworkSpec(family=family)
    graph = catalogue.build(network, spec, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED)
    return spec, init(graph, 0).eval()


@pytest.mark.parametrize(
    "made",
    [
        several(spec_pb2.TASK_MULTILABEL, spec_pb2.FAMILY_LOGISTIC),
        several(spec_pb2.TASK_REGRESSION, spec_pb2.FAMILY_LINEAR),
    ],
    ids=["labels", "targets"],
)
def test_several_answers_a_row_are_exported(made: Made, tmp_path: Path) -> None:
    spec, net = made
    inputs = artifacts.raw_inputs(spec, 5)
    expected = artifacts.answer(spec, net, inputs)

    found = run(export(made, tmp_path / "m.onnx").path, inputs)

    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
