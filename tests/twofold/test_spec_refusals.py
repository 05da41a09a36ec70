"""Wrong specs are refused, naming the field."""

import pytest

from tests.twofold.specs import (
    CATEGORY,
    COLUMNS,
    LINEAR,
    LOGISTIC,
    NEURON,
    PERCEPTRON,
    SOFTMAX,
    STEP,
    column,
    completed,
    make_spec,
)
from twofold.errors import InvalidField
from twofold.nets import tables
from twofold.spec import Bounds
from twofold.v1 import dataset_pb2, spec_pb2

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
    "a metric of another task": ({"gates__metric": "r2"}, "gates.metric"),
    "an unknown metric": ({"gates__metric": "auc"}, "gates.metric"),
    "a largest accuracy": ({"gates__max_metric": 0.5}, "gates.max_metric"),
    "a least loss": (
        {"gates__metric": "loss", "gates__min_metric": 0.5},
        "gates.min_metric",
    ),
    "losses of two networks": (
        {"gates__metric": "loss", "gates__not_worse_than": "production"},
        "gates.metric",
    ),
    "a path as baseline": ({"gates__not_worse_than": "../m"}, "gates.not_worse_than"),
    "version 0 as baseline": ({"gates__not_worse_than": "0"}, "gates.not_worse_than"),
    "a margin to nothing": ({"gates__margin": 0.1}, "gates.margin"),
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
    "Nesterov of Muon": (
        {"training__nesterov": True, "training__optimizer": spec_pb2.OPTIMIZER_MUON},
        "training.nesterov",
    ),
    "decay of LBFGS": (
        {"training__weight_decay": 0.1, "training__optimizer": spec_pb2.OPTIMIZER_LBFGS},
        "training.weight_decay",
    ),
    "batches of LBFGS": (
        {"training__batch_size": 64, "training__optimizer": spec_pb2.OPTIMIZER_LBFGS},
        "training.batch_size",
    ),
    "an automatic batch of LBFGS": (
        {"training__batch_size": 0, "training__optimizer": spec_pb2.OPTIMIZER_LBFGS},
        "training.batch_size",
    ),
    "clipping of LBFGS": (
        {"training__clip_norm": 1.0, "training__optimizer": spec_pb2.OPTIMIZER_LBFGS},
        "training.clip_norm",
    ),
    "corrections of Adam": ({"training__history": 5}, "training.history"),
    "smoothing of a quantile": (
        {
            "data__target": "price",
            "training__loss": spec_pb2.LOSS_QUANTILE,
            "training__label_smoothing": 0.1,
        },
        "training.label_smoothing",
    ),
    "quantile of labels": ({"training__quantile": 0.5}, "training.quantile"),
    "warm-up of one cycle": (
        {
            "training__schedule__kind": spec_pb2.SCHEDULE_KIND_ONE_CYCLE,
            "training__schedule__warmup_epochs": 2.0,
        },
        "training.schedule.warmup_epochs",
    ),
    "floor of nothing": ({"training__schedule__floor": 0.1}, "training.schedule.floor"),
    "balanced prices": (
        {"data__target": "price", "training__balance_classes": True},
        "training.balance_classes",
    ),
    "negative seed": ({"training__seed": -1}, "training.seed"),
    "too many parameters": ({"network__hidden": [1000, 1000]}, "network.hidden"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_spec_is_refused_naming_field_value_and_what_is_allowed(name: str) -> None:
    fields, field = REFUSED[name]

    with pytest.raises(InvalidField) as caught:
        completed(make_spec(**fields))

    assert caught.value.fields["field"] == field
    assert caught.value.fields["allowed"]
    assert len(caught.value.message) < 1000


def test_an_unknown_field_is_refused() -> None:
    data = make_spec().SerializeToString() + bytes([0xA0, 0x06, 0x01])

    with pytest.raises(InvalidField, match="unknown field 100"):
        completed(spec_pb2.TrainingSpec.FromString(data))


@pytest.mark.parametrize(("columns", "row_count"), [([], 10), (COLUMNS, 0), (COLUMNS[:1], 10)])
def test_a_table_with_nothing_to_learn_from_is_refused(
    columns: list[dataset_pb2.Column], row_count: int
) -> None:
    with pytest.raises(InvalidField, match=r"data\.(dataset|features)"):
        completed(make_spec(data__features=[]), columns, row_count)


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
        completed(make_spec(**change), row_count=row_count, bounds=bounds)

    assert caught.value.fields["field"] == field


def test_the_memory_estimate_is_the_sum_of_its_parts() -> None:
    """Parameters with gradient and moments, the table, a batch's activations: by hand."""
    spec = make_spec(data__features=["real"], network__family=LOGISTIC, data__standardize=False)
    needed = 2 * 16 + 100 * 2 * 8 + 100 * (1 + 1) * 8

    completed(spec, bounds=Bounds(10, needed))
    with pytest.raises(InvalidField, match=f"about {needed:,} bytes"):
        completed(spec, bounds=Bounds(10, needed - 1))


def test_categories_count_by_their_vocabularies() -> None:
    many = [column(f"c{index}", CATEGORY, 9_999) for index in range(1_700)]
    spec = make_spec(data__features=[], network__family=LOGISTIC)

    with pytest.raises(InvalidField, match=f"at most {tables.MAX_ROW_ELEMENTS:,} inputs"):
        completed(spec, [*many, COLUMNS[-1]])
