"""The catalogue's deep families go through a session, from their examples' files."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.jobs import BOUNDS, FakeReporter, request_for
from trainer.data import describe
from trainer.session import Session
from twofold import spec, toml_spec
from twofold.client import uploads
from twofold.features import Features
from twofold.internal.v1 import child_pb2
from twofold.nets.net import load
from twofold.v1 import graph_pb2

EXAMPLES = Path(__file__).parents[2] / "examples"


def request_of(name: str, folder: Path, epochs: int) -> child_pb2.TrainRequest:
    """An example's request, of fewer epochs."""
    asked = toml_spec.from_dict(toml_spec.read(EXAMPLES / f"{name}.toml"))
    asked.training.epochs = epochs
    file = EXAMPLES / asked.data.dataset
    upload = uploads.from_file(file)
    asked.data.dataset = upload.header.sha256
    dataset = describe(file, upload.header.format)
    done = spec.complete(asked, dataset.columns, dataset.row_count, BOUNDS)
    request = request_for(done, folder)
    request.data_path = str(file)
    request.data_format = upload.header.format
    return request


@pytest.mark.parametrize(
    ("name", "epochs", "metric", "least"),
    [
        ("residual_mlp", 5, "accuracy", 0.93),
        ("embedding_mlp", 20, "r2", 0.93),
        ("cnn", 4, "accuracy", 0.93),
        ("resnet", 4, "accuracy", 0.93),
        ("cnn1d", 8, "accuracy", 0.93),
        ("gru", 12, "accuracy", 0.9),
    ],
)
def test_an_example_is_trained_and_published(
    name: str, epochs: int, metric: str, least: float, tmp_path: Path
) -> None:
    request = request_of(name, tmp_path, epochs)

    made = Session(request, FakeReporter()).run()

    assert made.metrics[metric] > least
    folder = Path(request.artifact_path)
    graph = graph_pb2.Graph.FromString((folder / "graph.pb").read_bytes())
    assert load(graph, load_file(folder / "weights.safetensors")).graph == graph


def test_what_training_never_saw_is_answered_without_its_embedding(tmp_path: Path) -> None:
    """Its index is -1, and row 0 of every embedding is zeros: as if the table had none for it."""
    request = request_of("embedding_mlp", tmp_path, epochs=1)
    made = Session(request, FakeReporter()).run()
    folder = Path(request.artifact_path)
    graph = graph_pb2.Graph.FromString((folder / "graph.pb").read_bytes())
    weights = load_file(folder / "weights.safetensors")
    words = np.array([[b"nowhere", b"gas"], [b"district 07", b"gas"]], dtype=object)
    x = np.full((2, 2), 50, dtype=np.float32)
    arguments = Features(made.features).inputs({"x": x, "category": words})
    inputs = [torch.from_numpy(np.array(array)) for array in arguments]

    with torch.no_grad():
        unknown, known = load(graph, weights)(*inputs)
        place = 1 + list(made.features.category_columns[0].vocabulary).index("district 07")
        weights["embedding.0.weight"][place] = 0
        forgotten = load(graph, weights)(*inputs)[1]

    assert unknown.isfinite()
    assert not torch.equal(unknown, known)
    torch.testing.assert_close(unknown, forgotten)
