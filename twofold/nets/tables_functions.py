"""Permitted functions: one value per meaning, its positional parameters in one order. No torch.

Names and defaults are torch's, but that the operands of operators are a and b, and a tensor that a
method belongs to is x. Where a number may stand, a node that computes one may stand as well.
"""

from collections.abc import Mapping
from typing import cast

from twofold.nets import values
from twofold.nets.tables_base import REQUIRED, Parameter, ParameterKind, Required
from twofold.nets.tables_windows import WINDOW_FUNCTIONS
from twofold.v1 import graph_pb2

Row = tuple[Parameter, ...]
_Default = values.Literal | Required
_X = Parameter("x")
_OPERAND: tuple[ParameterKind, ...] = ("node", "integer", "real")
_UNARY: Row = (_X,)
_BINARY: Row = (Parameter("a", _OPERAND), Parameter("b", _OPERAND))
_PAIR: Row = (_X, Parameter("other"))
_TENSORS = Parameter("tensors", ("nodes",))


def _integer(name: str, default: _Default = REQUIRED) -> Parameter:
    kinds: tuple[ParameterKind, ...] = ("integer",) if default is not None else ("integer", "none")
    return Parameter(name, kinds, default)


def _integers(name: str, default: _Default = REQUIRED) -> Parameter:
    """One whole number or several."""
    kinds: tuple[ParameterKind, ...] = ("integer", "integers")
    return Parameter(name, kinds if default is not None else (*kinds, "none"), default)


def _real(name: str, default: _Default = REQUIRED) -> Parameter:
    kinds: tuple[ParameterKind, ...] = ("real", "integer")
    return Parameter(name, kinds if default is not None else (*kinds, "none"), default)


def _flag(name: str, *, default: bool) -> Parameter:
    return Parameter(name, ("boolean",), default)


def _maybe(name: str) -> Parameter:
    return Parameter(name, ("node", "none"), None)


def _choice(name: str, default: str, *others: str) -> Parameter:
    return Parameter(name, ("choice",), default, (default, *others))


_DIM = _integer("dim")
_DIMS = _integers("dim", None)
_KEEP = _flag("keepdim", default=False)
_TYPE = Parameter("data_type", ("data_type", "none"), None)
_SHAPE = Parameter("shape", ("integer", "integers"))
_REDUCTION: Row = (_X, _DIMS, _KEEP)
_SCAN: Row = (_X, _DIM)
_SPREAD: Row = (_X, _DIMS, _integer("correction", 1), _KEEP)
_ARGUMENT: Row = (_X, _integer("dim", None), _KEEP)
#: none: as the net is, in training or eval mode.
_TRAINING = Parameter("training", ("boolean", "none"), None)
_DROPOUT: Row = (_X, _real("p", 0.5), _TRAINING)
_LIKE: Row = (_X, _TYPE)
_AXIS: Row = (_X, _DIM, _TYPE)

_UNARIES = (
    "NEG ABS EXP EXPM1 LOG LOG2 LOG10 LOG1P SQRT RSQRT SQUARE RECIPROCAL SIN COS TAN ASIN ACOS "
    "ATAN SINH COSH TANH ERF SIGN FLOOR CEIL TRUNC LOGICAL_NOT BITWISE_NOT ISNAN ISINF ISFINITE "
    "SIGMOID RELU RELU6 SELU SILU MISH SOFTSIGN HARDSIGMOID HARDSWISH LOGSIGMOID TANHSHRINK "
    "NUMEL DIM CONTIGUOUS CLONE DETACH INT FLOAT"
)
_BINARIES = (
    "ADD SUB MUL DIV FLOOR_DIVIDE REMAINDER POW EQ NE LT LE GT GE LOGICAL_AND LOGICAL_OR "
    "LOGICAL_XOR BITWISE_AND BITWISE_OR BITWISE_XOR"
)
_PAIRS = "ATAN2 MAXIMUM MINIMUM BMM OUTER MATMUL EXPAND_AS TYPE_AS"


def _all(names: str, row: Row) -> dict[graph_pb2.Function, Row]:
    return {_of(name): row for name in names.split()}


def _of(name: str) -> graph_pb2.Function:
    number = graph_pb2.Function.Value(f"FUNCTION_{name}")
    return cast("graph_pb2.Function", number)  # protobuf's stubs say int


