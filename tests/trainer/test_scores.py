"""Metrics by their definitions: tables worked out by hand, and what holds for any prediction."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainer import scores

Pairs = list[tuple[int, int]]
CLASS_COUNT = 5
PAIRS = st.lists(
    st.tuples(st.integers(0, CLASS_COUNT - 1), st.integers(0, CLASS_COUNT - 1)), min_size=1
)
TARGETS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-1e6, 1e6, width=32),
)


def classify(pairs: Pairs, class_count: int = CLASS_COUNT) -> dict[str, float]:
    best, labels = np.array(pairs, dtype=np.int64).T
    return scores.classification(best, labels, class_count)


def regress(values: object, targets: object) -> dict[str, float]:
    return scores.regression(np.array(values, dtype=np.float32), np.array(targets, np.float32))


# Pairs of (predicted, label). F1 of a class is 2 TP / (2 TP + FP + FN).
@pytest.mark.parametrize(
    ("pairs", "accuracy", "macro_f1"),
    [
        ([(0, 0), (1, 1)], 1, 1),
        ([(0, 1), (1, 0)], 0, 0),
        # TP 1 1, FP 1 0, FN 0 1: F1 2/3 and 2/3
        ([(0, 0), (0, 1), (1, 1)], 2 / 3, 2 / 3),
        # class 0: TP 2, FP 1, FN 0: 4/5; class 1: TP 0, FN 1: 0
        ([(0, 0), (0, 0), (0, 1)], 2 / 3, 0.4),
        # class 0: TP 1, FP 1, FN 1: 1/2; 1: TP 1, FN 1: 2/3; 2: TP 1, FP 1: 2/3
        ([(0, 0), (2, 0), (1, 1), (0, 1), (2, 2)], 3 / 5, (1 / 2 + 2 / 3 + 2 / 3) / 3),
        # class 3 occurs in predictions alone and counts as 0; 4 occurs nowhere and does not count
        ([(0, 0), (3, 0)], 1 / 2, (2 / 3 + 0) / 2),
        ([(4, 4)], 1, 1),
    ],
)
def test_accuracy_and_macro_f1_by_hand(pairs: Pairs, accuracy: float, macro_f1: float) -> None:
    assert classify(pairs) == pytest.approx({"accuracy": accuracy, "macro_f1": macro_f1})


@given(pairs=PAIRS)
def test_macro_f1_is_the_mean_of_what_each_class_scores(pairs: Pairs) -> None:
    f1: list[float] = []
    for number in range(CLASS_COUNT):
        hits = pairs.count((number, number))
        predicted = sum(best == number for best, _ in pairs)
        labelled = sum(label == number for _, label in pairs)
        if predicted or labelled:
            precision = hits / predicted if predicted else 0
            recall = hits / labelled if labelled else 0
            both = precision + recall
            f1.append(2 * precision * recall / both if both else 0)

    assert classify(pairs)["macro_f1"] == pytest.approx(sum(f1) / len(f1))


@given(pairs=PAIRS, seed=st.integers(0, 99))
def test_order_and_class_numbers_do_not_matter(pairs: Pairs, seed: int) -> None:
    generator = np.random.default_rng(seed)
    renamed = generator.permutation(CLASS_COUNT)
    shuffled = [
        (int(renamed[pairs[row][0]]), int(renamed[pairs[row][1]]))
        for row in generator.permutation(len(pairs))
    ]

    assert classify(shuffled) == pytest.approx(classify(pairs))
    assert classify(pairs, CLASS_COUNT + 3) == classify(pairs)


@given(pairs=PAIRS)
def test_scores_are_fractions_and_1_just_for_all_right(pairs: Pairs) -> None:
    found = classify(pairs)

    assert all(0 <= value <= 1 for value in found.values())
    assert (found["accuracy"] == 1) == all(best == label for best, label in pairs)
    assert (found["macro_f1"] == 1) == (found["accuracy"] == 1)


@pytest.mark.parametrize(
    ("values", "targets", "rmse", "mae", "r2"),
    [
        # errors 1, -1, 2, 0: squares 6; the targets' own deviation squared is 5
        ([[2], [1], [5], [4]], [[1], [2], [3], [4]], math.sqrt(6 / 4), 1, 1 - 6 / 5),
        ([[1], [2]], [[1], [2]], 0, 0, 1),
        # always the mean
        ([[2], [2]], [[1], [3]], 1, 1, 0),
        # a constant target
        ([[7], [7]], [[7], [7]], 0, 0, 1),
        ([[7], [8]], [[7], [7]], math.sqrt(1 / 2), 1 / 2, 0),
        ([[3]], [[1]], 2, 2, 0),
        # two targets, pooled: residual 1 + 4, total 2 + 2
        ([[1, 0], [2, 2]], [[0, 0], [2, 0]], math.sqrt(5 / 4), 3 / 4, 1 - 5 / 2),
    ],
)
def test_rmse_mae_and_r2_by_hand(
    values: list[list[float]], targets: list[list[float]], rmse: float, mae: float, r2: float
) -> None:
    assert regress(values, targets) == pytest.approx({"rmse": rmse, "mae": mae, "r2": r2})


@given(targets=TARGETS, shift=st.floats(-1e3, 1e3, width=32))
def test_a_shift_of_every_value_is_its_own_error(targets: np.ndarray, shift: float) -> None:
    values = (targets + np.float32(shift)).astype(np.float32)

    found = regress(values, targets)

    # 32 bits hold the shifted values to within a rounding of the largest
    rounding = float(np.spacing(np.abs(values).max())) + 1e-6
    assert found["mae"] == pytest.approx(abs(shift), abs=rounding)
    assert found["rmse"] == pytest.approx(abs(shift), abs=rounding)


@given(targets=TARGETS)
def test_exact_values_have_no_error_and_constant_ones_explain_nothing(targets: np.ndarray) -> None:
    assert regress(targets, targets) == {"rmse": 0, "mae": 0, "r2": 1}
    guess = np.full_like(targets, targets.mean(dtype=np.float64))
    assert regress(guess, targets)["r2"] <= 1e-6 or (guess == targets).all()


def test_large_and_close_targets_lose_nothing_to_rounding() -> None:
    """In 32 bits the mean of these would be off by more than they differ."""
    targets = np.array([[2.0**24], [2.0**24 + 2]] * 50_000, dtype=np.float32)

    assert regress(targets, targets) == {"rmse": 0, "mae": 0, "r2": 1}
    assert regress(np.full_like(targets, 2.0**24), targets)["r2"] == pytest.approx(-1)


@given(values=TARGETS)
def test_the_mean_error_is_at_most_the_root_of_the_mean_square(values: np.ndarray) -> None:
    found = regress(values, np.zeros_like(values))

    assert 0 <= found["mae"] <= found["rmse"] * (1 + 1e-9)
    assert found["r2"] <= 1


# Rows of (answers, labels), as text of 0 and 1.
@pytest.mark.parametrize(
    ("rows", "accuracy", "macro_f1", "hamming_loss"),
    [
        (["10 10", "01 01"], 1, 1, 0),
        (["10 01"], 0, 0, 1),
        # one of two rows; TP 1 1, FP 1 0, FN 0 0: F1 2/3 and 1; one label of four
        (["10 00", "11 11"], 1 / 2, (2 / 3 + 1) / 2, 1 / 4),
        # the second label neither occurs nor is answered, and does not count
        (["10 10", "00 10"], 1 / 2, 2 / 3, 1 / 4),
        (["00 00"], 1, 1, 0),
        # a row is wrong as a whole by one label
        (["111 110", "111 111", "000 000"], 2 / 3, (1 + 1 + 2 / 3) / 3, 1 / 9),
    ],
)
def test_figures_of_several_labels_by_hand(
    rows: list[str], accuracy: float, macro_f1: float, hamming_loss: float
) -> None:
    answers, labels = (
        np.array([[sign == "1" for sign in row.split()[side]] for row in rows]) for side in (0, 1)
    )

    assert scores.multilabel(answers, labels) == pytest.approx(
        {"accuracy": accuracy, "macro_f1": macro_f1, "hamming_loss": hamming_loss}
    )


def test_each_of_several_targets_has_an_r2_of_its_own() -> None:
    values, targets = (np.array(rows, np.float32) for rows in ([[1, 0], [2, 2]], [[0, 0], [2, 0]]))

    found = scores.r2_of_each(values, targets, ["a", "b"])

    assert found == pytest.approx({"r2.a": 1 - 1 / 2, "r2.b": 0})
    assert scores.r2_of_each(values[:, :1], targets[:, :1], ["a"]) == {}
