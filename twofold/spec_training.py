"""How a spec is trained, made complete: losses, optimizers, schedules and what fits together."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from google.protobuf.message import Message

from twofold import spec_fields, spec_loss, spec_module, spec_targets
from twofold.errors import InvalidField, shorten
from twofold.nets import catalogue, catalogue_options
from twofold.v1 import dataset_pb2, spec_pb2

_TWO_LABEL_LOSSES = (spec_pb2.LOSS_BCE, spec_pb2.LOSS_PERCEPTRON, spec_pb2.LOSS_MSE)
_SGD, _LBFGS = spec_pb2.OPTIMIZER_SGD, spec_pb2.OPTIMIZER_LBFGS
_ADAM, _ADAMW = spec_pb2.OPTIMIZER_ADAM, spec_pb2.OPTIMIZER_ADAMW
_RMSPROP, _MUON = spec_pb2.OPTIMIZER_RMSPROP, spec_pb2.OPTIMIZER_MUON
_STEP, _COSINE = spec_pb2.SCHEDULE_KIND_STEP, spec_pb2.SCHEDULE_KIND_COSINE
_ONE_CYCLE, _PLATEAU = spec_pb2.SCHEDULE_KIND_ONE_CYCLE, spec_pb2.SCHEDULE_KIND_PLATEAU

#: A field that belongs to some choices alone -> its default for each of them.
_Owned = Mapping[str, Mapping[int, float]]

_ADAMS = (_ADAM, _ADAMW, _MUON)
_OF_OPTIMIZER: _Owned = {
    "learning_rate": {_SGD: 0.1, _LBFGS: 1.0, **dict.fromkeys((*_ADAMS, _RMSPROP), 0.001)},
    "weight_decay": {_SGD: 0.0, _RMSPROP: 0.0, _ADAM: 0.0, _ADAMW: 0.01, _MUON: 0.01},
    "momentum": {_SGD: 0.0, _RMSPROP: 0.0, _MUON: 0.95},
    "nesterov": {_SGD: False},
    "beta1": dict.fromkeys(_ADAMS, 0.9),
    "beta2": dict.fromkeys(_ADAMS, 0.999),
    "epsilon": dict.fromkeys((*_ADAMS, _RMSPROP), 1e-8),
    "smoothing": {_RMSPROP: 0.99},
    "centered": {_RMSPROP: False},
    "history": {_LBFGS: 10},
    "iterations": {_LBFGS: 20},
}
_OF_LOSS: _Owned = {
    "label_smoothing": {spec_pb2.LOSS_CROSS_ENTROPY: 0.0, spec_pb2.LOSS_BCE: 0.0},
    "focal_gamma": {spec_pb2.LOSS_FOCAL: 2.0},
    "huber_delta": {spec_pb2.LOSS_HUBER: 1.0},
    "quantile": {spec_pb2.LOSS_QUANTILE: 0.5},
}
_OF_SCHEDULE: _Owned = {
    "warmup_epochs": dict.fromkeys(
        (spec_pb2.SCHEDULE_KIND_CONSTANT, _STEP, _COSINE, _PLATEAU), 0.0
    ),
    "step_epochs": {_STEP: 30},
    "drop": {_STEP: 0.1, _PLATEAU: 0.1},
    "floor": {_COSINE: 0.0, _ONE_CYCLE: 4e-6, _PLATEAU: 0.0},
    "rise": {_ONE_CYCLE: 0.3},
    "start": {_ONE_CYCLE: 0.04},
    "plateau_epochs": {_PLATEAU: 10},
    "threshold": {_PLATEAU: 1e-4},
}
_TASKS = (spec_pb2.TASK_CLASSIFICATION, spec_pb2.TASK_REGRESSION, spec_pb2.TASK_MULTILABEL)
#: Numbers that an optimizer keeps per parameter; LBFGS by its history.
_STATE_FLOATS: Mapping[int, int] = {_SGD: 1, _ADAM: 2, _ADAMW: 2, _RMSPROP: 3, _MUON: 2}


def word(name: str, prefix: str) -> str:
    """An enum's name as specs spell it."""
    return name.removeprefix(prefix).lower()


def family_of(network: spec_pb2.NetworkSpec) -> str:
    """The family as specs spell it."""
    return word(spec_pb2.Family.Name(network.family), "FAMILY_")


