"""Preprocessing: what is fitted, how it encodes, what is answered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import features
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

NAN = float("nan")


def _spec(*labels: str) -> model_pb2.FeatureSpec:
    spec = model_pb2.FeatureSpec(target="y", labels=labels)
    spec.task = spec_pb2.TASK_CLASSIFICATION if labels else spec_pb2.TASK_REGRESSION
    spec.numeric_columns.extend(["a", "b"])
    spec.category_columns.add(name="c", vocabulary=["blue", "grün"])
    spec.category_columns.add(name="d", vocabulary=["x"])
    return spec


def _bytes(*rows: tuple[bytes, ...]) -> features.Strings:
    matrix: features.Strings = np.empty((len(rows), len(rows[0])), dtype=np.object_)
    matrix[:] = rows
    return matrix


def _data(*names: str, task: spec_pb2.Task) -> spec_pb2.DataSpec:
    return spec_pb2.DataSpec(target="y", features=names, task=task)


def test_indices_follow_the_vocabulary_and_unknown_values_have_none() -> None:
    category = _bytes((b"blue", b"x"), ("grün".encode(), b"y"), (b"\xff\x00", b""))

    indices = features.category_indices(_spec("0"), category)

    assert indices.dtype == np.int64
    assert indices.tolist() == [[0, 0], [1, -1], [-1, -1]]


@given(st.lists(st.tuples(st.binary(max_size=4), st.sampled_from([b"x", b"y"]))))
def test_rows_are_encoded_independently(rows: list[tuple[bytes, bytes]]) -> None:
    """A row's indices never depend on its neighbours: batches mix the rows of many callers."""
    prepared = features.Features(_spec("0"))
    matrix = _bytes(*rows) if rows else np.empty((0, 2), dtype=np.object_)

    together = prepared.category_indices(matrix)

    alone = [prepared.category_indices(_bytes(row))[0].tolist() for row in rows]
    assert together.tolist() == alone


def test_inputs_stand_in_the_order_of_the_graph() -> None:
    x = np.ones((1, 2), dtype=np.float32)
    tensors = {"category": _bytes((b"blue", b"x")), "x": x}

    numeric, category = features.Features(_spec("0")).inputs(tensors)

    assert numeric is x
    assert category.tolist() == [[0, 0]]


def test_only_inputs_that_there_are_are_asked_for() -> None:
    numeric = model_pb2.FeatureSpec(numeric_columns=["a"])
    category = model_pb2.FeatureSpec()
    category.category_columns.add(name="c", vocabulary=["x"])

    assert len(features.Features(numeric).inputs({"x": np.ones((1, 1))})) == 1
    assert len(features.Features(category).inputs({"category": _bytes((b"x",))})) == 1


def test_classification_answers_probabilities_and_the_most_probable_label() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [NAN, 0.5, 0.5]], dtype=np.float32)

    answers = features.answers(_spec("a", "ö", "c"), scores)

    assert answers["probabilities"] is scores
    assert answers["label"].dtype == np.object_
    assert answers["label"].tolist() == [["ö".encode()], [b"a"], [b""]]


def test_of_two_equal_classes_the_second_is_answered() -> None:
    """As the heads say: class 1 from a score of one half on."""
    half = np.float32(0.5)
    below = np.nextafter(half, np.float32(0))
    scores = np.array([[0.5, 0.5], [1 - below, below], [0.4, 0.6], [NAN, NAN]], dtype=np.float32)

    labels = features.answers(_spec("no", "yes"), scores)["label"]

    assert labels.tolist() == [[b"yes"], [b"no"], [b"yes"], [b""]]


def test_regression_answers_the_value() -> None:
    scores = np.array([[1.5]], dtype=np.float32)

    assert features.answers(_spec(), scores) == {"value": scores}


def _shapes(specs: list[graph_pb2.TensorSpec]) -> list[tuple[str, str, list[int]]]:
    return [
        (
            spec.name,
            graph_pb2.DataType.Name(spec.data_type).removeprefix("DATA_TYPE_"),
            list(spec.shape),
        )
        for spec in specs
    ]