_ELEMENTWISE: Mapping[graph_pb2.Function, Row] = {
    **_all(_UNARIES, _UNARY),
    **_all(_BINARIES, _BINARY),
    **_all(_PAIRS, _PAIR),
    graph_pb2.FUNCTION_ROUND: (_X, _integer("decimals", 0)),
    graph_pb2.FUNCTION_LERP: (_X, Parameter("end"), Parameter("weight", _OPERAND)),
    graph_pb2.FUNCTION_NAN_TO_NUM: (
        _X,
        _real("nan", None),
        _real("posinf", None),
        _real("neginf", None),
    ),
    graph_pb2.FUNCTION_ELU: (_X, _real("alpha", 1.0)),
    graph_pb2.FUNCTION_CELU: (_X, _real("alpha", 1.0)),
    graph_pb2.FUNCTION_GELU: (_X, _choice("approximate", "none", "tanh")),
    graph_pb2.FUNCTION_LEAKY_RELU: (_X, _real("negative_slope", 0.01)),
    graph_pb2.FUNCTION_PRELU: (_X, Parameter("weight")),
    graph_pb2.FUNCTION_SOFTPLUS: (_X, _real("beta", 1.0), _real("threshold", 20.0)),
    graph_pb2.FUNCTION_SOFTSHRINK: (_X, _real("lambd", 0.5)),
    graph_pb2.FUNCTION_HARDSHRINK: (_X, _real("lambd", 0.5)),
    graph_pb2.FUNCTION_HARDTANH: (_X, _real("min_val", -1.0), _real("max_val", 1.0)),
    graph_pb2.FUNCTION_THRESHOLD: (_X, _real("threshold"), _real("value")),
    graph_pb2.FUNCTION_GLU: (_X, _integer("dim", -1)),
    graph_pb2.FUNCTION_SOFTMAX: _AXIS,
    graph_pb2.FUNCTION_LOG_SOFTMAX: _AXIS,
    graph_pb2.FUNCTION_SOFTMIN: _AXIS,
    graph_pb2.FUNCTION_WHERE: (
        Parameter("condition"),
        Parameter("x", _OPERAND),
        Parameter("other", _OPERAND),
    ),
    graph_pb2.FUNCTION_CLAMP: (
        _X,
        Parameter("min", (*_OPERAND, "none"), None),
        Parameter("max", (*_OPERAND, "none"), None),
    ),
    graph_pb2.FUNCTION_MASKED_FILL: (_X, Parameter("mask"), Parameter("value", _OPERAND)),
    graph_pb2.FUNCTION_TO_TYPE: (_X, Parameter("data_type", ("data_type",))),
    **_all("DROPOUT DROPOUT1D DROPOUT2D DROPOUT3D ALPHA_DROPOUT FEATURE_ALPHA_DROPOUT", _DROPOUT),
}

_ALGEBRA: Mapping[graph_pb2.Function, Row] = {
    graph_pb2.FUNCTION_ADDMM: (
        _X,
        Parameter("mat1"),
        Parameter("mat2"),
        _real("beta", 1),
        _real("alpha", 1),
    ),
    graph_pb2.FUNCTION_EINSUM: (Parameter("equation", ("equation",)), _TENSORS),
    graph_pb2.FUNCTION_LINEAR: (_X, Parameter("weight"), _maybe("bias")),
    graph_pb2.FUNCTION_BILINEAR: (
        Parameter("input1"),
        Parameter("input2"),
        Parameter("weight"),
        _maybe("bias"),
    ),
    graph_pb2.FUNCTION_EMBEDDING: (
        _X,
        Parameter("weight"),
        _integer("padding_idx", None),
    ),
    graph_pb2.FUNCTION_COSINE_SIMILARITY: (
        Parameter("x1"),
        Parameter("x2"),
        _integer("dim", 1),
        _real("eps", 1e-8),
    ),
    graph_pb2.FUNCTION_PAIRWISE_DISTANCE: (
        Parameter("x1"),
        Parameter("x2"),
        _real("p", 2.0),
        _real("eps", 1e-6),
        _KEEP,
    ),
    graph_pb2.FUNCTION_SCALED_DOT_PRODUCT_ATTENTION: (
        Parameter("query"),
        Parameter("key"),
        Parameter("value"),
        _maybe("attn_mask"),
        _real("dropout_p", 0.0),
        _flag("is_causal", default=False),
        _real("scale", None),
        _flag("enable_gqa", default=False),
    ),
    graph_pb2.FUNCTION_LAYER_NORM: (
        _X,
        Parameter("normalized_shape", ("integers",)),
        _maybe("weight"),
        _maybe("bias"),
        _real("eps", 1e-5),
    ),
    graph_pb2.FUNCTION_GROUP_NORM: (
        _X,
        _integer("num_groups"),
        _maybe("weight"),
        _maybe("bias"),
        _real("eps", 1e-5),
    ),
    graph_pb2.FUNCTION_RMS_NORM: (
        _X,
        Parameter("normalized_shape", ("integers",)),
        _maybe("weight"),
        _real("eps", None),
    ),
    graph_pb2.FUNCTION_LOCAL_RESPONSE_NORM: (
        _X,
        _integer("size"),
        _real("alpha", 1e-4),
        _real("beta", 0.75),
        _real("k", 1.0),
    ),
}

