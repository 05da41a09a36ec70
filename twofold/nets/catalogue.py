"""The catalogue: families of networks as functions that return graphs. No torch.

A neuron with two labels answers by a threshold on its activation's value, unless that value is the
logistic sigmoid of a logit (SIGMOID with BCE) or the step of one (STEP). The threshold t is the
middle of the activation's range where it has one, and it is trained by MSE towards t - 0.5 for
class 0 and t + 0.5 for class 1, inside the range so that no asymptote is chased:

- SIGMOID, HARDSIGMOID (0 to 1): 0.5, targets 0 and 1.
- TANH, HARDTANH, SOFTSIGN (-1 to 1): 0, targets -0.5 and 0.5.
- LOG_SIGMOID (below 0): log 0.5, where the sigmoid is one half.
- Every other one has no upper bound, or one far above 1 (RELU6): 0.5, targets 0 and 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twofold.errors import InvalidField
from twofold.nets import tables, values
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

DEFAULT_HIDDEN = (64,)

_SYMMETRIC = (
    spec_pb2.ACTIVATION_TANH,
    spec_pb2.ACTIVATION_HARDTANH,
    spec_pb2.ACTIVATION_SOFTSIGN,
)
#: Thresholds that are not 0.5; see the module's docstring.
_THRESHOLDS: Mapping[spec_pb2.Activation, float] = {
    **dict.fromkeys(_SYMMETRIC, 0.0),
    spec_pb2.ACTIVATION_LOG_SIGMOID: math.log(0.5),
}

_REGRESSION = (spec_pb2.LOSS_MSE, spec_pb2.LOSS_L1, spec_pb2.LOSS_HUBER, spec_pb2.LOSS_QUANTILE)
#: Losses of one logit per label.
_SOFTMAX = (spec_pb2.LOSS_CROSS_ENTROPY, spec_pb2.LOSS_FOCAL)

#: The losses of every family and task, its default first.
LOSSES: Mapping[tuple[spec_pb2.Family, spec_pb2.Task], Sequence[spec_pb2.Loss]] = {
    (spec_pb2.FAMILY_NEURON, spec_pb2.TASK_REGRESSION): _REGRESSION,
    (spec_pb2.FAMILY_PERCEPTRON, spec_pb2.TASK_CLASSIFICATION): (spec_pb2.LOSS_PERCEPTRON,),
    (spec_pb2.FAMILY_LINEAR, spec_pb2.TASK_REGRESSION): _REGRESSION,
    (spec_pb2.FAMILY_LOGISTIC, spec_pb2.TASK_CLASSIFICATION): (spec_pb2.LOSS_BCE,),
    (spec_pb2.FAMILY_LOGISTIC, spec_pb2.TASK_MULTILABEL): (spec_pb2.LOSS_BCE,),
    (spec_pb2.FAMILY_SOFTMAX, spec_pb2.TASK_CLASSIFICATION): _SOFTMAX,
    (spec_pb2.FAMILY_MLP, spec_pb2.TASK_REGRESSION): _REGRESSION,
    (spec_pb2.FAMILY_MLP, spec_pb2.TASK_CLASSIFICATION): (*_SOFTMAX, spec_pb2.LOSS_BCE),
    (spec_pb2.FAMILY_MLP, spec_pb2.TASK_MULTILABEL): (spec_pb2.LOSS_BCE,),
}

_HEADS: Mapping[spec_pb2.Loss, graph_pb2.Head] = {
    spec_pb2.LOSS_BCE: graph_pb2.HEAD_SIGMOID,
    **dict.fromkeys((*_SOFTMAX, spec_pb2.LOSS_CUSTOM), graph_pb2.HEAD_SOFTMAX),
    spec_pb2.LOSS_PERCEPTRON: graph_pb2.HEAD_STEP,
}


@dataclass(frozen=True, slots=True)
class Built:
    """A graph and what it costs."""

    graph: graph_pb2.Graph
    #: Numbers that all nodes together compute per row: the activations that training keeps.
    row_elements: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """The widths that data gives a network."""

    #: Numeric columns.
    numeric_count: int
    #: Vocabulary sizes of the category columns.
    category_counts: tuple[int, ...] = ()
    #: Labels; 0 for regression.
    label_count: int = 0
    #: Target columns.
    target_count: int = 1

    @property
    def width(self) -> int:
        """Features of a row after one-hot."""
        return self.numeric_count + sum(self.category_counts)


def sizes_of(features: model_pb2.FeatureSpec) -> Sizes:
    """The widths of data prepared by `features`."""
    return Sizes(
        numeric_count=len(features.numeric_columns),
        category_counts=tuple(len(column.vocabulary) for column in features.category_columns),
        label_count=len(features.labels),
        target_count=len(features.targets) or 1,
    )


def activation_of(network: spec_pb2.NetworkSpec) -> spec_pb2.Activation:
    """The activation, or the family's default; UNSPECIFIED for families without a choice."""
    if network.activation:
        return network.activation
    if network.family == spec_pb2.FAMILY_NEURON:
        return spec_pb2.ACTIVATION_SIGMOID
    if network.family == spec_pb2.FAMILY_MLP:
        return spec_pb2.ACTIVATION_RELU
    return spec_pb2.ACTIVATION_UNSPECIFIED


