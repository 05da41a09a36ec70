"""From files to tables: every format, and the truth tables. No torch, for the checking process."""

from collections.abc import Callable, Mapping
from pathlib import Path

from trainer.reading import arrays, csvfile, npz, parquet, weights
from trainer.reading.arrow import use_threads
from trainer.reading.table import Table, summarize
from twofold import names, spec
from twofold.errors import InvalidData
from twofold.v1 import dataset_pb2, spec_pb2

__all__ = ["describe", "load", "read", "use_threads"]

_READERS: Mapping[dataset_pb2.DatasetFormat, Callable[[Path], Table]] = {
    dataset_pb2.DATASET_FORMAT_CSV: csvfile.read_csv,
    dataset_pb2.DATASET_FORMAT_PARQUET: parquet.read_parquet,
    dataset_pb2.DATASET_FORMAT_NPZ: npz.read_npz,
    dataset_pb2.DATASET_FORMAT_NPY: arrays.read_npy,
}


def read(path: Path, file_format: dataset_pb2.DatasetFormat) -> Table:
    """The file's table; raises InvalidData with row and column where it cannot be used."""
    reader = _READERS.get(file_format)
    if reader is None:
        raise InvalidData(f"format {file_format} is unknown; taken are CSV, Parquet, NPZ and NPY")
    return reader(path)


def describe(path: Path, file_format: dataset_pb2.DatasetFormat) -> dataset_pb2.Dataset:
    """Rows, columns, format and size of a file; raises InvalidData as `read` does."""
    if file_format == dataset_pb2.DATASET_FORMAT_SAFETENSORS:
        dataset = weights.describe_weights(path)
    else:
        dataset = summarize(read(path, file_format))
    dataset.format = file_format
    dataset.size_bytes = path.stat().st_size
    return dataset


def load(data: spec_pb2.DataSpec, path: str, file_format: dataset_pb2.DatasetFormat) -> Table:
    """The table of a completed spec: the file at `path`, or the truth table it names."""
    if data.dataset not in names.TRUTH_TABLES:
        return read(Path(path), file_format)
    columns = spec.truth_table(data.dataset).arrays
    return Table(columns, len(next(iter(columns.values()))))
