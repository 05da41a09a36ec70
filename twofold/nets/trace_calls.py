"""What torch calls the permitted functions, and in which order it takes their parameters. No torch.

A row is a function of the tables and torch's own parameters in torch's order. Those of
torch.nn.functional that Python defines are not here: their order is read off their signatures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from twofold.nets import tables
from twofold.v1 import graph_pb2


@dataclass(frozen=True, slots=True)
class Row:
    """A function of torch."""

    function: graph_pb2.Function
    #: torch's names of its positional parameters, in order; "a|b" where it has two names for one.
    names: tuple[str, ...]
    #: The table's names of the same, in the same order; "" for one that must keep its default.
    targets: tuple[str, ...]
    #: torch's defaults of those, where they are neither None nor false.
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])

    def target(self, name: str) -> str | None:
        """The table's name of a keyword; None where torch has no such keyword."""
        for known, target in zip(self.names, self.targets, strict=True):
            if name in known.split("|"):
                return target
        return None


def of(name: str) -> graph_pb2.Function:
    """A function by its name in the enumeration, in lower case."""
    return getattr(graph_pb2, f"FUNCTION_{name.upper()}")  # names of our tables alone


def row(
    function: graph_pb2.Function, names: str, defaults: Mapping[str, object] | None = None
) -> Row:
    """`names` has a word per parameter: torch's name, then ">" and the table's if that differs."""
    wanted = tables.FUNCTIONS[function]
    pairs = [word.partition(">") for word in names.split()]
    torch_names = tuple(name for name, _, _ in pairs)
    known = {parameter.name for parameter in wanted}
    targets = [target or name.split("|")[0] for name, _, target in pairs]
    targets = [target if target in known else "" for target in targets]
    if targets and not targets[0]:  # torch's input is x here, or a
        targets[0] = wanted[0].name
    return Row(function, torch_names, tuple(targets), defaults or {})


_UNARY = (
    "neg abs exp expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos "
    "atan sinh cosh tanh erf sign floor ceil trunc logical_not bitwise_not isnan isinf isfinite "
    "sigmoid relu selu numel clone contiguous detach zeros_like ones_like rand_like randn_like"
)
_BINARY = (
    "floor_divide remainder pow eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and "
    "bitwise_or bitwise_xor mul"
)
#: torch's second names.
_SYNONYMS: Mapping[str, str] = {
    "abs": "absolute",
    "neg": "negative",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "trunc": "fix",
    "mul": "multiply",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "movedim": "moveaxis",
    "clamp": "clip",
    "outer": "ger",
}
_ROWS = """
atan2: input other
maximum: input other
minimum: input other
lerp: input end weight
nan_to_num: input nan posinf neginf
round: input decimals
softmax: input dim dtype>data_type
log_softmax: input dim dtype>data_type
matmul: input other
bmm: input mat2>other
outer: input vec2>other
addmm: input mat1 mat2 beta alpha
flatten: input start_dim end_dim
unflatten: input dim sizes
transpose: input dim0|axis0 dim1|axis1
movedim: input source destination
squeeze: input dim
unsqueeze: input dim
expand_as: input other
repeat_interleave: input repeats dim
roll: input shifts dims
narrow: input dim start length
diagonal: input offset dim1 dim2
tril: input diagonal
triu: input diagonal
cat: tensors|arrays dim|axis
stack: tensors dim
chunk: input chunks dim
unbind: input dim
gather: input dim index
index_select: input dim index
sum: input dim|axis keepdim
mean: input dim|axis keepdim
prod: input dim keepdim
amax: input dim keepdim
amin: input dim keepdim
any: input dim keepdim
all: input dim keepdim
logsumexp: input dim keepdim
argmax: input dim keepdim
argmin: input dim keepdim
cumsum: input dim
cumprod: input dim
topk: input k dim largest sorted
sort: input dim descending
argsort: input dim descending
clamp: input min max
masked_fill: input mask value
type_as: input other
celu: input alpha
prelu: input weight
full_like: input fill_value
linear: input weight bias
bilinear: input1 input2 weight bias
cosine_similarity: x1 x2 dim eps
conv1d: input weight bias stride padding dilation groups
conv2d: input weight bias stride padding dilation groups
conv3d: input weight bias stride padding dilation groups
conv_transpose1d: input weight bias stride padding output_padding groups dilation
conv_transpose2d: input weight bias stride padding output_padding groups dilation
conv_transpose3d: input weight bias stride padding output_padding groups dilation
pixel_shuffle: input upscale_factor
pixel_unshuffle: input downscale_factor
channel_shuffle: input groups
"""
#: torch's other functions that compute the same.
_ALSO = """
matmul mm: input mat2>other
matmul mv: input vec>other
matmul dot: input tensor>other
transpose swapaxes: input axis0>dim0 axis1>dim1
transpose swapdims: input dim0 dim1
cat concat: tensors dim|axis
cat concatenate: tensors dim|axis
clamp clamp_min: input min
clamp clamp_max: input max
add operator_add: a b
sub operator_sub: a b
mul operator_mul: a b
div truediv: a b
floor_divide floordiv: a b
remainder mod: a b
bitwise_and and_: a b
bitwise_or or_: a b
bitwise_xor xor: a b
bitwise_not invert: x
slide unfold: input dimension size step
split split_with_sizes: input split_sizes>split_size dim
expand_as broadcast_like: input other
"""