def test_the_signature_of_a_classification() -> None:
    inputs, outputs = features.signature(_spec("0", "1"), 2)

    assert _shapes(inputs) == [("x", "FP32", [-1, 2]), ("category", "BYTES", [-1, 2])]
    assert _shapes(outputs) == [("probabilities", "FP32", [-1, 2]), ("label", "BYTES", [-1, 1])]


def test_the_signature_of_a_regression_on_one_kind_of_column() -> None:
    numeric = model_pb2.FeatureSpec(numeric_columns=["a"], task=spec_pb2.TASK_REGRESSION)
    category = model_pb2.FeatureSpec(task=spec_pb2.TASK_REGRESSION)
    category.category_columns.add(name="c", vocabulary=["x"])

    assert _shapes(features.signature(numeric, 1)[0]) == [("x", "FP32", [-1, 1])]
    assert _shapes(features.signature(category, 1)[0]) == [("category", "BYTES", [-1, 1])]
    assert _shapes(features.signature(category, 1)[1]) == [("value", "FP32", [-1, 1])]


def test_fit_takes_categories_apart_and_keeps_the_order_of_the_spec() -> None:
    data = _data("c", "a", "d", "b", task=spec_pb2.TASK_CLASSIFICATION)

    spec = features.fit(data, {"d": ["z", "é"], "c": ["blue", "red"]}, ["2", "10"])

    assert list(spec.numeric_columns) == ["a", "b"]
    assert [(column.name, list(column.vocabulary)) for column in spec.category_columns] == [
        ("c", ["blue", "red"]),
        ("d", ["z", "é"]),
    ]
    assert list(spec.labels) == ["2", "10"]
    assert spec.target == "y"


@pytest.mark.parametrize(
    ("value", "label"),
    [(True, "true"), (np.False_, "false"), ("True", "True"), (10, "10"), (0.5, "0.5")],
)
def test_a_label_is_the_value_as_text(value: object, label: str) -> None:
    assert features.label_of(value) == label


def test_a_regression_has_no_labels() -> None:
    spec = features.fit(_data("a", task=spec_pb2.TASK_REGRESSION), {}, ["1", "2"])

    assert not spec.labels
    assert spec.task == spec_pb2.TASK_REGRESSION


def _arrays() -> model_pb2.FeatureSpec:
    spec = model_pb2.FeatureSpec(numeric_columns=["a", "b"], task=spec_pb2.TASK_REGRESSION)
    spec.array_columns.add(name="image", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 3, 2])
    spec.array_columns.add(name="ids", data_type=graph_pb2.DATA_TYPE_INT64, shape=[-1, 4])
    return spec


def _graph(*inputs: str, head: graph_pb2.Head) -> graph_pb2.Graph:
    graph = graph_pb2.Graph(format_version=2, head=head)
    for name in inputs:
        graph.inputs.add(name=name)
    graph.outputs.add(name="maps", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 3, 2])
    graph.outputs.add(name="best", data_type=graph_pb2.DATA_TYPE_INT64, shape=[-1])
    return graph


def test_arrays_are_inputs_of_their_names_after_the_columns() -> None:
    inputs, outputs = features.signature(_arrays(), 1)

    assert _shapes(inputs) == [
        ("x", "FP32", [-1, 2]),
        ("image", "FP32", [-1, 3, 2]),
        ("ids", "INT64", [-1, 4]),
    ]
    assert _shapes(outputs) == [("value", "FP32", [-1, 1])]


def test_arguments_stand_as_the_graph_has_its_inputs() -> None:
    tensors = {
        "x": np.ones((2, 2), np.float32),
        "image": np.ones((2, 3, 2), np.float32),
        "ids": np.ones((2, 4), np.int64),
    }
    graph = _graph("ids", "x", "image", head=graph_pb2.HEAD_IDENTITY)

    found = features.Features(_arrays(), graph).inputs(tensors)

    assert all(
        array is tensors[name] for array, name in zip(found, ["ids", "x", "image"], strict=True)
    )
    assert [array.shape for array in found] == [(2, 4), (2, 2), (2, 3, 2)]
    without = features.Features(_arrays()).inputs(tensors)
    assert [array.shape for array in without] == [(2, 2), (2, 3, 2), (2, 4)]


