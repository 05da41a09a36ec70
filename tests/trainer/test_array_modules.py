"""Modules over rows that are arrays, through a whole session: images, identifiers, raw outputs."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from tests.trainer.jobs import BOUNDS, FakeReporter, request_for
from tests.twofold import arrays, losses
from trainer import baseline, data, recipe, training, warm_start
from trainer.gates import NotBlessed
from trainer.loop import Interrupted
from trainer.prepared import Prepared, prepare
from trainer.session import Session
from twofold import artifact, golden, keys, manifest, signature, spec, toml_spec
from twofold.errors import InvalidField
from twofold.internal.v1 import child_pb2
from twofold.nets import registry
from twofold.nets.net import init
from twofold.store import LocalStore
from twofold.v1 import dataset_pb2, graph_pb2, model_pb2, spec_pb2, training_pb2

NPZ = dataset_pb2.DATASET_FORMAT_NPZ
Members = Mapping[str, NDArray[np.generic]]


def images(count: int = 60, *, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Images whose label is whether the first channel is brighter than the second."""
    draw = np.random.default_rng(seed)
    shown = draw.normal(size=(count, 3, 6, 6)).astype(np.float32)
    shown[:, 0] += draw.choice([-1, 1], size=count)[:, None, None]
    label = np.where(shown[:, 0].mean((1, 2)) > shown[:, 1].mean((1, 2)), "bright", "dark")
    return {"image": shown, "y": label}


def sentences(count: int = 60) -> dict[str, NDArray[np.generic]]:
    """Identifiers, and two numbers beside them."""
    draw = np.random.default_rng(1)
    ids = draw.integers(0, 10, (count, 4))
    return {
        "x": draw.normal(size=(count, 2)),
        "tokens": ids.astype(np.int32),
        "y": (ids == 3).any(axis=1),
    }


def asked_for(
    graph: graph_pb2.Graph, path: Path, members: Members, loss: graph_pb2.Graph | None = None,
    **tables: Mapping[str, toml_spec.Value],
) -> spec_pb2.TrainingSpec:  # fmt: skip
    np.savez(path, allow_pickle=False, **members)  # pyright: ignore[reportArgumentType] - as numpy has it
    columns = data.describe(path, NPZ)
    asked = toml_spec.from_dict({"model": "own", "data": {"dataset": "ab" * 32}, **tables})
    asked.network.graph.CopyFrom(graph)
    asked.network.weights = "cd" * 32
    if loss is not None:
        asked.training.loss_graph.CopyFrom(loss)
    return spec.complete(asked, columns.columns, columns.row_count, BOUNDS, row_elements=500)


def request_over(
    graph: graph_pb2.Graph, folder: Path, members: Members, attempt: str = "a", resume: str = "",
    loss: graph_pb2.Graph | None = None, **tables: Mapping[str, toml_spec.Value],
) -> child_pb2.TrainRequest:  # fmt: skip
    path = folder / "rows.npz"
    asked = asked_for(graph, path, members, loss, **tables)
    request = request_for(asked, folder, attempt, resume)
    request.data_path, request.data_format = str(path), NPZ
    request.weights_path = str(folder / "weights")
    whole = graph_pb2.Graph.FromString(graph.SerializeToString())
    whole.head = graph_pb2.HEAD_RAW
    save_file(init(whole, 3).weights(), request.weights_path)
    return request


def prepared_of(request: child_pb2.TrainRequest) -> Prepared:
    return prepare(data.read(Path(request.data_path), NPZ), request.spec)


def examples_of(request: child_pb2.TrainRequest, made: model_pb2.Manifest) -> golden.Golden:
    content = (Path(request.artifact_path) / artifact.GOLDEN).read_bytes()
    return golden.Golden.parse(content, signature.of_manifest(made))


LEARNS: Mapping[str, toml_spec.Value] = {"epochs": 30, "learning_rate": 0.01, "batch_size": 16}


def test_images_are_learnt_and_exported_by_their_name(tmp_path: Path) -> None:
    request = request_over(arrays.conv(), tmp_path, images(), training=LEARNS)
    made = Session(request, FakeReporter()).run()

    assert made.metrics["accuracy"] > 0.8
    assert list(request.spec.data.features) == ["image"]
    assert str(signature.of_manifest(made)) == (
        "image FP32 [-1, 3, 6, 6] -> probabilities FP32 [-1, 2], label BYTES [-1, 1]"
    )
    assert made.features.array_columns == made.inputs
    assert not made.examples, "108 numbers are nothing to read"
    examples = examples_of(request, made)
    held_out = images()["image"][prepared_of(request).validation_rows]
    assert np.array_equal(examples.inputs["image"][0], held_out[0])


