"""Specs as tables: what is accepted, what is refused and how it is named."""

import copy
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import toml_spec
from twofold.errors import InvalidField
from twofold.toml_spec import Tree, Value
from twofold.v1 import spec_pb2

FULL = """
format_version = 1
model = "digits"

[data]
dataset = "xor"
target = "label"
targets = ["label", "other"]
weight = "w"
features = ["a", "b"]
task = "classification"
validation_fraction = 0
split = "stratified"
standardize = false

[network]
family = "mlp"
hidden = [64, 32]
activation = "leaky_relu"
dropout = 0.5
weights = "abababababababababababababababababababababababababababababababab"
head = "softmax"
warm_start = "digits@3"
frozen = ["hidden.0"]
channels = [8, 16]
kernel_size = 5
blocks = 3
width = 24
expansion = 4
embedding_dim = 6
layers = 2
bidirectional = true
pooling = "mean"
normalization = "group"

[training]
epochs = 200
batch_size = 64
loss = "cross_entropy"
optimizer = "adamw"
learning_rate = 1e-3
weight_decay = 1
momentum = 0.5
nesterov = true
seed = 9223372036854775807
tolerance = 0.0
patience = 10
threads = 2
checkpoint_interval = 0.5
beta1 = 0.9
beta2 = 0.99
epsilon = 1e-7
smoothing = 0.9
centered = true
history = 3
iterations = 4
ema_decay = 0.999
clip_norm = 1
clip_value = 0.5
micro_batch_size = 32
label_smoothing = 0.1
focal_gamma = 1.5
huber_delta = 2
quantile = 0.9
balance_classes = true
precision = "bf16"
compile = true
deterministic = true
tensorboard = true

[training.schedule]
kind = "one_cycle"
warmup_epochs = 0.5
step_epochs = 3
drop = 0.5
floor = 0.25
rise = 0.4
start = 0.125
plateau_epochs = 2
threshold = 0.001

[training.class_weights]
yes = 2
"not at all" = 0.5

[limits]
max_duration = 60
progress_timeout = 600.25
max_retries = 0
retry_user_errors = true

[gates]
metric = "accuracy"
min_metric = 0.5
max_metric = 1
not_worse_than = "production"
margin = 0.25
"""


def at(path: str, value: object) -> dict[str, object]:
    """Tables with one value at a dotted path."""
    first, *rest = path.split(".")
    return {first: at(".".join(rest), value) if rest else value}


def test_every_field_of_the_message_can_be_written() -> None:
    """FULL names them all: nothing of TrainingSpec is out of reach but for graphs."""
    spec = toml_spec.from_toml(FULL)

    training = spec.training
    groups = (spec, spec.data, spec.network, training, training.schedule, spec.limits, spec.gates)
    for message in groups:
        written = {field.name for field, _ in message.ListFields()}
        assert written == set(message.DESCRIPTOR.fields_by_name) - {"graph", "loss_graph"}


def test_a_word_stands_for_its_number_and_comes_back() -> None:
    spec = toml_spec.from_dict({"training": {"batch_size": "auto"}})

    assert spec.training.HasField("batch_size")
    assert spec.training.batch_size == 0
    assert toml_spec.to_dict(spec) == {"training": {"batch_size": "auto"}}
    with pytest.raises(InvalidField, match=r"training\.batch_size is '?much"):
        toml_spec.from_dict({"training": {"batch_size": "much"}})


def test_values_arrive() -> None:
    spec = toml_spec.from_toml(FULL)

    assert spec.network.family == spec_pb2.FAMILY_MLP
    assert spec.network.activation == spec_pb2.ACTIVATION_LEAKY_RELU
    assert list(spec.network.hidden) == [64, 32]
    assert spec.training.seed == (1 << 63) - 1
    assert spec.training.weight_decay == 1.0
    assert spec.training.checkpoint_interval.ToMilliseconds() == 500
    assert spec.training.schedule.kind == spec_pb2.SCHEDULE_KIND_ONE_CYCLE
    assert spec.training.schedule.floor == 0.25
    assert dict(spec.training.class_weights) == {"yes": 2.0, "not at all": 0.5}
    assert spec.limits.progress_timeout.ToMilliseconds() == 600_250


