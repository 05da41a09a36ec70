"""What a spec predicts and what its rows weigh: columns made complete, or refused."""

from collections.abc import Mapping, Sequence

from twofold.errors import InvalidField, shorten
from twofold.field import MAX_LABELS
from twofold.nets import catalogue, catalogue_options
from twofold.v1 import dataset_pb2, spec_pb2

_CLASSIFICATION, _REGRESSION = spec_pb2.TASK_CLASSIFICATION, spec_pb2.TASK_REGRESSION
_MULTILABEL = spec_pb2.TASK_MULTILABEL
_LABEL_KINDS = (
    dataset_pb2.COLUMN_KIND_INTEGER,
    dataset_pb2.COLUMN_KIND_BOOLEAN,
    dataset_pb2.COLUMN_KIND_CATEGORY,
)
_NUMERIC_KINDS = (
    dataset_pb2.COLUMN_KIND_REAL,
    dataset_pb2.COLUMN_KIND_INTEGER,
    dataset_pb2.COLUMN_KIND_BOOLEAN,
)
_Columns = Mapping[str, dataset_pb2.Column]


def of(data: spec_pb2.DataSpec) -> list[str]:
    """The target columns of a completed spec, in order."""
    return list(data.targets) or [data.target]


def used(data: spec_pb2.DataSpec) -> set[str]:
    """Columns of a completed spec that are no features: targets and weight."""
    return {*of(data), *filter(None, [data.weight])}


def complete(data: spec_pb2.DataSpec, columns: _Columns) -> None:
    """Settles the targets and checks the weight; raises InvalidField.

    One target stands in `target`, several stand in `targets`.
    """
    if data.target and data.targets:
        raise InvalidField.of("data.targets", list(data.targets), "nothing beside data.target")
    if len(data.targets) == 1:
        data.target = data.targets[0]
        del data.targets[:]
    if not data.target and not data.targets:
        data.target = _usual(data, columns)
    names = of(data)
    for index, name in enumerate(names):
        path = f"data.targets[{index}]" if data.targets else "data.target"
        if name not in columns:
            raise InvalidField.of(path, name, one_of(columns))
        if name in names[:index]:
            raise InvalidField.of(path, name, "every column once")
        if columns[name].kind == dataset_pb2.COLUMN_KIND_ARRAY:
            allowed = "a column of one value a row; arrays are features"
            raise InvalidField.of(path, f"{name}, an array", allowed)
    _check_weight(data, columns)


def _usual(data: spec_pb2.DataSpec, columns: _Columns) -> str:
    """The column that is predicted where the spec names none."""
    others = [name for name in columns if name != data.weight]
    usual = [name for name in ("target", "label") if name in others]
    return (usual or others[-1:] or [""])[0]


def _check_weight(data: spec_pb2.DataSpec, columns: _Columns) -> None:
    if not data.weight:
        return
    if data.weight not in columns:
        raise InvalidField.of("data.weight", data.weight, one_of(columns))
    if data.weight in of(data):
        raise InvalidField.of("data.weight", data.weight, "a column that is no target")
    column = columns[data.weight]
    if column.kind not in _NUMERIC_KINDS:
        raise InvalidField.of("data.weight", data.weight, "a column of numbers")
    if column.HasField("minimum") and column.minimum < 0:
        shown = f"{data.weight} with {column.minimum}"
        raise InvalidField.of("data.weight", shown, "a column of numbers that are at least 0")


def complete_task(
    data: spec_pb2.DataSpec, possible: Sequence[spec_pb2.Task], family: str, columns: _Columns
) -> None:
    """Fills the task in, one of those that the network can do, and checks the targets for it.

    Raises InvalidField where targets, task and network do not go together.
    """
    targets = [columns[name] for name in of(data)]
    if len(targets) > 1:
        possible = _for_several(data, possible, family)
    data.task = data.task or _usual_task(targets, possible)
    if data.task not in possible:
        words = " or ".join(map(word, possible))
        raise InvalidField.of("data.task", word(data.task), f"{words} for {family}")
    if data.task == _CLASSIFICATION:
        _check_labels(targets[0])
        return
    for index, target in enumerate(targets):
        path = f"data.targets[{index}]" if data.targets else "data.target"
        _check_number(path, target, data.task)


def _for_several(
    data: spec_pb2.DataSpec, possible: Sequence[spec_pb2.Task], family: str
) -> list[spec_pb2.Task]:
    """Of the tasks that are possible those of several columns, of which there must be one."""
    several = [task for task in possible if task != _CLASSIFICATION]
    shown = f"{len(data.targets):,} columns"
    takers = [*map(catalogue_options.family_word, catalogue.SEVERAL_TARGETS), "module"]
    if not several or family not in takers:
        allowed = f"one column for {family}; several are for {', '.join(takers)}"
        raise InvalidField.of("data.targets", shown, allowed)
    if data.task == _CLASSIFICATION:
        words = " or ".join(map(word, several))
        raise InvalidField.of("data.task", word(data.task), f"{words} for several targets")
    return several


def _usual_task(
    targets: Sequence[dataset_pb2.Column], possible: Sequence[spec_pb2.Task]
) -> spec_pb2.Task:
    if len(targets) > 1:
        usual = _MULTILABEL if all(map(_is_flag, targets)) else _REGRESSION
        return usual if usual in possible else possible[0]
    (target,) = targets
    is_discrete, are_few = target.kind in _LABEL_KINDS, target.distinct_count <= MAX_LABELS
    usual = _CLASSIFICATION if is_discrete and are_few else _REGRESSION
    return usual if usual in possible else possible[0]


def _is_flag(column: dataset_pb2.Column) -> bool:
    """Whether a column is one of a multi-label by default."""
    if column.kind == dataset_pb2.COLUMN_KIND_BOOLEAN:
        return True
    is_whole = column.kind == dataset_pb2.COLUMN_KIND_INTEGER and column.HasField("maximum")
    return is_whole and _lies_within_0_and_1(column)


def _lies_within_0_and_1(column: dataset_pb2.Column) -> bool:
    return column.minimum >= 0 and column.maximum <= 1  # of booleans neither is known


def _check_labels(target: dataset_pb2.Column) -> None:
    if target.kind not in _LABEL_KINDS:
        allowed = "a column of text, whole numbers or booleans for classification"
        raise InvalidField.of("data.target", target.name, allowed)
    if not 2 <= target.distinct_count <= MAX_LABELS:  # noqa: PLR2004 - one label is no choice
        shown = f"{target.name} with {target.distinct_count:,} labels"
        allowed = f"2 to {MAX_LABELS:,} labels for classification"
        raise InvalidField.of("data.target", shown, allowed)


def _check_number(path: str, target: dataset_pb2.Column, task: spec_pb2.Task) -> None:
    if target.kind not in _NUMERIC_KINDS:
        raise InvalidField.of(path, target.name, f"a numeric column for {word(task)}")
    if task == _MULTILABEL and not _lies_within_0_and_1(target):
        shown = f"{target.name} of {target.minimum:g} to {target.maximum:g}"
        raise InvalidField.of(path, shown, "a column of 0 and 1, or of booleans, for multilabel")


def one_of(columns: _Columns) -> str:
    """The columns there are, for messages."""
    return "one of the columns " + shorten(", ".join(columns))


def word(task: spec_pb2.Task) -> str:
    """A task as specs spell it."""
    return spec_pb2.Task.Name(task).removeprefix("TASK_").lower()
