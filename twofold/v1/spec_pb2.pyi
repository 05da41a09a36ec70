import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_CLASSIFICATION: _ClassVar[Task]
    TASK_REGRESSION: _ClassVar[Task]

class Split(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPLIT_UNSPECIFIED: _ClassVar[Split]
    SPLIT_RANDOM: _ClassVar[Split]
    SPLIT_STRATIFIED: _ClassVar[Split]

class Family(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAMILY_UNSPECIFIED: _ClassVar[Family]
    FAMILY_NEURON: _ClassVar[Family]
    FAMILY_PERCEPTRON: _ClassVar[Family]
    FAMILY_LINEAR: _ClassVar[Family]
    FAMILY_LOGISTIC: _ClassVar[Family]
    FAMILY_SOFTMAX: _ClassVar[Family]
    FAMILY_MLP: _ClassVar[Family]

class Activation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTIVATION_UNSPECIFIED: _ClassVar[Activation]
    ACTIVATION_STEP: _ClassVar[Activation]
    ACTIVATION_SIGMOID: _ClassVar[Activation]
    ACTIVATION_TANH: _ClassVar[Activation]
    ACTIVATION_RELU: _ClassVar[Activation]
    ACTIVATION_ELU: _ClassVar[Activation]
    ACTIVATION_SELU: _ClassVar[Activation]
    ACTIVATION_CELU: _ClassVar[Activation]
    ACTIVATION_GELU: _ClassVar[Activation]
    ACTIVATION_SILU: _ClassVar[Activation]
    ACTIVATION_MISH: _ClassVar[Activation]
    ACTIVATION_LEAKY_RELU: _ClassVar[Activation]
    ACTIVATION_PRELU: _ClassVar[Activation]
    ACTIVATION_RRELU: _ClassVar[Activation]
    ACTIVATION_RELU6: _ClassVar[Activation]
    ACTIVATION_SOFTPLUS: _ClassVar[Activation]
    ACTIVATION_SOFTSIGN: _ClassVar[Activation]
    ACTIVATION_SOFTSHRINK: _ClassVar[Activation]
    ACTIVATION_HARDSHRINK: _ClassVar[Activation]
    ACTIVATION_HARDSIGMOID: _ClassVar[Activation]
    ACTIVATION_HARDSWISH: _ClassVar[Activation]
    ACTIVATION_HARDTANH: _ClassVar[Activation]
    ACTIVATION_LOG_SIGMOID: _ClassVar[Activation]
    ACTIVATION_TANHSHRINK: _ClassVar[Activation]
    ACTIVATION_IDENTITY: _ClassVar[Activation]

class Loss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_UNSPECIFIED: _ClassVar[Loss]
    LOSS_MSE: _ClassVar[Loss]
    LOSS_BCE: _ClassVar[Loss]
    LOSS_CROSS_ENTROPY: _ClassVar[Loss]
    LOSS_PERCEPTRON: _ClassVar[Loss]

class Optimizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMIZER_UNSPECIFIED: _ClassVar[Optimizer]
    OPTIMIZER_SGD: _ClassVar[Optimizer]
    OPTIMIZER_ADAM: _ClassVar[Optimizer]
    OPTIMIZER_ADAMW: _ClassVar[Optimizer]
TASK_UNSPECIFIED: Task
TASK_CLASSIFICATION: Task
TASK_REGRESSION: Task
SPLIT_UNSPECIFIED: Split
SPLIT_RANDOM: Split
SPLIT_STRATIFIED: Split
FAMILY_UNSPECIFIED: Family
FAMILY_NEURON: Family
FAMILY_PERCEPTRON: Family
FAMILY_LINEAR: Family
FAMILY_LOGISTIC: Family
FAMILY_SOFTMAX: Family
FAMILY_MLP: Family
ACTIVATION_UNSPECIFIED: Activation
ACTIVATION_STEP: Activation
ACTIVATION_SIGMOID: Activation
ACTIVATION_TANH: Activation
ACTIVATION_RELU: Activation
ACTIVATION_ELU: Activation
ACTIVATION_SELU: Activation
ACTIVATION_CELU: Activation
ACTIVATION_GELU: Activation
ACTIVATION_SILU: Activation
ACTIVATION_MISH: Activation
ACTIVATION_LEAKY_RELU: Activation
ACTIVATION_PRELU: Activation
ACTIVATION_RRELU: Activation
ACTIVATION_RELU6: Activation
ACTIVATION_SOFTPLUS: Activation
ACTIVATION_SOFTSIGN: Activation
ACTIVATION_SOFTSHRINK: Activation
ACTIVATION_HARDSHRINK: Activation
ACTIVATION_HARDSIGMOID: Activation
ACTIVATION_HARDSWISH: Activation
ACTIVATION_HARDTANH: Activation
ACTIVATION_LOG_SIGMOID: Activation
ACTIVATION_TANHSHRINK: Activation
ACTIVATION_IDENTITY: Activation
LOSS_UNSPECIFIED: Loss
LOSS_MSE: Loss
LOSS_BCE: Loss
LOSS_CROSS_ENTROPY: Loss
LOSS_PERCEPTRON: Loss
OPTIMIZER_UNSPECIFIED: Optimizer
OPTIMIZER_SGD: Optimizer
OPTIMIZER_ADAM: Optimizer
OPTIMIZER_ADAMW: Optimizer

class TrainingSpec(_message.Message):
    __slots__ = ("format_version", "model", "data", "network", "training", "limits")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    model: str
    data: DataSpec
    network: NetworkSpec
    training: TrainingOptions
    limits: Limits
    def __init__(self, format_version: _Optional[int] = ..., model: _Optional[str] = ..., data: _Optional[_Union[DataSpec, _Mapping]] = ..., network: _Optional[_Union[NetworkSpec, _Mapping]] = ..., training: _Optional[_Union[TrainingOptions, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class DataSpec(_message.Message):
    __slots__ = ("dataset", "target", "features", "task", "validation_fraction", "split", "standardize")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    STANDARDIZE_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    target: str
    features: _containers.RepeatedScalarFieldContainer[str]
    task: Task
    validation_fraction: float
    split: Split
    standardize: bool
    def __init__(self, dataset: _Optional[str] = ..., target: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., task: _Optional[_Union[Task, str]] = ..., validation_fraction: _Optional[float] = ..., split: _Optional[_Union[Split, str]] = ..., standardize: _Optional[bool] = ...) -> None: ...

class NetworkSpec(_message.Message):
    __slots__ = ("family", "hidden", "activation", "dropout")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    family: Family
    hidden: _containers.RepeatedScalarFieldContainer[int]
    activation: Activation
    dropout: float
    def __init__(self, family: _Optional[_Union[Family, str]] = ..., hidden: _Optional[_Iterable[int]] = ..., activation: _Optional[_Union[Activation, str]] = ..., dropout: _Optional[float] = ...) -> None: ...

class TrainingOptions(_message.Message):
    __slots__ = ("epochs", "batch_size", "loss", "optimizer", "learning_rate", "weight_decay", "momentum", "nesterov", "seed", "tolerance", "patience", "threads", "checkpoint_interval")
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    NESTEROV_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    epochs: int
    batch_size: int
    loss: Loss
    optimizer: Optimizer
    learning_rate: float
    weight_decay: float
    momentum: float
    nesterov: bool
    seed: int
    tolerance: float
    patience: int
    threads: int
    checkpoint_interval: _duration_pb2.Duration
    def __init__(self, epochs: _Optional[int] = ..., batch_size: _Optional[int] = ..., loss: _Optional[_Union[Loss, str]] = ..., optimizer: _Optional[_Union[Optimizer, str]] = ..., learning_rate: _Optional[float] = ..., weight_decay: _Optional[float] = ..., momentum: _Optional[float] = ..., nesterov: _Optional[bool] = ..., seed: _Optional[int] = ..., tolerance: _Optional[float] = ..., patience: _Optional[int] = ..., threads: _Optional[int] = ..., checkpoint_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_duration", "progress_timeout", "max_retries", "retry_user_errors")
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    RETRY_USER_ERRORS_FIELD_NUMBER: _ClassVar[int]
    max_duration: _duration_pb2.Duration
    progress_timeout: _duration_pb2.Duration
    max_retries: int
    retry_user_errors: bool
    def __init__(self, max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., progress_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_retries: _Optional[int] = ..., retry_user_errors: _Optional[bool] = ...) -> None: ...