def test_unset_stays_unset_and_zero_stays_zero() -> None:
    bare = toml_spec.from_dict({"model": "m"})
    zero = toml_spec.from_dict({"data": {"validation_fraction": 0}, "limits": {"max_retries": 0}})

    assert not bare.HasField("data")
    assert not bare.training.HasField("epochs")
    assert zero.data.HasField("validation_fraction")
    assert zero.limits.HasField("max_retries")


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("model", 3, "text"),
        ("model", "\ud800", "surrogates"),
        ("data", "xor", "a table"),
        ("data", ["xor"], "a table"),
        ("data.features", "a", "a list"),
        ("data.features", {"a": 1}, "a list"),
        ("data.standardize", 1, "true or false"),
        ("data.standardize", "true", "true or false"),
        ("data.validation_fraction", "0.2", "a finite number"),
        ("data.validation_fraction", math.nan, "a finite number"),
        ("data.validation_fraction", True, "a finite number"),
        ("network.family", "MLP", "neuron, perceptron, linear"),
        ("network.family", "FAMILY_MLP", "neuron"),
        ("network.family", "unspecified", "neuron"),
        ("network.family", 6, "neuron"),
        ("network.activation", "__import__('os').system('true')", "step, sigmoid"),
        ("network.activation", ["relu"], "step, sigmoid"),
        ("training.epochs", 1.0, "a whole number"),
        ("training.epochs", True, "a whole number"),
        ("training.epochs", "1", "a whole number"),
        ("training.epochs", 1 << 63, "a whole number of 64 bits"),
        pytest.param("training.epochs", 10**5000, "a whole number of 64 bits", id="huge epochs"),
        ("training.learning_rate", math.inf, "a finite number"),
        ("training.learning_rate", -math.inf, "a finite number"),
        pytest.param("training.learning_rate", 10**5000, "a finite number", id="huge rate"),
        pytest.param("model", [10**5000], "text", id="huge text"),
        ("training.checkpoint_interval", "10s", "a finite number"),
        ("training.checkpoint_interval", 1e300, "seconds"),
        ("training.class_weights", [1.0], "a table"),
        ("training.class_weights.yes", "much", "a finite number"),
        ("training.schedule.kind", "up", "one_cycle"),
        ("limits.max_retries", 1 << 31, "a whole number of 32 bits"),
    ],
)
def test_wrong_values_are_refused_by_dotted_key(path: str, value: Value, allowed: str) -> None:
    tree = at(path, value)

    with pytest.raises(InvalidField) as caught:
        toml_spec.from_dict(tree)  # pyright: ignore[reportArgumentType] - wrong on purpose

    assert caught.value.fields["field"] == path
    assert allowed in caught.value.fields["allowed"]


def test_wrong_element_of_a_list_is_named() -> None:
    with pytest.raises(InvalidField, match=r"^network\.hidden\[1\] is '?3\.5"):
        toml_spec.from_dict({"network": {"hidden": [64, 3.5]}})


@pytest.mark.parametrize(
    ("path", "known"),
    [("modle", "model"), ("training.epoch", "epochs"), ("training.__class__", "batch_size")],
)
def test_unknown_keys_are_refused_with_the_known_ones(path: str, known: str) -> None:
    with pytest.raises(InvalidField, match=f"{path} is not known") as caught:
        toml_spec.from_dict(at(path, 1))  # pyright: ignore[reportArgumentType] - wrong on purpose

    assert known in caught.value.fields["allowed"].split(", ")


def test_what_is_no_table_at_all_is_refused() -> None:
    with pytest.raises(InvalidField, match=r"spec is .*a table"):
        toml_spec.from_dict([1])  # pyright: ignore[reportArgumentType] - wrong on purpose


@pytest.mark.parametrize("text", ["a = " + "[" * 10_000, "a = 1" + "0" * 5_000])
def test_lists_and_numbers_without_end_are_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="the spec is no TOML"):
        toml_spec.parse(text)


def test_what_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidField, match="line 2"):
        toml_spec.parse("a = 1\nb = \n")


def test_texts_have_a_limit() -> None:
    with pytest.raises(InvalidField, match="at most 1048576 characters"):
        toml_spec.parse("#" * ((1 << 20) + 1))


