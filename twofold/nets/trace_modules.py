"""Live modules of torch.nn as modules of a graph: every constructor argument read back."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from twofold.nets import modules, tables, values
from twofold.nets.tables_base import Argument
from twofold.nets.trace_errors import refused, unsupported
from twofold.v1 import graph_pb2

_KINDS: Mapping[type, graph_pb2.ModuleKind] = {
    **{of: kind for kind, of in modules.CLASSES.items()},
    modules.Embedding: graph_pb2.MODULE_KIND_EMBEDDING,
    modules.EmbeddingBag: graph_pb2.MODULE_KIND_EMBEDDING_BAG,
}
#: What a class derived from a permitted one may define and still be that class.
_HARMLESS_NAMES = (
    "__init__ __module__ __doc__ __qualname__ __annotations__ __repr__ __firstlineno__ "
    "__static_attributes__ __parameters__ __orig_bases__ extra_repr reset_parameters "
    "_reset_parameters init_weights"
)
_HARMLESS = frozenset(_HARMLESS_NAMES.split())
_STACKS = (
    graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER_LAYER,
    graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER,
    graph_pb2.MODULE_KIND_TRANSFORMER_DECODER_LAYER,
    graph_pb2.MODULE_KIND_TRANSFORMER_DECODER,
    graph_pb2.MODULE_KIND_TRANSFORMER,
)


def kind_of(module: nn.Module, path: str) -> graph_pb2.ModuleKind | None:
    """The permitted class of a module; None for what is traced through.

    Raises InvalidModule for a class of torch that is neither, and for what changes a class.
    """
    of = type(module)
    if kind := _KINDS.get(of):
        check_whole(module, path)
        return kind
    if of.__module__.partition(".")[0] == "torch":
        return _of_torch(of, path)
    check_whole(module, path)
    base = next((each for each in of.__mro__ if each in _KINDS), None)
    if base is None or not _is_same(of, base):
        return None
    return _KINDS[base]


def _is_same(of: type, base: type) -> bool:
    """Whether a derived class computes what its base computes."""
    between = of.__mro__[: of.__mro__.index(base)]
    own = {name for each in between for name in vars(each)} - _HARMLESS
    return not any(hasattr(base, name) for name in own)


def _of_torch(of: type, path: str) -> None:
    name = of.__name__
    if name in tables.CONTAINERS:
        return
    raise unsupported(f"{name} at {path}", tables.REFUSED.get(name, ""))


def check_plain(root: nn.Module) -> None:
    """Raises InvalidModule for parts that are compiled: their forward() is no Python any more."""
    for path, module in root.named_modules():
        shown = path or "the module"
        if isinstance(module, torch.jit.ScriptModule):
            raise refused(f"{shown} is compiled", "give the module that it was made of")
        if type(module).__name__ == "OptimizedModule":
            way_out = "give it before torch.compile; training.compile asks for it"
            raise refused(f"{shown} is compiled", way_out)


def check_whole(module: nn.Module, path: str) -> None:
    """Raises InvalidModule for hooks, parametrizations and what has no shape yet."""
    if any(nn.parameter.is_lazy(each) for each in module.parameters(recurse=False)):
        raise refused(f"{path} has no shape yet", "run the module once before it is traced")
    if parametrize.is_parametrized(module):
        way_out = "torch.nn.utils.parametrize.remove_parametrizations makes plain weights of them"
        raise refused(f"{path} has parametrizations", way_out)
    for name in _HOOKS:
        if vars(module).get(name):
            kind = name.strip("_").replace("_", " ")
            raise refused(f"{path} has {kind}", "remove them, or write their part into forward()")


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def module_of(module: nn.Module, path: str, kind: graph_pb2.ModuleKind) -> graph_pb2.Module:
    """The module as the format has it; raises InvalidModule for arguments that it may not have."""
    given = {
        name: _fitted(_read(module, kind, name), argument)
        for name, argument in tables.MODULES[kind].arguments.items()
    }
    shown = graph_pb2.ModuleKind.Name(kind).removeprefix("MODULE_KIND_")
    for name, argument in tables.MODULES[kind].arguments.items():
        if not argument.accepts(given[name]):
            problem = f"{name} of {path} ({shown}) is {given[name]!r}"
            raise refused(problem, f"allowed: {argument.allowed()}")
    if problem := tables.MODULES[kind].problem(given):
        raise refused(f"{path} ({shown}) has {problem}", "change its arguments")
    encoded = {name: values.literal(value) for name, value in given.items()}
    found = graph_pb2.Module(path=path, kind=kind, arguments=encoded)
    _check_states(module, path, kind, given)
    if kind in _STACKS:
        _check_alike(module, found)
    return found


def _fitted(found: Any, argument: Argument) -> Any:
    """A number as the table's type; torch takes 1 for 1.0."""
    value: Any = tuple(found) if isinstance(found, (list, torch.Size)) else found
    if isinstance(found, (list, tuple)) and "reals" in argument.kinds:
        numbers: Any = found
        return tuple(float(number) for number in numbers)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and "real" in argument.kinds and "integer" not in argument.kinds:
        return float(value)
    if isinstance(value, (bool, int)) and argument.kinds == ("boolean",):
        return bool(value)
    return value


def _read(module: nn.Module, kind: graph_pb2.ModuleKind, name: str) -> Any:
    """A constructor's argument of a live module."""
    if name == "inplace":
        return False  # the tracer gives writing over an operand its meaning
    read = _READ.get((kind, name)) or _READ_ANY.get(name)
    return getattr(module, name) if read is None else read(module)


