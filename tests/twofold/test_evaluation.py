"""Measures against values computed by hand, and against plain loops over any numbers."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from twofold import evaluation

#: Five rows of classes a, b, c. Answers: a b b a c; truth: a b c b c.
PROBABILITY = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.1, 0.5, 0.4], [0.8, 0.2, 0.0], [0.1, 0.1, 0.8]]
)
ANSWER, TRUTH = np.array([0, 1, 1, 0, 2]), np.array([0, 1, 2, 1, 2])


@pytest.fixture(scope="module")
def found() -> evaluation.Classification:
    return evaluation.classification(PROBABILITY, ANSWER, TRUTH, ["a", "b", "c"])


def test_confusion_has_truth_in_rows(found: evaluation.Classification) -> None:
    assert found.confusion == ((1, 0, 0), (1, 1, 0), (0, 1, 1))


def test_classes_by_hand(found: evaluation.Classification) -> None:
    assert found.classes == (
        evaluation.ClassScore("a", precision=1 / 2, recall=1.0, f1=2 / 3, support=1),
        evaluation.ClassScore("b", precision=1 / 2, recall=1 / 2, f1=1 / 2, support=2),
        evaluation.ClassScore("c", precision=1.0, recall=1 / 2, f1=2 / 3, support=2),
    )


def test_averages_by_hand(found: evaluation.Classification) -> None:
    assert found.row_count == 5
    assert found.accuracy == found.micro_f1 == 3 / 5
    assert found.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    assert found.weighted_f1 == pytest.approx((2 / 3 * 1 + 1 / 2 * 2 + 2 / 3 * 2) / 5)
    assert found.roc_auc is None


def test_probabilities_by_hand(found: evaluation.Classification) -> None:
    expected = -sum(map(math.log, [0.7, 0.6, 0.4, 0.2, 0.8])) / 5
    assert found.log_loss == pytest.approx(expected)
    # Of the first row: .3^2 for a, .2^2 for b, .1^2 for c.
    assert found.brier == pytest.approx((0.14 + 0.26 + 0.62 + 1.28 + 0.06) / 5)


def test_calibration_by_hand(found: evaluation.Classification) -> None:
    """Confidences .7 right, .6 right, .5 wrong, .8 wrong, .8 right: four bins of fifteen."""
    filled = {round(one.high * 15): one for one in found.bins if one.count}

    assert len(found.bins) == 15
    assert {place: (one.count, one.accuracy) for place, one in filled.items()} == {
        8: (1, 0.0),
        9: (1, 1.0),
        11: (1, 1.0),
        12: (2, 0.5),
    }
    assert filled[12].confidence == pytest.approx(0.8)
    assert found.calibration_error == pytest.approx((0.5 + 0.4 + 0.3 + 2 * 0.3) / 5)


def test_bins_are_open_below_and_closed_above() -> None:
    edges = np.array([0.0, 1 / 15, np.nextafter(1 / 15, 1), 1.0])

    bins = evaluation.reliability(edges, np.array([True] * 4))

    assert [one.count for one in bins] == [2, 1, *[0] * 12, 1]


def test_hard_and_impossible_answers_stay_finite() -> None:
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])

    found = evaluation.classification(sure, np.array([0, 1]), np.array([0, 0]), ["n", "y"])

    assert found.log_loss == pytest.approx(-math.log(1e-15) / 2)
    assert found.brier == 1.0
    assert found.calibration_error == 0.5
    assert found.roc_auc is None


def test_a_class_that_never_occurs_counts_in_no_mean() -> None:
    even = np.full((2, 3), 1 / 3)

    found = evaluation.classification(even, np.array([0, 1]), np.array([0, 1]), ["a", "b", "c"])

    assert (found.macro_f1, found.weighted_f1, found.classes[2].f1) == (1.0, 1.0, 0.0)


def test_auc_by_hand() -> None:
    """Positives .8 .4, negatives .4 .1: of four pairs three are right and one a tie."""
    found = evaluation.roc_auc(np.array([0.8, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))

    assert found == 3.5 / 4


@given(
    st.lists(st.tuples(st.sampled_from([0, 0.25, 0.5, 1]), st.booleans()), min_size=1, max_size=12)
)
def test_auc_is_the_part_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    positive = [score for score, is_positive in rows if is_positive]
    negative = [score for score, is_positive in rows if not is_positive]
    pairs = [(high > low) + (high == low) / 2 for high, low in product(positive, negative)]

    found = evaluation.roc_auc(*map(np.array, zip(*rows, strict=True)))

    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


@given(
    arrays.arrays(np.float64, (7, 3), elements=st.floats(0.01, 1)),
    arrays.arrays(np.int64, 7, elements=st.integers(0, 2)),
)
def test_all_measures_agree_with_plain_loops(
    raw: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
    truth: "np.ndarray[tuple[int], np.dtype[np.int64]]",
) -> None:
    probability = raw / raw.sum(axis=1, keepdims=True)
    answer = probability.argmax(axis=1)
    found = evaluation.classification(probability, answer, truth, ["a", "b", "c"])
    rows = range(7)

    squares = [
        (probability[row, place] - (truth[row] == place)) ** 2 for row in rows for place in range(3)
    ]
    assert found.brier == pytest.approx(sum(squares) / 7)
    assert found.accuracy == pytest.approx(sum(answer[row] == truth[row] for row in rows) / 7)
    gap = 0.0
    for low in range(15):
        inside = [row for row in rows if low / 15 < probability[row, answer[row]] <= (low + 1) / 15]
        right = sum(answer[row] == truth[row] for row in inside)
        gap += abs(right - sum(probability[row, answer[row]] for row in inside)) / 7
    assert found.calibration_error == pytest.approx(gap)
    assert sum(map(sum, found.confusion)) == 7


def test_regression_by_hand() -> None:
    """Residuals of the first target: 1, -1, 0, 2; its truth 0 1 2 3 has SS_tot 5."""
    value = np.array([[1.0, 5], [0, 5], [2, 5], [5, 5]], dtype=np.float32)
    truth = np.array([[0.0, 5], [1, 5], [2, 5], [3, 5]], dtype=np.float32)

    first, second = evaluation.regression(value, truth, ["y", "z"])

    assert (first.target, first.row_count) == ("y", 4)
    assert first.rmse == pytest.approx(math.sqrt(6 / 4))
    assert first.mae == first.median_absolute_error == 1.0
    assert first.r2 == pytest.approx(1 - 6 / 5)
    # Sorted: -1 0 1 2; between them by line.
    assert first.residual_quantiles == pytest.approx((-1, -0.85, -0.25, 0.5, 1.25, 1.85, 2))
    assert (second.rmse, second.r2) == (0.0, 1.0)


def test_r2_of_a_constant_truth() -> None:
    assert evaluation.r2(np.array([1.0, 1]), np.array([2.0, 2])) == 0.0


def test_several_labels_by_hand() -> None:
    """Rows: right; one label too many; none right. The third label occurs nowhere."""
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=np.bool_)
    answer = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=np.bool_)
    probability = np.where(answer, 0.8, 0.2)

    found = evaluation.multilabel(probability, answer, truth, ["a", "b", "c"])

    assert (found.row_count, found.accuracy) == (3, pytest.approx(1 / 3))
    assert found.hamming_loss == pytest.approx(3 / 9)
    # a: TP 1, FP 1, FN 1; b: TP 1, FN 1; c does not count
    assert [score.f1 for score in found.labels] == pytest.approx([1 / 2, 2 / 3, 0])
    assert found.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.micro_f1 == pytest.approx(2 * 2 / (3 + 4))
    assert found.log_loss == pytest.approx(-(6 * math.log(0.8) + 3 * math.log(0.2)) / 9)
    nothing = evaluation.multilabel(probability[:1], answer[2:], answer[2:], ["a", "b", "c"])
    assert (nothing.macro_f1, nothing.micro_f1) == (1, 1)
