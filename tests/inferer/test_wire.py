"""What is put together from bytes is what protobuf itself would make."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer import wire
from inferer.convert import Signature, Wanted, encode_outputs
from inferer.outputs import Outputs, RequestOutputs
from inferer.wire import int64_parameter, varint
from twofold.oip import inference_pb2 as pb
from twofold.signature import TensorSpec

SIGNATURE = Signature(
    resource="models/m/versions/3",
    inputs={},
    outputs={
        "label": TensorSpec("label", "BYTES", (-1,)),
        "scores": TensorSpec("scores", "FP32", (-1, 2)),
    },
    labels=("no", "yes"),
    max_batch_size=8,
)
CONSTANTS: dict[str, str | int] = {"twofold_job": "01J", "twofold_version": 3}
WANTED = st.sampled_from([None, ["scores"], ["scores", "label"], ["label"]])


def expected(
    request_id: str, rows: int, wanted: list[Wanted], varying: dict[str, int]
) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(model_name="m", model_version="3", id=request_id)
    response.parameters["twofold_job"].string_param = "01J"
    response.parameters["twofold_version"].int64_param = 3
    for name, value in varying.items():
        response.parameters[name].int64_param = value
    encode_outputs(response, outputs(rows), wanted, SIGNATURE)
    return response


def outputs(rows: int) -> dict[str, np.ndarray]:
    label = np.array(["yes", "no"] * rows, dtype=object)[:rows]
    return {"label": label, "scores": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)}


@given(
    request_id=st.text(max_size=20),
    rows=st.integers(1, 4),
    names=WANTED,
    varying=st.dictionaries(st.sampled_from(["a", "twofold_queue_us"]), st.integers(0, 2**63 - 1)),
)
def test_an_answer_is_that_of_protobuf(
    request_id: str, rows: int, names: list[str] | None, varying: dict[str, int]
) -> None:
    encoder = wire.AnswerEncoder("m", 3, CONSTANTS, SIGNATURE)
    wanted = encoder.everything if names is None else [Wanted(name) for name in names]
    for _ in range(2):  # the second time what is common is known
        parameters = b"".join(int64_parameter(name)(value) for name, value in varying.items())
        data = encoder.encode(request_id, outputs(rows), wanted, parameters)
        got = pb.ModelInferResponse.FromString(data)
        assert got == expected(request_id, rows, wanted, varying)
        assert got.SerializeToString(deterministic=True) == expected(
            request_id, rows, wanted, varying
        ).SerializeToString(deterministic=True)


@given(counts=st.lists(st.integers(1, 3), min_size=1, max_size=6), names=WANTED)
def test_each_request_of_a_batch_gets_its_own_rows(
    counts: list[int], names: list[str] | None
) -> None:
    encoder = wire.AnswerEncoder("m", 3, CONSTANTS, SIGNATURE)
    wanted = encoder.everything if names is None else [Wanted(name) for name in names]
    whole = Outputs(outputs(sum(counts)))
    start = 0
    for count in counts:
        stop = start + count
        got = encoder.encode("", RequestOutputs(whole, start, stop), wanted)
        alone = {name: array[start:stop] for name, array in whole.arrays.items()}
        response = pb.ModelInferResponse()
        response.CopyFrom(expected("", 1, [], {}))
        encode_outputs(response, alone, wanted, SIGNATURE)
        assert pb.ModelInferResponse.FromString(got) == response
        start = stop


def test_the_best_classes_are_told_too() -> None:
    encoder = wire.AnswerEncoder("m", 3, {}, SIGNATURE)

    data = encoder.encode("", outputs(1), [Wanted("scores", 1)])

    response = pb.ModelInferResponse.FromString(data)
    assert response.outputs[0].datatype == "BYTES"
    assert b"1.000000:1:yes" in response.raw_output_contents[0]


def test_shapes_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_KEPT_SHAPES", 2)
    encoder = wire.AnswerEncoder("m", 3, {}, SIGNATURE)
    for rows in (1, 2, 3, 4, 1):
        data = encoder.encode("", outputs(rows), encoder.everything)
        assert pb.ModelInferResponse.FromString(data).outputs[0].shape == [rows]
    assert len(encoder._prefixes) <= 2


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_those_of_protobuf(value: int) -> None:
    parameter = pb.InferParameter(uint64_param=value)
    tag = pb.InferParameter.UINT64_PARAM_FIELD_NUMBER << 3

    assert parameter.SerializeToString() == bytes([tag]) + varint(value)
