"""Messages that differ in their numbers alone are recognised, and no others."""
# pyright: reportPrivateUsage=false

import tracemalloc

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from inferer import recognition
from inferer.batcher import NO_WISHES
from inferer.recognition import Known, Recognition
from inferer.reference import Reference
from inferer.sole import SoleInput, SoleRows
from tests.inferer.server import infer_request
from twofold.oip import inference_pb2 as pb
from twofold.signature import TensorSpec
from twofold.tensors import Array

SOLE = SoleInput(TensorSpec("x", "FP32", (-1, 2)), 8)
DEFAULT = Reference.parse("")


def of(array: Array, model: str = "m") -> pb.ModelInferRequest:
    return infer_request(model, {"x": array})


def noted(found: Recognition, request: pb.ModelInferRequest) -> bytes:
    """Understands a request as the service does; its bytes."""
    message = request.SerializeToString(deterministic=True)
    inputs = SOLE.decode(request)
    assert inputs is not None
    found.note(message, request, DEFAULT, NO_WISHES, inputs)
    return message


def rows(count: int, value: float = 0.0) -> Array:
    return np.full((count, 2), value, np.float32)


@given(
    first=st.lists(st.floats(width=32), min_size=2, max_size=2),
    second=st.lists(st.floats(width=32), min_size=2, max_size=2),
)
def test_other_numbers_are_found_where_parsing_finds_them(
    first: list[float], second: list[float]
) -> None:
    found = Recognition()
    noted(found, of(np.array([first], np.float32)))
    request = of(np.array([second], np.float32))
    message = request.SerializeToString()

    known = found.find(message)

    assert known is not None
    assert message[known.size :] == request.raw_input_contents[0]
    assert (known.model, known.reference, known.wishes) == ("m", DEFAULT, NO_WISHES)
    assert (known.sole, known.rows) == (SOLE, 1)


@given(at=st.integers(0, 200), byte=st.integers(0, 255))
def test_whatever_is_recognised_means_what_parsing_says(at: int, byte: int) -> None:
    found = Recognition()
    message = bytearray(noted(found, of(rows(2, 1.5))))
    message[at % len(message)] = byte

    known = found.find(bytes(message))

    if known is not None:
        parsed = pb.ModelInferRequest.FromString(bytes(message))
        assert parsed.model_name == known.model
        inputs = SOLE.decode(parsed)
        assert inputs is not None
        assert inputs.data == message[known.size :]
        assert inputs.rows == known.rows


@pytest.mark.parametrize(
    "other", [of(rows(2)), of(rows(1), "n"), of(rows(1).reshape(2, 1)), infer_request("m", {})]
)
def test_other_requests_are_not_recognised(other: pb.ModelInferRequest) -> None:
    found = Recognition()
    noted(found, of(rows(1)))

    assert found.find(other.SerializeToString()) is None


def with_id() -> pb.ModelInferRequest:
    request = of(rows(1))
    request.id = "7"
    return request


def with_output() -> pb.ModelInferRequest:
    request = of(rows(1))
    request.outputs.add(name="value")
    return request


@pytest.mark.parametrize("request_", [with_id(), with_output()])
def test_requests_that_ask_for_more_are_read_every_time(request_: pb.ModelInferRequest) -> None:
    found = Recognition()
    assert found.find(noted(found, request_)) is None


#: Fields as no protobuf of ours would write them: what is given again, unknown, or empty.
ODD_FIELDS = [
    pb.ModelInferRequest(model_name="n").SerializeToString(),
    pb.ModelInferRequest(model_name="m").SerializeToString(),
    pb.ModelInferRequest(model_version="3").SerializeToString(),
    pb.ModelInferRequest(id="7").SerializeToString(),
    pb.ModelInferRequest(parameters={"b": pb.InferParameter(int64_param=1)}).SerializeToString(),
    pb.ModelInferRequest(parameters={"a": pb.InferParameter(int64_param=2)}).SerializeToString(),
    pb.ModelInferRequest(inputs=of(rows(1)).inputs).SerializeToString(),
    pb.ModelInferRequest(raw_input_contents=[bytes(8)]).SerializeToString(),
    bytes([3 << 3 | 2, 0]),  # an empty id
    bytes([7 << 3, 1]),  # the field of the numbers, but a number
    bytes([15 << 3 | 2, 3, 1, 2, 3]),
    bytes([15 << 3 | 3, 15 << 3 | 4]),  # a group
    bytes([15 << 3 | 3]),
    bytes([15 << 3 | 2, 10]),  # which takes in what follows
    bytes([1 << 3 | 2, 10]),
]