def losses(network: spec_pb2.NetworkSpec, task: spec_pb2.Task) -> Sequence[spec_pb2.Loss]:
    """Losses that fit, the default first; none where the family does not do the task."""
    activation = activation_of(network)
    if network.family == spec_pb2.FAMILY_NEURON:
        if activation == spec_pb2.ACTIVATION_STEP:
            can = task == spec_pb2.TASK_CLASSIFICATION
            return (spec_pb2.LOSS_PERCEPTRON,) if can else ()
        if task == spec_pb2.TASK_CLASSIFICATION:
            has_logit = activation == spec_pb2.ACTIVATION_SIGMOID
            return (spec_pb2.LOSS_BCE, spec_pb2.LOSS_MSE) if has_logit else (spec_pb2.LOSS_MSE,)
    return LOSSES.get((network.family, task), ())


def threshold(activation: spec_pb2.Activation) -> float:
    """The score from which on a neuron of this activation says class 1."""
    return _THRESHOLDS.get(activation, 0.5)


def build(
    network: spec_pb2.NetworkSpec,
    features: model_pb2.FeatureSpec,
    scaling: bool,  # noqa: FBT001 - the contract's order; callers name it
    loss: spec_pb2.Loss,
) -> graph_pb2.Graph:
    """The graph of a family for data prepared by `features`.

    Args:
        network: the family and its sizes; unset fields take the family's defaults.
        features: gives the widths and, by its task, the head.
        scaling: whether numeric features are standardised in the graph, by the states
            tables.SCALE_MEAN and tables.SCALE_DEVIATION that training must set.
        loss: a loss of `losses(network, features.task)`, UNSPECIFIED for the default; it decides
            whether the graph ends in one logit or several.
    """
    sizes = sizes_of(features)
    return build_sized(network, sizes, features.task, scaling=scaling, loss=loss).graph


def build_sized(
    network: spec_pb2.NetworkSpec,
    sizes: Sizes,
    task: spec_pb2.Task,
    *,
    scaling: bool,
    loss: spec_pb2.Loss,
) -> Built:
    """As `build`, from the widths alone, and with what a row costs."""
    permitted = losses(network, task)
    if not permitted or (loss and loss not in (*permitted, spec_pb2.LOSS_CUSTOM)):
        raise InvalidField.of("training.loss", spec_pb2.Loss.Name(loss), _names(permitted))
    loss = loss or permitted[0]
    draft = _Draft()
    last = _layers(draft, _prepare(draft, sizes, scaling=scaling), network, sizes, loss)
    output = draft.graph.outputs.add(name="output", data_type=graph_pb2.DATA_TYPE_FP32)
    output.shape.extend([-1, last.width])
    draft.graph.head = _head(task, loss)
    if draft.graph.head == graph_pb2.HEAD_THRESHOLD:
        draft.graph.head_threshold = threshold(activation_of(network))
    return Built(draft.graph, draft.row_elements)


def _names(permitted: Sequence[spec_pb2.Loss]) -> str:
    names = [spec_pb2.Loss.Name(loss).removeprefix("LOSS_").lower() for loss in permitted]
    return " or ".join(names) or "none: the family does not do this task"


def _head(task: spec_pb2.Task, loss: spec_pb2.Loss) -> graph_pb2.Head:
    if task == spec_pb2.TASK_REGRESSION:
        return graph_pb2.HEAD_IDENTITY
    if task == spec_pb2.TASK_MULTILABEL:
        return graph_pb2.HEAD_MULTILABEL
    return _HEADS.get(loss, graph_pb2.HEAD_THRESHOLD)


@dataclass(frozen=True, slots=True)
class _Columns:
    """A node of a draft that computes [batch, width]."""

    name: str
    width: int


