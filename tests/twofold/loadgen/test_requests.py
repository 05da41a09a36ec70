"""Requests from what a model says it takes."""

from collections.abc import Sequence

import pytest

from twofold import tensors
from twofold.errors import InvalidField
from twofold.loadgen import requests
from twofold.loadgen.requests import Asked, TensorMetadata
from twofold.oip import inference_pb2 as pb


def tensor(datatype: str = "FP32", *shape: int) -> TensorMetadata:
    return TensorMetadata(name="x", datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("told", "rows", "given", "expected"),
    [
        ((-1, 4), 3, None, (3, 4)),
        ((-1,), 1, None, (1,)),
        ((2, 4), 1, None, (2, 4)),
        ((-1, -1, 8), 2, (5, 8), (2, 5, 8)),
        ((-1, -1), 2, (7,), (2, 7)),
        ((-1, -1), 1, (3, 7), (3, 7)),
        ((-1,), 1, (9,), (9,)),
        ((), 1, None, ()),
    ],
)
def test_shapes(
    told: Sequence[int], rows: int, given: Sequence[int] | None, expected: tuple[int, ...]
) -> None:
    assert requests.shape_of(tensor("FP32", *told), rows, given) == expected


@pytest.mark.parametrize(
    ("told", "rows", "given", "message"),
    [
        ((-1, -1, 8), 1, None, "say --shape x:N,8"),
        ((-1, 4), 1, (5,), "shape is x:1,5; allowed: what fits -1,4"),
        ((-1, 4), 1, (2, 2, 2), "what fits -1,4"),
        ((2, 4), 3, None, "rows is 3; allowed: 1, as input x has the fixed shape 2,4"),
    ],
)
def test_shapes_that_do_not_fit(
    told: Sequence[int], rows: int, given: Sequence[int] | None, message: str
) -> None:
    with pytest.raises(InvalidField, match=message):
        requests.shape_of(tensor("FP32", *told), rows, given)


@pytest.mark.parametrize("datatype", list(tensors.DTYPES))
def test_random_data_of_every_datatype_are_what_a_server_reads(datatype: str) -> None:
    batches = requests.random_batches([tensor(datatype, -1, 5)], 2, {}, seed=1)
    body = requests.bodies(Asked("m", "7", 2), batches[:1])[0]

    assert body[:5] == b"\0" + (len(body) - 5).to_bytes(4)
    request = pb.ModelInferRequest.FromString(body[5:])
    assert (request.model_name, request.model_version) == ("m", "7")
    array = tensors.from_raw(datatype, [2, 5], request.raw_input_contents[0])
    assert (request.inputs[0].name, request.inputs[0].datatype) == ("x", datatype)
    assert array.shape == (2, 5)
    assert len(batches) == requests.COUNT
    assert len({tensors.to_raw(batch["x"]) for batch in batches}) > requests.COUNT / 2


def test_whole_numbers_are_rows_of_any_embedding() -> None:
    batches = requests.random_batches([tensor("INT64", -1, 100)], 1, {}, seed=0)

    assert {int(batch["x"].min()) for batch in batches} == {0}
    assert {int(batch["x"].max()) for batch in batches} == {1}


def test_seed_decides() -> None:
    one, same, other = (
        requests.random_batches([tensor("FP32", -1, 3)], 1, {}, seed)[0]["x"] for seed in (1, 1, 2)
    )

    assert (one == same).all()
    assert (one != other).any()


def test_shape_of_an_input_that_is_not_there_and_unknown_datatypes() -> None:
    with pytest.raises(InvalidField, match="shape is z; allowed: an input: x"):
        requests.random_batches([tensor("FP32", -1)], 1, {"z": [1]}, seed=0)
    with pytest.raises(InvalidField, match="datatype is BF16; allowed: BOOL, INT8"):
        requests.random_batches([tensor("BF16", -1)], 1, {}, seed=0)
