"""From a table to arrays: who trains, what is learnt of the columns, and what is refused."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from trainer import prepared
from trainer.codes import encode
from trainer.prepared import Prepared, prepare, split
from trainer.reading.table import Matrix, Table, Values
from twofold.errors import InvalidData, InvalidField
from twofold.v1 import spec_pb2

CLASSIFICATION = spec_pb2.TASK_CLASSIFICATION
REGRESSION = spec_pb2.TASK_REGRESSION
RANDOM = spec_pb2.SPLIT_RANDOM
STRATIFIED = spec_pb2.SPLIT_STRATIFIED

SEEDS = st.integers(0, 2**63 - 1)
FRACTIONS = st.floats(0, 0.9)
LABELS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=60)


def texts(*cells: str) -> NDArray[np.object_]:
    return np.array(cells, dtype=np.object_)


def make_table(**columns: object) -> Table:
    arrays: dict[str, Values] = {
        name: texts(*cells) if isinstance(cells, str) else np.asarray(cells)
        for name, cells in columns.items()
    }
    return Table(arrays, len(next(iter(arrays.values()))))


def make_spec(
    *features: str,
    task: spec_pb2.Task = CLASSIFICATION,
    fraction: float = 0,
    how: spec_pb2.Split = RANDOM,
    standardize: bool = True,
) -> spec_pb2.TrainingSpec:
    spec = spec_pb2.TrainingSpec()
    spec.data.target, spec.data.task, spec.data.split = "y", task, how
    spec.data.features.extend(features)
    spec.data.validation_fraction, spec.data.standardize = fraction, standardize
    return spec


def split_of(
    target: Values, fraction: float, how: spec_pb2.Split, seed: int = 0
) -> tuple[list[int], list[int]]:
    data = make_spec(fraction=fraction, how=how).data
    training, held_out = split(data, encode(target), len(target), seed)
    return training.tolist(), held_out.tolist()


class TestSplit:
    """Every row trains or is held out, by the seed alone."""

    @given(labels=LABELS, fraction=FRACTIONS, seed=SEEDS, how=st.sampled_from([RANDOM, STRATIFIED]))
    def test_each_row_is_on_one_side_in_order(
        self, labels: list[str], fraction: float, seed: int, how: spec_pb2.Split
    ) -> None:
        training, held_out = split_of(texts(*labels), fraction, how, seed)

        assert training
        assert sorted(training + held_out) == list(range(len(labels)))
        assert training == sorted(training)
        assert held_out == sorted(held_out)
        assert split_of(texts(*labels), fraction, how, seed) == (training, held_out)

    @given(row_count=st.integers(1, 200), fraction=FRACTIONS, seed=SEEDS)
    def test_a_random_split_holds_out_the_fraction(
        self, row_count: int, fraction: float, seed: int
    ) -> None:
        _, held_out = split_of(np.zeros(row_count), fraction, RANDOM, seed)

        assert len(held_out) == min(round(row_count * fraction), row_count - 1)

    @given(labels=LABELS, fraction=FRACTIONS, seed=SEEDS)
    def test_a_stratified_split_holds_out_the_fraction_of_every_label(
        self, labels: list[str], fraction: float, seed: int
    ) -> None:
        training, held_out = split_of(texts(*labels), fraction, STRATIFIED, seed)

        assert {labels[row] for row in training} == set(labels), "every label trains"
        for label in set(labels):
            count = labels.count(label)
            found = sum(labels[row] == label for row in held_out)
            assert found == min(round(count * fraction), count - 1)

    @pytest.mark.parametrize("how", [RANDOM, STRATIFIED])
    def test_another_seed_is_another_split_and_every_row_has_its_chance(
        self, how: spec_pb2.Split
    ) -> None:
        target = np.repeat([0, 1], 10)

        splits = [split_of(target, 0.5, how, seed)[1] for seed in range(200)]

        assert len({tuple(rows) for rows in splits}) > 190
        counts = np.bincount(np.concatenate(splits), minlength=20)
        # Of 200 fair coins, 60 to 140 heads: 5.6 deviations.
        assert counts.min() > 60
        assert counts.max() < 140

    @pytest.mark.parametrize(
        "target", [np.array([3, 1, 3, 1]), np.array([True, False] * 2), texts("b", "a", "b", "a")]
    )
    def test_labels_of_every_kind_are_told_apart(self, target: Values) -> None:
        _, held_out = split_of(target, 0.5, STRATIFIED)

        assert {target[row] for row in held_out} == set(target.tolist())
        assert len(held_out) == 2


def measure(x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return prepared.measure(x, np.arange(len(x)))


def prepare_standard(x: NDArray[np.float64], held_out: float = 0) -> Prepared:
    table = Table({"x": x, "y": np.arange(len(x)) % 2}, len(x))
    return prepare(table, make_spec("x", fraction=held_out))


class TestMeasure:
    """Mean and deviation are those of the training rows."""

    def test_by_hand(self) -> None:
        mean, deviation = measure(
            np.array([[1, 5, -2], [3, 5, 2], [5, 5, 2], [7, 5, -2]], dtype=np.float32)
        )

        assert mean.tolist() == [4, 5, 0]
        assert deviation.tolist() == [pytest.approx(5**0.5), 1, 2], "a constant is not divided"
        assert mean.dtype == deviation.dtype == np.float32

    @given(
        hnp.arrays(
            np.float32,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
            elements=st.floats(-1000, 1000, width=16),
        )
    )
    def test_the_scaled_rows_have_mean_0_and_deviation_1(self, x: NDArray[np.float32]) -> None:
        mean, deviation = measure(x)

        scaled = (x.astype(np.float64) - mean) / deviation
        is_constant = (x == x[0]).all(axis=0)
        roughly = 1e-4 * (1 + np.abs(mean / deviation).max())
        assert np.allclose(scaled.mean(axis=0), 0, atol=roughly)
        assert np.allclose(scaled.std(axis=0)[~is_constant], 1, atol=1e-4)
        assert (deviation[is_constant] == 1).all()

    def test_large_close_numbers_keep_their_deviation(self) -> None:
        """In 32 bits both squares and the mean would be lost."""
        mean, deviation = measure(np.array([[2.0**24], [2.0**24 + 2]] * 1000, dtype=np.float32))

        assert deviation.tolist() == [1]
        assert mean.tolist() in ([2.0**24], [2.0**24 + 2])

    def test_the_largest_numbers_have_finite_figures(self) -> None:
        largest = np.finfo(np.float32).max
        mean, deviation = measure(np.array([[largest], [-largest]], dtype=np.float32))

        assert mean.tolist() == [0]
        assert deviation.tolist() == [largest]

    @given(
        x=hnp.arrays(np.float32, (23, 2), elements=st.floats(-1e6, 1e6, width=32)),
        rows=st.lists(st.integers(0, 22), min_size=1, unique=True),
        block_rows=st.integers(1, 24),
    )
    def test_blocks_are_joined_exactly(
        self, x: NDArray[np.float32], rows: list[int], block_rows: int
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prepared, "_BLOCK_ROWS", block_rows)
            mean, deviation = prepared.measure(x, np.array(rows))

        chosen = x[rows].astype(np.float64)
        spread = chosen.std(axis=0)
        assert np.allclose(mean, chosen.mean(axis=0), rtol=1e-6, atol=1e-9)
        roughly = 1e-6 * spread + 1e-9 * np.abs(chosen).max()
        assert (np.abs(deviation - spread)[deviation != 1] <= roughly[deviation != 1]).all()
        assert (spread[deviation == 1] <= 1 + 1e-6).all()

    def test_held_out_rows_are_not_measured(self) -> None:
        x = np.arange(20.0) ** 2
        found = prepare_standard(x, held_out=0.5)

        assert found.mean_D is not None
        assert found.deviation_D is not None
        assert found.mean_D.tolist() == [pytest.approx(x[found.training_rows].mean())]
        assert found.deviation_D.tolist() == [pytest.approx(x[found.training_rows].std())]
        assert found.mean_D.tolist() != [pytest.approx(x.mean())]

    def test_nothing_is_measured_when_not_asked_for(self) -> None:
        table = make_table(x=[1.0, 2.0], y="ab")

        found = prepare(table, make_spec("x", standardize=False))

        assert found.mean_D is None
        assert found.deviation_D is None
        assert found.x_ND is not None
        assert found.x_ND.tolist() == [[1], [2]], "inputs are raw"


class TestColumns:
    """Numbers, categories and the target as arrays."""

    def test_numbers_of_every_kind_stand_in_the_order_of_the_spec(self) -> None:
        table = make_table(a=[1, 2], b=[0.5, 1.5], c=[True, False], y="ab")

        found = prepare(table, make_spec("c", "b", "a"))

        assert found.x_ND is not None
        assert found.x_ND.dtype == np.float32
        assert found.x_ND.tolist() == [[1, 0.5, 1], [0, 1.5, 2]]
        assert list(found.features.numeric_columns) == ["c", "b", "a"]
        assert found.category_NK is None
        assert list(found.raw_inputs(np.array([1]))) == ["x"]

    def test_categories_are_indices_into_their_sorted_vocabularies(self) -> None:
        table = make_table(a="zyz", n=[1, 2, 3], b="äab", y="xyx")

        found = prepare(table, make_spec("b", "n", "a"))

        assert found.category_NK is not None
        vocabularies = {c.name: list(c.vocabulary) for c in found.features.category_columns}
        assert vocabularies == {"b": ["a", "b", "ä"], "a": ["y", "z"]}
        assert found.category_NK.dtype == np.int64
        assert found.category_NK.tolist() == [[2, 1], [0, 0], [1, 1]]
        raw = found.raw_inputs(np.array([2, 0]))
        assert raw["category"].tolist() == [[b"b", b"z"], ["ä".encode(), b"z"]]
        assert raw["x"].tolist() == [[3], [1]]

    @pytest.mark.parametrize("names", ["bc", "abc", "cb", "ac", "b", "da", "abcd", "dabc"])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_a_matrix_gives_the_same_numbers_as_its_columns(
        self, names: str, order: Literal["C", "F"]
    ) -> None:
        values = np.asarray(np.arange(15).reshape(5, 3), dtype=np.float32, order=order)
        columns: dict[str, Values] = {name: values[:, i] for i, name in enumerate("abc")}
        columns |= {"d": np.arange(5), "y": np.arange(5) % 2}
        spec = make_spec(*names)

        joined = prepare(Table(columns, 5, Matrix(("a", "b", "c"), values)), spec)
        single = prepare(Table(columns, 5), spec)

        assert joined.x_ND is not None
        assert single.x_ND is not None
        assert joined.x_ND.tolist() == single.x_ND.tolist()
        assert joined.x_ND.flags.c_contiguous

    def test_rows_that_stand_as_they_are_needed_are_not_copied(self) -> None:
        values = np.ones((3, 2), dtype=np.float32)
        columns: dict[str, Values] = {"a": values[:, 0], "b": values[:, 1], "y": texts(*"aba")}

        found = prepare(Table(columns, 3, Matrix(("a", "b"), values)), make_spec("a", "b"))

        assert found.x_ND is not None
        assert np.shares_memory(found.x_ND, values)

    def test_categories_alone_leave_no_numbers(self) -> None:
        found = prepare(make_table(a="ab", y="xy"), make_spec("a"))

        assert found.x_ND is None
        assert found.mean_D is None

    def test_a_category_that_training_never_saw_is_unknown(self) -> None:
        names = [f"only here {row}" for row in range(20)]
        table = Table({"a": texts(*names), "y": texts(*"xy" * 10)}, 20)

        found = prepare(table, make_spec("a", fraction=0.25))

        assert found.category_NK is not None
        indices = found.category_NK[:, 0]
        assert (indices[found.validation_rows] == -1).all()
        assert sorted(indices[found.training_rows].tolist()) == list(range(15))

    def test_a_label_that_training_never_saw_is_still_a_label(self) -> None:
        names = [f"label {row:02}" for row in range(20)]
        table = Table({"x": np.arange(20), "y": texts(*names)}, 20)

        found = prepare(table, make_spec("x", fraction=0.25))

        assert list(found.features.labels) == names
        assert found.target_N.tolist() == list(range(20))

    @pytest.mark.parametrize(
        ("target", "labels", "indices"),
        [
            ("bab", ["a", "b"], [1, 0, 1]),
            ([10, 2, 10], ["2", "10"], [1, 0, 1]),
            ([-1, 1, 0], ["-1", "0", "1"], [0, 2, 1]),
            ([True, False, True], ["false", "true"], [1, 0, 1]),
            ([1.5, 0.5, 1.5], ["0.5", "1.5"], [1, 0, 1]),
        ],
    )
    def test_labels_stand_in_the_order_of_their_values(
        self, target: object, labels: list[str], indices: list[int]
    ) -> None:
        found = prepare(make_table(x=[1, 2, 3], y=target), make_spec("x"))

        assert list(found.features.labels) == labels
        assert found.target_N.dtype == np.int64
        assert found.target_N.tolist() == indices

    def test_a_number_to_predict_is_a_column_of_floats(self) -> None:
        found = prepare(make_table(x=[1, 2], y=[3, 4]), make_spec("x", task=REGRESSION))

        assert found.target_N.dtype == np.float32
        assert found.target_N.tolist() == [[3], [4]]
        assert not found.features.labels


class TestRefusals:
    """A spec that does not fit the table, and a table that cannot be trained on."""

    def test_an_unknown_target(self) -> None:
        with pytest.raises(InvalidField) as caught:
            prepare(make_table(x=[1], z=[2]), make_spec("x"))

        assert caught.value.fields == {
            "field": "data.target",
            "value": "y",
            "allowed": "a column: x, z",
        }

    def test_an_unknown_feature(self) -> None:
        with pytest.raises(InvalidField, match=r"data\.features is no; allowed: a column: x, y"):
            prepare(make_table(x=[1], y=[2]), make_spec("x", "no"))

    def test_many_columns_make_no_long_message(self) -> None:
        table = make_table(**{f"column {number}": [1] for number in range(1000)})

        with pytest.raises(InvalidField) as caught:
            prepare(table, make_spec("x"))

        assert len(caught.value.message) < 300

    def test_one_label_is_no_choice(self) -> None:
        with pytest.raises(InvalidData, match="column y has one label in all rows") as caught:
            prepare(make_table(x=[1, 2], y="aa"), make_spec("x"))

        assert caught.value.fields == {"column": "y"}

    def test_one_value_is_a_number_to_learn(self) -> None:
        found = prepare(make_table(x=[1, 2], y=[5, 5]), make_spec("x", task=REGRESSION))

        assert found.target_N.tolist() == [[5], [5]]
