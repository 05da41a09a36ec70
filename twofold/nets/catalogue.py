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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twofold.errors import InvalidField
from twofold.nets import (
    catalogue_arrays,
    catalogue_options,
    catalogue_tables,
    tables,
)
from twofold.nets.catalogue_options import ARRAY_FAMILIES
from twofold.nets.draft import Draft, Drawn
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

__all__ = [
    "ANY_LOSS",
    "ARRAY_FAMILIES",
    "LOSSES",
    "SEVERAL_TARGETS",
    "Built",
    "Sizes",
    "activation_of",
    "build",
    "build_sized",
    "deciding_field",
    "losses",
    "sizes_of",
    "threshold",
]

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
#: Families of hidden layers, which do every task.
_DEEP = (
    spec_pb2.FAMILY_MLP,
    spec_pb2.FAMILY_RESIDUAL_MLP,
    spec_pb2.FAMILY_EMBEDDING_MLP,
    *sorted(ARRAY_FAMILIES),
)
#: Families that predict several columns together.
SEVERAL_TARGETS = (spec_pb2.FAMILY_LINEAR, spec_pb2.FAMILY_LOGISTIC, *_DEEP)
#: Families whose last layer has what the task needs whatever the loss: they take one of the user's.
ANY_LOSS = (spec_pb2.FAMILY_LINEAR, spec_pb2.FAMILY_SOFTMAX, *_DEEP)

