"""A training spec made complete, or refused: every range, default and combination. No torch.

Completing is idempotent: a completed spec, as Retry sends it, completes to itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from twofold import (
    names,
    reference,
    spec_fields,
    spec_gates,
    spec_inputs,
    spec_loss,
    spec_module,
    spec_targets,
    spec_training,
    strict,
)
from twofold.errors import InvalidField
from twofold.nets import bounds as graph_bounds
from twofold.nets import catalogue, catalogue_options, tables
from twofold.spec_training import family_of
from twofold.truth_tables import TruthTable, truth_table
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

__all__ = ["Bounds", "TruthTable", "complete", "dataset_of", "truth_table"]

FORMAT_VERSION = 1
#: Below this many rows nothing is held out by default: too few are left to say anything.
SMALL_TABLE = 20
#: The least that is tried for an automatic batch size, if there are as many rows.
_LEAST_BATCH = 1024
#: Bytes per number in training, float32.
_BYTES_PER_FLOAT = 4
#: Bytes per number of an activation: float32 twice, for its gradient.
_BYTES_PER_NUMBER = 8

_Columns = dict[str, dataset_pb2.Column]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server takes on."""

    max_parameters: int
    max_memory_bytes: int


def dataset_of(spec: spec_pb2.TrainingSpec) -> str:
    """The data set's identifier or the truth table's name; raises InvalidField."""
    name = spec.data.dataset
    if name in names.TRUTH_TABLES:
        return name
    try:
        return names.check_sha256("data.dataset", name)
    except InvalidField as error:
        allowed = "64 hexadecimal digits, or one of " + ", ".join(names.TRUTH_TABLES)
        raise InvalidField.of("data.dataset", name, allowed) from error


def complete(
    spec: spec_pb2.TrainingSpec,
    columns: Sequence[dataset_pb2.Column],
    row_count: int,
    bounds: Bounds,
    row_elements: int = 0,
) -> spec_pb2.TrainingSpec:
    """A copy of `spec` with every field checked and every default filled in.

    Args:
        spec: as it was sent.
        columns: of the data set, in order.
        row_count: of the data set.
        bounds: what the server takes on.
        row_elements: numbers that a module and a loss of the user's compute per row, as measured
            before.

    Raises:
        InvalidField: names the field by its dotted path, its value and what is allowed.
    """
    strict.check(spec)
    spec_fields.check(spec)
    done = spec_pb2.TrainingSpec()
    done.CopyFrom(spec)
    done.format_version = FORMAT_VERSION
    names.check_name("model", spec.model)
    dataset_of(spec)
    by_name = {column.name: column for column in columns}
    _complete_network(done.network)
    _complete_data(done, by_name, row_count)
    spec_training.complete(done, by_name, row_count)
    spec_loss.check(done, by_name)
    spec_gates.complete(done, is_judged=spec_loss.is_judged(done, by_name))
    spec_fields.fill(done)
    spec_module.require_trainable(done)
    _check_size(done, row_count, bounds, _size(done, by_name, row_elements))
    return done


def operands_of_loss(
    spec: spec_pb2.TrainingSpec, columns: Sequence[dataset_pb2.Column], row_count: int
) -> tuple[list[graph_pb2.TensorSpec], graph_pb2.TensorSpec]:
    """What a loss of the user's is computed from: the network's outputs, and the target.

    Raises InvalidField where network and data of the spec do not go together.
    """
    done = spec_pb2.TrainingSpec()
    done.CopyFrom(spec)
    done.training.loss = spec_pb2.LOSS_CUSTOM
    by_name = {column.name: column for column in columns}
    _complete_network(done.network)
    _complete_data(done, by_name, row_count)
    return spec_loss.operands(done, by_name)


def _complete_network(network: spec_pb2.NetworkSpec) -> None:
    if network.warm_start:
        reference.checked("network.warm_start", network.warm_start)
    if spec_module.is_module(network):
        spec_module.complete_network(network)
    else:
        _complete_family(network)


def _complete_family(network: spec_pb2.NetworkSpec) -> None:
    spec_module.refuse_fields(network)
    if network.family == spec_pb2.FAMILY_UNSPECIFIED:
        words = ", ".join(map(catalogue_options.family_word, catalogue_options.FAMILIES))
        allowed = f"{words}; or a module of yours: twofold train SPEC --module FILE.py:NAME"
        raise InvalidField.of("network.family", "unset", allowed)
    catalogue_options.check(network)
    catalogue_options.fill(network)


def _complete_data(spec: spec_pb2.TrainingSpec, columns: _Columns, row_count: int) -> None:
    data = spec.data
    if not columns or row_count < 1:
        shown = f"a table of {row_count} rows and {len(columns)} columns"
        raise InvalidField.of("data.dataset", shown, "at least one row and two columns")
    spec_targets.complete(data, columns)
    _complete_features(spec, columns)
    _complete_task(spec, columns)
    _complete_split(spec, row_count)
    is_module = spec_module.is_module(spec.network)
    if not data.HasField("standardize"):
        data.standardize = data.dataset not in names.TRUTH_TABLES and not is_module
    if data.standardize and is_module:
        allowed = "false for a module, which takes its inputs as they are"
        raise InvalidField.of("data.standardize", value=True, allowed=allowed)


def _complete_features(spec: spec_pb2.TrainingSpec, columns: _Columns) -> None:
    data = spec.data
    if not data.features:
        data.features.extend(spec_inputs.default(spec, columns))
    seen: set[str] = set()
    for index, name in enumerate(data.features):
        _check_feature(f"data.features[{index}]", data, columns, name)
        if name in seen:
            raise InvalidField.of(f"data.features[{index}]", name, "every column once")
        seen.add(name)
    spec_inputs.check(spec, columns)
    if not 1 <= len(data.features) <= spec_fields.MAX_FEATURES:
        allowed = f"1 to {spec_fields.MAX_FEATURES:,} columns besides the target"
        raise InvalidField.of("data.features", f"{len(data.features)} columns", allowed)


