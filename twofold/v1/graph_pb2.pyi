from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FP32: _ClassVar[DataType]
    DATA_TYPE_FP64: _ClassVar[DataType]
    DATA_TYPE_INT64: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]
    DATA_TYPE_BOOL: _ClassVar[DataType]
    DATA_TYPE_BYTES: _ClassVar[DataType]

class ModuleKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODULE_KIND_UNSPECIFIED: _ClassVar[ModuleKind]
    MODULE_KIND_LINEAR: _ClassVar[ModuleKind]
    MODULE_KIND_IDENTITY: _ClassVar[ModuleKind]
    MODULE_KIND_DROPOUT: _ClassVar[ModuleKind]
    MODULE_KIND_STEP: _ClassVar[ModuleKind]
    MODULE_KIND_SIGMOID: _ClassVar[ModuleKind]
    MODULE_KIND_TANH: _ClassVar[ModuleKind]
    MODULE_KIND_RELU: _ClassVar[ModuleKind]
    MODULE_KIND_ELU: _ClassVar[ModuleKind]
    MODULE_KIND_SELU: _ClassVar[ModuleKind]
    MODULE_KIND_CELU: _ClassVar[ModuleKind]
    MODULE_KIND_GELU: _ClassVar[ModuleKind]
    MODULE_KIND_SILU: _ClassVar[ModuleKind]
    MODULE_KIND_MISH: _ClassVar[ModuleKind]
    MODULE_KIND_LEAKY_RELU: _ClassVar[ModuleKind]
    MODULE_KIND_PRELU: _ClassVar[ModuleKind]
    MODULE_KIND_RRELU: _ClassVar[ModuleKind]
    MODULE_KIND_RELU6: _ClassVar[ModuleKind]
    MODULE_KIND_SOFTPLUS: _ClassVar[ModuleKind]
    MODULE_KIND_SOFTSIGN: _ClassVar[ModuleKind]
    MODULE_KIND_SOFTSHRINK: _ClassVar[ModuleKind]
    MODULE_KIND_HARDSHRINK: _ClassVar[ModuleKind]
    MODULE_KIND_HARDSIGMOID: _ClassVar[ModuleKind]
    MODULE_KIND_HARDSWISH: _ClassVar[ModuleKind]
    MODULE_KIND_HARDTANH: _ClassVar[ModuleKind]
    MODULE_KIND_LOG_SIGMOID: _ClassVar[ModuleKind]
    MODULE_KIND_TANHSHRINK: _ClassVar[ModuleKind]
    MODULE_KIND_THRESHOLD: _ClassVar[ModuleKind]

class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FUNCTION_UNSPECIFIED: _ClassVar[Function]
    FUNCTION_ADD: _ClassVar[Function]
    FUNCTION_SUB: _ClassVar[Function]
    FUNCTION_MUL: _ClassVar[Function]
    FUNCTION_DIV: _ClassVar[Function]
    FUNCTION_CAT: _ClassVar[Function]
    FUNCTION_ONE_HOT: _ClassVar[Function]
    FUNCTION_FLATTEN: _ClassVar[Function]