@dataclass(slots=True)
class _Draft:
    """A graph that grows node by node; each method returns the new node."""

    graph: graph_pb2.Graph = field(
        default_factory=lambda: graph_pb2.Graph(format_version=tables.FORMAT_VERSION)
    )
    row_elements: int = 0

    def read(self, name: str, data_type: graph_pb2.DataType, count: int) -> _Columns:
        """Reads a new input [batch, count]."""
        self.graph.inputs.add(name=name, data_type=data_type, shape=[-1, count])
        self.graph.nodes.add(name=name, input=name)
        return self._node(name, count)

    def read_state(self, path: str, count: int) -> str:
        """Reads a new buffer of `count` float32, which has no batch."""
        self.graph.states.add(path=path, data_type=graph_pb2.DATA_TYPE_FP32, shape=[count])
        self.graph.nodes.add(name=path, state=path)
        return path

    def call(
        self,
        name: str,
        function: graph_pb2.Function,
        operands: Sequence[graph_pb2.Value],
        width: int,
    ) -> _Columns:
        """Calls a function that computes `width` columns."""
        self.graph.nodes.add(name=name, function=function, arguments=operands)
        return self._node(name, width)

    def apply(
        self, path: str, operand: _Columns, kind: graph_pb2.ModuleKind, **given: values.Literal
    ) -> _Columns:
        """Calls a new module, which keeps the width."""
        self.graph.modules.add(path=path, kind=kind, arguments=tables.arguments(kind, **given))
        self.graph.nodes.add(name=path, module=path, arguments=[values.node(operand.name)])
        return self._node(path, operand.width)

    def linear(self, path: str, operand: _Columns, width: int) -> _Columns:
        """Calls a new linear layer of `width` outputs."""
        kind = graph_pb2.MODULE_KIND_LINEAR
        given = tables.arguments(kind, in_features=operand.width, out_features=width)
        self.graph.modules.add(path=path, kind=kind, arguments=given)
        self.graph.nodes.add(name=path, module=path, arguments=[values.node(operand.name)])
        return self._node(path, width)

    def _node(self, name: str, width: int) -> _Columns:
        self.row_elements += width
        return _Columns(name, width)


def _prepare(draft: _Draft, sizes: Sizes, *, scaling: bool) -> _Columns:
    """The features of a row, side by side: numeric ones first, then one-hot categories."""
    parts: list[_Columns] = []
    if sizes.numeric_count:
        x = draft.read("x", graph_pb2.DATA_TYPE_FP32, sizes.numeric_count)
        parts.append(_scale(draft, x) if scaling else x)
    if sizes.category_counts:
        count = len(sizes.category_counts)
        index = draft.read("category", graph_pb2.DATA_TYPE_INT64, count)
        operands = (values.node(index.name), values.integers(sizes.category_counts))
        width = sum(sizes.category_counts)
        parts.append(draft.call("one_hot", graph_pb2.FUNCTION_ONE_HOT, operands, width))
    if len(parts) == 1:
        return parts[0]
    operands = (values.nodes(part.name for part in parts), values.literal(1))
    return draft.call("features", graph_pb2.FUNCTION_CAT, operands, sizes.width)


def _scale(draft: _Draft, x: _Columns) -> _Columns:
    mean = draft.read_state(tables.SCALE_MEAN, x.width)
    deviation = draft.read_state(tables.SCALE_DEVIATION, x.width)
    pair = (values.node(x.name), values.node(mean))
    centred = draft.call("scale.centred", graph_pb2.FUNCTION_SUB, pair, x.width)
    pair = (values.node(centred.name), values.node(deviation))
    return draft.call("scale.scaled", graph_pb2.FUNCTION_DIV, pair, x.width)


def _layers(
    draft: _Draft,
    operand: _Columns,
    network: spec_pb2.NetworkSpec,
    sizes: Sizes,
    loss: spec_pb2.Loss,
) -> _Columns:
    if network.family == spec_pb2.FAMILY_MLP:
        operand = _hidden(draft, operand, list(network.hidden) or DEFAULT_HIDDEN, network)
    outputs = _output_count(sizes, loss)
    last = draft.linear("output", operand, outputs)
    is_logit = loss in (spec_pb2.LOSS_BCE, spec_pb2.LOSS_PERCEPTRON)
    if network.family == spec_pb2.FAMILY_NEURON and not is_logit:
        return draft.apply("activation", last, tables.ACTIVATIONS[activation_of(network)])
    return last


def _output_count(sizes: Sizes, loss: spec_pb2.Loss) -> int:
    """Columns of the last layer: a logit per label, or one per target."""
    if loss in _SOFTMAX:
        return sizes.label_count
    has_logits = loss == spec_pb2.LOSS_CUSTOM and sizes.label_count
    return sizes.label_count if has_logits else sizes.target_count


def _hidden(
    draft: _Draft, operand: _Columns, widths: Sequence[int], network: spec_pb2.NetworkSpec
) -> _Columns:
    kind = tables.ACTIVATIONS[activation_of(network)]
    for index, width in enumerate(widths):
        operand = draft.linear(f"hidden.{index}", operand, width)
        operand = draft.apply(f"activation.{index}", operand, kind)
        if network.dropout:
            dropout = graph_pb2.MODULE_KIND_DROPOUT
            operand = draft.apply(f"dropout.{index}", operand, dropout, p=network.dropout)
    return operand
