"""The short way of decoding takes what the careful one takes, and nothing else."""
# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

import functools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferer import convert
from inferer.convert import Signature
from inferer.sole import SoleInput, SoleRows
from tests.inferer.test_convert import SIGNATURE, one_input, request
from twofold.errors import TwofoldError
from twofold.oip import inference_pb2 as pb

#: What is wrong with a request for one tensor x of FP32 [-1, 2]; nothing, with some.
CHANGES: list[Callable[[pb.ModelInferRequest], object]] = [
    lambda _: None,
    lambda made: setattr(made.inputs[0], "name", "y"),
    *(
        functools.partial(lambda made, text: setattr(made.inputs[0], "datatype", text), text=text)
        for text in ("FP16", "INT32", "BYTES", "")
    ),
    *(
        functools.partial(
            lambda made, at, size: made.inputs[0].shape.__setitem__(at, size), **place
        )
        for place in ({"at": at, "size": size} for at in (0, 1) for size in (-1, 0, 1, 5, 1 << 40))
    ),
    lambda made: made.inputs[0].shape.pop(),
    lambda made: made.inputs[0].ClearField("shape"),
    lambda made: made.inputs[0].shape.append(1),
    lambda made: made.raw_input_contents.append(b""),
    lambda made: made.raw_input_contents.__setitem__(0, made.raw_input_contents[0] + b"0"),
    lambda made: made.inputs[0].contents.fp32_contents.append(1),
    lambda made: made.inputs[0].parameters["shared_memory_region"].SetInParent(),
    lambda made: made.inputs[0].parameters["binary_data_size"].SetInParent(),
    lambda made: made.inputs.append(made.inputs[0]),
]


@st.composite
def nearly_right(draw: st.DrawFn) -> pb.ModelInferRequest:
    rows = draw(st.integers(0, 6))
    made = request(x=np.arange(2 * rows, dtype=np.float32).reshape(rows, 2))
    draw(st.sampled_from(CHANGES))(made)
    return made


@given(nearly_right())
def test_the_quick_way_takes_what_the_careful_one_takes_and_nothing_else(
    made: pb.ModelInferRequest,
) -> None:
    signature = one_input("x", "FP32")
    assert signature.sole is not None

    quick = SoleInput(signature.sole, signature.max_batch_size).decode(made)
    try:
        careful = convert.decode_inputs(made, signature)
    except TwofoldError:
        assert quick is None
    else:
        # Typed contents, even empty ones, are left to the careful way.
        assert quick is not None
        assert quick.rows == careful.rows
        assert np.array_equal(quick.arrays["x"], careful.arrays["x"])


@pytest.mark.parametrize(
    "signature",
    [SIGNATURE, one_input("x", "BOOL"), one_input("x", "BYTES"), one_input("x", "FP32", (-1, -1))],
)
def test_other_signatures_have_no_quick_way(signature: Signature) -> None:
    assert signature.sole is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_the_rows_of_many_requests_are_joined_in_order(counts: list[int]) -> None:
    signature = one_input("x", "FP32")
    assert signature.sole is not None
    sole = SoleInput(signature.sole, signature.max_batch_size)
    rows = np.arange(2 * sum(counts), dtype=np.float32).reshape(-1, 2)
    pieces = np.split(rows, np.cumsum(counts)[:-1])
    parts = [SoleRows(sole, piece.tobytes(), len(piece)) for piece in pieces]

    joined = SoleRows.joined(parts)

    assert joined is not None
    assert np.array_equal(joined[0], rows)
    assert joined[1] == counts
    assert SoleRows.joined([*parts, {"x": rows}]) is None


def test_rows_are_a_mapping_of_their_one_tensor() -> None:
    signature = one_input("x", "FP32")
    assert signature.sole is not None
    rows = SoleRows(SoleInput(signature.sole, 4), np.ones((2, 2), np.float32).tobytes(), 2)

    assert list(rows) == ["x"]
    assert len(rows) == 1
    assert rows["x"].tolist() == [[1, 1], [1, 1]]
    with pytest.raises(KeyError):
        rows["y"]
