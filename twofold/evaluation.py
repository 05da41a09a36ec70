"""Measures of answers against the truth, each by its definition. numpy only, no I/O.

Legend of suffixes: N rows, C classes, K labels, T targets, B bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64] | NDArray[np.float32]
Integers = NDArray[np.int64]

#: Guo et al. 2017 use 15 bins.
BINS = 15
#: Least probability in a logarithm: one impossible answer must not hide all others.
LEAST_PROBABILITY = 1e-15
#: Of residuals, as parts of the rows.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class, against all others."""

    label: str
    precision: float
    """Of the rows answered with it, the part that is it; 0 where none was answered with it."""
    recall: float
    """Of the rows that are it, the part that was answered with it; 0 where none is it."""
    f1: float
    """2 TP / (2 TP + FP + FN), their harmonic mean; 0 where the class does not occur."""
    support: int
    """Rows that are it."""


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of the reliability table: rows whose confidence is above `low`, up to `high`."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean probability of the answered label; 0 for an empty bin."""
    accuracy: float
    """Part of the rows that are right; 0 for an empty bin."""


@dataclass(frozen=True, slots=True)
class Classification:
    """What answers with labels and probabilities are worth."""

    row_count: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    weighted_f1: float
    log_loss: float
    brier: float
    calibration_error: float
    roc_auc: float | None
    """Of two labels; None for more, or where only one occurs."""
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    """[C][C]: rows of the class (first index) that were answered with the other (second)."""
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """What answers with any number of labels a row are worth."""

    row_count: int
    accuracy: float
    """Part of the rows of which every label is right."""
    hamming_loss: float
    """Part of all labels of all rows that are wrong."""
    macro_f1: float
    micro_f1: float
    log_loss: float
    """Mean over rows and labels of -ln p of what is true, in nats."""
    labels: tuple[ClassScore, ...]
    """Each label, against its absence."""


@dataclass(frozen=True, slots=True)
class Regression:
    """What answers with numbers are worth, for one target, in its units."""

    target: str
    row_count: int
    rmse: float
    mae: float
    median_absolute_error: float
    r2: float
    residual_quantiles: tuple[float, ...]
    """Of answer - truth, at QUANTILES."""


def classification(
    probability_NC: Floats, answer_N: Integers, truth_N: Integers, labels: Sequence[str]
) -> Classification:
    """All measures of a classifier.

    Args:
        probability_NC: of each class; N at least 1.
        answer_N: index of the label that was answered.
        truth_N: index of the right one.
        labels: of the classes, in the order of the indices.
    """
    probability = probability_NC.astype(np.float64)
    counts = confusion(answer_N, truth_N, len(labels))
    classes = class_scores(counts, labels)
    found = reliability(probability[np.arange(len(answer_N)), answer_N], answer_N == truth_N)
    is_binary = len(labels) == 2  # noqa: PLR2004 - two labels
    accuracy = float(np.trace(counts) / len(truth_N))
    return Classification(
        row_count=len(truth_N),
        accuracy=accuracy,
        macro_f1=macro_f1(classes, counts),
        # Each row has one label and one answer: every wrong one is a false positive and a false
        # negative, so that micro-averaged precision, recall and F1 are the accuracy.
        micro_f1=accuracy,
        weighted_f1=sum(score.f1 * score.support for score in classes) / len(truth_N),
        log_loss=log_loss(probability, truth_N),
        brier=brier(probability, truth_N),
        calibration_error=calibration_error(found),
        roc_auc=roc_auc(probability[:, 1], truth_N == 1) if is_binary else None,
        classes=classes,
        confusion=tuple(tuple(row) for row in counts.tolist()),
        bins=found,
    )


def multilabel(
    probability_NK: Floats,
    answer_NK: NDArray[np.bool_],
    truth_NK: NDArray[np.bool_],
    labels: Sequence[str],
) -> MultiLabel:
    """All measures of a multi-label model; N at least 1.

    Sources: Zhang and Zhou 2014, A Review on Multi-Label Learning Algorithms, section 2.2; macro F1
    as for classes, over the labels that occur in truth or answers, 1 where none does.
    """
    hits = (answer_NK & truth_NK).sum(axis=0).tolist()
    answered, support = answer_NK.sum(axis=0).tolist(), truth_NK.sum(axis=0).tolist()
    scores = tuple(map(_score, labels, hits, answered, support))
    occurring = [s.f1 for s, a in zip(scores, answered, strict=True) if a + s.support]
    is_wrong: NDArray[np.bool_] = np.not_equal(answer_NK, truth_NK)
    total = sum(answered) + sum(support)
    true = np.where(truth_NK, probability_NK, 1 - probability_NK.astype(np.float64))
    return MultiLabel(
        row_count=len(truth_NK),
        accuracy=1 - float(is_wrong.any(axis=1).mean()),
        hamming_loss=float(is_wrong.mean()),
        macro_f1=sum(occurring) / len(occurring) if occurring else 1.0,
        micro_f1=2 * sum(hits) / total if total else 1.0,
        log_loss=float(-np.mean(np.log(np.clip(true, LEAST_PROBABILITY, 1.0)))),
        labels=scores,
    )


