"""A spec whose network is a module of the user's: what it must be and what is filled in. No torch.

The graph is checked here for all that needs no torch; whether its operands fit each other is
measured by the caller, in a process of its own, before (see `trainer.checker`).
"""

from collections.abc import Mapping, Sequence

from twofold import names
from twofold.errors import InvalidField
from twofold.nets import bounds, catalogue_options
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

_MODULE = spec_pb2.FAMILY_MODULE
_RAW, _IDENTITY = graph_pb2.HEAD_RAW, graph_pb2.HEAD_IDENTITY
_SIGMOID, _SOFTMAX = graph_pb2.HEAD_SIGMOID, graph_pb2.HEAD_SOFTMAX
_MULTILABEL = graph_pb2.HEAD_MULTILABEL
_CLASSIFICATION, _REGRESSION = spec_pb2.TASK_CLASSIFICATION, spec_pb2.TASK_REGRESSION

#: What each loss says of the output that it is computed from; multi-label has a head of its own.
HEADS: Mapping[spec_pb2.Loss, graph_pb2.Head] = {
    spec_pb2.LOSS_MSE: _IDENTITY,
    spec_pb2.LOSS_L1: _IDENTITY,
    spec_pb2.LOSS_HUBER: _IDENTITY,
    spec_pb2.LOSS_QUANTILE: _IDENTITY,
    spec_pb2.LOSS_BCE: _SIGMOID,
    spec_pb2.LOSS_CROSS_ENTROPY: _SOFTMAX,
    spec_pb2.LOSS_FOCAL: _SOFTMAX,
}
_HEAD_WORDS = {
    _RAW: "raw",
    _IDENTITY: "identity",
    _SIGMOID: "sigmoid",
    _SOFTMAX: "softmax",
    _MULTILABEL: "multilabel",
}


def is_module(network: spec_pb2.NetworkSpec) -> bool:
    """Whether the network is a module of the user's."""
    return network.family == _MODULE or network.HasField("graph")


def complete_network(network: spec_pb2.NetworkSpec) -> None:
    """Fills the family in; raises InvalidField for what a module has not, or lacks."""
    if network.family not in (spec_pb2.FAMILY_UNSPECIFIED, _MODULE):
        name = spec_pb2.Family.Name(network.family).removeprefix("FAMILY_").lower()
        raise InvalidField.of("network.family", name, "module, or nothing, for a module")
    catalogue_options.refuse_all(network)
    if not network.HasField("graph"):
        allowed = "a graph; twofold train SPEC --module FILE.py:CLASS makes one of a torch module"
        raise InvalidField.of("network.graph", "unset", allowed)
    network.family = _MODULE
    names.check_sha256("network.weights", network.weights)
    _check_graph(network.graph)


def refuse_fields(network: spec_pb2.NetworkSpec) -> None:
    """Raises InvalidField where a family of the catalogue is given what belongs to modules."""
    if network.weights:
        raise InvalidField.of("network.weights", network.weights, "nothing but for a module")
    if network.head:
        name = graph_pb2.Head.Name(network.head).removeprefix("HEAD_").lower()
        raise InvalidField.of("network.head", name, "nothing but for a module")


def require_trainable(spec: spec_pb2.TrainingSpec) -> None:
    """Raises InvalidField where a module is to be trained that has nothing to train."""
    epochs = spec.training.epochs
    if epochs and is_module(spec.network) and not bounds.parameter_count(spec.network.graph):
        allowed = "0: the network has no parameters to train, or only frozen ones"
        raise InvalidField.of("training.epochs", epochs, allowed)


def _check_graph(graph: graph_pb2.Graph) -> None:
    if not graph.head:
        graph.head = _RAW  # what `complete_head` sets instead needs the loss
    try:
        bounds.check(graph)
    except InvalidField as error:
        field = f"network.{error.fields.get('field', 'graph')}"
        raise InvalidField(f"network.{error.message}", field=field) from error
    if not bounds.has_rows(graph):
        allowed = "outputs with -1, the batch, as dimension 0: an answer for each row"
        raise InvalidField.of("network.graph.outputs", "an output without rows", allowed)