class Head(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEAD_UNSPECIFIED: _ClassVar[Head]
    HEAD_IDENTITY: _ClassVar[Head]
    HEAD_SIGMOID: _ClassVar[Head]
    HEAD_SOFTMAX: _ClassVar[Head]
    HEAD_STEP: _ClassVar[Head]
    HEAD_THRESHOLD: _ClassVar[Head]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FP32: DataType
DATA_TYPE_FP64: DataType
DATA_TYPE_INT64: DataType
DATA_TYPE_INT32: DataType
DATA_TYPE_BOOL: DataType
DATA_TYPE_BYTES: DataType
MODULE_KIND_UNSPECIFIED: ModuleKind
MODULE_KIND_LINEAR: ModuleKind
MODULE_KIND_IDENTITY: ModuleKind
MODULE_KIND_DROPOUT: ModuleKind
MODULE_KIND_STEP: ModuleKind
MODULE_KIND_SIGMOID: ModuleKind
MODULE_KIND_TANH: ModuleKind
MODULE_KIND_RELU: ModuleKind
MODULE_KIND_ELU: ModuleKind
MODULE_KIND_SELU: ModuleKind
MODULE_KIND_CELU: ModuleKind
MODULE_KIND_GELU: ModuleKind
MODULE_KIND_SILU: ModuleKind
MODULE_KIND_MISH: ModuleKind
MODULE_KIND_LEAKY_RELU: ModuleKind
MODULE_KIND_PRELU: ModuleKind
MODULE_KIND_RRELU: ModuleKind
MODULE_KIND_RELU6: ModuleKind
MODULE_KIND_SOFTPLUS: ModuleKind
MODULE_KIND_SOFTSIGN: ModuleKind
MODULE_KIND_SOFTSHRINK: ModuleKind
MODULE_KIND_HARDSHRINK: ModuleKind
MODULE_KIND_HARDSIGMOID: ModuleKind
MODULE_KIND_HARDSWISH: ModuleKind
MODULE_KIND_HARDTANH: ModuleKind
MODULE_KIND_LOG_SIGMOID: ModuleKind
MODULE_KIND_TANHSHRINK: ModuleKind
MODULE_KIND_THRESHOLD: ModuleKind
FUNCTION_UNSPECIFIED: Function
FUNCTION_ADD: Function
FUNCTION_SUB: Function
FUNCTION_MUL: Function
FUNCTION_DIV: Function
FUNCTION_CAT: Function
FUNCTION_ONE_HOT: Function
FUNCTION_FLATTEN: Function
HEAD_UNSPECIFIED: Head
HEAD_IDENTITY: Head
HEAD_SIGMOID: Head
HEAD_SOFTMAX: Head
HEAD_STEP: Head
HEAD_THRESHOLD: Head

class Graph(_message.Message):
    __slots__ = ("format_version", "inputs", "modules", "states", "nodes", "eval_nodes", "head", "head_threshold")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EVAL_NODES_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    HEAD_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    modules: _containers.RepeatedCompositeFieldContainer[Module]
    states: _containers.RepeatedCompositeFieldContainer[State]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    eval_nodes: _containers.RepeatedCompositeFieldContainer[Node]
    head: Head
    head_threshold: float
    def __init__(self, format_version: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., modules: _Optional[_Iterable[_Union[Module, _Mapping]]] = ..., states: _Optional[_Iterable[_Union[State, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., eval_nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., head: _Optional[_Union[Head, str]] = ..., head_threshold: _Optional[float] = ...) -> None: ...

class TensorSpec(_message.Message):
    __slots__ = ("name", "data_type", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    data_type: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., data_type: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Module(_message.Message):
    __slots__ = ("path", "kind", "arguments")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    path: str
    kind: ModuleKind
    arguments: _containers.MessageMap[str, Value]
    def __init__(self, path: _Optional[str] = ..., kind: _Optional[_Union[ModuleKind, str]] = ..., arguments: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("path", "data_type", "shape", "trainable")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    TRAINABLE_FIELD_NUMBER: _ClassVar[int]
    path: str
    data_type: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    trainable: bool
    def __init__(self, path: _Optional[str] = ..., data_type: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., trainable: _Optional[bool] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("name", "input", "state", "module", "function", "arguments")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    input: str
    state: str
    module: str
    function: Function
    arguments: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, name: _Optional[str] = ..., input: _Optional[str] = ..., state: _Optional[str] = ..., module: _Optional[str] = ..., function: _Optional[_Union[Function, str]] = ..., arguments: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("node", "boolean", "integer", "real", "list", "none", "data_type", "choice")
    NODE_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    node: str
    boolean: bool
    integer: int
    real: float
    list: ValueList
    none: bool
    data_type: DataType
    choice: str
    def __init__(self, node: _Optional[str] = ..., boolean: _Optional[bool] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., list: _Optional[_Union[ValueList, _Mapping]] = ..., none: _Optional[bool] = ..., data_type: _Optional[_Union[DataType, str]] = ..., choice: _Optional[str] = ...) -> None: ...

class ValueList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...
