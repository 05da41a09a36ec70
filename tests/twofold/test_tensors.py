import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from twofold import tensors

NUMERIC = [name for name in tensors.DTYPES if name != "BYTES"]
SHAPES = np_st.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(st.data(), st.sampled_from(NUMERIC), SHAPES)
def test_numbers_survive_the_wire(data: st.DataObject, name: str, shape: tuple[int, ...]) -> None:
    sent = data.draw(np_st.arrays(tensors.DTYPES[name], shape))

    got = tensors.from_raw(name, shape, tensors.to_raw(sent))

    assert tensors.datatype_of(sent) == name
    assert got.dtype == sent.dtype
    np.testing.assert_array_equal(got, sent)


@given(st.lists(st.binary(max_size=9), max_size=12))
def test_bytes_survive_the_wire(elements: list[bytes]) -> None:
    sent = np.array([*elements, b""], dtype=object)[:-1]

    got = tensors.from_raw("BYTES", [len(elements)], tensors.to_raw(sent))

    assert got.tolist() == elements


@given(st.binary(max_size=64), st.lists(st.integers(-2, 2**63 - 1), max_size=4))
def test_no_bytes_and_no_shape_crash_it(raw: bytes, shape: list[int]) -> None:
    for name in tensors.DTYPES:
        try:
            got = tensors.from_raw(name, shape, raw)
        except ValueError:
            continue
        assert got.shape == tuple(shape)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_wire_is_little_endian_and_row_major(order: str) -> None:
    column_major = np.asfortranarray(np.array([[1, 2], [3, 4]], f"{order}i2"))

    assert tensors.to_raw(column_major) == struct.pack("<4h", 1, 2, 3, 4)
    assert tensors.datatype_of(column_major) == "INT16"


def test_text_is_sent_as_utf_8_whatever_array_holds_it() -> None:
    packed = struct.pack("<I", 2) + "é".encode()

    assert tensors.to_raw(np.array(["é"])) == packed
    assert tensors.to_raw(np.array(["é"], dtype=object)) == packed
    assert tensors.to_raw(np.array(["é".encode()])) == packed


def test_a_bool_is_true_for_any_byte_but_zero() -> None:
    assert tensors.from_raw("BOOL", [3], b"\x00\x01\x02").tolist() == [False, True, True]


def test_numbers_are_views() -> None:
    raw = struct.pack("<2f", 1, 2)

    got = tensors.from_raw("FP32", [2], raw)

    assert not got.flags.owndata
    assert not got.flags.writeable


@pytest.mark.parametrize(
    ("name", "shape", "raw", "message"),
    [
        ("FP32", [1, 2], b"\0" * 7, "7 bytes, but FP32 [1, 2] needs 8"),
        ("FP32", [1, 2], b"\0" * 9, "9 bytes, but FP32 [1, 2] needs 8"),
        ("FP32", [1, 2], b"", "0 bytes, but FP32 [1, 2] needs 8"),
        ("FP32", [2**31, 2**31], b"", "needs 18446744073709551616"),
        ("FP32", [2**62, 4], b"", "needs 73786976294838206464"),
        ("FP32", [2**63 - 1], b"", "needs 36893488147419103228"),
        ("FP32", [-1, 4], b"", "negative dimension"),
        ("FP32", [-2, -2], b"\0" * 16, "negative dimension"),
        ("FP32", [2**63 - 1] * 100_000, b"", "a shape of 100000 dimensions"),
        ("BF16", [1], b"\0\0", "datatype 'BF16' is unknown; allowed: BOOL, INT8"),
        ("BYTES", [2**62, 4], b"", "0 bytes cannot hold BYTES"),
        ("BYTES", [2], b"\0" * 7, "7 bytes cannot hold BYTES [2]"),
        ("BYTES", [1], b"\x02\0\0\0a", "ends within element 0"),
        ("BYTES", [1], b"\0\0\0\0a", "1 bytes too many"),
        ("BYTES", [2], b"\x02\0\0\0abcd", "ends within the length of element 1"),
    ],
)
def test_wrong_bytes_are_refused(name: str, shape: list[int], raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tensors.from_raw(name, shape, raw)


def test_what_has_no_datatype_is_refused() -> None:
    with pytest.raises(ValueError, match="complex128 has no datatype"):
        tensors.to_raw(np.zeros(1, complex))
    with pytest.raises(TypeError, match="int cannot be sent as BYTES"):
        tensors.to_raw(np.array([3], dtype=object))


def test_it_needs_numpy_alone() -> None:
    code = "import sys, twofold.tensors; print([m for m in ('torch', 'grpc') if m in sys.modules])"

    done = subprocess.run(  # noqa: S603 - our own interpreter on our own text
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