_RESHAPING: Mapping[graph_pb2.Function, Row] = {
    graph_pb2.FUNCTION_RESHAPE: (_X, _SHAPE),
    graph_pb2.FUNCTION_FLATTEN: (_X, _integer("start_dim", 0), _integer("end_dim", -1)),
    graph_pb2.FUNCTION_UNFLATTEN: (_X, _DIM, Parameter("sizes", ("integers",))),
    graph_pb2.FUNCTION_TRANSPOSE: (_X, _integer("dim0"), _integer("dim1")),
    graph_pb2.FUNCTION_PERMUTE: (_X, Parameter("dims", ("integers",))),
    graph_pb2.FUNCTION_MOVEDIM: (_X, _integers("source"), _integers("destination")),
    graph_pb2.FUNCTION_SQUEEZE: (_X, _DIMS),
    graph_pb2.FUNCTION_UNSQUEEZE: (_X, _DIM),
    graph_pb2.FUNCTION_EXPAND: (_X, Parameter("sizes", ("integers",))),
    graph_pb2.FUNCTION_REPEAT: (_X, Parameter("repeats", ("integers",))),
    graph_pb2.FUNCTION_REPEAT_INTERLEAVE: (_X, _integer("repeats"), _integer("dim", None)),
    graph_pb2.FUNCTION_ROLL: (_X, _integers("shifts"), _integers("dims", None)),
    graph_pb2.FUNCTION_FLIP: (_X, _integers("dims")),
    graph_pb2.FUNCTION_NARROW: (_X, _DIM, _integer("start"), _integer("length")),
    graph_pb2.FUNCTION_DIAGONAL: (
        _X,
        _integer("offset", 0),
        _integer("dim1", 0),
        _integer("dim2", 1),
    ),
    graph_pb2.FUNCTION_SLIDE: (_X, _integer("dimension"), _integer("size"), _integer("step")),
    graph_pb2.FUNCTION_TRIL: (_X, _integer("diagonal", 0)),
    graph_pb2.FUNCTION_TRIU: (_X, _integer("diagonal", 0)),
    graph_pb2.FUNCTION_SIZE: (_X, _integer("dim", None)),
    graph_pb2.FUNCTION_CAT: (_TENSORS, _integer("dim", 0)),
    graph_pb2.FUNCTION_STACK: (_TENSORS, _integer("dim", 0)),
    graph_pb2.FUNCTION_SPLIT: (_X, _integers("split_size"), _integer("dim", 0)),
    graph_pb2.FUNCTION_CHUNK: (_X, _integer("chunks"), _integer("dim", 0)),
    graph_pb2.FUNCTION_UNBIND: (_X, _integer("dim", 0)),
    graph_pb2.FUNCTION_MESHGRID: (_TENSORS, _choice("indexing", "ij", "xy")),
    graph_pb2.FUNCTION_GETITEM: (_X, Parameter("index", ("index",))),
    graph_pb2.FUNCTION_GATHER: (_X, _DIM, Parameter("index")),
    graph_pb2.FUNCTION_INDEX_SELECT: (_X, _DIM, Parameter("index")),
    #: The catalogue's: see modules.OneHot.
    graph_pb2.FUNCTION_ONE_HOT: (_X, Parameter("classes", ("integers",))),
}

