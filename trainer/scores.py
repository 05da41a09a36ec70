"""Metrics of predictions, each by its definition.

Legend of suffixes: N rows, C classes, K labels, T targets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def classification(
    best_N: NDArray[np.int64],
    label_N: NDArray[np.int64],
    class_count: int,
) -> dict[str, float]:
    """Accuracy and macro-F1 of predicted class indices; both in [0, 1].

    Macro-F1 is the plain mean over the classes that occur in labels or predictions; a class that
    is never predicted right has F1 0 (Opitz and Burst 2019, the averaged form).
    """
    hits = np.bincount(label_N[best_N == label_N], minlength=class_count)
    labelled = np.bincount(label_N, minlength=class_count)
    either = labelled + np.bincount(best_N, minlength=class_count)
    f1 = [
        2 * hit / count for hit, count in zip(hits.tolist(), either.tolist(), strict=True) if count
    ]
    return {"accuracy": sum(hits.tolist()) / len(label_N), "macro_f1": sum(f1) / len(f1)}


def multilabel(
    answer_NK: NDArray[np.bool_],
    label_NK: NDArray[np.bool_],
) -> dict[str, float]:
    """Accuracy, macro-F1 and Hamming loss of several labels a row; all in [0, 1].

    Accuracy: rows of which every label is right (subset accuracy). Macro-F1: the plain mean of
    2 TP / (2 TP + FP + FN) over the labels that occur or are answered, as for classes above; 1
    where none does. Hamming loss: wrong labels over all labels of all rows. Source: Zhang and Zhou
    2014, A Review on Multi-Label Learning Algorithms, section 2.2.
    """
    is_wrong_NK = answer_NK != label_NK
    hits_K = (answer_NK & label_NK).sum(axis=0)
    either_K = answer_NK.sum(axis=0) + label_NK.sum(axis=0)
    f1 = 2 * hits_K[either_K > 0] / either_K[either_K > 0]
    return {
        "accuracy": float(1 - is_wrong_NK.any(axis=1).mean()),
        "macro_f1": float(f1.mean()) if len(f1) else 1.0,
        "hamming_loss": float(is_wrong_NK.mean()),
    }


def regression(
    value_NT: NDArray[np.float32],
    target_NT: NDArray[np.float32],
) -> dict[str, float]:
    """RMSE, MAE and R2, over all targets, in double precision.

    R2 is 1 - SS_res / SS_tot; where the target is constant it is 1 for exact values, else 0.
    """
    target = target_NT.astype(np.float64)
    error = value_NT.astype(np.float64) - target
    residual = float(np.sum(error**2))
    total = float(np.sum((target - target.mean(axis=0)) ** 2))
    constant = 1.0 if residual == 0 else 0.0
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "r2": 1 - residual / total if total > 0 else constant,
    }


def r2_of_each(
    value_NT: NDArray[np.float32], target_NT: NDArray[np.float32], names: Sequence[str]
) -> dict[str, float]:
    """R2 of each of several targets alone, as "r2.NAME"; none for a single one."""
    if len(names) == 1:
        return {}
    return {
        f"r2.{name}": regression(value_NT[:, [place]], target_NT[:, [place]])["r2"]
        for place, name in enumerate(names)
    }