def confusion(answer_N: Integers, truth_N: Integers, class_count: int) -> NDArray[np.int64]:
    """Rows of each class by the class they were answered with, int64 [C, C]."""
    pairs = truth_N.astype(np.int64) * class_count + answer_N
    counts = np.bincount(pairs, minlength=class_count * class_count)
    return counts.reshape(class_count, class_count)


def class_scores(counts_CC: NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class of a confusion matrix."""
    hits: list[int] = np.diagonal(counts_CC).tolist()
    answered: list[int] = counts_CC.sum(axis=0).tolist()
    support: list[int] = counts_CC.sum(axis=1).tolist()
    return tuple(map(_score, labels, hits, answered, support))


def _score(label: str, hits: int, answered: int, support: int) -> ClassScore:
    return ClassScore(
        label=label,
        precision=hits / answered if answered else 0.0,
        recall=hits / support if support else 0.0,
        f1=2 * hits / (answered + support) if answered + support else 0.0,
        support=support,
    )


def macro_f1(classes: Sequence[ClassScore], counts_CC: NDArray[np.int64]) -> float:
    """The plain mean of F1 over the classes that occur, in truth or answers.

    Source: Opitz and Burst 2019, the averaged form; training reports the same.
    """
    occurs = counts_CC.sum(axis=0) + counts_CC.sum(axis=1) > 0
    found = [score.f1 for score, there in zip(classes, occurs.tolist(), strict=True) if there]
    return sum(found) / len(found)


def log_loss(probability_NC: Floats, truth_N: Integers) -> float:
    """Mean of -ln p(truth), in nats; p is taken as at least LEAST_PROBABILITY."""
    true = probability_NC[np.arange(len(truth_N)), truth_N].astype(np.float64)
    return float(-np.mean(np.log(np.clip(true, LEAST_PROBABILITY, 1.0))))


def brier(probability_NC: Floats, truth_N: Integers) -> float:
    """Mean over rows of the sum over classes of (p - [class is the truth])^2; 0 to 2.

    Source: Brier 1950, equation 2. For two labels that is twice the one-sided form.
    """
    class_count: int = probability_NC.shape[1]
    classes = np.arange(class_count)
    is_truth: NDArray[np.bool_] = np.equal(truth_N[:, np.newaxis], classes)
    error: NDArray[np.float64] = probability_NC.astype(np.float64) - is_truth
    return float((error * error).sum()) / len(truth_N)


def reliability(confidence_N: Floats, is_right_N: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """BINS bins of equal width over (0, 1] by the probability of the answered label.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    highs = np.array([(place + 1) / BINS for place in range(BINS)])
    # A float32 may be a little above 1.
    above = confidence_N.astype(np.float64)
    index = np.minimum(np.searchsorted(highs, above), BINS - 1)
    counts = np.bincount(index, minlength=BINS)
    sums = np.bincount(index, weights=confidence_N, minlength=BINS)
    hits = np.bincount(index, weights=is_right_N, minlength=BINS)
    return tuple(
        Bin(
            low=place / BINS,
            high=(place + 1) / BINS,
            count=count,
            confidence=total / count if count else 0.0,
            accuracy=right / count if count else 0.0,
        )
        for place, (count, total, right) in enumerate(
            zip(counts.tolist(), sums.tolist(), hits.tolist(), strict=True)
        )
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: mean over rows of |accuracy - confidence| of their bin.

    Source: Guo et al. 2017, equation 3.
    """
    count = sum(found.count for found in bins)
    gaps = (found.count * abs(found.accuracy - found.confidence) for found in bins)
    return sum(gaps) / count


def roc_auc(score_N: Floats, is_positive_N: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve; None unless both classes occur.

    The probability that a positive row has a higher score than a negative one, ties counting half:
    the Mann-Whitney statistic (Hanley and McNeil 1982).
    """
    positives = int(is_positive_N.sum())
    negatives = len(is_positive_N) - positives
    if not positives or not negatives:
        return None
    _, place, count = np.unique(score_N, return_inverse=True, return_counts=True)
    # Ranks from 1; equal scores share the mean of theirs.
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    above = float(rank[is_positive_N].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def regression(
    value_NT: Floats, truth_NT: Floats, targets: Sequence[str]
) -> tuple[Regression, ...]:
    """All measures of each target, in double precision; N at least 1."""
    return tuple(
        _target(name, value_NT[:, place].astype(np.float64), truth_NT[:, place].astype(np.float64))
        for place, name in enumerate(targets)
    )


def _target(name: str, value_N: Floats, truth_N: Floats) -> Regression:
    residual = value_N - truth_N
    return Regression(
        target=name,
        row_count=len(residual),
        rmse=float(np.sqrt(np.mean(residual**2))),
        mae=float(np.mean(np.abs(residual))),
        median_absolute_error=float(np.median(np.abs(residual))),
        r2=r2(value_N, truth_N),
        residual_quantiles=tuple(float(np.quantile(residual, part)) for part in QUANTILES),
    )


def r2(value_N: Floats, truth_N: Floats) -> float:
    """1 - SS_res / SS_tot; where the truth is constant, 1 for exact answers, else 0."""
    residual = float(np.sum((value_N - truth_N) ** 2))
    total = float(np.sum((truth_N - truth_N.mean()) ** 2))
    if total > 0:
        return 1 - residual / total
    return 1.0 if residual == 0 else 0.0
