"""From a file or a truth table to columns, whatever the format."""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.reading.files import columns_of, npy, npz
from trainer import data
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2, spec_pb2

CSV = dataset_pb2.DATASET_FORMAT_CSV


def parquet(path: Path) -> None:
    pq.write_table(pa.table({"x0": [1.0, 2.0], "y": [0.5, 1.5]}), path)


FORMATS: list[tuple[dataset_pb2.DatasetFormat, Callable[[Path], object]]] = [
    (CSV, lambda path: path.write_text("x0,y\n1.0,0.5\n2.0,1.5\n", encoding="utf-8")),
    (dataset_pb2.DATASET_FORMAT_PARQUET, parquet),
    (
        dataset_pb2.DATASET_FORMAT_NPZ,
        lambda path: path.write_bytes(
            npz({"x.npy": npy([[1.0], [2.0]]), "y.npy": npy([0.5, 1.5])})
        ),
    ),
    (
        dataset_pb2.DATASET_FORMAT_NPY,
        lambda path: path.write_bytes(npy([[1.0, 0.5], [2.0, 1.5]])),
    ),
]


@pytest.mark.parametrize(("file_format", "write"), FORMATS)
def test_every_format_gives_the_same_table(
    tmp_path: Path, file_format: dataset_pb2.DatasetFormat, write: Callable[[Path], object]
) -> None:
    path = tmp_path / "file"
    write(path)

    described = data.describe(path, file_format)

    assert columns_of(data.read(path, file_format)) == {"x0": [1.0, 2.0], "y": [0.5, 1.5]}
    assert described == dataset_pb2.Dataset(
        format=file_format,
        size_bytes=path.stat().st_size,
        row_count=2,
        columns=[
            dataset_pb2.Column(name="x0", kind="COLUMN_KIND_REAL", minimum=1, maximum=2),
            dataset_pb2.Column(name="y", kind="COLUMN_KIND_REAL", minimum=0.5, maximum=1.5),
        ],
    )


@pytest.mark.parametrize("file_format", [file_format for file_format, _ in FORMATS])
def test_a_file_in_another_format_than_it_says_is_refused(
    tmp_path: Path, file_format: dataset_pb2.DatasetFormat
) -> None:
    """U-BAD."""
    for other, write in FORMATS:
        if other != file_format:
            write(tmp_path / "file")

            with pytest.raises(InvalidData):
                data.read(tmp_path / "file", file_format)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="format 0 is unknown"):
        data.read(tmp_path / "file", dataset_pb2.DATASET_FORMAT_UNSPECIFIED)


@pytest.mark.parametrize(
    ("name", "labels"),
    [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])],
)
def test_a_truth_table_needs_no_file(name: str, labels: list[int]) -> None:
    table = data.load(spec_pb2.DataSpec(dataset=name), "", CSV)

    columns = columns_of(table)
    assert list(columns) == ["a", "b", "label"]
    assert sorted(zip(columns["a"], columns["b"], columns["label"], strict=True)) == [
        (0, 0, labels[0]),
        (0, 1, labels[1]),
        (1, 0, labels[2]),
        (1, 1, labels[3]),
    ]


def test_any_other_data_set_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\n1\n")

    table = data.load(spec_pb2.DataSpec(dataset="ab" * 32), str(path), CSV)

    assert columns_of(table) == {"a": [1]}
