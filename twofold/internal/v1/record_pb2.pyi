import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from twofold.v1 import spec_pb2 as _spec_pb2
from twofold.v1 import training_pb2 as _training_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobRecord(_message.Message):
    __slots__ = ("format_version", "spec", "principal", "request_id", "create_time", "retry_of", "not_before_time", "request_sha256")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    spec: _spec_pb2.TrainingSpec
    principal: str
    request_id: str
    create_time: _timestamp_pb2.Timestamp
    retry_of: str
    not_before_time: _timestamp_pb2.Timestamp
    request_sha256: str
    def __init__(self, format_version: _Optional[int] = ..., spec: _Optional[_Union[_spec_pb2.TrainingSpec, _Mapping]] = ..., principal: _Optional[str] = ..., request_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_of: _Optional[str] = ..., not_before_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., request_sha256: _Optional[str] = ...) -> None: ...

class RequestRecord(_message.Message):
    __slots__ = ("format_version", "job", "request_sha256", "create_time")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    job: str
    request_sha256: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, format_version: _Optional[int] = ..., job: _Optional[str] = ..., request_sha256: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class JobOutcome(_message.Message):
    __slots__ = ("format_version", "state", "reason", "message", "model", "version", "manifest_sha256", "attempt", "end_time", "attempt_count", "eviction_count")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EVICTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    state: _training_pb2.JobState
    reason: _training_pb2.JobReason
    message: str
    model: str
    version: int
    manifest_sha256: str
    attempt: str
    end_time: _timestamp_pb2.Timestamp
    attempt_count: int
    eviction_count: int
    def __init__(self, format_version: _Optional[int] = ..., state: _Optional[_Union[_training_pb2.JobState, str]] = ..., reason: _Optional[_Union[_training_pb2.JobReason, str]] = ..., message: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., manifest_sha256: _Optional[str] = ..., attempt: _Optional[str] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempt_count: _Optional[int] = ..., eviction_count: _Optional[int] = ...) -> None: ...

class VersionClaim(_message.Message):
    __slots__ = ("format_version", "job", "attempt", "create_time")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    job: str
    attempt: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, format_version: _Optional[int] = ..., job: _Optional[str] = ..., attempt: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AliasRecord(_message.Message):
    __slots__ = ("format_version", "version", "principal", "create_time")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    version: int
    principal: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, format_version: _Optional[int] = ..., version: _Optional[int] = ..., principal: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