def width(graph: graph_pb2.Graph) -> int | None:
    """Columns of the first output where that is FP32 [-1, columns], as built-in losses need it."""
    first = graph.outputs[0]
    is_table = first.data_type == graph_pb2.DATA_TYPE_FP32 and len(first.shape) == 2  # noqa: PLR2004 - a table
    return first.shape[1] if is_table else None


def losses(graph: graph_pb2.Graph, task: spec_pb2.Task) -> Sequence[spec_pb2.Loss]:
    """Built-in losses that fit the first output, the default first; none where none does."""
    columns = width(graph)
    if columns is None:
        return ()
    if task == _REGRESSION:
        return (
            spec_pb2.LOSS_MSE,
            spec_pb2.LOSS_L1,
            spec_pb2.LOSS_HUBER,
            spec_pb2.LOSS_QUANTILE,
        )
    if task == _CLASSIFICATION:
        one = (spec_pb2.LOSS_BCE,)
        return one if columns == 1 else (spec_pb2.LOSS_CROSS_ENTROPY, spec_pb2.LOSS_FOCAL)
    return (spec_pb2.LOSS_BCE,)


def fitting_head(
    graph: graph_pb2.Graph, task: spec_pb2.Task, label_count: int, target_count: int
) -> graph_pb2.Head:
    """The head that makes answers to a task of the first output; UNSPECIFIED where none does."""
    columns, head = width(graph), graph_pb2.HEAD_UNSPECIFIED
    if task == _CLASSIFICATION:
        if columns == 1 and label_count == 2:  # noqa: PLR2004 - two labels
            head = _SIGMOID
        elif columns is not None and columns == label_count:
            head = _SOFTMAX
    elif columns == target_count:
        head = _IDENTITY if task == _REGRESSION else _MULTILABEL
    return head


def judging_head(graph: graph_pb2.Graph, features: model_pb2.FeatureSpec) -> graph_pb2.Head:
    """How the first output becomes the answers that metrics look at, also where it is served raw.

    UNSPECIFIED where it says nothing of the task.
    """
    if graph.head != _RAW:
        return graph.head
    targets = len(features.targets) or 1
    return fitting_head(graph, features.task, len(features.labels), targets)


def complete_head(spec: spec_pb2.TrainingSpec, label_count: int, target_count: int) -> None:
    """Sets the head of the spec and of its graph; the loss must be complete.

    Raises InvalidField where the first output has other columns than the labels or the targets.
    """
    network, graph = spec.network, spec.network.graph
    is_custom = spec.training.loss == spec_pb2.LOSS_CUSTOM
    if not is_custom:
        _check_width(spec, label_count, target_count)
    fitting = fitting_head(graph, spec.data.task, label_count, target_count)
    can_fit = len(graph.outputs) == 1 and fitting != graph_pb2.HEAD_UNSPECIFIED
    network.head = network.head or (fitting if can_fit and not is_custom else _RAW)
    permitted = (fitting, _RAW) if can_fit else (_RAW,)
    if network.head not in permitted:
        name = graph_pb2.Head.Name(network.head).removeprefix("HEAD_").lower()
        allowed = " or ".join(_HEAD_WORDS[head] for head in permitted)
        raise InvalidField.of("network.head", name, f"{allowed} for this loss and these outputs")
    graph.head = network.head
    graph.ClearField("head_threshold")  # no head that a module may have has one


def _check_width(spec: spec_pb2.TrainingSpec, label_count: int, target_count: int) -> None:
    columns = width(spec.network.graph)
    expected, what = target_count, "one column" if target_count == 1 else f"{target_count} columns"
    if spec.data.task == _CLASSIFICATION:
        is_one = HEADS[spec.training.loss] == _SIGMOID
        expected = 1 if is_one else label_count
        what = "one column" if is_one else f"{label_count} labels"
    if columns != expected:
        shown = f"{columns} columns of the first output"
        raise InvalidField.of("network.graph.outputs", shown, f"{expected}: the target has {what}")
