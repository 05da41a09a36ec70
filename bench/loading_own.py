"""Twofold reads a table: answers "twofold FORMAT LAYOUT PATH" lines as bench/peers/loading_app.py.

The layout "prepared" is what a training job waits for: split, labels and scale too.
"""

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer import data, prepared
from trainer.reading.table import Table
from twofold.v1 import dataset_pb2, spec_pb2

_FORMATS = {
    "parquet": dataset_pb2.DATASET_FORMAT_PARQUET,
    "csv": dataset_pb2.DATASET_FORMAT_CSV,
}


def _spec(table: Table) -> spec_pb2.TrainingSpec:
    *features, target = table.columns
    return spec_pb2.TrainingSpec(
        data=spec_pb2.DataSpec(
            target=target,
            features=features,
            task=spec_pb2.TASK_CLASSIFICATION,
            split=spec_pb2.SPLIT_STRATIFIED,
            validation_fraction=0.2,
            standardize=True,
        )
    )


def _load(file_format: str, layout: str, path: Path) -> tuple[NDArray[np.float32], int]:
    table = data.read(path, _FORMATS[file_format])
    *features, target = table.columns
    if layout == "prepared":
        found = prepared.prepare(table, _spec(table))
        matrix, labels = found.x_ND, found.target_N
    else:
        labels = table.columns[target]
        matrix = prepared.numeric(table, features) if layout == "rows" else None
        if layout == "columns" and table.matrix is not None:
            matrix = table.matrix.values
    if matrix is None:
        raise SystemExit("the table has no numbers")
    return matrix, int(labels.sum())


def main() -> None:
    """Serves lines of standard input."""
    print("Twofold", flush=True)
    for line in sys.stdin:
        _, file_format, layout, path = line.split(maxsplit=3)
        begun_s = time.perf_counter()
        matrix, total = _load(file_format, layout, Path(path.strip()))
        took_s = time.perf_counter() - begun_s
        shown = f"{matrix.dtype} {list(matrix.shape)} {matrix.sum(dtype=np.float64):.3f}"
        print(f"{took_s:.6f} {shown} {total}", flush=True)


if __name__ == "__main__":
    main()