#: The losses of every family and task, its default first.
LOSSES: Mapping[tuple[spec_pb2.Family, spec_pb2.Task], Sequence[spec_pb2.Loss]] = {
    (spec_pb2.FAMILY_NEURON, spec_pb2.TASK_REGRESSION): _REGRESSION,
    (spec_pb2.FAMILY_PERCEPTRON, spec_pb2.TASK_CLASSIFICATION): (spec_pb2.LOSS_PERCEPTRON,),
    (spec_pb2.FAMILY_LINEAR, spec_pb2.TASK_REGRESSION): _REGRESSION,
    (spec_pb2.FAMILY_LOGISTIC, spec_pb2.TASK_CLASSIFICATION): (spec_pb2.LOSS_BCE,),
    (spec_pb2.FAMILY_LOGISTIC, spec_pb2.TASK_MULTILABEL): (spec_pb2.LOSS_BCE,),
    (spec_pb2.FAMILY_SOFTMAX, spec_pb2.TASK_CLASSIFICATION): _SOFTMAX,
    **{
        (family, task): losses
        for family in _DEEP
        for task, losses in (
            (spec_pb2.TASK_REGRESSION, _REGRESSION),
            (spec_pb2.TASK_CLASSIFICATION, (*_SOFTMAX, spec_pb2.LOSS_BCE)),
            (spec_pb2.TASK_MULTILABEL, (spec_pb2.LOSS_BCE,)),
        )
    },
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
    #: Shape of a row of the array input where there is exactly one; () otherwise.
    array_shape: tuple[int, ...] = ()
    #: Its name; "" where there is none.
    array_name: str = ""
    #: Target columns.
    target_count: int = 1

    @property
    def width(self) -> int:
        """Features of a row after one-hot."""
        return self.numeric_count + sum(self.category_counts)


def sizes_of(features: model_pb2.FeatureSpec) -> Sizes:
    """The widths of data prepared by `features`."""
    arrays = features.array_columns
    is_single = len(arrays) == 1
    return Sizes(
        numeric_count=len(features.numeric_columns),
        category_counts=tuple(len(column.vocabulary) for column in features.category_columns),
        label_count=len(features.labels),
        target_count=len(features.targets) or 1,
        array_shape=tuple(arrays[0].shape[1:]) if is_single else (),
        array_name=arrays[0].name if is_single else "",
    )


def activation_of(network: spec_pb2.NetworkSpec) -> spec_pb2.Activation:
    """The activation, or the family's default; UNSPECIFIED for families without a choice."""
    return _filled(network).activation


def deciding_field(network: spec_pb2.NetworkSpec) -> str:
    """The field of a spec that decides most how large a network is."""
    options = catalogue_options.options_of(network.family)
    deciding = (f"network.{name}" for name in ("hidden", "channels", "width") if name in options)
    return next(deciding, "data.features")


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
    if network.family in ARRAY_FAMILIES:
        for column in features.array_columns:
            if column.data_type != graph_pb2.DATA_TYPE_FP32:
                name = graph_pb2.DataType.Name(column.data_type).removeprefix("DATA_TYPE_")
                raise InvalidField.of("data.features", f"{column.name} of {name}", "FP32")
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
    network, loss = _filled(network), loss or permitted[0]
    draft = Draft()
    last = _body(draft, network, sizes, scaling=scaling)
    last = draft.linear("output", last, _output_count(sizes, loss))
    is_logit = loss in (spec_pb2.LOSS_BCE, spec_pb2.LOSS_PERCEPTRON)
    if network.family == spec_pb2.FAMILY_NEURON and not is_logit:
        last = draft.apply("activation", last, tables.ACTIVATIONS[network.activation])
    output = draft.graph.outputs.add(name="output", data_type=graph_pb2.DATA_TYPE_FP32)
    output.shape.extend([-1, last.width])
    draft.graph.head = _head(task, loss)
    if draft.graph.head == graph_pb2.HEAD_THRESHOLD:
        draft.graph.head_threshold = threshold(network.activation)
    if draft.largest > tables.MAX_ROW_ELEMENTS:
        shown = f"what computes {draft.largest:,} numbers of a row at once"
        allowed = f"at most {tables.MAX_ROW_ELEMENTS:,}"
        raise InvalidField.of(deciding_field(network), shown, allowed)
    return Built(draft.graph, draft.row_elements)


def _output_count(sizes: Sizes, loss: spec_pb2.Loss) -> int:
    """Columns of the last layer: a logit per label, or one per target."""
    if loss in _SOFTMAX:
        return sizes.label_count
    has_logits = loss == spec_pb2.LOSS_CUSTOM and sizes.label_count
    return sizes.label_count if has_logits else sizes.target_count


def _names(permitted: Sequence[spec_pb2.Loss]) -> str:
    names = [spec_pb2.Loss.Name(loss).removeprefix("LOSS_").lower() for loss in permitted]
    return " or ".join(names) or "none: the family does not do this task"


def _head(task: spec_pb2.Task, loss: spec_pb2.Loss) -> graph_pb2.Head:
    if task == spec_pb2.TASK_REGRESSION:
        return graph_pb2.HEAD_IDENTITY
    if task == spec_pb2.TASK_MULTILABEL:
        return graph_pb2.HEAD_MULTILABEL
    return _HEADS.get(loss, graph_pb2.HEAD_THRESHOLD)


def _filled(network: spec_pb2.NetworkSpec) -> spec_pb2.NetworkSpec:
    """A copy with the family's defaults."""
    filled = spec_pb2.NetworkSpec()
    filled.CopyFrom(network)
    catalogue_options.fill(filled)
    return filled


def _body(draft: Draft, network: spec_pb2.NetworkSpec, sizes: Sizes, *, scaling: bool) -> Drawn:
    """All but the output layer."""
    if network.family in ARRAY_FAMILIES:
        _refuse_columns(network, sizes)
        name, shape = sizes.array_name, sizes.array_shape
        x = catalogue_arrays.inputs(draft, name, shape, network, scaling=scaling)
        return draft.dropout(
            "dropout", _OF_ARRAYS[network.family](draft, x, network), network.dropout
        )
    if sizes.array_shape:
        family = catalogue_options.family_word(network.family)
        allowed = f"numeric and category columns for {family}"
        raise InvalidField.of("data.features", f"the array column {sizes.array_name}", allowed)
    counts = (sizes.numeric_count, sizes.category_counts)
    if network.family == spec_pb2.FAMILY_EMBEDDING_MLP:
        x = catalogue_tables.embedded_inputs(draft, *counts, network, scaling=scaling)
    else:
        x = catalogue_tables.one_hot_inputs(draft, *counts, scaling=scaling)
    return _OF_TABLES.get(network.family, _as_it_is)(draft, x, network)


def _refuse_columns(network: spec_pb2.NetworkSpec, sizes: Sizes) -> None:
    if sizes.width:
        shown = f"{sizes.numeric_count + len(sizes.category_counts):,} numeric or category columns"
        family = catalogue_options.family_word(network.family)
        raise InvalidField.of("data.features", shown, f"one array column alone for {family}")


def _as_it_is(draft: Draft, x: Drawn, network: spec_pb2.NetworkSpec) -> Drawn:
    """No hidden layer."""
    del draft, network
    return x


_Layers = Callable[[Draft, Drawn, spec_pb2.NetworkSpec], Drawn]

#: What stands between the inputs and the output layer.
_OF_TABLES: Mapping[spec_pb2.Family, _Layers] = {
    spec_pb2.FAMILY_MLP: catalogue_tables.hidden,
    spec_pb2.FAMILY_EMBEDDING_MLP: catalogue_tables.hidden,
    spec_pb2.FAMILY_RESIDUAL_MLP: catalogue_tables.residual,
}
_OF_ARRAYS: Mapping[spec_pb2.Family, _Layers] = {
    spec_pb2.FAMILY_CNN: catalogue_arrays.cnn,
    spec_pb2.FAMILY_RESNET: catalogue_arrays.resnet,
    spec_pb2.FAMILY_CNN1D: catalogue_arrays.cnn1d,
    spec_pb2.FAMILY_GRU: catalogue_arrays.gru,
}
