"""From a table to what is predicted and what rows weigh. No torch.

Legend of suffixes: N rows, T targets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.reading.table import Table, Values
from twofold import spec_targets
from twofold.errors import InvalidData, InvalidField, shorten
from twofold.v1 import spec_pb2


def columns(table: Table, data: spec_pb2.DataSpec) -> list[Values]:
    """The target columns of a completed spec; raises InvalidField where the table lacks one."""
    return [column(table, _path(data, index), name) for index, name in _named(data)]


def column(table: Table, field: str, name: str) -> Values:
    """A column; raises InvalidField where the table lacks it."""
    found = table.columns.get(name)
    if found is None:
        raise InvalidField.of(field, name, "a column: " + shorten(", ".join(table.columns)))
    return found


def numbers(found: Sequence[Values], data: spec_pb2.DataSpec) -> NDArray[np.float32]:
    """The targets of a regression or of several labels, side by side: float32 [N, T].

    Raises InvalidData for a label that is neither 0 nor 1.
    """
    target_NT = np.empty((len(found[0]), len(found)), dtype=np.float32)
    for index, name in _named(data):
        target_NT[:, index] = found[index]
        if data.task == spec_pb2.TASK_MULTILABEL:
            _check_flags(name, target_NT[:, index])
    return target_NT


def _check_flags(name: str, values: NDArray[np.float32]) -> None:
    is_wrong = (values != 0) & (values != 1)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise InvalidData(
            f"row {row + 1}, column {shorten(name)}: the value is {values[row]:g}; a column of a "
            "multi-label holds 0 and 1, or booleans",
            row=row + 1,
            column=name,
        )


def weights(
    table: Table, data: spec_pb2.DataSpec, parts: Sequence[NDArray[np.int64]]
) -> NDArray[np.float32] | None:
    """What each row counts, float32 [N], the largest of all 1; None where all count alike.

    Args:
        table: whose column it is.
        data: of a completed spec.
        parts: rows that are looked at together, none of which may weigh nothing.

    Raises InvalidField where there is no such column, InvalidData for a weight below 0, or for rows
    that weigh nothing.
    """
    if not data.weight:
        return None
    given = column(table, "data.weight", data.weight).astype(np.float64)
    if (given < 0).any():
        row = int(np.argmax(given < 0))
        text = f"row {row + 1}, column {shorten(data.weight)}: the weight is {given[row]:g}; needed"
        raise InvalidData(f"{text} is at least 0", row=row + 1, column=data.weight)
    largest = given.max()
    weight_N = (given / largest if largest > 0 else given).astype(np.float32)
    for rows, what in zip(parts, ("training", "held-out"), strict=False):
        if len(rows) and not weight_N[rows].any():
            text = f"column {shorten(data.weight)}: all {what} rows weigh 0, so that nothing counts"
            raise InvalidData(text, column=data.weight)
    return weight_N


def _named(data: spec_pb2.DataSpec) -> list[tuple[int, str]]:
    return list(enumerate(spec_targets.of(data)))


def _path(data: spec_pb2.DataSpec, index: int) -> str:
    return f"data.targets[{index}]" if data.targets else "data.target"