def _check_feature(path: str, data: spec_pb2.DataSpec, columns: _Columns, name: str) -> None:
    if name not in columns:
        raise InvalidField.of(path, name, spec_targets.one_of(columns))
    if name in spec_targets.used(data):
        raise InvalidField.of(path, name, "columns other than the target and the weight")
    column = columns[name]
    is_category = column.kind == dataset_pb2.COLUMN_KIND_CATEGORY
    if is_category and column.distinct_count >= spec_fields.DISTINCT_LIMIT:
        allowed = f"text of fewer than {spec_fields.DISTINCT_LIMIT:,} different values"
        raise InvalidField.of(path, name, f"{allowed}; leave this column out of data.features")


def _complete_task(spec: spec_pb2.TrainingSpec, columns: _Columns) -> None:
    possible = spec_training.tasks(spec)
    if not possible:
        shown = str(list(spec.network.graph.outputs[0].shape))
        allowed = "a first output FP32 [-1, columns], which the losses compare with the target"
        raise InvalidField.of("network.graph.outputs", shown, allowed)
    spec_targets.complete_task(spec.data, possible, family_of(spec.network), columns)


def _complete_split(spec: spec_pb2.TrainingSpec, row_count: int) -> None:
    data = spec.data
    if not data.HasField("validation_fraction"):
        is_split = row_count >= SMALL_TABLE and not spec_training.publishes_as_is(spec.training)
        data.validation_fraction = 0.2 if is_split else 0.0
    fraction = data.validation_fraction
    if fraction and not 1 <= round(row_count * fraction) < row_count:
        allowed = f"0, or what holds out 1 to {row_count - 1} of {row_count} rows"
        raise InvalidField.of("data.validation_fraction", fraction, allowed)
    is_classification = data.task == spec_pb2.TASK_CLASSIFICATION
    if not data.split:
        data.split = spec_pb2.SPLIT_STRATIFIED if is_classification else spec_pb2.SPLIT_RANDOM
    if data.split == spec_pb2.SPLIT_STRATIFIED and not is_classification:
        allowed = f"random for {spec_targets.word(data.task)}"
        raise InvalidField.of("data.split", "stratified", allowed)


@dataclass(frozen=True, slots=True)
class _Size:
    """What a network and its rows take, and the field that decides about the network."""

    field: str
    parameters: int
    #: Numbers that it computes per row.
    row_elements: int
    #: Of the table, per row.
    row_bytes: int


def _check_size(spec: spec_pb2.TrainingSpec, row_count: int, bounds: Bounds, size: _Size) -> None:
    if size.parameters > bounds.max_parameters:
        shown = f"what makes {size.parameters:,} parameters"
        raise InvalidField.of(size.field, shown, f"at most {bounds.max_parameters:,} parameters")
    training = spec.training
    batch = min(training.micro_batch_size or training.batch_size or _LEAST_BATCH, row_count)
    state_bytes = spec_training.floats_per_parameter(training) * _BYTES_PER_FLOAT
    parts = {
        size.field: size.parameters * state_bytes,
        "data.dataset": row_count * size.row_bytes,
        "training.batch_size": batch * size.row_elements * _BYTES_PER_NUMBER,
    }
    if sum(parts.values()) > bounds.max_memory_bytes:
        largest = max(parts, key=lambda part: parts[part])
        amounts = ", ".join(f"{amount:,} for {part}" for part, amount in parts.items())
        shown = f"what needs about {sum(parts.values()):,} bytes ({amounts})"
        raise InvalidField.of(largest, shown, f"at most {bounds.max_memory_bytes:,} bytes")


def _size(spec: spec_pb2.TrainingSpec, columns: _Columns, row_elements: int) -> _Size:
    row_bytes = spec_inputs.row_bytes(spec.data, columns)
    if spec_module.is_module(spec.network):
        parameters = graph_bounds.parameter_count(spec.network.graph)
        return _Size("network.graph", parameters, row_elements, row_bytes)
    sizes = _sizes(spec, columns)
    if sizes.width > tables.MAX_ROW_ELEMENTS:
        shown = f"columns that make {sizes.width:,} inputs"
        allowed = f"at most {tables.MAX_ROW_ELEMENTS:,} inputs, categories one by one"
        raise InvalidField.of("data.features", shown, allowed)
    built = catalogue.build_sized(
        spec.network,
        sizes,
        spec.data.task,
        scaling=spec.data.standardize,
        loss=spec.training.loss,
    )
    field = catalogue.deciding_field(spec.network)
    parameters = graph_bounds.parameter_count(built.graph)
    return _Size(field, parameters, built.row_elements + row_elements, row_bytes)


def _sizes(spec: spec_pb2.TrainingSpec, columns: _Columns) -> catalogue.Sizes:
    features = [columns[name] for name in spec.data.features]
    category = dataset_pb2.COLUMN_KIND_CATEGORY
    counts = [max(1, column.distinct_count) for column in features if column.kind == category]
    arrays = [column for column in features if spec_inputs.is_array(column)]
    is_single = len(arrays) == 1
    return catalogue.Sizes(
        numeric_count=len(features) - len(counts) - len(arrays),
        category_counts=tuple(counts),
        label_count=spec_loss.label_count(spec.data, columns),
        target_count=len(spec_targets.of(spec.data)),
        array_shape=tuple(arrays[0].shape) if is_single else (),
        array_name=arrays[0].name if is_single else "",
    )