def _shared() -> Iterator[tuple[str, Row]]:
    for name in _UNARY.split():
        is_like = name.endswith("_like")
        yield name, row(of(name), "input dtype>data_type" if is_like else "input")
    for name in _BINARY.split():
        yield name, row(of(name), "input>a other|exponent>b")
    for line in _ROWS.strip().splitlines():
        name, _, parameters = line.partition(":")
        yield name, row(of(name), parameters)
    for line in _ALSO.strip().splitlines():
        names, _, parameters = line.partition(":")
        function, name = names.split()
        yield name, row(of(function), parameters)


#: Functions of torch and methods of its tensors, which call their parameters alike.
SHARED: Mapping[str, Row] = {
    **dict(_shared()),
    **{_SYNONYMS[name]: each for name, each in _shared() if name in _SYNONYMS},
}

#: Functions of torch.nn.functional that are not Python's, so that they have no signature.
FUNCTIONAL: Mapping[str, Row] = {
    name: row(of(name), parameters)
    for name, _, parameters in (
        line.partition(": ")
        for line in """
gelu: input approximate
softplus: input beta threshold
softshrink: input lambd
hardshrink: input lambd
logsigmoid: input
linear: input weight bias
bilinear: input1 input2 weight bias
cosine_similarity: x1 x2 dim eps
pairwise_distance: x1 x2 p eps keepdim
scaled_dot_product_attention: query key value attn_mask dropout_p is_causal scale enable_gqa
conv1d: input weight bias stride padding dilation groups
conv2d: input weight bias stride padding dilation groups
conv3d: input weight bias stride padding dilation groups
conv_transpose1d: input weight bias stride padding output_padding groups dilation
conv_transpose2d: input weight bias stride padding output_padding groups dilation
conv_transpose3d: input weight bias stride padding output_padding groups dilation
pixel_shuffle: input upscale_factor
pixel_unshuffle: input downscale_factor
channel_shuffle: input groups
avg_pool1d: input kernel_size stride padding ceil_mode count_include_pad
avg_pool2d: input kernel_size stride padding ceil_mode count_include_pad divisor_override
avg_pool3d: input kernel_size stride padding ceil_mode count_include_pad divisor_override
adaptive_avg_pool1d: input output_size
max_pool1d: input kernel_size stride padding dilation ceil_mode return_indices
max_pool2d: input kernel_size stride padding dilation ceil_mode return_indices
max_pool3d: input kernel_size stride padding dilation ceil_mode return_indices
adaptive_max_pool1d: input output_size return_indices
adaptive_max_pool2d: input output_size return_indices
adaptive_max_pool3d: input output_size return_indices
prelu: input weight
pad: input pad mode value
""".strip().splitlines()
    )
}

#: Functions of torch.nn.functional whose order Python knows.
_SIGNED = (
    "relu relu6 elu selu celu silu mish leaky_relu softsign hardsigmoid hardswish hardtanh "
    "tanhshrink threshold glu softmax log_softmax softmin embedding layer_norm group_norm rms_norm "
    "local_response_norm normalize dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_alpha_dropout lp_pool1d lp_pool2d lp_pool3d adaptive_avg_pool2d adaptive_avg_pool3d "
    "interpolate grid_sample affine_grid fold unfold mse_loss l1_loss smooth_l1_loss huber_loss "
    "cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div"
)
SIGNED = tuple(_SIGNED.split())

_ASSIGN = "make a new tensor with torch.where, torch.cat, torch.stack or x.masked_fill"
_LEAVES = "what leaves the graph is not followed; compute with torch"
_COUNT = "how many it gives depends on the data; multiply by a mask, or use torch.where"
#: What to write instead, by torch's name.
HINTS: Mapping[str, str] = {
    **dict.fromkeys(("item", "tolist", "numpy", "__array__"), _LEAVES),
    **dict.fromkeys(("nonzero", "masked_select", "unique", "argwhere", "bincount"), _COUNT),
    **dict.fromkeys(("scatter", "scatter_", "scatter_add", "scatter_add_", "index_put"), _ASSIGN),
    **dict.fromkeys(("index_put_", "copy_", "index_fill", "masked_scatter", "index_add"), _ASSIGN),
    **dict.fromkeys(("cuda", "pin_memory"), "leave it out: a graph runs where the service runs"),
    **dict.fromkeys(("half", "bfloat16"), "leave it out; training.precision asks for bf16"),
    **dict.fromkeys(("batch_norm", "instance_norm"), "use its class, such as torch.nn.BatchNorm2d"),
    **dict.fromkeys(("embedding_bag", "rrelu"), "use its class in torch.nn"),
    **dict.fromkeys(
        ("randint", "randperm", "bernoulli", "bernoulli_", "multinomial", "normal", "uniform_"),
        "draw with torch.rand or torch.randn and calculate",
    ),
    **dict.fromkeys(("normal_", "random_", "exponential_"), "draw with torch.rand or torch.randn"),
    **dict.fromkeys(("empty", "empty_like", "new_empty"), "use torch.zeros"),
    **dict.fromkeys(("baddbmm", "addbmm"), "use torch.bmm and +"),
    **dict.fromkeys(("median", "quantile", "kthvalue", "mode"), "use torch.sort or torch.topk"),
    "cdist": "write it with broadcasting: (a[:, :, None] - b[:, None]).square().sum(-1).sqrt()",
    "tile": "use x.repeat",
    "fmod": "use torch.remainder",
    "std_mean": "use torch.var_mean",
    **dict.fromkeys(("tensor", "as_tensor", "scalar_tensor"), "use torch.full, or torch.stack"),
    **dict.fromkeys(("backward", "register_hook"), "training is the trainer's"),
    "multi_head_attention_forward": "use torch.nn.MultiheadAttention",
    "pack_padded_sequence": "pad, and mask what a row does not have",
    "where": "give it three arguments: condition, then, else",
    "to_sparse": "use dense tensors",
}