def complete(
    spec: spec_pb2.TrainingSpec, columns: Mapping[str, dataset_pb2.Column], row_count: int
) -> None:
    """Fills `spec.training` in; the network and the data must be complete.

    Raises InvalidField where options do not fit together.
    """
    _complete_loss(spec, columns)
    training = spec.training
    if publishes_as_is(training):
        _check_untrained(spec)
    is_rule = training.loss == spec_pb2.LOSS_PERCEPTRON
    training.optimizer = training.optimizer or (_SGD if is_rule else _ADAM)
    if is_rule and training.optimizer == _SGD and not training.HasField("learning_rate"):
        training.learning_rate = 1.0
    kind = training.optimizer
    owned = dict(_OF_OPTIMIZER)
    if is_automatic(training):
        del owned["learning_rate"]  # it follows from the batch size that is found
    _settle(training, "training", owned, kind, _optimizer_word)
    _settle(training, "training", _OF_LOSS, training.loss, _loss_word)
    schedule = training.schedule
    schedule.kind = schedule.kind or spec_pb2.SCHEDULE_KIND_CONSTANT
    _settle(schedule, "training.schedule", _OF_SCHEDULE, schedule.kind, _schedule_word)
    training.precision = training.precision or spec_pb2.PRECISION_FP32
    if is_automatic(training) and kind == _LBFGS:
        raise InvalidField.of("training.batch_size", "auto", "all rows for lbfgs, or nothing")
    if training.nesterov and not training.momentum:
        allowed = "false, or true with training.momentum above 0"
        raise InvalidField.of("training.nesterov", value=True, allowed=allowed)
    if kind == _LBFGS:
        _complete_full_batch(training, row_count)
    _check_class_weights(spec)


def publishes_as_is(training: spec_pb2.TrainingOptions) -> bool:
    """Whether nothing is trained: a module's weights are published as they came."""
    return training.HasField("epochs") and training.epochs == 0


def is_automatic(training: spec_pb2.TrainingOptions) -> bool:
    """Whether the batch size is to be found by trying."""
    return training.HasField("batch_size") and training.batch_size == 0


def tasks(spec: spec_pb2.TrainingSpec) -> list[spec_pb2.Task]:
    """Tasks that the network of a spec can be trained for; raises InvalidField."""
    network, training = spec.network, spec.training
    is_module = spec_module.is_module(network)
    if spec_loss.is_custom(training) and not spec_loss.takes(network):
        takers = ", ".join(map(catalogue_options.family_word, catalogue.ANY_LOSS))
        allowed = f"nothing but for {takers} and module"
        raise InvalidField.of("training.loss_graph", f"a loss for {family_of(network)}", allowed)
    if spec_loss.is_custom(training) and is_module:
        return list(_TASKS)
    return [task for task in _TASKS if losses(network, task)]


def losses(network: spec_pb2.NetworkSpec, task: spec_pb2.Task) -> Sequence[spec_pb2.Loss]:
    """Losses that fit a network and a task, the default first."""
    if spec_module.is_module(network):
        return spec_module.losses(network.graph, task)
    return catalogue.losses(network, task)


def floats_per_parameter(training: spec_pb2.TrainingOptions) -> int:
    """Numbers kept per parameter: value, gradient, the optimizer's and the average's."""
    state = 2 * training.history + 4 if training.optimizer == _LBFGS else 0
    average = 1 if training.HasField("ema_decay") else 0
    return 2 + average + (state or _STATE_FLOATS[training.optimizer])


def _check_untrained(spec: spec_pb2.TrainingSpec) -> None:
    if not spec_module.is_module(spec.network):
        allowed = "at least 1; 0 for a module only, whose weights are published as they came"
        raise InvalidField.of("training.epochs", 0, f"{allowed}, not for {family_of(spec.network)}")
    if is_automatic(spec.training):
        allowed = "a number, or nothing, where training.epochs is 0"
        raise InvalidField.of("training.batch_size", "auto", allowed)


