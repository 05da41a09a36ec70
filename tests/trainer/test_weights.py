"""What rows weigh follows from their labels."""

import pytest

from tests.trainer.jobs import truth_data, truth_spec
from trainer.weights import row_weights
from twofold.errors import InvalidField
from twofold.toml_spec import Value


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