def test_images_are_learnt_by_a_loss_of_the_users(tmp_path: Path) -> None:
    own = losses.cross_entropy(2)
    request = request_over(arrays.conv(), tmp_path, images(), loss=own, training=LEARNS)
    made = Session(request, FakeReporter()).run()

    assert request.spec.training.loss == spec_pb2.LOSS_CUSTOM
    assert made.metrics["accuracy"] > 0.8
    assert [spec.name for spec in made.outputs] == ["output"], "as they are"


def test_a_module_that_came_trained_is_measured_by_a_loss_of_the_users(tmp_path: Path) -> None:
    as_is: Mapping[str, toml_spec.Value] = {"epochs": 0}
    measured: list[model_pb2.Manifest] = []
    for name, own in (("own", losses.cross_entropy(2)), ("built in", None)):
        folder = tmp_path / name
        folder.mkdir()
        request = request_over(arrays.conv(), folder, images(), loss=own, training=as_is)
        measured.append(Session(request, FakeReporter()).run())

    assert measured[0].metrics["loss"] == pytest.approx(measured[1].metrics["loss"], rel=1e-5)
    assert measured[0].metrics["accuracy"] == measured[1].metrics["accuracy"]


def test_several_outputs_are_answered_as_they_are(tmp_path: Path) -> None:
    request = request_over(arrays.conv(maps=True), tmp_path, images(), training=LEARNS)
    made = Session(request, FakeReporter()).run()

    exported = graph_pb2.Graph.FromString((Path(request.artifact_path) / "graph.pb").read_bytes())
    assert exported.head == graph_pb2.HEAD_RAW
    assert list(made.outputs) == list(exported.outputs)
    assert made.metrics["accuracy"] > 0.8, "of the first output"
    assert made.features.task == spec_pb2.TASK_CLASSIFICATION
    examples = examples_of(request, made)
    assert examples.outputs["maps"].shape[1:] == (4, 6, 6)
    assert examples.outputs["best"].dtype == np.int64
    best = examples.outputs["logits"].argmax(axis=1)
    assert examples.outputs["best"].tolist() == best.tolist()


def test_one_output_may_be_answered_as_it_is_too(tmp_path: Path) -> None:
    request = request_over(
        arrays.conv(), tmp_path, images(), training=LEARNS, network={"head": "raw"}
    )
    made = Session(request, FakeReporter()).run()

    assert str(signature.of_manifest(made)).endswith("-> output FP32 [-1, 2]")
    assert made.metrics["accuracy"] > 0.8
    logits = examples_of(request, made).outputs["output"]
    assert np.abs(logits.sum(axis=1) - 1).max() > 0.01, "no probabilities"


def test_a_warm_start_needs_the_same_arrays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    request = request_over(arrays.conv(), tmp_path, images(), training=LEARNS)
    publish(store, request)
    parent = warm_start.read(store, "local", "own@1")
    assert parent is not None
    prepared = prepared_of(request)
    net = init(request.spec.network.graph, 9)

    assert warm_start.take(parent, prepared.features, net).startswith(
        "9 of 9 tensors of models/own"
    )
    prepared.features.array_columns[0].shape[1] = 4
    with pytest.raises(InvalidField, match=r"the same arrays as this data; its are .*3, 6, 6"):
        warm_start.take(parent, prepared.features, net)


def test_identifiers_stand_where_the_module_has_them(tmp_path: Path) -> None:
    """Its arguments are tokens and x; on the wire x is the first."""
    request = request_over(arrays.tokens(), tmp_path, sentences(), training=LEARNS)
    made = Session(request, FakeReporter()).run()

    assert list(request.spec.data.features) == ["tokens", "x0", "x1"]
    assert str(signature.of_manifest(made)).startswith("x FP32 [-1, 2], tokens INT64 [-1, 4] ->")
    example = json.loads(made.examples[0])
    assert [len(example[name]) for name in ("x", "tokens")] == [2, 4]
    made_of = recipe.make(request.spec, prepared_of(request), torch.device("cpu"), 1)
    kinds = [(tensor.dtype, tuple(tensor.shape[1:])) for tensor in made_of.training.inputs]
    assert kinds == [(torch.int64, (4,)), (torch.float32, (2,))]


