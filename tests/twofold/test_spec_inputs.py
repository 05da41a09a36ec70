"""Which features go into which network: arrays by name, columns side by side."""

from collections.abc import Sequence

import pytest

from tests.twofold import arrays
from tests.twofold.specs import BOUNDS, CATEGORY, DIGEST, REAL, column, completed, make_spec
from twofold.errors import InvalidField
from twofold.nets import catalogue
from twofold.spec import Bounds, complete
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

ARRAY = dataset_pb2.COLUMN_KIND_ARRAY
FP32, INT64 = graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_INT64
BCE = spec_pb2.LOSS_BCE


def array(name: str, *shape: int, data_type: graph_pb2.DataType = FP32) -> dataset_pb2.Column:
    return dataset_pb2.Column(name=name, kind=ARRAY, shape=shape, data_type=data_type)


IMAGE = array("image", 3, 6, 6)
TOKENS = array("tokens", 4, data_type=INT64)
TARGET = column("y", CATEGORY, 2)
#: Arrays, numbers, text, and the target.
COLUMNS = [IMAGE, TOKENS, column("a", REAL), column("b", REAL), column("word", CATEGORY, 5), TARGET]


def module(graph: graph_pb2.Graph, *features: str) -> spec_pb2.TrainingSpec:
    spec = spec_pb2.TrainingSpec(model="m")
    spec.data.dataset, spec.data.target = DIGEST, "y"
    spec.data.features.extend(features)
    spec.network.graph.CopyFrom(graph)
    spec.network.weights = DIGEST
    return spec


def done(
    spec: spec_pb2.TrainingSpec, columns: Sequence[dataset_pb2.Column] = COLUMNS
) -> spec_pb2.TrainingSpec:
    return completed(spec, columns)


def refusal(
    spec: spec_pb2.TrainingSpec, columns: Sequence[dataset_pb2.Column] = COLUMNS
) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        completed(spec, columns)
    return caught.value


@pytest.mark.parametrize(
    ("graph", "features"),
    [(arrays.conv(), ["image"]), (arrays.tokens(), ["tokens", "a", "b"])],
    ids=["an image", "identifiers and numbers"],
)
def test_a_module_takes_what_its_inputs_need(graph: graph_pb2.Graph, features: list[str]) -> None:
    spec = done(module(graph))

    assert list(spec.data.features) == features
    assert not spec.data.standardize
    assert done(spec) == spec


def test_an_array_called_x_leaves_no_input_for_numbers() -> None:
    columns = [array("x", 3, 6, 6), column("a", REAL), TARGET]

    assert list(done(module(arrays.conv(name="x")), columns).data.features) == ["x"]
    error = refusal(module(arrays.conv(name="x"), "x", "a"), columns)
    assert "x, an array FP32[3, 6, 6], beside columns of numbers" in error.message


@pytest.mark.parametrize(
    ("graph", "features", "field", "text"),
    [
        (
            arrays.conv(name="picture"), [], "network.graph.inputs[0]",
            "is picture; allowed: x, category, image, tokens, of which data.features has none",
        ),
        (
            arrays.conv((3, 6, 7)), [], "network.graph.inputs[0]",
            "is image FP32[-1, 3, 6, 7]; allowed: FP32[-1, 3, 6, 6], as data.features has it",
        ),
        (
            arrays.conv((4, 1, 1), name="tokens"), ["tokens"], "network.graph.inputs[0]",
            "is tokens FP32[-1, 4, 1, 1]; allowed: INT64[-1, 4]",
        ),
        (
            arrays.tokens(), ["tokens", "a"], "network.graph.inputs[1]",
            "is x FP32[-1, 2]; allowed: FP32[-1, 1]",
        ),
        (
            arrays.tokens(), ["tokens"], "network.graph.inputs[1]",
            "is x; allowed: x, category, image, tokens, of which data.features has tokens",
        ),
        (arrays.conv(), ["image", "a"], "data.features", "is columns of numbers; allowed: what"),
        (arrays.conv(), ["image", "word"], "data.features", "is columns of text"),
        (arrays.conv(), ["image", "tokens"], "data.features", "is tokens; allowed: what the"),
    ],
)  # fmt: skip
def test_inputs_and_features_that_differ_are_refused_by_name(
    graph: graph_pb2.Graph, features: list[str], field: str, text: str
) -> None:
    error = refusal(module(graph, *features))

    assert error.fields["field"] == field
    assert text in error.message