def _has_bias(module: nn.Module) -> bool:
    """Of what has a weight and perhaps a bias; without a weight torch's default."""
    if "weight" in module._parameters and module._parameters["weight"] is None:  # noqa: SLF001 - torch's
        return True
    if "weight" not in module._parameters:  # noqa: SLF001 - recurrent modules keep the argument
        return bool(vars(module).get("bias", True))
    return module._parameters.get("bias") is not None  # noqa: SLF001 - torch's


def _first(stack: nn.Module) -> nn.Module:
    """The first layer of a stack, or the layer itself."""
    if isinstance(stack, nn.Transformer):
        stack = stack.encoder
    if isinstance(stack, (nn.TransformerEncoder, nn.TransformerDecoder)):
        return stack.layers[0]
    return stack


def _of_layer(read: Callable[[Any], Any]) -> Callable[[nn.Module], Any]:
    return lambda module: read(_first(module))


def _activation(layer: Any) -> Any:
    """The word for an activation; whatever else it is is not permitted."""
    found = layer.activation
    if found is functional.relu or isinstance(found, nn.ReLU):
        return "relu"
    is_gelu = isinstance(found, nn.GELU) and found.approximate == "none"
    return "gelu" if found is functional.gelu or is_gelu else str(found)


def _layer_count(stack: Any) -> int:
    return len(stack.layers)


def _has_norm(stack: Any) -> bool:
    return stack.norm is not None


_Read = Callable[[Any], Any]
_LAYER_READS: Mapping[str, _Read] = {
    "d_model": lambda layer: layer.self_attn.embed_dim,
    "nhead": lambda layer: layer.self_attn.num_heads,
    "dim_feedforward": lambda layer: layer.linear1.out_features,
    "dropout": lambda layer: layer.dropout.p,
    "activation": _activation,
    "layer_norm_eps": lambda layer: layer.norm1.eps,
    "batch_first": lambda layer: layer.self_attn.batch_first,
    "norm_first": lambda layer: layer.norm_first,
    "bias": lambda layer: layer.linear1.bias is not None,
}
_READ_ANY: Mapping[str, _Read] = {"bias": _has_bias}
_READ: Mapping[tuple[graph_pb2.ModuleKind, str], _Read] = {
    **{(kind, name): _of_layer(read) for kind in _STACKS for name, read in _LAYER_READS.items()},
    **{
        (kind, name): read
        for kind in (
            graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER,
            graph_pb2.MODULE_KIND_TRANSFORMER_DECODER,
        )
        for name, read in (
            ("num_layers", _layer_count),
            ("norm", _has_norm),
        )
    },
    (graph_pb2.MODULE_KIND_TRANSFORMER, "num_encoder_layers"): (lambda m: len(m.encoder.layers)),
    (graph_pb2.MODULE_KIND_TRANSFORMER, "num_decoder_layers"): (lambda m: len(m.decoder.layers)),
    (graph_pb2.MODULE_KIND_MULTIHEAD_ATTENTION, "bias"): lambda m: m.in_proj_bias is not None,
    (graph_pb2.MODULE_KIND_MULTIHEAD_ATTENTION, "add_bias_kv"): lambda m: m.bias_k is not None,
    (graph_pb2.MODULE_KIND_PAIRWISE_DISTANCE, "p"): lambda m: m.norm,
}


def _check_states(
    module: nn.Module, path: str, kind: graph_pb2.ModuleKind, given: Mapping[str, Any]
) -> None:
    """Raises InvalidModule where parameters and buffers are not those of the class."""
    for name, tensor in _tensors(module):
        if tensor.dtype not in (torch.float32, torch.int64):  # a count of batches is whole
            shown = str(tensor.dtype).removeprefix("torch.")
            raise refused(f"{path}.{name} is {shown}, not float32", "call module.float() first")
    wanted = {name: each.shape for name, each in tables.MODULES[kind].states(given).items()}
    found = {name: tuple(tensor.shape) for name, tensor in _tensors(module)}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            shape = list(found[name]) if name in found else "not there"
            allowed = list(wanted[name]) if name in wanted else "nothing"
            problem = f"{path}.{name} is {shape} where its class has {allowed}"
            raise refused(problem, "leave the parameters of torch's modules as they were made")


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _check_alike(module: nn.Module, found: graph_pb2.Module) -> None:
    """Raises InvalidModule where the layers of a stack are not what its arguments make."""
    flat = graph_pb2.Graph(modules=[found])
    with torch.device("meta"):
        (fresh,) = modules.make_all(flat).values()
    if _words(fresh) != _words(module):
        problem = f"the layers of {found.path} differ from each other, or were changed"
        raise refused(problem, "keep them in a ModuleList and call them in a loop")


def _words(module: nn.Module) -> list[str]:
    """What is to be alike, layer by layer."""
    found: list[str] = []
    for name, each in module.named_modules():
        if isinstance(each, nn.MultiheadAttention):
            found.append(f"{name} {each.dropout} {each.num_heads} {each.batch_first}")
        elif isinstance(each, _ACTIVATED):
            found.append(f"{name} {_activation(each)} {each.norm_first}")
        elif isinstance(each, (nn.Dropout, nn.LayerNorm, nn.Linear)):
            found.append(f"{name} {each.extra_repr().removesuffix(', inplace=True')}")
    return found


_ACTIVATED = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
