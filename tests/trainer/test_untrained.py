"""A module whose weights are published as they came: measured, judged and exported, not trained."""
# pyright: reportUnknownVariableType=false

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer.jobs import BOUNDS, FakeReporter, request_for
from tests.trainer.test_modules import weights_at
from tests.twofold.modules import graph_of
from trainer import optimizers
from trainer.gates import NotBlessed
from trainer.session import Session
from twofold import series, spec, toml_spec
from twofold.errors import InvalidField
from twofold.internal.v1 import child_pb2
from twofold.nets.net import init
from twofold.v1 import graph_pb2, spec_pb2, training_pb2


def request(folder: Path, epochs: int = 0, **tables: object) -> child_pb2.TrainRequest:
    """A request to publish a module of one output, of random weights, measured on xor."""
    table = spec.truth_table("xor")
    tree: dict[str, object] = {
        "model": "own",
        "data": {"dataset": "xor"},
        "training": {"epochs": epochs},
        **tables,
    }
    asked = toml_spec.from_dict(tree)
    asked.network.graph.CopyFrom(graph_of(2, 1, width=8))
    asked.network.weights = "ab" * 32
    done = spec.complete(asked, table.columns, table.row_count, BOUNDS)
    made = request_for(done, folder)
    made.weights_path = str(weights_at(folder / "weights", asked.network.graph))
    return made


def test_the_weights_are_published_bit_for_bit_as_epoch_0(tmp_path: Path) -> None:
    asked = request(tmp_path)
    made = Session(asked, FakeReporter()).run()

    published = load_file(Path(asked.artifact_path) / "weights.safetensors")
    came = load_file(asked.weights_path)
    assert published.keys() == came.keys()
    assert all(torch.equal(published[name], came[name]) for name in came)
    assert (made.lineage.epoch, made.lineage.training_row_count) == (0, 4)
    assert 0 <= made.metrics["accuracy"] <= 1


def test_the_figures_are_those_of_all_rows_and_told_as_progress(tmp_path: Path) -> None:
    reporter = FakeReporter()
    asked = request(tmp_path)
    made = Session(asked, reporter).run()

    phases = [phase for phase, _ in itertools.groupby(reporter.phases)]
    assert phases == [training_pb2.JOB_PHASE_PREPARING, training_pb2.JOB_PHASE_EVALUATING]
    first, last = reporter.progress
    assert (first.loss, dict(first.metrics)) == (0.0, {})
    assert (last.epoch, last.epoch_count) == (0, 0)
    assert last.loss == made.metrics["loss"] > 0
    assert last.metrics["accuracy"] == made.metrics["accuracy"]
    assert not last.HasField("validation_loss")
    assert not last.HasField("remaining_duration")


def test_the_series_is_there_and_has_no_epoch(tmp_path: Path) -> None:
    asked = request(tmp_path)
    Session(asked, FakeReporter()).run()

    written = (Path(asked.checkpoint_path) / series.FILE_NAME).read_bytes()
    assert series.parse(written).points == []


def test_rows_may_be_held_out_all_the_same(tmp_path: Path) -> None:
    reporter = FakeReporter()
    data = {"dataset": "xor", "validation_fraction": 0.5, "split": "random"}
    made = Session(request(tmp_path, data=data), reporter).run()

    assert reporter.progress[-1].validation_loss == made.metrics["loss"]
    assert made.lineage.validation_row_count == 2


def test_a_gate_judges_the_weights_as_they_came(tmp_path: Path) -> None:
    with pytest.raises(NotBlessed, match=r"needed is at least 1 \(gates\.min_metric\)"):
        Session(request(tmp_path, gates={"min_metric": 1.0}), FakeReporter()).run()
    made = Session(request(tmp_path / "b", gates={"min_metric": 0.0}), FakeReporter()).run()

    assert made.gates[0].metric == "accuracy"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_answer_no_numbers_are_not_published(tmp_path: Path, value: float) -> None:
    asked = request(tmp_path)
    weights = load_file(asked.weights_path)
    weights["output.bias"][:] = value
    save_file(weights, asked.weights_path)

    with pytest.raises(NotBlessed, match=r"the loss of the weights as they came is (nan|inf)"):
        Session(asked, FakeReporter()).run()


def frozen_request(folder: Path, epochs: int) -> child_pb2.TrainRequest:
    """The module says itself that all its parameters stay."""
    asked = request(folder, epochs)
    graph = asked.spec.network.graph
    graph.frozen.extend(load_file(asked.weights_path))
    return asked


def test_a_module_without_anything_to_train_is_published_and_never_trained(tmp_path: Path) -> None:
    assert Session(frozen_request(tmp_path, 0), FakeReporter()).run().metrics

    with pytest.raises(InvalidField, match=r"training\.epochs is 3; allowed: 0: the network has"):
        Session(frozen_request(tmp_path / "b", 3), FakeReporter()).run()


def test_no_parameters_need_no_optimizer() -> None:
    graph = graph_pb2.Graph()
    graph.CopyFrom(graph_of(2, 1))
    graph.head = graph_pb2.HEAD_RAW
    net = init(graph, 0)
    for parameter in net.parameters():
        parameter.requires_grad = False

    options = spec_pb2.TrainingOptions(optimizer=spec_pb2.OPTIMIZER_LBFGS, learning_rate=1.0)
    none = optimizers.make(net, options, torch.device("cpu"))
    assert none.parameters == []