def test_an_array_is_no_target() -> None:
    spec = module(arrays.tokens())
    spec.data.target = "image"

    assert "data.target is image, an array" in refusal(spec).message


def test_an_output_without_rows_cannot_be_served() -> None:
    graph = arrays.conv(maps=True)
    del graph.outputs[2].shape[:]

    assert "an output without rows" in refusal(module(graph)).message


def test_families_of_columns_refuse_arrays_and_say_who_takes_them() -> None:
    error = refusal(make_spec(data__features=[]))

    assert error.fields["field"] == "data.features"
    assert error.message == (
        "data.features is image, an array FP32[3, 6, 6]; allowed: columns of one value for mlp, "
        "named in data.features; arrays are for cnn, cnn1d, gru, resnet, modules of your own"
    )
    assert done(make_spec(data__features=["a", "b"]))


def cnn(*features: str) -> spec_pb2.TrainingSpec:
    return make_spec(data__features=list(features), network__family=spec_pb2.FAMILY_CNN)


def test_a_family_of_arrays_gets_one_array_and_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[catalogue.Sizes] = []
    build = catalogue.build_sized

    def seen(
        network: spec_pb2.NetworkSpec, sizes: catalogue.Sizes, task: spec_pb2.Task,
        *, scaling: bool, loss: spec_pb2.Loss,
    ) -> catalogue.Built:  # fmt: skip
        asked.append(sizes)
        return build(network, sizes, task, scaling=scaling, loss=loss)

    monkeypatch.setattr(catalogue, "build_sized", seen)
    spec = done(cnn(), [IMAGE, column("a", REAL), TARGET])

    assert list(spec.data.features) == ["image"]
    assert spec.data.standardize
    (sizes,) = asked
    assert sizes == catalogue.Sizes(0, (), 2, array_shape=(3, 6, 6), array_name="image")


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ([], "image, tokens; allowed: one array of floats, and nothing else, for cnn"),
        (["image", "a"], "image, a; allowed: one array"),
        (["a"], "is a; allowed: one array"),
        (["tokens"], "identifiers, which modules take: save them as float32"),
    ],
)
def test_a_family_of_arrays_takes_nothing_else(features: list[str], text: str) -> None:
    assert text in refusal(cnn(*features)).message


def test_memory_counts_every_number_of_an_array() -> None:
    """1,000 rows of 108 floats, twice; and a target."""
    spec = module(arrays.conv())

    def with_memory(amount: int) -> spec_pb2.TrainingSpec:
        return complete(spec, COLUMNS, 1_000, Bounds(BOUNDS.max_parameters, amount))

    assert with_memory(1_000_000)
    with pytest.raises(InvalidField, match=r"872,000 for data\.dataset"):
        with_memory(800_000)


def test_targets_and_weight_are_no_features_and_take_memory() -> None:
    columns = [IMAGE, column("a", REAL), column("b", REAL), column("w", REAL)]
    asked = {"data__targets": ["a", "b"], "data__weight": "w", "data__target": ""}
    spec = make_spec(data__features=[], network__family=spec_pb2.FAMILY_CNN, **asked)

    assert list(done(spec, columns).data.features) == ["image"]
    with pytest.raises(InvalidField, match=r"888,000 for data\.dataset"):
        complete(spec, columns, 1_000, Bounds(BOUNDS.max_parameters, 880_000))


def test_an_array_is_no_target_among_several() -> None:
    asked = make_spec(data__targets=["a", "image"], data__target="", data__features=["b"])

    assert refusal(asked).message == (
        "data.targets[1] is image, an array; allowed: a column of one value a row; arrays are "
        "features"
    )