@given(
    fields=st.lists(st.sampled_from(ODD_FIELDS), max_size=7),
    at=st.integers(0, 7),
    numbers=st.binary(min_size=8, max_size=8),
)
def test_a_message_in_any_order_means_what_parsing_says(
    fields: list[bytes], at: int, numbers: bytes
) -> None:
    whole = of(rows(1))
    last = pb.ModelInferRequest(raw_input_contents=whole.raw_input_contents).SerializeToString()
    whole.ClearField("raw_input_contents")
    begun = [*fields[:at], whole.SerializeToString(), *fields[at:]]
    message = b"".join([*begun, last])
    try:
        request = pb.ModelInferRequest.FromString(message)
    except DecodeError:
        return
    inputs = SOLE.decode(request)
    if inputs is None:
        return
    found = Recognition()
    found.note(message, request, DEFAULT, NO_WISHES, inputs)
    other = message[:-8] + numbers

    known = found.find(other)

    if known is None:
        return
    parsed = pb.ModelInferRequest.FromString(other)
    decoded = SOLE.decode(parsed)
    assert decoded is not None
    assert (decoded.data, decoded.rows) == (other[known.size :], known.rows)
    parsed.ClearField("raw_input_contents")
    request.ClearField("raw_input_contents")
    assert parsed == request
    assert not parsed.id


def test_fields_in_another_order_are_recognised_too() -> None:
    """As other clients write maps, or whatever they do not know."""
    request = of(rows(1))
    numbers = pb.ModelInferRequest(raw_input_contents=request.raw_input_contents)
    request.ClearField("raw_input_contents")
    bare = request.SerializeToString()
    for before in (bytes([15 << 3 | 2, 3, 1, 2, 3]), bytes([3 << 3 | 2, 0])):
        message = before + bare + numbers.SerializeToString()
        parsed = pb.ModelInferRequest.FromString(message)
        inputs = SOLE.decode(parsed)
        assert inputs is not None
        found = Recognition()
        found.note(message, parsed, DEFAULT, NO_WISHES, inputs)

        assert found.find(message) is not None


def test_a_large_request_is_not_copied_to_be_kept() -> None:
    sole = SoleInput(TensorSpec("x", "FP32", (-1, 1 << 20)), 8)
    request = of(np.zeros((1, 1 << 20), np.float32))
    message = request.SerializeToString()
    inputs = sole.decode(request)
    assert inputs is not None
    found = Recognition()
    tracemalloc.start()

    found.note(message, request, DEFAULT, NO_WISHES, inputs)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.find(message) is not None
    assert peak < 1 << 20


def test_numbers_that_do_not_come_last_are_read_every_time() -> None:
    request = of(rows(1, 3))
    bare = pb.ModelInferRequest()
    bare.CopyFrom(request)
    bare.ClearField("raw_input_contents")
    raw = pb.ModelInferRequest(raw_input_contents=request.raw_input_contents)
    message = raw.SerializeToString() + bare.SerializeToString()
    inputs = SOLE.decode(pb.ModelInferRequest.FromString(message))
    assert inputs is not None
    found = Recognition()

    for _ in range(2):
        found.note(message, request, DEFAULT, NO_WISHES, inputs)
        assert found.find(message) is None


def test_a_message_that_ends_as_if_with_numbers_is_read_every_time() -> None:
    """Its last field is text that looks like the tensor's field, and the tensor comes before."""
    request = of(rows(1, 3))
    tail = pb.ModelInferRequest(raw_input_contents=request.raw_input_contents).SerializeToString()
    bare = pb.ModelInferRequest(model_name="m", inputs=request.inputs)
    hidden = bytes([15 << 3 | 2, len(tail)]) + tail  # field 15 there is none
    message = tail + bare.SerializeToString() + hidden
    parsed = pb.ModelInferRequest.FromString(message)
    inputs = SOLE.decode(parsed)
    assert inputs is not None
    found = Recognition()

    found.note(message, parsed, DEFAULT, NO_WISHES, inputs)

    assert found.find(message) is None


def test_a_new_version_replaces_what_is_known() -> None:
    found = Recognition()
    message = noted(found, of(rows(1)))
    other = SoleInput(TensorSpec("x", "FP32", (-1, 2)), 8)
    request = pb.ModelInferRequest.FromString(message)

    data = request.raw_input_contents[0]
    found.note(message, request, DEFAULT, NO_WISHES, SoleRows(other, data, 1))

    known = found.find(message)
    assert isinstance(known, Known)
    assert known.sole is other


def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "_MOST_LENGTHS", 3)
    monkeypatch.setattr(recognition, "_MOST_ALIKE", 2)
    found = Recognition()
    names = ["a" * length for length in range(1, 10)] + list("bcdefg")
    messages = [noted(found, of(rows(1), name)) for name in names]

    assert len(found._known) <= 3
    assert all(len(alike) <= 2 for alike in found._known.values())
    assert [found.find(message) is not None for message in messages[-3:]] == [False, True, True]


def test_alike_requests_of_several_models_are_told_apart() -> None:
    found = Recognition()
    messages = {name: noted(found, of(rows(1), name)) for name in ("eu", "us", "uk")}

    for name, message in messages.items():
        known = found.find(message)
        assert known is not None
        assert known.model == name


def test_long_beginnings_are_not_kept() -> None:
    request = of(rows(1))
    request.parameters["long"].string_param = "a" * 5000
    found = Recognition()

    assert found.find(noted(found, request)) is None
