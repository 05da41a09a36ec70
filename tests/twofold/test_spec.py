"""Specs are completed as the proto's comments say, or refused naming the field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twofold.specs import (
    BOUNDS,
    COLUMNS,
    DIGEST,
    INTEGER,
    column,
    completed,
    make_spec,
)
from twofold.errors import InvalidField
from twofold.nets import bounds as graph_bounds
from twofold.nets import catalogue
from twofold.spec import complete, dataset_of, truth_table
from twofold.v1 import spec_pb2


def test_every_default_of_a_classification() -> None:
    sent = make_spec()

    done = completed(sent)

    expected = spec_pb2.TrainingSpec(format_version=1, model="m")
    expected.data.CopyFrom(
        spec_pb2.DataSpec(
            dataset=DIGEST,
            target="y",
            features=["real", "colour"],
            task=spec_pb2.TASK_CLASSIFICATION,
            validation_fraction=0.2,
            split=spec_pb2.SPLIT_STRATIFIED,
            standardize=True,
        )
    )
    expected.network.CopyFrom(
        spec_pb2.NetworkSpec(
            family=spec_pb2.FAMILY_MLP, hidden=[64], activation=spec_pb2.ACTIVATION_RELU
        )
    )
    expected.training.CopyFrom(
        spec_pb2.TrainingOptions(
            epochs=100,
            batch_size=1024,
            loss=spec_pb2.LOSS_CROSS_ENTROPY,
            optimizer=spec_pb2.OPTIMIZER_ADAM,
            learning_rate=0.001,
            weight_decay=0.0,
            beta1=0.9,
            beta2=0.999,
            epsilon=1e-8,
            label_smoothing=0.0,
            precision=spec_pb2.PRECISION_FP32,
            schedule=spec_pb2.Schedule(kind=spec_pb2.SCHEDULE_KIND_CONSTANT, warmup_epochs=0),
        )
    )
    expected.training.checkpoint_interval.FromSeconds(10)
    expected.limits.max_retries = 2
    expected.limits.max_duration.FromSeconds(86_400)
    expected.limits.progress_timeout.FromSeconds(600)
    assert done == expected
    assert sent == make_spec()


def test_every_default_of_a_truth_table() -> None:
    columns, _ = truth_table("xor")
    spec = spec_pb2.TrainingSpec(model="m", data=spec_pb2.DataSpec(dataset="xor"))
    spec.network.family = spec_pb2.FAMILY_PERCEPTRON

    done = complete(spec, columns, 4, BOUNDS)

    assert done.data.target == "label"
    assert list(done.data.features) == ["a", "b"]
    assert done.data.task == spec_pb2.TASK_CLASSIFICATION
    assert done.data.validation_fraction == 0
    assert done.data.HasField("standardize")
    assert not done.data.standardize
    assert done.training.loss == spec_pb2.LOSS_PERCEPTRON
    assert done.training.optimizer == spec_pb2.OPTIMIZER_SGD
    assert done.training.learning_rate == 1.0
    assert done.training.momentum == 0.0


@pytest.mark.parametrize(
    ("names", "target"),
    [(["label", "target", "z"], "target"), (["label", "z"], "label"), (["a", "z"], "z")],
)
def test_the_target_is_found_by_its_name_or_place(names: list[str], target: str) -> None:
    columns = [column(name, INTEGER, 2) for name in names]

    done = completed(make_spec(data__features=[]), columns)

    assert done.data.target == target
    assert list(done.data.features) == [name for name in names if name != target]


@pytest.mark.parametrize(
    ("family", "target", "task"),
    [
        (spec_pb2.FAMILY_MLP, "whole", spec_pb2.TASK_CLASSIFICATION),
        (spec_pb2.FAMILY_MLP, "flag", spec_pb2.TASK_CLASSIFICATION),
        (spec_pb2.FAMILY_MLP, "species", spec_pb2.TASK_CLASSIFICATION),
        (spec_pb2.FAMILY_MLP, "price", spec_pb2.TASK_REGRESSION),
        (spec_pb2.FAMILY_LINEAR, "whole", spec_pb2.TASK_REGRESSION),
    ],
)
def test_the_task_follows_from_the_family_or_the_column(
    family: spec_pb2.Family, target: str, task: spec_pb2.Task
) -> None:
    done = completed(make_spec(data__target=target, network__family=family))

    assert done.data.task == task
    is_classification = task == spec_pb2.TASK_CLASSIFICATION
    split = spec_pb2.SPLIT_STRATIFIED if is_classification else spec_pb2.SPLIT_RANDOM
    assert done.data.split == split


@pytest.mark.parametrize(
    ("optimizer", "rate", "decay"),
    [
        (spec_pb2.OPTIMIZER_SGD, 0.1, 0.0),
        (spec_pb2.OPTIMIZER_ADAM, 0.001, 0.0),
        (spec_pb2.OPTIMIZER_ADAMW, 0.001, 0.01),
        (spec_pb2.OPTIMIZER_RMSPROP, 0.001, 0.0),
        (spec_pb2.OPTIMIZER_MUON, 0.001, 0.01),
        (spec_pb2.OPTIMIZER_LBFGS, 1.0, 0.0),
    ],
)
def test_rate_and_decay_follow_from_the_optimizer(
    optimizer: spec_pb2.Optimizer, rate: float, decay: float
) -> None:
    training = completed(make_spec(training__optimizer=optimizer)).training

    assert (training.learning_rate, training.weight_decay) == (rate, decay)


def test_with_an_automatic_batch_the_rate_is_left_to_it_unless_it_is_given() -> None:
    free = completed(make_spec(training__batch_size=0)).training
    given = completed(make_spec(training__batch_size=0, training__learning_rate=0.5)).training

    assert free.HasField("batch_size")
    assert not free.HasField("learning_rate")
    assert given.learning_rate == 0.5


def test_the_perceptron_rule_with_another_optimizer_has_that_one_s_rate() -> None:
    spec = make_spec(
        network__family=spec_pb2.FAMILY_PERCEPTRON, training__optimizer=spec_pb2.OPTIMIZER_ADAM
    )

    assert completed(spec).training.learning_rate == 0.001


def test_a_step_neuron_is_trained_by_the_perceptron_rule() -> None:
    spec = make_spec(
        network__family=spec_pb2.FAMILY_NEURON, network__activation=spec_pb2.ACTIVATION_STEP
    )

    assert completed(spec).training.loss == spec_pb2.LOSS_PERCEPTRON


@pytest.mark.parametrize(("row_count", "fraction"), [(19, 0.0), (20, 0.2)])
def test_small_tables_hold_nothing_out(row_count: int, fraction: float) -> None:
    done = completed(make_spec(), row_count=row_count)

    assert done.data.validation_fraction == fraction


def test_what_was_said_stays() -> None:
    said: dict[str, object] = {
        "data__target": "price",
        "data__validation_fraction": 0.5,
        "data__standardize": False,
        "data__split": spec_pb2.SPLIT_RANDOM,
        "network__hidden": [3, 5],
        "network__activation": spec_pb2.ACTIVATION_GELU,
        "network__dropout": 0.5,
        "training__optimizer": spec_pb2.OPTIMIZER_SGD,
        "training__learning_rate": 7.0,
        "training__weight_decay": 0.5,
        "training__momentum": 0.9,
        "training__nesterov": True,
        "training__tolerance": 0.0,
        "training__patience": 3,
        "training__threads": 2,
        "training__seed": 11,
    }

    done = completed(make_spec(**said))

    for path, value in said.items():
        group, name = path.split("__")
        assert getattr(getattr(done, group), name) == value, path
    assert done.training.HasField("tolerance")


@pytest.mark.parametrize("name", ["and", "or", "xor", DIGEST])
def test_data_sets_are_digests_or_truth_tables(name: str) -> None:
    assert dataset_of(make_spec(data__dataset=name)) == name


@st.composite
def _specs(draw: st.DrawFn) -> spec_pb2.TrainingSpec:
    """Specs from every corner, most of them refused."""
    pick = {
        "network__family": st.sampled_from(spec_pb2.Family.values()),
        "network__activation": st.sampled_from(spec_pb2.Activation.values()),
        "network__hidden": st.lists(st.integers(1, 50), max_size=3),
        "data__target": st.sampled_from(["", *(column.name for column in COLUMNS)]),
        "data__task": st.sampled_from(spec_pb2.Task.values()),
        "data__features": st.lists(
            st.sampled_from([column.name for column in COLUMNS]), max_size=3, unique=True
        ),
        "training__loss": st.sampled_from(spec_pb2.Loss.values()),
        "training__optimizer": st.sampled_from(spec_pb2.Optimizer.values()),
        "training__nesterov": st.booleans(),
        "training__momentum": st.sampled_from([0.0, 0.9]),
        "training__batch_size": st.sampled_from([0, 8, 1 << 20]),
        "training__balance_classes": st.booleans(),
        "training__schedule__kind": st.sampled_from(spec_pb2.ScheduleKind.values()),
        "training__schedule__floor": st.sampled_from([0.0, 0.5]),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(pick)), max_size=6)) | {"network__family"}
    return make_spec(**{path: draw(pick[path]) for path in sorted(chosen)})


@settings(max_examples=300, deadline=None)
@given(_specs())
def test_a_completed_spec_completes_to_itself_and_builds_a_valid_graph(
    spec: spec_pb2.TrainingSpec,
) -> None:
    """Whatever is accepted can be trained: Retry may send it again, and the graph passes."""
    try:
        done = completed(spec)
    except InvalidField:
        return

    assert completed(done) == done
    target = next(column for column in COLUMNS if column.name == done.data.target)
    is_classification = done.data.task == spec_pb2.TASK_CLASSIFICATION
    sizes = catalogue.Sizes(1, (7,), target.distinct_count if is_classification else 0)
    built = catalogue.build_sized(
        done.network, sizes, done.data.task, scaling=True, loss=done.training.loss
    )
    graph_bounds.check(built.graph)


def test_gates_get_their_metric_by_the_task() -> None:
    gated = completed(make_spec(gates__not_worse_than="production"))
    regression = make_spec(gates__max_metric=2.0, data__target="real", data__features=["whole"])

    assert (gated.gates.metric, gated.gates.margin) == ("accuracy", 0.0)
    assert completed(gated) == gated
    assert not completed(make_spec()).HasField("gates")
    with pytest.raises(InvalidField, match=r"gates\.max_metric is 2.*of r2, where more is better"):
        completed(regression)
    regression.gates.metric = "rmse"
    assert completed(regression).gates.max_metric == 2.0
