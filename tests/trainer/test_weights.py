"""What rows weigh follows from their labels."""

from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.jobs import truth_data, truth_spec
from trainer.weights import positive_weights, row_weights
from twofold.errors import InvalidField
from twofold.toml_spec import Value
from twofold.v1 import model_pb2, spec_pb2


def weights(**training: Value) -> list[float] | None:
    asked = truth_spec("and", network={"family": "mlp"}, training=training)
    found = row_weights(asked.training, truth_data("and", asked))
    return None if found is None else found.tolist()


def test_without_weights_there_are_none() -> None:
    assert weights() is None


def test_a_label_weighs_what_the_spec_says_and_others_1() -> None:
    assert weights(class_weights={"1": 5}) == [1.0, 1.0, 1.0, 5.0]


def test_balanced_labels_count_alike() -> None:
    found = weights(balance_classes=True)

    assert found is not None
    assert sum(found[:3]) == pytest.approx(found[3]) == pytest.approx(2.0)


def test_a_label_that_the_data_do_not_have_is_refused_by_name() -> None:
    with pytest.raises(InvalidField, match=r"class_weights is yes; allowed: labels of the data: 0"):
        weights(class_weights={"yes": 2})


def test_labels_and_rows_weigh_together() -> None:
    asked = truth_spec("and", network={"family": "mlp"}, training={"class_weights": {"1": 5}})
    data = replace(truth_data("and", asked), weight_N=np.array([0, 1, 0.5, 0.5], np.float32))

    found = row_weights(asked.training, data)

    assert found is not None
    assert found.tolist() == [0, 1, 0.5, 2.5]
    assert row_weights(spec_pb2.TrainingOptions(), data) is data.weight_N


def test_several_labels_weigh_where_they_are() -> None:
    data = replace(
        truth_data("and", truth_spec("and", network={"family": "mlp"})),
        features=model_pb2.FeatureSpec(task=spec_pb2.TASK_MULTILABEL, labels=["a", "b", "c"]),
        target_N=np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]], np.float32),
    )
    named = spec_pb2.TrainingOptions(class_weights={"b": 3})
    balanced = spec_pb2.TrainingOptions(balance_classes=True)

    def found(options: spec_pb2.TrainingOptions) -> list[float] | None:
        weights = positive_weights(options, data)
        return None if weights is None else weights.tolist()

    assert found(named) == [1, 3, 1]
    assert found(balanced) == [3, 1, 1]
    assert found(spec_pb2.TrainingOptions()) is None
    assert row_weights(balanced, data) is None
