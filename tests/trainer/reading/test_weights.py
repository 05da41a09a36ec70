"""Weights are described from their header; what is none is refused."""
# pyright: reportUnknownVariableType=false

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from trainer.reading import weights
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2


def written(path: Path, **tensors: object) -> Path:
    save_file({name: np.asarray(tensor) for name, tensor in tensors.items()}, path)
    return path


def test_a_good_file_has_no_rows_and_no_columns(tmp_path: Path) -> None:
    path = written(
        tmp_path / "w",
        a=np.zeros((2, 3), np.float32),
        b=np.zeros(4, np.int64),
        c=np.array([True]),
    )

    assert weights.describe_weights(path) == dataset_pb2.Dataset()
    assert weights.read_shapes(path) == {
        "a": ("F32", (2, 3)),
        "b": ("I64", (4,)),
        "c": ("BOOL", (1,)),
    }


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}tail"])
def test_other_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(data)

    with pytest.raises(InvalidData, match="not of the format safetensors"):
        weights.describe_weights(path)


def test_a_header_that_claims_more_than_is_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "w", a=np.zeros(8, np.float32))
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(InvalidData, match="not of the format safetensors"):
        weights.describe_weights(path)


def test_types_and_names_that_no_graph_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="tensor a is F16; allowed: BOOL, F32, F64, I32, I64"):
        weights.describe_weights(written(tmp_path / "half", a=np.zeros(2, np.float16)))
    with pytest.raises(InvalidData, match="too long or not printable"):
        weights.describe_weights(written(tmp_path / "name", **{"a\n": np.zeros(2, np.float32)}))
