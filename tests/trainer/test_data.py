# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer import data
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2, spec_pb2

X = np.array([[0.5, 1.5], [2.5, 3.5]])
Y = np.array([0, 1])


def write_csv(path: Path) -> None:
    path.write_text("x0,x1,y\n0.5,1.5,0\n2.5,3.5,1\n")


def write_parquet(path: Path) -> None:
    table = pa.table({"x0": X[:, 0], "x1": X[:, 1], "y": Y})
    pq.write_table(table, path)


def write_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=X, y=Y)


def write_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.column_stack([X, Y]))


FORMATS = pytest.mark.parametrize(
    ("write", "file_format", "target_kind"),
    [
        (write_csv, dataset_pb2.DATASET_FORMAT_CSV, dataset_pb2.COLUMN_KIND_INTEGER),
        (write_parquet, dataset_pb2.DATASET_FORMAT_PARQUET, dataset_pb2.COLUMN_KIND_INTEGER),
        (write_npz, dataset_pb2.DATASET_FORMAT_NPZ, dataset_pb2.COLUMN_KIND_INTEGER),
        (write_npy, dataset_pb2.DATASET_FORMAT_NPY, dataset_pb2.COLUMN_KIND_REAL),
    ],
)


@FORMATS
def test_the_same_table_is_read_from_every_format(
    write: Callable[[Path], None],
    file_format: dataset_pb2.DatasetFormat,
    target_kind: dataset_pb2.ColumnKind,
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    write(path)
    asked = spec_pb2.DataSpec(dataset="0" * 64)
    table = data.load(asked, str(path), file_format)
    described = data.describe(path, file_format)

    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "x0": [0.5, 2.5],
        "x1": [1.5, 3.5],
        "y": [0, 1],
    }
    assert (described.format, described.row_count) == (file_format, 2)
    assert described.size_bytes == path.stat().st_size
    assert described.columns[2].kind == target_kind
    assert (described.columns[0].minimum, described.columns[0].maximum) == (0.5, 2.5)


def test_a_truth_table_needs_no_file() -> None:
    table = data.load(spec_pb2.DataSpec(dataset="xor"), "", dataset_pb2.DATASET_FORMAT_UNSPECIFIED)

    assert table.row_count == 4
    assert table.columns["label"].tolist() == [0, 1, 1, 0]


def test_a_format_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="format 0 is unknown"):
        data.read(tmp_path / "file", dataset_pb2.DATASET_FORMAT_UNSPECIFIED)
