"""Which features go into which network: columns, arrays, a module's inputs by name. No torch."""

import math
from collections.abc import Iterable, Mapping, Sequence

from twofold import spec_module, spec_targets
from twofold.errors import InvalidField, shorten
from twofold.nets import bounds, catalogue
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

_ARRAY, _CATEGORY = dataset_pb2.COLUMN_KIND_ARRAY, dataset_pb2.COLUMN_KIND_CATEGORY
_FP32, _INT64 = graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_INT64
#: Inputs that hold columns of one value each.
X, CATEGORY = "x", "category"
#: Bytes per number of a table: what was read, and what stands on the device.
_COPIES = 2
_NUMBER_BYTES: Mapping[graph_pb2.DataType, int] = {_FP32: 4, _INT64: 8}

_Columns = Mapping[str, dataset_pb2.Column]


def is_array(column: dataset_pb2.Column) -> bool:
    """Whether a row of the column is many numbers."""
    return column.kind == _ARRAY


def default(spec: spec_pb2.TrainingSpec, columns: _Columns) -> list[str]:
    """The features of a spec that names none, but has its targets.

    Every column but targets and weight; of a family of arrays the arrays alone; of a module what
    its inputs need: arrays by name, all numbers for an x, all text for a category.
    """
    used = spec_targets.used(spec.data)
    others = [column for name, column in columns.items() if name not in used]
    if spec_module.is_module(spec.network):
        asked = {tensor.name for tensor in spec.network.graph.inputs}
        arrays = {column.name for column in others if is_array(column)}
        return [
            column.name
            for column in others
            # An array may be called x: then numbers are no input.
            if _input_of(column) in (asked if is_array(column) else asked - arrays)
        ]
    has_arrays = spec.network.family in catalogue.ARRAY_FAMILIES
    return [column.name for column in others if is_array(column) or not has_arrays]


def _input_of(column: dataset_pb2.Column) -> str:
    """The input that a column is in."""
    if is_array(column):
        return column.name
    return CATEGORY if column.kind == _CATEGORY else X


def check(spec: spec_pb2.TrainingSpec, columns: _Columns) -> None:
    """Raises InvalidField where the network does not take the features, which must exist."""
    features = [columns[name] for name in spec.data.features]
    inputs = inputs_of(features)
    if spec_module.is_module(spec.network):
        _check_module(spec.network.graph, inputs, columns)
    elif spec.network.family in catalogue.ARRAY_FAMILIES:
        _check_array_family(spec.network.family, features)
    elif arrays := [column for column in features if is_array(column)]:
        raise InvalidField.of("data.features", _shown(arrays[0]), _allowed(spec.network.family))


def inputs_of(features: Iterable[dataset_pb2.Column]) -> dict[str, graph_pb2.TensorSpec]:
    """The inputs that features make, by name: as the network sees them.

    Raises InvalidField for an array of the name x beside columns of numbers.
    """
    features = list(features)
    found: dict[str, graph_pb2.TensorSpec] = {}
    for name, data_type in ((X, _FP32), (CATEGORY, _INT64)):
        count = sum(_input_of(column) == name for column in features if not is_array(column))
        if count:
            found[name] = graph_pb2.TensorSpec(name=name, data_type=data_type, shape=[-1, count])
    for column in filter(is_array, features):
        if column.name in found:
            shown = f"{_shown(column)}, beside columns of numbers, which are input {X}"
            raise InvalidField.of(
                "data.features", shown, "one of both, or an array of another name"
            )
        found[column.name] = graph_pb2.TensorSpec(
            name=column.name, data_type=column.data_type, shape=[bounds.BATCH, *column.shape]
        )
    return found


def _check_module(
    graph: graph_pb2.Graph, given: Mapping[str, graph_pb2.TensorSpec], columns: _Columns
) -> None:
    for index, wanted in enumerate(graph.inputs):
        field, found = f"network.graph.inputs[{index}]", given.get(wanted.name)
        if found is None:
            names = [X, CATEGORY, *(name for name in columns if is_array(columns[name]))]
            allowed = f"{shorten(', '.join(names))}, of which data.features has "
            raise InvalidField.of(
                field, wanted.name, allowed + (shorten(", ".join(given)) or "none")
            )
        if (found.data_type, found.shape) != (wanted.data_type, wanted.shape):
            shown = f"{wanted.name} {bounds.spec_words(wanted)}"
            raise InvalidField.of(
                field, shown, f"{bounds.spec_words(found)}, as data.features has it"
            )
    asked = [tensor.name for tensor in graph.inputs]
    if unused := [name for name in given if name not in asked]:
        what = {X: "columns of numbers", CATEGORY: "columns of text"}.get(unused[0], unused[0])
        allowed = f"what the module's inputs take: {shorten(', '.join(asked))}"
        raise InvalidField.of("data.features", what, allowed)


def _check_array_family(family: spec_pb2.Family, features: Sequence[dataset_pb2.Column]) -> None:
    name = spec_pb2.Family.Name(family).removeprefix("FAMILY_").lower()
    allowed = f"one array of floats, and nothing else, for {name}"
    if len(features) != 1 or not is_array(features[0]):
        shown = shorten(", ".join(column.name for column in features)) or "no column"
        raise InvalidField.of("data.features", shown, allowed)
    if features[0].data_type != _FP32:
        hint = "; whole numbers are identifiers, which modules take: save them as float32"
        raise InvalidField.of("data.features", _shown(features[0]), allowed + hint)


def _shown(column: dataset_pb2.Column) -> str:
    kind = graph_pb2.DataType.Name(column.data_type).removeprefix("DATA_TYPE_")
    return f"{column.name}, an array {kind}{list(column.shape)}"


def _allowed(family: spec_pb2.Family) -> str:
    name = spec_pb2.Family.Name(family).removeprefix("FAMILY_").lower()
    families = sorted(
        spec_pb2.Family.Name(one).removeprefix("FAMILY_").lower()
        for one in catalogue.ARRAY_FAMILIES
    )
    takers = ", ".join([*families, "modules of your own"])
    return f"columns of one value for {name}, named in data.features; arrays are for {takers}"


def row_bytes(data: spec_pb2.DataSpec, columns: _Columns) -> int:
    """Memory that features, targets and weight of completed data take per row."""
    features = [columns[name] for name in data.features]
    single = sum(not is_array(column) for column in features) + len(spec_targets.used(data))
    arrays = sum(
        math.prod(column.shape) * _NUMBER_BYTES[column.data_type]
        for column in features
        if is_array(column)
    )
    return _COPIES * (single * _NUMBER_BYTES[_FP32] + arrays)
