"""Parquet into a table: flat columns of numbers, booleans and text.

What the footer claims is checked before a page is read; a page that lies about its size meets the
memory limit of the process that checks uploads.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.reading.arrow import TableWriter, translate
from trainer.reading.table import Table, check_names, check_row_count
from twofold.errors import InvalidData, shorten
from twofold.v1 import dataset_pb2

#: Cells and rows that are decoded at a time. Many, as threads share the columns of a batch and
#: each batch costs a start; bounded, as they are held beside the table.
_BATCH_CELLS = 1 << 25
_BATCH_ROWS = 1 << 20
#: Footers are small; Thrift's own limits stop one that claims otherwise.
_MAX_FOOTER_STRING_BYTES = 16 << 20
_MAX_FOOTER_ITEMS = 1_000_000
#: Repeated values compress without bound (run lengths), so a few bytes can claim any number of
#: cells: at most so many per byte of the file, above a size where nobody is hurt.
_MAX_CELLS_PER_BYTE = 1_000
_FREE_CELLS = 50_000_000


def read_parquet(path: Path) -> Table:
    """The table; raises InvalidData, with row and column where a cell is at fault."""
    return translate("the file is not a Parquet table", lambda: _read(path))


def _read(path: Path) -> Table:
    with pq.ParquetFile(
        path,
        pre_buffer=False,
        thrift_string_size_limit=_MAX_FOOTER_STRING_BYTES,
        thrift_container_size_limit=_MAX_FOOTER_ITEMS,
    ) as file:
        kinds = _plan(file, path.stat().st_size)
        row_count = file.metadata.num_rows
        writer = TableWriter(kinds, row_count)
        batch_rows = max(1, min(_BATCH_ROWS, _BATCH_CELLS // len(kinds)))
        for batch in file.iter_batches(batch_size=batch_rows, use_threads=True):
            writer.append(batch.columns)
        return writer.finish()


def _plan(file: Any, size_bytes: int) -> dict[str, dataset_pb2.ColumnKind]:  # noqa: ANN401 - Arrow's object
    row_count = check_row_count(file.metadata.num_rows)
    schema = file.schema_arrow
    names = check_names(schema.names)
    cells = row_count * len(names)
    if cells > max(_FREE_CELLS, size_bytes * _MAX_CELLS_PER_BYTE):
        raise InvalidData(
            f"{size_bytes} bytes claim {cells} cells; at most {_MAX_CELLS_PER_BYTE} cells per byte "
            "are read"
        )
    return {name: _kind_of(name, schema.field(index).type) for index, name in enumerate(names)}


def _kind_of(name: str, arrow_type: Any) -> dataset_pb2.ColumnKind:  # noqa: ANN401 - Arrow's type
    if pa.types.is_floating(arrow_type):
        return dataset_pb2.COLUMN_KIND_REAL
    if pa.types.is_integer(arrow_type):
        return dataset_pb2.COLUMN_KIND_INTEGER
    if pa.types.is_boolean(arrow_type):
        return dataset_pb2.COLUMN_KIND_BOOLEAN
    if _is_text(arrow_type) or (
        pa.types.is_dictionary(arrow_type) and _is_text(arrow_type.value_type)
    ):
        return dataset_pb2.COLUMN_KIND_CATEGORY
    raise InvalidData(
        f"column {shorten(name)} is of type {shorten(str(arrow_type))}; taken are floats, "
        "integers, booleans and text",
        column=name,
    )


def _is_text(arrow_type: Any) -> bool:  # noqa: ANN401 - Arrow's type
    return pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type)
