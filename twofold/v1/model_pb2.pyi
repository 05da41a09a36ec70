import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from twofold.v1 import graph_pb2 as _graph_pb2
from twofold.v1 import spec_pb2 as _spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Model(_message.Message):
    __slots__ = ("name", "current_version", "aliases", "version_count")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    CURRENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    VERSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    current_version: int
    aliases: _containers.ScalarMap[str, int]
    version_count: int
    def __init__(self, name: _Optional[str] = ..., current_version: _Optional[int] = ..., aliases: _Optional[_Mapping[str, int]] = ..., version_count: _Optional[int] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "manifest", "withdrawn", "aliases", "manifest_sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    manifest: Manifest
    withdrawn: bool
    aliases: _containers.RepeatedScalarFieldContainer[str]
    manifest_sha256: str
    def __init__(self, name: _Optional[str] = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ..., withdrawn: _Optional[bool] = ..., aliases: _Optional[_Iterable[str]] = ..., manifest_sha256: _Optional[str] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("format_version", "model", "version", "files", "inputs", "outputs", "features", "metrics", "lineage", "tolerances", "create_time", "examples", "signature", "gates")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    TOLERANCES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    model: str
    version: int
    files: _containers.RepeatedCompositeFieldContainer[File]
    inputs: _containers.RepeatedCompositeFieldContainer[_graph_pb2.TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[_graph_pb2.TensorSpec]
    features: FeatureSpec
    metrics: _containers.ScalarMap[str, float]
    lineage: Lineage
    tolerances: _containers.RepeatedCompositeFieldContainer[Tolerance]
    create_time: _timestamp_pb2.Timestamp
    examples: _containers.RepeatedScalarFieldContainer[str]
    signature: bytes
    gates: _containers.RepeatedCompositeFieldContainer[GateResult]
    def __init__(self, format_version: _Optional[int] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., inputs: _Optional[_Iterable[_Union[_graph_pb2.TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_graph_pb2.TensorSpec, _Mapping]]] = ..., features: _Optional[_Union[FeatureSpec, _Mapping]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., lineage: _Optional[_Union[Lineage, _Mapping]] = ..., tolerances: _Optional[_Iterable[_Union[Tolerance, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., examples: _Optional[_Iterable[str]] = ..., signature: _Optional[bytes] = ..., gates: _Optional[_Iterable[_Union[GateResult, _Mapping]]] = ...) -> None: ...

class GateResult(_message.Message):
    __slots__ = ("metric", "value", "threshold", "baseline_version", "message")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BASELINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    metric: str
    value: float
    threshold: float
    baseline_version: int
    message: str
    def __init__(self, metric: _Optional[str] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ..., baseline_version: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("name", "size_bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class FeatureSpec(_message.Message):
    __slots__ = ("numeric_columns", "category_columns", "target", "task", "labels", "array_columns", "targets")
    NUMERIC_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    numeric_columns: _containers.RepeatedScalarFieldContainer[str]
    category_columns: _containers.RepeatedCompositeFieldContainer[CategoryColumn]
    target: str
    task: _spec_pb2.Task
    labels: _containers.RepeatedScalarFieldContainer[str]
    array_columns: _containers.RepeatedCompositeFieldContainer[_graph_pb2.TensorSpec]
    targets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, numeric_columns: _Optional[_Iterable[str]] = ..., category_columns: _Optional[_Iterable[_Union[CategoryColumn, _Mapping]]] = ..., target: _Optional[str] = ..., task: _Optional[_Union[_spec_pb2.Task, str]] = ..., labels: _Optional[_Iterable[str]] = ..., array_columns: _Optional[_Iterable[_Union[_graph_pb2.TensorSpec, _Mapping]]] = ..., targets: _Optional[_Iterable[str]] = ...) -> None: ...

class CategoryColumn(_message.Message):
    __slots__ = ("name", "vocabulary")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_FIELD_NUMBER: _ClassVar[int]
    name: str
    vocabulary: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., vocabulary: _Optional[_Iterable[str]] = ...) -> None: ...

class Lineage(_message.Message):
    __slots__ = ("job", "attempt", "dataset", "spec_sha256", "code_version", "torch_version", "device", "epoch", "training_row_count", "validation_row_count", "choices", "parent")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SPEC_SHA256_FIELD_NUMBER: _ClassVar[int]
    CODE_VERSION_FIELD_NUMBER: _ClassVar[int]
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    job: str
    attempt: str
    dataset: str
    spec_sha256: str
    code_version: str
    torch_version: str
    device: str
    epoch: int
    training_row_count: int
    validation_row_count: int
    choices: _spec_pb2.Choices
    parent: str
    def __init__(self, job: _Optional[str] = ..., attempt: _Optional[str] = ..., dataset: _Optional[str] = ..., spec_sha256: _Optional[str] = ..., code_version: _Optional[str] = ..., torch_version: _Optional[str] = ..., device: _Optional[str] = ..., epoch: _Optional[int] = ..., training_row_count: _Optional[int] = ..., validation_row_count: _Optional[int] = ..., choices: _Optional[_Union[_spec_pb2.Choices, _Mapping]] = ..., parent: _Optional[str] = ...) -> None: ...

class Tolerance(_message.Message):
    __slots__ = ("device", "precision", "absolute", "relative")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    ABSOLUTE_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    device: str
    precision: str
    absolute: float
    relative: float
    def __init__(self, device: _Optional[str] = ..., precision: _Optional[str] = ..., absolute: _Optional[float] = ..., relative: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListModelVersionsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelVersionsResponse(_message.Message):
    __slots__ = ("model_versions", "next_page_token")
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model_versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    next_page_token: str
    def __init__(self, model_versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelVersionResponse(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: ModelVersion
    def __init__(self, model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class SetModelAliasRequest(_message.Message):
    __slots__ = ("model", "alias", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    alias: str
    version: int
    def __init__(self, model: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class SetModelAliasResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class WithdrawModelVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class WithdrawModelVersionResponse(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: ModelVersion
    def __init__(self, model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class RollbackModelRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class RollbackModelResponse(_message.Message):
    __slots__ = ("withdrawn", "model", "changed", "principal", "withdraw_time")
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_TIME_FIELD_NUMBER: _ClassVar[int]
    withdrawn: str
    model: Model
    changed: bool
    principal: str
    withdraw_time: _timestamp_pb2.Timestamp
    def __init__(self, withdrawn: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., changed: _Optional[bool] = ..., principal: _Optional[str] = ..., withdraw_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DownloadModelFileRequest(_message.Message):
    __slots__ = ("name", "file", "offset_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    file: str
    offset_bytes: int
    def __init__(self, name: _Optional[str] = ..., file: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class DownloadModelFileResponse(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: DownloadHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[DownloadHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class DownloadHeader(_message.Message):
    __slots__ = ("name", "file", "offset_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    file: File
    offset_bytes: int
    def __init__(self, name: _Optional[str] = ..., file: _Optional[_Union[File, _Mapping]] = ..., offset_bytes: _Optional[int] = ...) -> None: ...