def test_files_are_read_as_utf8(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text(FULL)
    assert toml_spec.read(file) == toml_spec.parse(FULL)

    file.write_bytes(b"model = '\xff'")
    for path in (file, tmp_path / "absent.toml"):
        with pytest.raises(InvalidField, match=f"cannot read {path.name}"):
            toml_spec.read(path)


def test_written_spec_reads_back_the_same() -> None:
    spec = toml_spec.from_toml(FULL)
    spec.model = 'quotes " \\ \n\t\x7f \u2028 grün'

    assert toml_spec.from_toml(toml_spec.to_toml(spec)) == spec
    assert toml_spec.from_dict(toml_spec.to_dict(spec)) == spec


def test_unset_fields_are_not_written() -> None:
    spec = spec_pb2.TrainingSpec(model="m", network=spec_pb2.NetworkSpec(hidden=[8]))

    assert toml_spec.to_toml(spec) == 'model = "m"\n\n[network]\nhidden = [8]\n'


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=20),
    hidden=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=4),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    standardize=st.booleans(),
)
def test_any_spec_survives_the_way_through_toml(
    text: str, hidden: list[int], rate: float, *, standardize: bool
) -> None:
    spec = spec_pb2.TrainingSpec(
        model=text,
        data=spec_pb2.DataSpec(dataset=text, features=[text], standardize=standardize),
        network=spec_pb2.NetworkSpec(hidden=hidden),
        training=spec_pb2.TrainingOptions(learning_rate=rate),
    )

    assert toml_spec.from_toml(toml_spec.to_toml(spec)) == spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200", 200),
        ("1e-3", 1e-3),
        ("true", True),
        ("[64, 64]", [64, 64]),
        ('"text"', "text"),
        ("adam", "adam"),
        ("", ""),
        ("2024-01-01", "2024-01-01"),
        ("{a = 1}", "{a = 1}"),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_set_values_are_toml_or_else_bare_text(text: str, expected: Value) -> None:
    assert toml_spec.bare_value(text) == expected


def test_sets_override_and_add_without_touching_the_tree() -> None:
    tree: Tree = {"model": "m", "training": {"epochs": 1, "seed": 2}}
    before = copy.deepcopy(tree)

    result = toml_spec.apply_sets(
        tree, ["training.epochs=200", "network.family = mlp", "model=a=b", "training.seed= 3"]
    )

    assert result == {
        "model": "a=b",
        "training": {"epochs": 200, "seed": 3},
        "network": {"family": "mlp"},
    }
    assert tree == before


@pytest.mark.parametrize("entry", ["training.epochs", "=1", "training.=1", ".epochs=1", ""])
def test_sets_without_key_or_value_are_refused(entry: str) -> None:
    with pytest.raises(InvalidField, match=r"--set is .*KEY=VALUE"):
        toml_spec.apply_sets({}, [entry])


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("gates.not_worse_than=3", {"gates": {"not_worse_than": "3"}}),
        ("data.target = 07", {"data": {"target": "07"}}),
        ("model=true", {"model": "true"}),
        ('model="3"', {"model": "3"}),
        ("network.frozen=3", {"network": {"frozen": 3}}),
        ("training.epochs=3", {"training": {"epochs": 3}}),
    ],
)
def test_a_key_that_is_text_takes_a_number_for_its_text(
    entry: str, expected: toml_spec.Tree
) -> None:
    """A version's number, a column called by one."""
    assert toml_spec.apply_sets({}, [entry]) == expected


def test_sets_below_what_is_no_table_are_refused() -> None:
    with pytest.raises(InvalidField, match="model is m; allowed: a table"):
        toml_spec.apply_sets({"model": "m"}, ["model.name=x"])


def test_a_graph_is_no_text() -> None:
    spec = toml_spec.from_toml(FULL)
    with_graph = toml_spec.from_toml(FULL)
    with_graph.network.graph.format_version = 2

    assert toml_spec.to_dict(with_graph) == toml_spec.to_dict(spec)
    assert with_graph.network.graph.format_version == 2
    with pytest.raises(InvalidField, match=r"network\.graph is not known"):
        toml_spec.from_dict({"network": {"graph": {}}})
