"""What each row weighs in the loss. No torch."""

import numpy as np
from numpy.typing import NDArray

from trainer.prepared import Prepared
from twofold.errors import InvalidField, shorten
from twofold.v1 import spec_pb2


def row_weights(
    options: spec_pb2.TrainingOptions, prepared: Prepared
) -> NDArray[np.float32] | None:
    """float32 [N], for every row of the table, or None where all weigh 1.

    Its label's weight times its own. Raises InvalidField where a weight is given to a label that
    the data do not have.
    """
    is_classification = prepared.features.task == spec_pb2.TASK_CLASSIFICATION
    if not is_classification or not _has_label_weights(options):
        return prepared.weight_N
    label_weights = _balanced(prepared) if options.balance_classes else _given(options, prepared)
    weight_N = label_weights[_codes(prepared)]
    if prepared.weight_N is not None:
        weight_N = weight_N * prepared.weight_N
    return weight_N.astype(np.float32)


def positive_weights(
    options: spec_pb2.TrainingOptions, prepared: Prepared
) -> NDArray[np.float32] | None:
    """float32 [K], of several labels: what a row that has one weighs in its loss; None: all 1.

    Balanced: rows without the label / rows with it, of the training rows; 1 for a label that all or
    none of them have.
    """
    if prepared.features.task != spec_pb2.TASK_MULTILABEL or not _has_label_weights(options):
        return None
    if not options.balance_classes:
        return _given(options, prepared).astype(np.float32)
    label_NK = prepared.target_N[prepared.training_rows].astype(np.float64)
    present_K = label_NK.sum(axis=0)
    absent_K = len(label_NK) - present_K
    weights_K = np.ones(len(present_K))
    np.divide(absent_K, present_K, out=weights_K, where=(present_K > 0) & (absent_K > 0))
    return weights_K.astype(np.float32)


def _has_label_weights(options: spec_pb2.TrainingOptions) -> bool:
    return bool(options.class_weights) or options.balance_classes


def _given(options: spec_pb2.TrainingOptions, prepared: Prepared) -> NDArray[np.float64]:
    labels = list(prepared.features.labels)
    for label in options.class_weights:
        if label not in labels:
            allowed = "labels of the data: " + shorten(", ".join(labels))
            raise InvalidField.of("training.class_weights", label, allowed)
    return np.array([options.class_weights.get(label, 1.0) for label in labels])


def _balanced(prepared: Prepared) -> NDArray[np.float64]:
    """Rows / (labels * rows of the label), of the training rows; 1 for a label without any."""
    label_count = len(prepared.features.labels)
    trained = _codes(prepared)[prepared.training_rows]
    counts = np.bincount(trained, minlength=label_count)
    weights = np.ones(label_count)
    np.divide(len(trained), label_count * counts, out=weights, where=counts > 0)
    return weights


def _codes(prepared: Prepared) -> NDArray[np.int64]:
    """The target of a classification."""
    return prepared.target_N.astype(np.int64, copy=False)
