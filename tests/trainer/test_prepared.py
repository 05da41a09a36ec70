from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.prepared import measure, prepare, split
from trainer.reading.table import Table, Values
from twofold.errors import InvalidData, InvalidField
from twofold.v1 import spec_pb2

COUNT = 20


def texts(*values: str) -> Values:
    return np.array(values, dtype=np.object_)


def table_of(**columns: Values) -> Table:
    return Table(columns, len(next(iter(columns.values()))))


def mixed_table() -> Table:
    return table_of(
        size=np.arange(COUNT, dtype=np.float64),
        open=np.array([index % 2 == 0 for index in range(COUNT)]),
        colour=texts(*["red", "blue"] * (COUNT // 2)),
        grade=np.array([index % 3 for index in range(COUNT)]),
    )


def spec_for(
    target: str,
    features: list[str],
    task: spec_pb2.Task = spec_pb2.TASK_CLASSIFICATION,
    *,
    standardize: bool = False,
) -> spec_pb2.TrainingSpec:
    data = spec_pb2.DataSpec(
        target=target,
        features=features,
        task=task,
        validation_fraction=0.25,
        split=spec_pb2.SPLIT_RANDOM,
        standardize=standardize,
    )
    return spec_pb2.TrainingSpec(data=data)


def test_numbers_and_booleans_are_numeric_and_text_is_categories() -> None:
    prepared = prepare(mixed_table(), spec_for("grade", ["size", "open", "colour"]))

    assert list(prepared.features.numeric_columns) == ["size", "open"]
    assert [column.name for column in prepared.features.category_columns] == ["colour"]
    assert prepared.x_ND is not None
    assert prepared.category_NK is not None
    assert prepared.raw_category_NK is not None
    assert prepared.x_ND[:2].tolist() == [[0, 1], [1, 0]]
    assert prepared.category_NK[:2, 0].tolist() == [1, 0]
    assert prepared.raw_category_NK[:2, 0].tolist() == [b"red", b"blue"]


@pytest.mark.parametrize(
    ("target", "labels", "first"),
    [
        (np.array([10, 2] * 10), ["2", "10"], 1),
        (np.array([True, False] * 10), ["false", "true"], 1),
        (texts(*["b", "a"] * 10), ["a", "b"], 1),
    ],
)
def test_labels_are_canonical_text_and_the_target_their_index(
    target: Values, labels: list[str], first: int
) -> None:
    table = table_of(x=np.arange(COUNT, dtype=np.float64), y=target)
    prepared = prepare(table, spec_for("y", ["x"]))

    assert list(prepared.features.labels) == labels
    assert prepared.target_N[:2].tolist() == [first, 1 - first]
    assert prepared.target_N.dtype == np.int64


def test_a_number_to_predict_is_a_column_of_float32() -> None:
    prepared = prepare(mixed_table(), spec_for("size", ["grade"], spec_pb2.TASK_REGRESSION))

    assert prepared.target_N.shape == (COUNT, 1)
    assert prepared.target_N.dtype == np.float32
    assert not prepared.features.labels


def test_a_label_of_held_out_rows_alone_is_known_but_their_category_is_not() -> None:
    asked = spec_for("y", ["colour"])
    _, held_out = split(asked.data, np.zeros(COUNT), seed=0)
    colour, label = texts(*["red"] * COUNT), texts(*["no"] * COUNT)
    colour[held_out[0]], label[held_out[0]] = "rare", "yes"
    prepared = prepare(table_of(colour=colour, y=label), asked)

    assert list(prepared.features.labels) == ["no", "yes"]
    assert list(prepared.features.category_columns[0].vocabulary) == ["red"]
    assert prepared.category_NK is not None
    assert prepared.category_NK[held_out[0], 0] == -1


def test_scale_is_measured_on_training_rows_alone() -> None:
    asked = spec_for("grade", ["size", "open"], standardize=True)
    table = mixed_table()
    _, held_out = split(asked.data, table.columns["grade"], seed=0)
    table.columns["size"][held_out] = 1e6
    prepared = prepare(table, asked)

    assert prepared.mean_D is not None
    assert prepared.mean_D[0] < COUNT


def test_scale_is_mean_and_population_deviation_and_never_divides_by_zero() -> None:
    mean, deviation = measure(np.array([[1, 5], [3, 5]], dtype=np.float32))

    assert mean.tolist() == [2, 5]
    assert deviation.tolist() == [1, 1]


def test_scale_of_large_offsets_is_not_lost_to_rounding() -> None:
    x = (1e7 + np.array([[-4], [4]])).astype(np.float32)

    assert measure(np.repeat(x, 10_000, axis=0))[1].tolist() == [4]


@pytest.mark.parametrize(
    ("target", "features", "field"),
    [("nothing", ["size"], "data.target"), ("grade", ["size", "nothing"], "data.features")],
)
def test_a_column_that_is_not_there_is_named(target: str, features: list[str], field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        prepare(mixed_table(), spec_for(target, features))

    assert caught.value.fields["field"] == field
    assert "colour" in caught.value.message


def test_one_label_is_no_classification() -> None:
    table = table_of(x=np.arange(3, dtype=np.float64), y=np.array([1, 1, 1]))
    with pytest.raises(InvalidData, match="one label") as caught:
        prepare(table, spec_for("y", ["x"]))

    assert caught.value.fields == {"column": "y"}


labels = st.lists(st.integers(0, 4), min_size=1, max_size=60)
fractions = st.floats(0, 0.9)


@given(labels, fractions, st.integers(0, 9), st.sampled_from(spec_pb2.Split.values()[1:]))
def test_a_split_is_a_partition_that_leaves_rows_to_train_on(
    target: list[int], fraction: float, seed: int, kind: spec_pb2.Split
) -> None:
    data = spec_pb2.DataSpec(validation_fraction=fraction, split=kind)
    training, held_out = split(data, np.array(target), seed)
    again = split(data, np.array(target), seed)

    assert sorted([*training, *held_out]) == list(range(len(target)))
    assert len(training) > 0
    assert again[0].tolist() == training.tolist()
    if kind == spec_pb2.SPLIT_RANDOM:
        assert abs(len(held_out) - len(target) * fraction) <= 1


@given(labels, fractions)
def test_a_stratified_split_takes_the_fraction_of_every_label(
    target: list[int], fraction: float
) -> None:
    data = spec_pb2.DataSpec(validation_fraction=fraction, split=spec_pb2.SPLIT_STRATIFIED)
    training, held_out = split(data, np.array(target), seed=0)

    trained = Counter(target[int(row)] for row in training)
    held = Counter(target[int(row)] for row in held_out)
    for label, count in Counter(target).items():
        assert trained[label] >= 1
        assert abs(held[label] - count * fraction) <= 1


def test_another_seed_is_another_split() -> None:
    data = spec_pb2.DataSpec(validation_fraction=0.5, split=spec_pb2.SPLIT_RANDOM)
    splits = {tuple(split(data, np.zeros(30), seed)[1].tolist()) for seed in range(5)}

    assert len(splits) == 5