def test_raw_outputs_are_answered_by_their_own_names() -> None:
    graph = _graph("x", head=graph_pb2.HEAD_RAW)
    maps, best = np.ones((2, 3, 2), np.float32), np.ones(2, np.int64)

    answers = features.Features(_arrays(), graph).answers([maps, best])

    assert answers == {"maps": maps, "best": best}
    assert features.signature(_arrays(), 1, graph)[1] == list(graph.outputs)
    del graph.outputs[1]
    assert features.Features(_arrays(), graph).answers(maps) == {"maps": maps}


def test_a_raw_output_may_have_any_name() -> None:
    """Also one that heads answer: the graph's head says what is raw, no name does."""
    graph = _graph("x", head=graph_pb2.HEAD_RAW)
    graph.outputs[0].name, graph.outputs[1].name = "probabilities", "label"

    scores = (np.ones((2, 3, 2), np.float32), np.ones(2, np.int64))
    answers = features.Features(_spec("a", "b"), graph).answers(scores)

    assert answers["label"] is scores[1]


def test_fit_keeps_the_types_and_shapes_of_arrays() -> None:
    data = _data("ids", "a", "image", "b", task=spec_pb2.TASK_REGRESSION)
    arrays = {"image": np.ones((5, 3, 2), np.float32), "ids": np.ones((5, 4), np.int64)}

    spec = features.fit(data, {}, [], arrays)

    assert list(spec.numeric_columns) == ["a", "b"]
    assert _shapes(list(spec.array_columns)) == [
        ("ids", "INT64", [-1, 4]),
        ("image", "FP32", [-1, 3, 2]),
    ]


def test_several_targets_are_values_side_by_side() -> None:
    data = spec_pb2.DataSpec(targets=["y", "z"], features=["a"], task=spec_pb2.TASK_REGRESSION)

    spec = features.fit(data, {}, ())
    _, outputs = features.signature(spec, 2)

    assert (spec.target, list(spec.targets), list(spec.labels)) == ("y", ["y", "z"], [])
    assert [(each.name, list(each.shape)) for each in outputs] == [("value", [-1, 2])]


def test_a_row_has_every_label_of_at_least_one_half() -> None:
    data = spec_pb2.DataSpec(targets=["y", "z"], features=["a"], task=spec_pb2.TASK_MULTILABEL)
    spec = features.fit(data, {}, ())
    scores = np.array([[0.5, 0.4999], [1, NAN]], dtype=np.float32)

    found = features.answers(spec, scores)
    _, outputs = features.signature(spec, 2)

    assert list(spec.labels) == ["y", "z"]
    assert found["probabilities"] is scores
    assert found["label"].tolist() == [[True, False], [True, False]]
    assert [(each.name, each.data_type, list(each.shape)) for each in outputs] == [
        ("probabilities", graph_pb2.DATA_TYPE_FP32, [-1, 2]),
        ("label", graph_pb2.DATA_TYPE_BOOL, [-1, 2]),
    ]


def test_raw_outputs_are_answered_by_their_names() -> None:
    graph = graph_pb2.Graph(head=graph_pb2.HEAD_RAW)
    for name in ("mu", "logvar"):
        graph.outputs.add(name=name, data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 2])
    mu, logvar = np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)

    found = features.Features(_spec("0", "1"), graph).answers([mu, logvar])

    assert found["mu"] is mu
    assert found["logvar"] is logvar
    assert features.signature(_spec("0", "1"), 2, graph)[1] == list(graph.outputs)
    graph.head = graph_pb2.HEAD_SOFTMAX
    assert features.raw_outputs(graph) == []