_REDUCTIONS: Mapping[graph_pb2.Function, Row] = {
    **_all("SUM MEAN AMAX AMIN ANY ALL", _REDUCTION),
    **_all("PROD MAX MIN ARGMAX ARGMIN", _ARGUMENT),
    **_all("STD VAR VAR_MEAN", _SPREAD),
    **_all("CUMSUM CUMPROD", _SCAN),
    graph_pb2.FUNCTION_NORM: (_X, _real("ord", 2.0), _DIMS, _KEEP),
    graph_pb2.FUNCTION_LOGSUMEXP: (_X, _integers("dim"), _KEEP),
    graph_pb2.FUNCTION_NORMALIZE: (
        _X,
        _real("p", 2.0),
        _integers("dim", 1),
        _real("eps", 1e-12),
    ),
    graph_pb2.FUNCTION_TOPK: (
        _X,
        _integer("k"),
        _integer("dim", -1),
        _flag("largest", default=True),
        _flag("sorted", default=True),
    ),
    graph_pb2.FUNCTION_SORT: (_X, _integer("dim", -1), _flag("descending", default=False)),
    graph_pb2.FUNCTION_ARGSORT: (_X, _integer("dim", -1), _flag("descending", default=False)),
}

_FACTORIES: Mapping[graph_pb2.Function, Row] = {
    graph_pb2.FUNCTION_ARANGE: (_real("start"), _real("end"), _real("step", 1), _TYPE),
    graph_pb2.FUNCTION_LINSPACE: (_real("start"), _real("end"), _integer("steps"), _TYPE),
    graph_pb2.FUNCTION_EYE: (_integer("n"), _integer("m", None), _TYPE),
    **_all("ZEROS ONES RAND RANDN", (_SHAPE, _TYPE)),
    graph_pb2.FUNCTION_FULL: (_SHAPE, _real("fill_value"), _TYPE),
    **_all("ZEROS_LIKE ONES_LIKE RAND_LIKE RANDN_LIKE", _LIKE),
    graph_pb2.FUNCTION_FULL_LIKE: (_X, _real("fill_value"), _TYPE),
}

_MEAN = _choice("reduction", "mean", "sum", "none")
_TARGET = Parameter("target")
_WEIGHT = _maybe("weight")
_LOSSES: Mapping[graph_pb2.Function, Row] = {
    graph_pb2.FUNCTION_MSE_LOSS: (_X, _TARGET, _MEAN),
    graph_pb2.FUNCTION_L1_LOSS: (_X, _TARGET, _MEAN),
    graph_pb2.FUNCTION_SMOOTH_L1_LOSS: (_X, _TARGET, _MEAN, _real("beta", 1.0)),
    graph_pb2.FUNCTION_HUBER_LOSS: (_X, _TARGET, _MEAN, _real("delta", 1.0)),
    graph_pb2.FUNCTION_CROSS_ENTROPY: (
        _X,
        _TARGET,
        _WEIGHT,
        _integer("ignore_index", -100),
        _MEAN,
        _real("label_smoothing", 0.0),
    ),
    graph_pb2.FUNCTION_NLL_LOSS: (_X, _TARGET, _WEIGHT, _integer("ignore_index", -100), _MEAN),
    graph_pb2.FUNCTION_BINARY_CROSS_ENTROPY: (_X, _TARGET, _WEIGHT, _MEAN),
    graph_pb2.FUNCTION_BINARY_CROSS_ENTROPY_WITH_LOGITS: (
        _X,
        _TARGET,
        _WEIGHT,
        _MEAN,
        _maybe("pos_weight"),
    ),
    graph_pb2.FUNCTION_KL_DIV: (
        _X,
        _TARGET,
        _choice("reduction", "mean", "sum", "none", "batchmean"),
        _flag("log_target", default=False),
    ),
}

#: Permitted functions and their positional parameters.
FUNCTIONS: Mapping[graph_pb2.Function, Row] = {
    **_ELEMENTWISE,
    **_ALGEBRA,
    **_RESHAPING,
    **_REDUCTIONS,
    **WINDOW_FUNCTIONS,
    **_FACTORIES,
    **_LOSSES,
}
