"""Specs are completed as the proto's comments say, or refused naming the field."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import InvalidField
from twofold.nets import bounds as graph_bounds
from twofold.nets import catalogue, tables
from twofold.spec import Bounds, complete, dataset_of, truth_table
from twofold.v1 import dataset_pb2, spec_pb2

DIGEST = "ab" * 32
BOUNDS = Bounds(max_parameters=1_000_000, max_memory_bytes=1 << 30)
REAL, INTEGER = dataset_pb2.COLUMN_KIND_REAL, dataset_pb2.COLUMN_KIND_INTEGER
BOOLEAN, CATEGORY = dataset_pb2.COLUMN_KIND_BOOLEAN, dataset_pb2.COLUMN_KIND_CATEGORY

Change = Callable[[spec_pb2.TrainingSpec], object]


def _column(name: str, kind: dataset_pb2.ColumnKind, count: int = 0) -> dataset_pb2.Column:
    return dataset_pb2.Column(name=name, kind=kind, distinct_count=count)


#: One column of each kind and targets for every purpose.
COLUMNS = [
    _column("real", REAL),
    _column("whole", INTEGER, 50),
    _column("flag", BOOLEAN, 2),
    _column("colour", CATEGORY, 7),
    _column("text", CATEGORY, 10_000),
    _column("price", INTEGER, 1001),
    _column("same", INTEGER, 1),
    _column("species", CATEGORY, 3),
    _column("y", CATEGORY, 2),
]


def _spec(*changes: Change, **fields: object) -> spec_pb2.TrainingSpec:
    """An MLP on real and colour that predicts y, with "data.target" as data__target changed."""
    spec = spec_pb2.TrainingSpec(model="m")
    spec.data.dataset = DIGEST
    spec.data.features.extend(["real", "colour"])
    spec.network.family = spec_pb2.FAMILY_MLP
    for path, value in fields.items():
        *groups, name = path.split("__")
        message = cast("Any", getattr(spec, groups[0]) if groups else spec)  # a path of the test
        if isinstance(value, list):
            getattr(message, name)[:] = value
        else:
            setattr(message, name, value)
    for change in changes:
        change(spec)
    return spec


def _complete(
    spec: spec_pb2.TrainingSpec,
    columns: Sequence[dataset_pb2.Column] = COLUMNS,
    row_count: int = 100,
    bounds: Bounds = BOUNDS,
) -> spec_pb2.TrainingSpec:
    return complete(spec, columns, row_count, bounds)


def test_every_default_of_a_classification() -> None:
    sent = _spec()

    done = _complete(sent)

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
        )
    )
    expected.training.checkpoint_interval.FromSeconds(10)
    expected.limits.max_retries = 2
    expected.limits.max_duration.FromSeconds(86_400)
    expected.limits.progress_timeout.FromSeconds(600)
    assert done == expected
    assert sent == _spec()


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
    columns = [_column(name, INTEGER, 2) for name in names]

    done = _complete(_spec(data__features=[]), columns)

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
    done = _complete(_spec(data__target=target, network__family=family))

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
    ],
)
def test_rate_and_decay_follow_from_the_optimizer(
    optimizer: spec_pb2.Optimizer, rate: float, decay: float
) -> None:
    training = _complete(_spec(training__optimizer=optimizer)).training

    assert (training.learning_rate, training.weight_decay) == (rate, decay)


def test_the_perceptron_rule_with_another_optimizer_has_that_one_s_rate() -> None:
    spec = _spec(
        network__family=spec_pb2.FAMILY_PERCEPTRON, training__optimizer=spec_pb2.OPTIMIZER_ADAM
    )

    assert _complete(spec).training.learning_rate == 0.001


def test_a_step_neuron_is_trained_by_the_perceptron_rule() -> None:
    spec = _spec(
        network__family=spec_pb2.FAMILY_NEURON, network__activation=spec_pb2.ACTIVATION_STEP
    )

    assert _complete(spec).training.loss == spec_pb2.LOSS_PERCEPTRON


@pytest.mark.parametrize(("row_count", "fraction"), [(19, 0.0), (20, 0.2)])
def test_small_tables_hold_nothing_out(row_count: int, fraction: float) -> None:
    done = _complete(_spec(), row_count=row_count)

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

    done = _complete(_spec(**said))

    for path, value in said.items():
        group, name = path.split("__")
        assert getattr(getattr(done, group), name) == value, path
    assert done.training.HasField("tolerance")


STEP, NEURON = spec_pb2.ACTIVATION_STEP, spec_pb2.FAMILY_NEURON
LINEAR, LOGISTIC = spec_pb2.FAMILY_LINEAR, spec_pb2.FAMILY_LOGISTIC
PERCEPTRON, SOFTMAX = spec_pb2.FAMILY_PERCEPTRON, spec_pb2.FAMILY_SOFTMAX
REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "format": ({"format_version": 2}, "format_version"),
    "no model": ({"model": ""}, "model"),
    "a path as model": ({"model": "../m"}, "model"),
    "reserved model": ({"model": "latest"}, "model"),
    "no data set": ({"data__dataset": ""}, "data.dataset"),
    "a path as data set": ({"data__dataset": "/etc/passwd"}, "data.dataset"),
    "unknown target": ({"data__target": "z"}, "data.target"),
    "unknown feature": ({"data__features": ["real", "z"]}, "data.features[1]"),
    "feature twice": ({"data__features": ["real", "real"]}, "data.features[1]"),
    "target as feature": ({"data__features": ["y"]}, "data.features[0]"),
    "text of any kind as feature": ({"data__features": ["text"]}, "data.features[0]"),
    "numbers as labels": (
        {"data__target": "real", "data__features": ["whole"], "network__family": SOFTMAX},
        "data.target",
    ),
    "text as a number": (
        {"data__target": "species", "data__task": spec_pb2.TASK_REGRESSION},
        "data.target",
    ),
    "one label": ({"data__target": "same"}, "data.target"),
    "too many labels": (
        {"data__target": "price", "data__task": spec_pb2.TASK_CLASSIFICATION},
        "data.target",
    ),
    "too much text to be labels": ({"data__target": "text"}, "data.target"),
    "three labels for two": (
        {"data__target": "species", "network__family": LOGISTIC},
        "data.target",
    ),
    "three labels for a perceptron": (
        {"data__target": "species", "network__family": PERCEPTRON},
        "data.target",
    ),
    "three labels for a tanh neuron": (
        {
            "data__target": "species",
            "network__family": NEURON,
            "network__activation": spec_pb2.ACTIVATION_TANH,
        },
        "data.target",
    ),
    "three labels for bce": (
        {"data__target": "species", "training__loss": spec_pb2.LOSS_BCE},
        "data.target",
    ),
    "text for linear regression": ({"network__family": LINEAR}, "data.target"),
    "labels for linear regression": (
        {"network__family": LINEAR, "data__task": spec_pb2.TASK_CLASSIFICATION},
        "data.task",
    ),
    "a number for a perceptron": (
        {"network__family": PERCEPTRON, "data__task": spec_pb2.TASK_REGRESSION},
        "data.task",
    ),
    "a number for a step neuron": (
        {
            "network__family": NEURON,
            "network__activation": STEP,
            "data__task": spec_pb2.TASK_REGRESSION,
        },
        "data.task",
    ),
    "fraction of a row": ({"data__validation_fraction": 0.001}, "data.validation_fraction"),
    "too large a fraction": ({"data__validation_fraction": 0.91}, "data.validation_fraction"),
    "stratified regression": (
        {"data__target": "price", "data__split": spec_pb2.SPLIT_STRATIFIED},
        "data.split",
    ),
    "no family": ({"network__family": 0}, "network.family"),
    "hidden layers of a neuron": (
        {"network__family": NEURON, "network__hidden": [8]},
        "network.hidden",
    ),
    "dropout of a neuron": (
        {"network__family": NEURON, "network__dropout": 0.1},
        "network.dropout",
    ),
    "activation of a logistic regression": (
        {"network__family": LOGISTIC, "network__activation": spec_pb2.ACTIVATION_RELU},
        "network.activation",
    ),
    "steps in an MLP": ({"network__activation": STEP}, "network.activation"),
    "width of 0": ({"network__hidden": [8, 0]}, "network.hidden[1]"),
    "giant width": ({"network__hidden": [10**9]}, "network.hidden[0]"),
    "giant depth": ({"network__hidden": [8] * 100_000}, "network.hidden"),
    "epochs of 0": ({"training__epochs": 0}, "training.epochs"),
    "giant epochs": ({"training__epochs": (1 << 63) - 1}, "training.epochs"),
    "giant batch": ({"training__batch_size": 1 << 31}, "training.batch_size"),
    "rate of 0": ({"training__learning_rate": 0.0}, "training.learning_rate"),
    "rate of -1": ({"training__learning_rate": -1.0}, "training.learning_rate"),
    "rate of NaN": ({"training__learning_rate": float("nan")}, "training.learning_rate"),
    "loss of another task": ({"training__loss": spec_pb2.LOSS_MSE}, "training.loss"),
    "loss of another family": (
        {"network__family": SOFTMAX, "training__loss": spec_pb2.LOSS_BCE},
        "training.loss",
    ),
    "momentum of Adam": ({"training__momentum": 0.5}, "training.momentum"),
    "Nesterov of Adam": ({"training__nesterov": True}, "training.nesterov"),
    "Nesterov alone": (
        {"training__nesterov": True, "training__optimizer": spec_pb2.OPTIMIZER_SGD},
        "training.nesterov",
    ),
    "negative seed": ({"training__seed": -1}, "training.seed"),
    "too many parameters": ({"network__hidden": [1000, 1000]}, "network.hidden"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_spec_is_refused_naming_field_value_and_what_is_allowed(name: str) -> None:
    fields, field = REFUSED[name]

    with pytest.raises(InvalidField) as caught:
        _complete(_spec(**fields))

    assert caught.value.fields["field"] == field
    assert caught.value.fields["allowed"]
    assert len(caught.value.message) < 1000


def test_an_unknown_field_is_refused() -> None:
    data = _spec().SerializeToString() + bytes([0xA0, 0x06, 0x01])

    with pytest.raises(InvalidField, match="unknown field 100"):
        _complete(spec_pb2.TrainingSpec.FromString(data))


@pytest.mark.parametrize(("columns", "row_count"), [([], 10), (COLUMNS, 0), (COLUMNS[:1], 10)])
def test_a_table_with_nothing_to_learn_from_is_refused(
    columns: list[dataset_pb2.Column], row_count: int
) -> None:
    with pytest.raises(InvalidField, match=r"data\.(dataset|features)"):
        _complete(_spec(data__features=[]), columns, row_count)


@pytest.mark.parametrize(
    ("change", "row_count", "field"),
    [
        ({"network__hidden": [90, 900], "training__batch_size": 1}, 100, "network.hidden"),
        ({"network__hidden": [1]}, 1_000_000, "data.dataset"),
        ({"network__hidden": [500], "training__batch_size": 4096}, 4096, "training.batch_size"),
    ],
)
def test_the_largest_part_of_too_much_memory_is_named(
    change: dict[str, object], row_count: int, field: str
) -> None:
    bounds = Bounds(max_parameters=1_000_000, max_memory_bytes=1_000_000)

    with pytest.raises(InvalidField, match="at most 1,000,000 bytes") as caught:
        _complete(_spec(**change), row_count=row_count, bounds=bounds)

    assert caught.value.fields["field"] == field


def test_the_memory_estimate_is_the_sum_of_its_parts() -> None:
    """Parameters with gradient and moments, the table, a batch's activations: by hand."""
    spec = _spec(data__features=["real"], network__family=LOGISTIC, data__standardize=False)
    needed = 2 * 16 + 100 * 2 * 8 + 100 * (1 + 1) * 8

    _complete(spec, bounds=Bounds(10, needed))
    with pytest.raises(InvalidField, match=f"about {needed:,} bytes"):
        _complete(spec, bounds=Bounds(10, needed - 1))


