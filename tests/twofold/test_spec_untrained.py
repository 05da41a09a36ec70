"""`training.epochs = 0`: a module's weights are published as they came."""

import pytest

from tests.twofold.modules import network_of
from tests.twofold.specs import DIGEST, completed, make_spec
from twofold.errors import InvalidField
from twofold.v1 import spec_pb2


def asked() -> spec_pb2.TrainingSpec:
    spec = spec_pb2.TrainingSpec(model="m", network=network_of(2, 2))
    spec.data.dataset = DIGEST
    spec.data.target = "y"
    spec.data.features.extend(["real", "whole"])
    spec.training.epochs = 0
    return spec


def test_nothing_is_held_out_by_default() -> None:
    trained = asked()
    trained.training.epochs = 1
    split = asked()
    split.data.validation_fraction = 0.5

    assert completed(asked()).data.validation_fraction == 0
    assert completed(split).data.validation_fraction == 0.5
    assert completed(trained).data.validation_fraction == 0.2


def test_completing_again_changes_nothing() -> None:
    """As a retry sends it: 0 is not taken for what was left out."""
    done = completed(asked())

    assert done.training.HasField("epochs")
    assert done.training.epochs == 0
    assert completed(done) == done


def test_gates_hold_as_for_any_job() -> None:
    spec = asked()
    spec.gates.min_metric = 0.5

    assert completed(spec).gates.metric == "accuracy"


@pytest.mark.parametrize("family", [spec_pb2.FAMILY_MLP, spec_pb2.FAMILY_LOGISTIC])
def test_families_of_the_catalogue_are_trained(family: spec_pb2.Family) -> None:
    """Their weights would be random."""
    with pytest.raises(InvalidField, match=r"training\.epochs is 0; allowed: at least 1; 0 for a"):
        completed(make_spec(network__family=family, training__epochs=0))


def test_no_batch_size_is_looked_for() -> None:
    spec = asked()
    spec.training.batch_size = 0

    with pytest.raises(InvalidField, match=r"training\.batch_size is auto; allowed: a number"):
        completed(spec)


def test_fewer_epochs_than_none_are_refused() -> None:
    spec = asked()
    spec.training.epochs = -1

    with pytest.raises(InvalidField, match=r"training\.epochs is -1"):
        completed(spec)
