"""Several targets, several labels and weights of rows: what a spec may say of them."""

from collections.abc import Sequence

import pytest

from tests.twofold.modules import network_of
from tests.twofold.specs import COLUMNS, INTEGER, REAL, column, completed, make_spec
from twofold import spec_targets
from twofold.errors import InvalidField
from twofold.spec import Bounds
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2


def number(
    name: str, low: float, high: float, kind: dataset_pb2.ColumnKind = INTEGER, count: int = 2
) -> dataset_pb2.Column:
    made = column(name, kind, count)
    made.minimum, made.maximum = low, high
    return made


TABLE = [
    *COLUMNS,
    number("on", 0, 1),
    number("level", 0, 2, count=3),
    number("part", 0, 0.5, REAL),
    number("debt", -1, 3, REAL),
]


def done(**fields: object) -> spec_pb2.TrainingSpec:
    made = completed(make_spec(**fields), TABLE)
    assert completed(made, TABLE) == made
    return made


def refusal(**fields: object) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        completed(make_spec(**fields), TABLE)
    return caught.value


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (["price", "whole"], spec_pb2.TASK_REGRESSION),
        (["flag", "on"], spec_pb2.TASK_MULTILABEL),
        (["flag", "level"], spec_pb2.TASK_REGRESSION),
    ],
)
def test_the_task_of_several_columns_follows_from_them(
    targets: Sequence[str], task: spec_pb2.Task
) -> None:
    made = done(data__targets=targets)

    assert (made.data.target, list(made.data.targets)) == ("", targets)
    assert made.data.task == task
    assert made.data.split == spec_pb2.SPLIT_RANDOM
    loss = spec_pb2.LOSS_BCE if task == spec_pb2.TASK_MULTILABEL else spec_pb2.LOSS_MSE
    assert made.training.loss == loss


def test_one_of_several_is_the_one() -> None:
    made = done(data__targets=["y"])

    assert (made.data.target, list(made.data.targets)) == ("y", [])
    assert spec_targets.of(made.data) == ["y"]


def test_one_column_may_be_a_label_of_its_own_kind() -> None:
    made = done(data__target="flag", data__task=spec_pb2.TASK_MULTILABEL)

    assert made.training.loss == spec_pb2.LOSS_BCE


def test_targets_and_weight_are_no_features_unless_asked_for() -> None:
    table = [each for each in TABLE if each.name != "text"]
    spec = make_spec(data__features=[], data__targets=["flag", "on"], data__weight="whole")

    assert list(completed(spec, table).data.features) == [
        each.name for each in table if each.name not in ("flag", "on", "whole")
    ]
    for name in ("flag", "whole"):
        error = refusal(
            data__features=["real", name], data__targets=["flag", "on"], data__weight="whole"
        )
        assert error.fields["field"] == "data.features[1]"
        assert error.fields["allowed"] == "columns other than the target and the weight"


def test_the_weight_is_not_taken_for_the_target() -> None:
    table = [number("a", 0, 9, REAL), number("label", 0, 1), number("w", 0, 9, REAL)]
    spec = make_spec(data__features=[], data__weight="w")

    assert completed(spec, table).data.target == "label"
    assert completed(spec, [table[0], number("b", 0, 9, REAL), table[2]]).data.target == "b"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"data__target": "y", "data__targets": ["on", "flag"]}, "data.targets", "data.target"),
        ({"data__targets": ["on", "on"]}, "data.targets[1]", "every column once"),
        ({"data__targets": ["on", "gone"]}, "data.targets[1]", "one of the columns"),
        ({"data__targets": ["on", "species"]}, "data.targets[1]", "numeric column for regression"),
        (
            {"data__targets": ["on", "level"], "data__task": spec_pb2.TASK_MULTILABEL},
            "data.targets[1]",
            "level of 0 to 2; allowed: a column of 0 and 1",
        ),
        (
            {"data__targets": ["on", "flag"], "data__task": spec_pb2.TASK_CLASSIFICATION},
            "data.task",
            "regression or multilabel for several targets",
        ),
        (
            {"data__targets": ["on", "flag"], "network__family": spec_pb2.FAMILY_SOFTMAX},
            "data.targets",
            "one column for softmax",
        ),
        (
            {"data__targets": ["price", "whole"], "network__family": spec_pb2.FAMILY_NEURON},
            "data.targets",
            "one column for neuron",
        ),
        (
            {"data__targets": ["on", "flag"], "data__split": spec_pb2.SPLIT_STRATIFIED},
            "data.split",
            "random for multilabel",
        ),
        ({"data__weight": "gone"}, "data.weight", "one of the columns"),
        ({"data__weight": "y", "data__target": "y"}, "data.weight", "no target"),
        ({"data__weight": "species"}, "data.weight", "a column of numbers"),
        ({"data__weight": "debt"}, "data.weight", "debt with -1.0; allowed: .* at least 0"),
    ],
)
def test_what_does_not_go_together_is_refused(
    fields: dict[str, object], field: str, words: str
) -> None:
    with pytest.raises(InvalidField, match=words) as caught:
        completed(make_spec(**fields), TABLE)
    assert caught.value.fields["field"] == field


def test_labels_may_weigh_by_their_columns() -> None:
    def heavy(spec: spec_pb2.TrainingSpec) -> None:
        spec.training.class_weights["on"] = 3

    def wrong(spec: spec_pb2.TrainingSpec) -> None:
        spec.training.class_weights["1"] = 3

    assert completed(make_spec(heavy, data__targets=["flag", "on"]), TABLE)
    with pytest.raises(InvalidField, match="class_weights is 1; allowed: target columns: flag, on"):
        completed(make_spec(wrong, data__targets=["flag", "on"]), TABLE)


def test_gates_know_the_metrics_of_labels() -> None:
    made = done(data__targets=["flag", "on"], gates__min_metric=0.5)
    assert made.gates.metric == "accuracy"
    made = done(data__targets=["flag", "on"], gates__metric="hamming_loss", gates__max_metric=0.25)
    assert made.gates.max_metric == 0.25
    error = refusal(data__target="y", gates__metric="hamming_loss", gates__max_metric=0.25)
    assert error.fields["allowed"] == "accuracy, macro_f1, loss"


def test_memory_counts_every_target_and_the_weight() -> None:
    one = make_spec(data__target="price", data__weight="whole", training__batch_size=1)
    bounds = Bounds(max_parameters=1_000_000, max_memory_bytes=100_000)

    assert completed(one, TABLE, 1_000, bounds)
    many = [number(f"t{index}", 0, 9, REAL) for index in range(20)]
    several = make_spec(data__targets=[each.name for each in many], training__batch_size=1)
    with pytest.raises(InvalidField, match=r"data\.dataset is what needs about"):
        completed(several, [*TABLE, *many], 1_000, bounds)


@pytest.mark.parametrize(
    ("outputs", "task", "head"),
    [
        (2, spec_pb2.TASK_MULTILABEL, graph_pb2.HEAD_MULTILABEL),
        (2, spec_pb2.TASK_REGRESSION, graph_pb2.HEAD_IDENTITY),
    ],
)
def test_a_module_has_an_output_for_each_target(
    outputs: int, task: spec_pb2.Task, head: graph_pb2.Head
) -> None:
    spec = make_spec(data__features=["real", "whole"], data__targets=["flag", "on"])
    spec.network.CopyFrom(network_of(2, outputs))
    spec.data.task = task

    assert completed(spec, TABLE).network.graph.head == head
    spec.network.CopyFrom(network_of(2, 3))
    with pytest.raises(InvalidField, match="3 columns of the first output; allowed: 2: the target"):
        completed(spec, TABLE)
