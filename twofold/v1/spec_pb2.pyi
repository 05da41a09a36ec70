import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from twofold.v1 import graph_pb2 as _graph_pb2
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
    TASK_MULTILABEL: _ClassVar[Task]

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
    FAMILY_MODULE: _ClassVar[Family]
    FAMILY_RESIDUAL_MLP: _ClassVar[Family]
    FAMILY_EMBEDDING_MLP: _ClassVar[Family]
    FAMILY_CNN: _ClassVar[Family]
    FAMILY_RESNET: _ClassVar[Family]
    FAMILY_CNN1D: _ClassVar[Family]
    FAMILY_GRU: _ClassVar[Family]

class Pooling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POOLING_UNSPECIFIED: _ClassVar[Pooling]
    POOLING_MEAN: _ClassVar[Pooling]
    POOLING_MAX: _ClassVar[Pooling]
    POOLING_LAST: _ClassVar[Pooling]

class Normalization(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORMALIZATION_UNSPECIFIED: _ClassVar[Normalization]
    NORMALIZATION_NONE: _ClassVar[Normalization]
    NORMALIZATION_BATCH: _ClassVar[Normalization]
    NORMALIZATION_LAYER: _ClassVar[Normalization]
    NORMALIZATION_GROUP: _ClassVar[Normalization]

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

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_UNSPECIFIED: _ClassVar[Precision]
    PRECISION_FP32: _ClassVar[Precision]
    PRECISION_BF16: _ClassVar[Precision]
    PRECISION_AUTO: _ClassVar[Precision]
    PRECISION_TF32: _ClassVar[Precision]

class ScheduleKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCHEDULE_KIND_UNSPECIFIED: _ClassVar[ScheduleKind]
    SCHEDULE_KIND_CONSTANT: _ClassVar[ScheduleKind]
    SCHEDULE_KIND_STEP: _ClassVar[ScheduleKind]
    SCHEDULE_KIND_COSINE: _ClassVar[ScheduleKind]
    SCHEDULE_KIND_ONE_CYCLE: _ClassVar[ScheduleKind]
    SCHEDULE_KIND_PLATEAU: _ClassVar[ScheduleKind]

class Loss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_UNSPECIFIED: _ClassVar[Loss]
    LOSS_MSE: _ClassVar[Loss]
    LOSS_BCE: _ClassVar[Loss]
    LOSS_CROSS_ENTROPY: _ClassVar[Loss]
    LOSS_PERCEPTRON: _ClassVar[Loss]
    LOSS_FOCAL: _ClassVar[Loss]
    LOSS_HUBER: _ClassVar[Loss]
    LOSS_QUANTILE: _ClassVar[Loss]
    LOSS_L1: _ClassVar[Loss]
    LOSS_CUSTOM: _ClassVar[Loss]

class Optimizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMIZER_UNSPECIFIED: _ClassVar[Optimizer]
    OPTIMIZER_SGD: _ClassVar[Optimizer]
    OPTIMIZER_ADAM: _ClassVar[Optimizer]
    OPTIMIZER_ADAMW: _ClassVar[Optimizer]
    OPTIMIZER_RMSPROP: _ClassVar[Optimizer]
    OPTIMIZER_LBFGS: _ClassVar[Optimizer]
    OPTIMIZER_MUON: _ClassVar[Optimizer]
TASK_UNSPECIFIED: Task
TASK_CLASSIFICATION: Task
TASK_REGRESSION: Task
TASK_MULTILABEL: Task
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
FAMILY_MODULE: Family
FAMILY_RESIDUAL_MLP: Family
FAMILY_EMBEDDING_MLP: Family
FAMILY_CNN: Family
FAMILY_RESNET: Family
FAMILY_CNN1D: Family
FAMILY_GRU: Family
POOLING_UNSPECIFIED: Pooling
POOLING_MEAN: Pooling
POOLING_MAX: Pooling
POOLING_LAST: Pooling
NORMALIZATION_UNSPECIFIED: Normalization
NORMALIZATION_NONE: Normalization
NORMALIZATION_BATCH: Normalization
NORMALIZATION_LAYER: Normalization
NORMALIZATION_GROUP: Normalization
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
PRECISION_UNSPECIFIED: Precision
PRECISION_FP32: Precision
PRECISION_BF16: Precision
PRECISION_AUTO: Precision
PRECISION_TF32: Precision
SCHEDULE_KIND_UNSPECIFIED: ScheduleKind
SCHEDULE_KIND_CONSTANT: ScheduleKind
SCHEDULE_KIND_STEP: ScheduleKind
SCHEDULE_KIND_COSINE: ScheduleKind
SCHEDULE_KIND_ONE_CYCLE: ScheduleKind
SCHEDULE_KIND_PLATEAU: ScheduleKind
LOSS_UNSPECIFIED: Loss
LOSS_MSE: Loss
LOSS_BCE: Loss
LOSS_CROSS_ENTROPY: Loss
LOSS_PERCEPTRON: Loss
LOSS_FOCAL: Loss
LOSS_HUBER: Loss
LOSS_QUANTILE: Loss
LOSS_L1: Loss
LOSS_CUSTOM: Loss
OPTIMIZER_UNSPECIFIED: Optimizer
OPTIMIZER_SGD: Optimizer
OPTIMIZER_ADAM: Optimizer
OPTIMIZER_ADAMW: Optimizer
OPTIMIZER_RMSPROP: Optimizer
OPTIMIZER_LBFGS: Optimizer
OPTIMIZER_MUON: Optimizer

class TrainingSpec(_message.Message):
    __slots__ = ("format_version", "model", "data", "network", "training", "limits", "gates")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    model: str
    data: DataSpec
    network: NetworkSpec
    training: TrainingOptions
    limits: Limits
    gates: Gates
    def __init__(self, format_version: _Optional[int] = ..., model: _Optional[str] = ..., data: _Optional[_Union[DataSpec, _Mapping]] = ..., network: _Optional[_Union[NetworkSpec, _Mapping]] = ..., training: _Optional[_Union[TrainingOptions, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., gates: _Optional[_Union[Gates, _Mapping]] = ...) -> None: ...

class DataSpec(_message.Message):
    __slots__ = ("dataset", "target", "features", "task", "validation_fraction", "split", "standardize", "targets", "weight")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    STANDARDIZE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    target: str
    features: _containers.RepeatedScalarFieldContainer[str]
    task: Task
    validation_fraction: float
    split: Split
    standardize: bool
    targets: _containers.RepeatedScalarFieldContainer[str]
    weight: str
    def __init__(self, dataset: _Optional[str] = ..., target: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., task: _Optional[_Union[Task, str]] = ..., validation_fraction: _Optional[float] = ..., split: _Optional[_Union[Split, str]] = ..., standardize: _Optional[bool] = ..., targets: _Optional[_Iterable[str]] = ..., weight: _Optional[str] = ...) -> None: ...

class NetworkSpec(_message.Message):
    __slots__ = ("family", "hidden", "activation", "dropout", "graph", "weights", "warm_start", "frozen", "head", "channels", "kernel_size", "blocks", "width", "expansion", "embedding_dim", "layers", "bidirectional", "pooling", "normalization")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    WARM_START_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    EXPANSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_DIM_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BIDIRECTIONAL_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    family: Family
    hidden: _containers.RepeatedScalarFieldContainer[int]
    activation: Activation
    dropout: float
    graph: _graph_pb2.Graph
    weights: str
    warm_start: str
    frozen: _containers.RepeatedScalarFieldContainer[str]
    head: _graph_pb2.Head
    channels: _containers.RepeatedScalarFieldContainer[int]
    kernel_size: int
    blocks: int
    width: int
    expansion: int
    embedding_dim: int
    layers: int
    bidirectional: bool
    pooling: Pooling
    normalization: Normalization
    def __init__(self, family: _Optional[_Union[Family, str]] = ..., hidden: _Optional[_Iterable[int]] = ..., activation: _Optional[_Union[Activation, str]] = ..., dropout: _Optional[float] = ..., graph: _Optional[_Union[_graph_pb2.Graph, _Mapping]] = ..., weights: _Optional[str] = ..., warm_start: _Optional[str] = ..., frozen: _Optional[_Iterable[str]] = ..., head: _Optional[_Union[_graph_pb2.Head, str]] = ..., channels: _Optional[_Iterable[int]] = ..., kernel_size: _Optional[int] = ..., blocks: _Optional[int] = ..., width: _Optional[int] = ..., expansion: _Optional[int] = ..., embedding_dim: _Optional[int] = ..., layers: _Optional[int] = ..., bidirectional: _Optional[bool] = ..., pooling: _Optional[_Union[Pooling, str]] = ..., normalization: _Optional[_Union[Normalization, str]] = ...) -> None: ...

class TrainingOptions(_message.Message):
    __slots__ = ("epochs", "batch_size", "loss", "optimizer", "learning_rate", "weight_decay", "momentum", "nesterov", "seed", "tolerance", "patience", "threads", "checkpoint_interval", "beta1", "beta2", "epsilon", "smoothing", "centered", "history", "iterations", "schedule", "ema_decay", "clip_norm", "clip_value", "micro_batch_size", "label_smoothing", "focal_gamma", "huber_delta", "quantile", "class_weights", "balance_classes", "precision", "compile", "deterministic", "loss_graph", "tensorboard")
    class ClassWeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
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
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    CENTERED_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    EMA_DECAY_FIELD_NUMBER: _ClassVar[int]
    CLIP_NORM_FIELD_NUMBER: _ClassVar[int]
    CLIP_VALUE_FIELD_NUMBER: _ClassVar[int]
    MICRO_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LABEL_SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    FOCAL_GAMMA_FIELD_NUMBER: _ClassVar[int]
    HUBER_DELTA_FIELD_NUMBER: _ClassVar[int]
    QUANTILE_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_CLASSES_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    COMPILE_FIELD_NUMBER: _ClassVar[int]
    DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    LOSS_GRAPH_FIELD_NUMBER: _ClassVar[int]
    TENSORBOARD_FIELD_NUMBER: _ClassVar[int]
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
    beta1: float
    beta2: float
    epsilon: float
    smoothing: float
    centered: bool
    history: int
    iterations: int
    schedule: Schedule
    ema_decay: float
    clip_norm: float
    clip_value: float
    micro_batch_size: int
    label_smoothing: float
    focal_gamma: float
    huber_delta: float
    quantile: float
    class_weights: _containers.ScalarMap[str, float]
    balance_classes: bool
    precision: Precision
    compile: bool
    deterministic: bool
    loss_graph: _graph_pb2.Graph
    tensorboard: bool
    def __init__(self, epochs: _Optional[int] = ..., batch_size: _Optional[int] = ..., loss: _Optional[_Union[Loss, str]] = ..., optimizer: _Optional[_Union[Optimizer, str]] = ..., learning_rate: _Optional[float] = ..., weight_decay: _Optional[float] = ..., momentum: _Optional[float] = ..., nesterov: _Optional[bool] = ..., seed: _Optional[int] = ..., tolerance: _Optional[float] = ..., patience: _Optional[int] = ..., threads: _Optional[int] = ..., checkpoint_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., epsilon: _Optional[float] = ..., smoothing: _Optional[float] = ..., centered: _Optional[bool] = ..., history: _Optional[int] = ..., iterations: _Optional[int] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., ema_decay: _Optional[float] = ..., clip_norm: _Optional[float] = ..., clip_value: _Optional[float] = ..., micro_batch_size: _Optional[int] = ..., label_smoothing: _Optional[float] = ..., focal_gamma: _Optional[float] = ..., huber_delta: _Optional[float] = ..., quantile: _Optional[float] = ..., class_weights: _Optional[_Mapping[str, float]] = ..., balance_classes: _Optional[bool] = ..., precision: _Optional[_Union[Precision, str]] = ..., compile: _Optional[bool] = ..., deterministic: _Optional[bool] = ..., loss_graph: _Optional[_Union[_graph_pb2.Graph, _Mapping]] = ..., tensorboard: _Optional[bool] = ...) -> None: ...

class Choices(_message.Message):
    __slots__ = ("device", "threads", "threads_reason", "precision", "precision_reason", "execution", "execution_reason", "optimizer", "batch_size", "micro_batch_size", "batch_size_reason", "warm_start")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    THREADS_REASON_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_REASON_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_REASON_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    MICRO_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_REASON_FIELD_NUMBER: _ClassVar[int]
    WARM_START_FIELD_NUMBER: _ClassVar[int]
    device: str
    threads: int
    threads_reason: str
    precision: str
    precision_reason: str
    execution: str
    execution_reason: str
    optimizer: str
    batch_size: int
    micro_batch_size: int
    batch_size_reason: str
    warm_start: str
    def __init__(self, device: _Optional[str] = ..., threads: _Optional[int] = ..., threads_reason: _Optional[str] = ..., precision: _Optional[str] = ..., precision_reason: _Optional[str] = ..., execution: _Optional[str] = ..., execution_reason: _Optional[str] = ..., optimizer: _Optional[str] = ..., batch_size: _Optional[int] = ..., micro_batch_size: _Optional[int] = ..., batch_size_reason: _Optional[str] = ..., warm_start: _Optional[str] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("kind", "warmup_epochs", "step_epochs", "drop", "floor", "rise", "start", "plateau_epochs", "threshold")
    KIND_FIELD_NUMBER: _ClassVar[int]
    WARMUP_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    STEP_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    RISE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    PLATEAU_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    kind: ScheduleKind
    warmup_epochs: float
    step_epochs: int
    drop: float
    floor: float
    rise: float
    start: float
    plateau_epochs: int
    threshold: float
    def __init__(self, kind: _Optional[_Union[ScheduleKind, str]] = ..., warmup_epochs: _Optional[float] = ..., step_epochs: _Optional[int] = ..., drop: _Optional[float] = ..., floor: _Optional[float] = ..., rise: _Optional[float] = ..., start: _Optional[float] = ..., plateau_epochs: _Optional[int] = ..., threshold: _Optional[float] = ...) -> None: ...

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

class Gates(_message.Message):
    __slots__ = ("metric", "min_metric", "max_metric", "not_worse_than", "margin")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MIN_METRIC_FIELD_NUMBER: _ClassVar[int]
    MAX_METRIC_FIELD_NUMBER: _ClassVar[int]
    NOT_WORSE_THAN_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    metric: str
    min_metric: float
    max_metric: float
    not_worse_than: str
    margin: float
    def __init__(self, metric: _Optional[str] = ..., min_metric: _Optional[float] = ..., max_metric: _Optional[float] = ..., not_worse_than: _Optional[str] = ..., margin: _Optional[float] = ...) -> None: ...
