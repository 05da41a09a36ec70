from twofold.v1 import dataset_pb2 as _dataset_pb2
from twofold.v1 import graph_pb2 as _graph_pb2
from twofold.v1 import model_pb2 as _model_pb2
from twofold.v1 import spec_pb2 as _spec_pb2
from twofold.v1 import training_pb2 as _training_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChildRequest(_message.Message):
    __slots__ = ("train", "stop", "check", "check_graph")
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    CHECK_GRAPH_FIELD_NUMBER: _ClassVar[int]
    train: TrainRequest
    stop: StopRequest
    check: CheckRequest
    check_graph: CheckGraphRequest
    def __init__(self, train: _Optional[_Union[TrainRequest, _Mapping]] = ..., stop: _Optional[_Union[StopRequest, _Mapping]] = ..., check: _Optional[_Union[CheckRequest, _Mapping]] = ..., check_graph: _Optional[_Union[CheckGraphRequest, _Mapping]] = ...) -> None: ...

class TrainRequest(_message.Message):
    __slots__ = ("job", "attempt", "spec", "data_path", "data_format", "checkpoint_path", "resume_path", "artifact_path", "threads", "device", "store_path", "tenant", "weights_path", "tensorboard_path")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DATA_PATH_FIELD_NUMBER: _ClassVar[int]
    DATA_FORMAT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_PATH_FIELD_NUMBER: _ClassVar[int]
    RESUME_PATH_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_PATH_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    STORE_PATH_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_PATH_FIELD_NUMBER: _ClassVar[int]
    TENSORBOARD_PATH_FIELD_NUMBER: _ClassVar[int]
    job: str
    attempt: str
    spec: _spec_pb2.TrainingSpec
    data_path: str
    data_format: _dataset_pb2.DatasetFormat
    checkpoint_path: str
    resume_path: str
    artifact_path: str
    threads: int
    device: str
    store_path: str
    tenant: str
    weights_path: str
    tensorboard_path: str
    def __init__(self, job: _Optional[str] = ..., attempt: _Optional[str] = ..., spec: _Optional[_Union[_spec_pb2.TrainingSpec, _Mapping]] = ..., data_path: _Optional[str] = ..., data_format: _Optional[_Union[_dataset_pb2.DatasetFormat, str]] = ..., checkpoint_path: _Optional[str] = ..., resume_path: _Optional[str] = ..., artifact_path: _Optional[str] = ..., threads: _Optional[int] = ..., device: _Optional[str] = ..., store_path: _Optional[str] = ..., tenant: _Optional[str] = ..., weights_path: _Optional[str] = ..., tensorboard_path: _Optional[str] = ...) -> None: ...

class ProbeRequest(_message.Message):
    __slots__ = ("spec", "features", "batch_size", "threads", "device")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    spec: _spec_pb2.TrainingSpec
    features: _model_pb2.FeatureSpec
    batch_size: int
    threads: int
    device: str
    def __init__(self, spec: _Optional[_Union[_spec_pb2.TrainingSpec, _Mapping]] = ..., features: _Optional[_Union[_model_pb2.FeatureSpec, _Mapping]] = ..., batch_size: _Optional[int] = ..., threads: _Optional[int] = ..., device: _Optional[str] = ...) -> None: ...

class Probed(_message.Message):
    __slots__ = ("batch_size", "rows_per_second", "peak_bytes", "fits")
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    batch_size: int
    rows_per_second: float
    peak_bytes: int
    fits: bool
    def __init__(self, batch_size: _Optional[int] = ..., rows_per_second: _Optional[float] = ..., peak_bytes: _Optional[int] = ..., fits: _Optional[bool] = ...) -> None: ...

class StopRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("path", "format")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    path: str
    format: _dataset_pb2.DatasetFormat
    def __init__(self, path: _Optional[str] = ..., format: _Optional[_Union[_dataset_pb2.DatasetFormat, str]] = ...) -> None: ...

class CheckGraphRequest(_message.Message):
    __slots__ = ("graph", "loss_graph")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    LOSS_GRAPH_FIELD_NUMBER: _ClassVar[int]
    graph: _graph_pb2.Graph
    loss_graph: _graph_pb2.Graph
    def __init__(self, graph: _Optional[_Union[_graph_pb2.Graph, _Mapping]] = ..., loss_graph: _Optional[_Union[_graph_pb2.Graph, _Mapping]] = ...) -> None: ...

class ChildEvent(_message.Message):
    __slots__ = ("ready", "progressed", "checkpointed", "trained", "failed", "stopped", "checked", "graph_checked")
    READY_FIELD_NUMBER: _ClassVar[int]
    PROGRESSED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTED_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    GRAPH_CHECKED_FIELD_NUMBER: _ClassVar[int]
    ready: Ready
    progressed: Progressed
    checkpointed: Checkpointed
    trained: Trained
    failed: ChildFailed
    stopped: Stopped
    checked: Checked
    graph_checked: GraphChecked
    def __init__(self, ready: _Optional[_Union[Ready, _Mapping]] = ..., progressed: _Optional[_Union[Progressed, _Mapping]] = ..., checkpointed: _Optional[_Union[Checkpointed, _Mapping]] = ..., trained: _Optional[_Union[Trained, _Mapping]] = ..., failed: _Optional[_Union[ChildFailed, _Mapping]] = ..., stopped: _Optional[_Union[Stopped, _Mapping]] = ..., checked: _Optional[_Union[Checked, _Mapping]] = ..., graph_checked: _Optional[_Union[GraphChecked, _Mapping]] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("torch_version", "device")
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    torch_version: str
    device: str
    def __init__(self, torch_version: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...

class Progressed(_message.Message):
    __slots__ = ("phase", "progress")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    phase: _training_pb2.JobPhase
    progress: _training_pb2.Progress
    def __init__(self, phase: _Optional[_Union[_training_pb2.JobPhase, str]] = ..., progress: _Optional[_Union[_training_pb2.Progress, _Mapping]] = ...) -> None: ...

class Checkpointed(_message.Message):
    __slots__ = ("path", "epoch")
    PATH_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    path: str
    epoch: int
    def __init__(self, path: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class Trained(_message.Message):
    __slots__ = ("manifest",)
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    manifest: _model_pb2.Manifest
    def __init__(self, manifest: _Optional[_Union[_model_pb2.Manifest, _Mapping]] = ...) -> None: ...

class ChildFailed(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _training_pb2.JobReason
    message: str
    def __init__(self, reason: _Optional[_Union[_training_pb2.JobReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Stopped(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Checked(_message.Message):
    __slots__ = ("dataset", "refusal", "row", "column")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    dataset: _dataset_pb2.Dataset
    refusal: str
    row: int
    column: str
    def __init__(self, dataset: _Optional[_Union[_dataset_pb2.Dataset, _Mapping]] = ..., refusal: _Optional[str] = ..., row: _Optional[int] = ..., column: _Optional[str] = ...) -> None: ...

class GraphChecked(_message.Message):
    __slots__ = ("row_elements", "refusal", "field", "value", "allowed")
    ROW_ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    row_elements: int
    refusal: str
    field: str
    value: str
    allowed: str
    def __init__(self, row_elements: _Optional[int] = ..., refusal: _Optional[str] = ..., field: _Optional[str] = ..., value: _Optional[str] = ..., allowed: _Optional[str] = ...) -> None: ...