def test_images_train_channels_last(tmp_path: Path) -> None:
    request = request_over(arrays.conv(), tmp_path, images())
    made = recipe.make(request.spec, prepared_of(request), torch.device("cpu"), 1)
    made.net.train()
    made.loss_of(made.training).backward()

    last = torch.channels_last
    assert made.training.inputs[0].is_contiguous(memory_format=last)
    weight = made.net.state_dict(keep_vars=True)["conv.weight"]
    assert weight.is_contiguous(memory_format=last)
    assert weight.grad is not None


def test_after_a_stop_the_rest_is_equal_to_the_bit(tmp_path: Path) -> None:
    """Also where weights and the optimizer's tensors stand channels last."""
    training = {**LEARNS, "epochs": 6, "ema_decay": 0.9, "checkpoint_interval": 0.0}

    def request(attempt: str, resume: str = "") -> child_pb2.TrainRequest:
        graph, rows = arrays.conv(), images()
        return request_over(graph, tmp_path, rows, attempt, resume, training=training)

    straight = Session(request("straight"), FakeReporter()).run()
    stopped = FakeReporter(lambda told: bool(told.checkpoints))
    with pytest.raises(Interrupted):
        Session(request("first"), stopped).run()
    path, epoch = stopped.checkpoints[-1]
    resumed = Session(request("second", str(path)), FakeReporter()).run()

    assert 0 < epoch < 6
    digests = [{file.name: file.sha256 for file in made.files} for made in (straight, resumed)]
    assert digests[0][artifact.WEIGHTS] == digests[1][artifact.WEIGHTS]


def publish(store: LocalStore, request: child_pb2.TrainRequest) -> None:
    made = Session(request, FakeReporter()).run()
    made.version = 1
    place = keys.version("local", "own", 1)
    for file in made.files:
        content = (Path(request.artifact_path) / file.name).read_bytes()
        store.create(f"{place}/{file.name}", content)
    store.create(keys.version_manifest("local", "own", 1), manifest.encode(made))


@pytest.mark.parametrize("maps", [False, True], ids=["a head", "raw"])
def test_a_published_module_of_arrays_is_compared_on_these_rows(
    tmp_path: Path, *, maps: bool
) -> None:
    store = LocalStore(tmp_path / "store")
    request = request_over(arrays.conv(maps=maps), tmp_path, images(), training=LEARNS)
    publish(store, request)
    request.spec.gates.not_worse_than = "1"
    rows = prepared_of(request)

    measured = baseline.measure(store, "local", request.spec, rows)

    assert measured is not None
    assert measured.metrics["accuracy"] > 0.8
    del rows.features.array_columns[:]
    with pytest.raises(NotBlessed, match=r"no array image FP32\[-1, 3, 6, 6\]"):
        baseline.measure(store, "local", request.spec, rows)


def test_a_pulled_module_of_arrays_is_loaded_with_its_answers(tmp_path: Path) -> None:
    request = request_over(arrays.tokens(), tmp_path, sentences(), training=LEARNS)
    made = Session(request, FakeReporter()).run()
    files = artifact.read_files(Path(request.artifact_path), made)

    net = registry.build(made, files)

    members = sentences()
    ids = torch.from_numpy(members["tokens"].astype(np.int64))
    with torch.inference_mode():
        logits = net(ids, torch.from_numpy(members["x"].astype(np.float32)))
        probabilities = torch.softmax(torch.as_tensor(logits), 1).numpy()
    inputs = {"x": members["x"].astype(np.float32), "tokens": ids.numpy()}
    given = registry.answers(net, made.features, inputs)
    np.testing.assert_allclose(given["probabilities"], probabilities, rtol=1e-6)


@pytest.mark.parametrize("is_held_out", [False, True])
def test_an_identifier_that_no_embedding_has_is_the_datas_fault(
    tmp_path: Path,
    is_held_out: bool,  # noqa: FBT001
) -> None:
    """And no defect of ours, which would be tried again."""
    request = request_over(arrays.tokens(), tmp_path, sentences())
    prepared = prepared_of(request)
    row = (prepared.validation_rows if is_held_out else prepared.training_rows)[0]
    members = sentences()
    members["tokens"][row, 2] = 4711
    np.savez(request.data_path, allow_pickle=False, **members)  # pyright: ignore[reportArgumentType] - as numpy has it

    event = training.train(request, FakeReporter())

    assert event.failed.reason == training_pb2.JOB_REASON_DATA
    assert "looks up a row that it does not have (index out of range" in event.failed.message
