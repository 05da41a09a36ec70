"""pyarrow, polars and pandas read a table: answers "LIBRARY FORMAT LAYOUT PATH" lines with seconds.

Runs in an environment of its own, in which neither twofold nor bench is installed. Every way ends
with one float32 array [N, 28] and the target; the ways are the fastest that were found.
"""
# pyright: basic

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

TARGET = "label"
WIDTH = 28
_NAMES = [f"f{index}" for index in range(WIDTH)]
# Neither library ships types that strangers can rely on.
Frame = Any
Loaded = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _from_arrow(table: Frame, layout: str) -> Loaded:
    target = table.column(TARGET).to_numpy()
    features = table.select(_NAMES)
    if layout == "rows":
        parts = [batch.to_tensor(row_major=True).to_numpy() for batch in features.to_batches()]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)), target
    block = np.empty((WIDTH, len(table)), dtype=np.float32)
    for place, column in enumerate(features.columns):
        block[place] = column.to_numpy()
    return block.T, target


def pyarrow_parquet(path: str, layout: str) -> Loaded:
    """Row-major by RecordBatch.to_tensor; else column by column."""
    return _from_arrow(pa.parquet.read_table(path, memory_map=True), layout)


def pyarrow_csv(path: str, layout: str) -> Loaded:
    """With its types told, which is faster than having them found."""
    types = dict.fromkeys(_NAMES, pa.float32())
    options = pa.csv.ConvertOptions(column_types=types)
    table = pa.csv.read_csv(path, convert_options=options)
    return _from_arrow(table.combine_chunks(), layout)


def polars_parquet(path: str, layout: str) -> Loaded:
    """As its guide says."""
    return _from_polars(pl.read_parquet(path), layout)


def polars_csv(path: str, layout: str) -> Loaded:
    """With its types told."""
    types = dict.fromkeys(_NAMES, pl.Float32)
    return _from_polars(pl.read_csv(path, schema_overrides=types), layout)


def _from_polars(frame: Frame, layout: str) -> Loaded:
    order = "c" if layout == "rows" else "fortran"
    return frame.select(_NAMES).to_numpy(order=order), frame[TARGET].to_numpy()


def pandas_parquet(path: str, layout: str) -> Loaded:
    """As its guide says."""
    return _from_pandas(pd.read_parquet(path), layout)


def pandas_csv(path: str, layout: str) -> Loaded:
    """Its own parser in C, which is faster here than engine="pyarrow"."""
    return _from_pandas(pd.read_csv(path, dtype=dict.fromkeys(_NAMES, np.float32)), layout)


def _from_pandas(frame: Frame, layout: str) -> Loaded:
    target = frame.pop(TARGET).to_numpy()
    matrix = frame.to_numpy(np.float32)
    return (np.ascontiguousarray(matrix) if layout == "rows" else matrix), target


_WAYS: dict[tuple[str, str], Callable[[str, str], Loaded]] = {
    ("pyarrow", "parquet"): pyarrow_parquet,
    ("pyarrow", "csv"): pyarrow_csv,
    ("polars", "parquet"): polars_parquet,
    ("polars", "csv"): polars_csv,
    ("pandas", "parquet"): pandas_parquet,
    ("pandas", "csv"): pandas_csv,
}


def main() -> None:
    """Serves lines of standard input."""
    print(f"pyarrow {pa.__version__}, polars {pl.__version__}, pandas {pd.__version__}", flush=True)
    for line in sys.stdin:
        library, file_format, layout, path = line.split(maxsplit=3)
        way = _WAYS[library, file_format]
        begun_s = time.perf_counter()
        matrix, target = way(path.strip(), layout)
        took_s = time.perf_counter() - begun_s
        shown = f"{matrix.dtype} {list(matrix.shape)} {matrix.sum(dtype=np.float64):.3f}"
        print(f"{took_s:.6f} {shown} {int(target.sum())}", flush=True)


if __name__ == "__main__":
    main()
