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

    Raises InvalidField where a weight is given to a label that the data do not have.
    """
    if not options.class_weights and not options.balance_classes:
        return None
    label_weights = _balanced(prepared) if options.balance_classes else _given(options, prepared)
    return label_weights[_codes(prepared)].astype(np.float32)


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
