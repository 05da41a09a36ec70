"""The specs under examples/: each is accepted as it stands, with the data it names."""

import hashlib
from pathlib import Path

import pytest

from trainer.data import describe
from twofold import names, spec, toml_spec
from twofold.client import uploads
from twofold.truth_tables import truth_table
from twofold.v1 import dataset_pb2, spec_pb2

EXAMPLES = Path(__file__).parents[2] / "examples"
SPECS = sorted(EXAMPLES.glob("*.toml"))
BOUNDS = spec.Bounds(max_parameters=1_000_000, max_memory_bytes=1 << 30)


def columns_of(asked: spec_pb2.TrainingSpec) -> tuple[list[dataset_pb2.Column], int]:
    """The columns and row count of what an example names; a file's digest is put in its place."""
    if asked.data.dataset in names.TRUTH_TABLES:
        table = truth_table(asked.data.dataset)
        return list(table.columns), table.row_count
    file = EXAMPLES / asked.data.dataset
    upload = uploads.from_file(file)
    asked.data.dataset = upload.header.sha256
    dataset = describe(file, upload.header.format)
    return list(dataset.columns), dataset.row_count


@pytest.mark.parametrize("file", SPECS, ids=lambda file: file.stem)
def test_example_is_accepted_with_the_data_it_names(file: Path) -> None:
    asked = toml_spec.from_dict(toml_spec.read(file))
    columns, row_count = columns_of(asked)

    completed = spec.complete(asked, columns, row_count, BOUNDS)

    assert completed.model == file.stem
    assert toml_spec.from_toml(toml_spec.to_toml(completed)) == completed


def test_every_family_has_an_example() -> None:
    shown = {toml_spec.from_dict(toml_spec.read(file)).network.family for file in SPECS}

    others = {spec_pb2.FAMILY_UNSPECIFIED, spec_pb2.FAMILY_MODULE}
    assert shown == set(spec_pb2.Family.values()) - others


@pytest.mark.parametrize(
    ("name", "row_count"), [("digits", 1797), ("digits_train", 1437), ("digits_test", 360)]
)
def test_digits_are_all_there(name: str, row_count: int) -> None:
    dataset = describe(EXAMPLES / "data" / f"{name}.parquet", dataset_pb2.DATASET_FORMAT_PARQUET)

    assert dataset.row_count == row_count
    assert [column.name for column in dataset.columns] == [
        *(f"p{place}" for place in range(64)),
        "label",
    ]
    assert dataset.columns[-1].distinct_count == 10


def test_test_rows_are_not_among_the_training_rows() -> None:
    train, test = (_rows(f"digits_{part}") for part in ("train", "test"))

    assert not train & test
    assert len(train | test) == len(_rows("digits"))


def _rows(name: str) -> set[str]:
    from trainer.reading.parquet import read_parquet  # noqa: PLC0415 - here alone

    table = read_parquet(EXAMPLES / "data" / f"{name}.parquet")
    arrays = [table.columns[column].tolist() for column in table.columns]
    return {hashlib.sha256(repr(row).encode()).hexdigest() for row in zip(*arrays, strict=True)}
