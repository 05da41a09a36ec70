# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainer import export, recipe
from trainer.loop import Loop
from trainer.prepared import Prepared, prepare
from trainer.reading.table import Table
from twofold import spec, tensors, toml_spec
from twofold.features import Features
from twofold.manifest import sha256_hex, verify_files
from twofold.nets.net import load
from twofold.v1 import dataset_pb2, graph_pb2, model_pb2

COUNT = 50


def fruit() -> tuple[Loop, Prepared]:
    """Numbers, a category and three labels; 10 of the 50 rows are held out."""
    generator = np.random.default_rng(0)
    arrays = {
        "weight": generator.normal(100, 20, COUNT),
        "colour": np.array(["red", "grün", "blue"] * 17, dtype=np.object_)[:COUNT],
        "kind": np.array(["apple", "pear", "plum"] * 17, dtype=np.object_)[:COUNT],
    }
    text = dataset_pb2.COLUMN_KIND_CATEGORY
    columns = [
        dataset_pb2.Column(name="weight", kind=dataset_pb2.COLUMN_KIND_REAL),
        dataset_pb2.Column(name="colour", kind=text, distinct_count=3),
        dataset_pb2.Column(name="kind", kind=text, distinct_count=3),
    ]
    asked = toml_spec.from_dict(
        {
            "model": "fruit",
            "data": {"dataset": "a" * 64, "target": "kind"},
            "network": {"family": "mlp"},
        }
    )
    whole = spec.complete(asked, columns, COUNT, spec.Bounds(1_000_000, 1 << 30))
    prepared = prepare(Table(arrays, COUNT), whole)
    return Loop(recipe.make(whole, prepared, torch.device("cpu"), threads=1)), prepared


def export_fruit(folder: Path) -> model_pb2.Manifest:
    loop, prepared = fruit()
    trained = export.Trained(loop.recipe, prepared, loop.best, {"accuracy": 0.5}, epoch=7)
    return export.export(trained, folder)


def test_the_manifest_describes_files_signature_and_lineage(tmp_path: Path) -> None:
    made = export_fruit(tmp_path)

    verify_files(made, {name.name: (tmp_path / name.name).read_bytes() for name in made.files})
    assert [item.name for item in made.inputs] == ["x", "category"]
    assert [(item.name, list(item.shape)) for item in made.outputs] == [
        ("probabilities", [-1, 3]),
        ("label", [-1, 1]),
    ]
    assert list(made.features.labels) == ["apple", "pear", "plum"]
    assert dict(made.metrics) == {"accuracy": 0.5}
    lineage = made.lineage
    assert lineage.dataset == "datasets/" + "a" * 64
    assert (lineage.epoch, lineage.device) == (7, "cpu")
    assert lineage.training_row_count + lineage.validation_row_count == COUNT
    whole = fruit()[0].recipe.spec
    assert lineage.spec_sha256 == sha256_hex(whole.SerializeToString(deterministic=True))


def test_golden_rows_replay_through_the_whole_path(tmp_path: Path) -> None:
    made = export_fruit(tmp_path)
    golden = load_file(tmp_path / "golden.safetensors")
    x = golden["input.x"].numpy()
    row_count = len(x)
    raw = golden["input.category"].numpy().tobytes()
    category = tensors.from_raw("BYTES", [row_count, 1], raw)
    graph = graph_pb2.Graph.FromString((tmp_path / "graph.pb").read_bytes())
    net = load(graph, load_file(tmp_path / "weights.safetensors"))
    path = Features(made.features)
    with torch.inference_mode():
        arguments = [torch.from_numpy(a) for a in path.inputs({"x": x, "category": category})]
        answers = path.answers(net.head(net(*arguments)).numpy())

    assert row_count == made.lineage.validation_row_count
    assert x.min() > 20  # raw, not standardised
    assert set(category[:, 0].tolist()) <= {b"red", "grün".encode(), b"blue"}
    assert np.array_equal(answers["probabilities"], golden["output.probabilities"].numpy())
    assert tensors.to_raw(answers["label"]) == golden["output.label"].numpy().tobytes()


def test_at_most_sixteen_golden_rows_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "GOLDEN_ROWS", 4)
    export_fruit(tmp_path)

    assert load_file(tmp_path / "golden.safetensors")["input.x"].shape == (4, 1)


def test_tolerances_grow_with_the_outputs_and_with_fewer_bits(tmp_path: Path) -> None:
    made = export_fruit(tmp_path)
    absolute = {(item.device, item.precision): item.absolute for item in made.tolerances}
    numbers = load_file(tmp_path / "golden.safetensors")["output.probabilities"]

    assert absolute["cpu", "fp32"] == pytest.approx(1e-5 * numbers.max().item())
    assert absolute["cpu", "fp32"] < absolute["cuda", "fp32"] < absolute["cuda", "bf16"]


def test_examples_are_raw_rows_as_json(tmp_path: Path) -> None:
    made = export_fruit(tmp_path)
    rows = [json.loads(text) for text in made.examples]

    assert len(rows) == 3
    assert set(rows[0]) == {"x", "category"}
    assert rows[0]["category"][0] in ("red", "grün", "blue")


def test_an_artifact_is_never_written_over(tmp_path: Path) -> None:
    export_fruit(tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(FileExistsError):
        export_fruit(tmp_path)

    assert (tmp_path / "weights.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "golden.safetensors",
        "graph.pb",
        "weights.safetensors",
    ]
