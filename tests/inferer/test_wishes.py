"""What a request asks of its queue, as clients send it."""

import pytest

from inferer import convert
from inferer.batcher import NO_WISHES, Wishes
from tests.inferer.test_convert import with_parameters
from twofold.errors import InvalidField
from twofold.oip import inference_pb2 as pb


def test_the_timeout_is_in_microseconds() -> None:
    assert convert.wishes(with_parameters(timeout=1500)) == Wishes(timeout_s=0.0015)
    assert convert.wishes(with_parameters(timeout=0)) == NO_WISHES
    assert convert.wishes(with_parameters(other=1)) == NO_WISHES
    assert convert.wishes(pb.ModelInferRequest()) == NO_WISHES


def test_the_priority_is_a_whole_number_of_either_kind() -> None:
    unsigned = with_parameters(timeout=1500)
    unsigned.parameters["priority"].uint64_param = 3

    assert convert.wishes(unsigned) == Wishes(3, 0.0015)
    assert convert.wishes(with_parameters(priority=1)) == Wishes(1)
    assert convert.wishes(with_parameters(priority=0)) == NO_WISHES


@pytest.mark.parametrize("name", ["timeout", "priority"])
def test_a_wrong_timeout_or_priority_is_refused(name: str) -> None:
    text = pb.ModelInferRequest()
    text.parameters[name].string_param = "soon"

    for made in (text, with_parameters(**{name: -1})):
        with pytest.raises(InvalidField, match=rf"parameters\.{name} is .*; allowed: "):
            convert.wishes(made)