def _complete_loss(spec: spec_pb2.TrainingSpec, columns: Mapping[str, dataset_pb2.Column]) -> None:
    training, network, task = spec.training, spec.network, spec.data.task
    permitted = _permitted(spec)
    training.loss = training.loss or permitted[0]
    if training.loss not in permitted:
        words = " or ".join(map(_loss_word, permitted))
        allowed = f"{words} for {family_of(network)} and {spec_targets.word(task)}"
        raise InvalidField.of("training.loss", _loss_word(training.loss), allowed)
    labels = spec_loss.label_count(spec.data, columns)
    if labels and training.loss in _TWO_LABEL_LOSSES and labels != 2:  # noqa: PLR2004 - two labels
        shown = f"{spec.data.target} with {labels:,} labels"
        allowed = f"2 labels for {family_of(network)} with {_loss_word(training.loss)}"
        raise InvalidField.of("data.target", shown, allowed)
    if spec_module.is_module(network):
        spec_module.complete_head(spec, labels, len(spec_targets.of(spec.data)))


def _permitted(spec: spec_pb2.TrainingSpec) -> Sequence[spec_pb2.Loss]:
    """Losses that a spec may name, the default first."""
    if spec.training.HasField("loss_graph"):
        return (spec_pb2.LOSS_CUSTOM,)
    if spec.training.loss == spec_pb2.LOSS_CUSTOM:
        allowed = "a graph; twofold train SPEC --loss FILE.py:NAME makes one of a function"
        raise InvalidField.of("training.loss_graph", "unset", allowed)
    return losses(spec.network, spec.data.task)


def _settle(
    message: Message, path: str, owned: _Owned, choice: int, name_of: Callable[[int], str]
) -> None:
    """Fills in what belongs to `choice`; refuses what belongs to others alone."""
    for name, defaults in owned.items():
        is_set = spec_fields.is_set(message, name)
        value = cast("object", getattr(message, name))  # a name of the tables above
        if choice in defaults:
            if not is_set:
                setattr(message, name, defaults[choice])
        elif is_set and value:
            owners = ", ".join(name_of(owner) for owner in defaults)
            raise InvalidField.of(f"{path}.{name}", value, f"nothing but for {owners}")


def _complete_full_batch(training: spec_pb2.TrainingOptions, row_count: int) -> None:
    """LBFGS compares losses of one step with each other: each must be that of all rows."""
    limit = int(spec_fields.FIELDS["training.batch_size"].high)
    if row_count > limit:
        shown = f"lbfgs for {row_count:,} rows"
        raise InvalidField.of("training.optimizer", shown, f"lbfgs for at most {limit:,} rows")
    if not training.HasField("batch_size"):
        training.batch_size = row_count
    if training.batch_size < row_count:
        allowed = f"at least the {row_count:,} rows of the table for lbfgs, or nothing"
        raise InvalidField.of("training.batch_size", training.batch_size, allowed)
    for name in ("clip_norm", "clip_value"):
        if training.HasField(name):
            value = cast("float", getattr(training, name))  # of two fields
            raise InvalidField.of(f"training.{name}", value, "nothing for lbfgs")


def _check_class_weights(spec: spec_pb2.TrainingSpec) -> None:
    training = spec.training
    if spec.data.task == spec_pb2.TASK_MULTILABEL:
        _check_label_names(spec)
    is_classification = spec.data.task != spec_pb2.TASK_REGRESSION
    if not is_classification and training.class_weights:
        shown = f"weights of {len(training.class_weights)} labels"
        raise InvalidField.of("training.class_weights", shown, "nothing but for classification")
    if training.balance_classes and (not is_classification or training.class_weights):
        allowed = "false but for classification without training.class_weights"
        raise InvalidField.of("training.balance_classes", value=True, allowed=allowed)


def _check_label_names(spec: spec_pb2.TrainingSpec) -> None:
    """Labels of a multi-label are columns, so that they are known before the data are read."""
    targets = spec_targets.of(spec.data)
    for label in spec.training.class_weights:
        if label not in targets:
            allowed = "target columns: " + shorten(", ".join(targets))
            raise InvalidField.of("training.class_weights", label, allowed)


def _optimizer_word(value: int) -> str:
    return word(spec_pb2.Optimizer.Name(cast("spec_pb2.Optimizer", value)), "OPTIMIZER_")


def _loss_word(value: int) -> str:
    return word(spec_pb2.Loss.Name(cast("spec_pb2.Loss", value)), "LOSS_")


def _schedule_word(value: int) -> str:
    name = spec_pb2.ScheduleKind.Name(cast("spec_pb2.ScheduleKind", value))
    return word(name, "SCHEDULE_KIND_")