def test_categories_count_by_their_vocabularies() -> None:
    many = [_column(f"c{index}", CATEGORY, 9_999) for index in range(1_700)]
    spec = _spec(data__features=[], network__family=LOGISTIC)

    with pytest.raises(InvalidField, match=f"at most {tables.MAX_ROW_ELEMENTS:,} inputs"):
        _complete(spec, [*many, COLUMNS[-1]])


@pytest.mark.parametrize("name", ["and", "or", "xor", DIGEST])
def test_data_sets_are_digests_or_truth_tables(name: str) -> None:
    assert dataset_of(_spec(data__dataset=name)) == name


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
    }
    chosen = draw(st.sets(st.sampled_from(sorted(pick)), max_size=6)) | {"network__family"}
    return _spec(**{path: draw(pick[path]) for path in sorted(chosen)})


@settings(max_examples=300, deadline=None)
@given(_specs())
def test_a_completed_spec_completes_to_itself_and_builds_a_valid_graph(
    spec: spec_pb2.TrainingSpec,
) -> None:
    """Whatever is accepted can be trained: Retry may send it again, and the graph passes."""
    try:
        done = _complete(spec)
    except InvalidField:
        return

    assert _complete(done) == done
    target = next(column for column in COLUMNS if column.name == done.data.target)
    is_classification = done.data.task == spec_pb2.TASK_CLASSIFICATION
    sizes = catalogue.Sizes(1, (7,), target.distinct_count if is_classification else 0)
    graph = catalogue.build_sized(
        done.network, sizes, done.data.task, scaling=True, loss=done.training.loss
    )
    graph_bounds.check(graph)
