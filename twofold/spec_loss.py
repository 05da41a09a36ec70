"""A loss of the user's: what its graph must be, of what it is computed, and what it is judged by.

No torch: whether its operands fit each other is measured in a process of its own, as for a module
(see `trainer.checker`).
"""

from collections.abc import Mapping, Sequence

from twofold import spec_module, spec_targets
from twofold.errors import InvalidField
from twofold.nets import bounds, catalogue
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

TARGET = "target"
OUTPUT = "output"
_FIELD = "training.loss_graph"
_CLASSIFICATION = spec_pb2.TASK_CLASSIFICATION
_FP32, _INT64 = graph_pb2.DATA_TYPE_FP32, graph_pb2.DATA_TYPE_INT64
_Columns = Mapping[str, dataset_pb2.Column]


def is_custom(training: spec_pb2.TrainingOptions) -> bool:
    """Whether the loss is one of the user's."""
    return training.HasField("loss_graph") or training.loss == spec_pb2.LOSS_CUSTOM


def takes(network: spec_pb2.NetworkSpec) -> bool:
    """Whether a network can be trained by a loss of the user's."""
    return spec_module.is_module(network) or network.family in catalogue.ANY_LOSS


def label_count(data: spec_pb2.DataSpec, columns: _Columns) -> int:
    """Labels of a classification, of which the data are complete; 0 for other tasks."""
    is_classification = data.task == _CLASSIFICATION
    return columns[data.target].distinct_count if is_classification else 0


def is_judged(spec: spec_pb2.TrainingSpec, columns: _Columns) -> bool:
    """Whether the network's first output says something of the task, so that there are metrics.

    Args:
        spec: complete, but for its gates.
        columns: of the data set, by name.
    """
    if not spec_module.is_module(spec.network):
        return True
    labels, targets = label_count(spec.data, columns), len(spec_targets.of(spec.data))
    head = spec_module.fitting_head(spec.network.graph, spec.data.task, labels, targets)
    return head != graph_pb2.HEAD_UNSPECIFIED


def operands(
    spec: spec_pb2.TrainingSpec, columns: _Columns
) -> tuple[list[graph_pb2.TensorSpec], graph_pb2.TensorSpec]:
    """What the network computes and what the target is, of a spec whose data are complete."""
    labels, count = label_count(spec.data, columns), len(spec_targets.of(spec.data))
    if spec.data.task == _CLASSIFICATION:
        target = graph_pb2.TensorSpec(name=TARGET, data_type=_INT64, shape=[bounds.BATCH])
    else:
        target = graph_pb2.TensorSpec(name=TARGET, data_type=_FP32, shape=[bounds.BATCH, count])
    if spec_module.is_module(spec.network):
        return list(spec.network.graph.outputs), target
    shape = [bounds.BATCH, labels or count]
    return [graph_pb2.TensorSpec(name=OUTPUT, data_type=_FP32, shape=shape)], target


def check(spec: spec_pb2.TrainingSpec, columns: _Columns) -> None:
    """Raises InvalidField where the loss of a completed spec cannot be its network's."""
    training = spec.training
    if not is_custom(training):
        return
    check_graph(training.loss_graph)
    outputs, target = operands(spec, columns)
    require_operands(training.loss_graph, outputs, target)
    if is_per_row(training.loss_graph):
        if spec.data.task == spec_pb2.TASK_MULTILABEL:
            _refuse_label_weights(training, "nothing for multilabel with a loss of the user's")
        return
    allowed = "nothing where training.loss_graph computes one number; let it compute one per row"
    if spec.data.weight:
        raise InvalidField.of("data.weight", spec.data.weight, allowed)
    _refuse_label_weights(training, allowed)


def _refuse_label_weights(training: spec_pb2.TrainingOptions, allowed: str) -> None:
    if training.class_weights:
        shown = f"weights of {len(training.class_weights)} labels"
        raise InvalidField.of("training.class_weights", shown, allowed)
    if training.balance_classes:
        raise InvalidField.of("training.balance_classes", value=True, allowed=allowed)


def is_per_row(graph: graph_pb2.Graph) -> bool:
    """Whether a checked graph computes a loss for every row, not their mean."""
    return len(graph.outputs[0].shape) == 1


def check_graph(graph: graph_pb2.Graph) -> None:
    """Raises InvalidField for what is no loss; sets the head that it has."""
    graph.head = graph.head or graph_pb2.HEAD_RAW
    try:
        bounds.check(graph)
    except InvalidField as error:
        field = f"training.loss_{error.fields.get('field', 'graph')}"
        raise InvalidField(f"training.loss_{error.message}", field=field) from error
    if graph.head != graph_pb2.HEAD_RAW:
        name = graph_pb2.Head.Name(graph.head)
        raise InvalidField.of(f"{_FIELD}.head", name, "HEAD_RAW for a loss")
    if states := bounds.state_shapes(graph):
        allowed = "a function, or a module without parameters and buffers"
        raise InvalidField.of(_FIELD, f"a loss with {next(iter(states))}", allowed)
    words = [bounds.spec_words(spec) for spec in graph.outputs]
    if words not in (["FP32[]"], ["FP32[-1]"]):
        allowed = "FP32[-1], a loss per row, or FP32[], their mean"
        raise InvalidField.of(f"{_FIELD}.outputs", ", ".join(words), allowed)


def places(graph: graph_pb2.Graph) -> list[int]:
    """For each input of a loss which of the network's results it takes; -1 for the target.

    Raises InvalidField for a name that stands for neither.
    """
    return [_place(index, spec.name) for index, spec in enumerate(graph.inputs)]


def _place(index: int, name: str) -> int:
    if name in (TARGET, OUTPUT):
        return -1 if name == TARGET else 0
    number = name.removeprefix(f"{OUTPUT}_")
    is_number = number.isascii() and number.isdigit() and len(number) <= 2  # noqa: PLR2004 - at most 64
    if name == number or not is_number or str(int(number)) != number:
        allowed = "target, output, or output_0, output_1 ... of a network with several outputs"
        raise InvalidField.of(f"{_FIELD}.inputs[{index}].name", name, allowed)
    return int(number)


def require_operands(
    graph: graph_pb2.Graph, outputs: Sequence[graph_pb2.TensorSpec], target: graph_pb2.TensorSpec
) -> None:
    """Raises InvalidField where a checked loss takes what the network or the data have not."""
    require_outputs(graph, outputs)
    for index, place in enumerate(places(graph)):
        if place < 0:
            _require_same(graph, index, target, "is the target")


def require_outputs(graph: graph_pb2.Graph, outputs: Sequence[graph_pb2.TensorSpec]) -> None:
    """As `require_operands`, but for the target."""
    found = places(graph)
    if not any(place >= 0 for place in found):
        shown = ", ".join(spec.name for spec in graph.inputs)
        raise InvalidField.of(f"{_FIELD}.inputs", shown, "an output of the network among them")
    for index, place in enumerate(found):
        if place >= len(outputs):
            path, shown = f"{_FIELD}.inputs[{index}].name", graph.inputs[index].name
            raise InvalidField.of(path, shown, f"one of the network's {len(outputs)} outputs")
        if place >= 0:
            _require_same(graph, index, outputs[place], "the network computes")


def require_results(graph: graph_pb2.Graph, results: Sequence[graph_pb2.TensorSpec]) -> None:
    """Raises InvalidField where a checked loss takes other results than training mode computes.

    There are at least as many as outputs, which `require_operands` compared with what is served.
    """
    for index, place in enumerate(places(graph)):
        if place >= 0:
            _require_same(graph, index, results[place], "the network computes in training mode")


def _require_same(
    graph: graph_pb2.Graph, index: int, expected: graph_pb2.TensorSpec, what: str
) -> None:
    given = graph.inputs[index]
    if (given.data_type, list(given.shape)) != (expected.data_type, list(expected.shape)):
        shown = f"{given.name} {bounds.spec_words(given)}"
        allowed = f"{bounds.spec_words(expected)}, which {what}"
        raise InvalidField.of(f"{_FIELD}.inputs[{index}]", shown, allowed)
