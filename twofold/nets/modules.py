"""The torch class of every permitted module, and the modules that torch does not have so."""
# pyright: reportUnknownMemberType=false

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import InvalidField
from twofold.nets import tables, values
from twofold.nets.tables_layers import LAYER_MODULES
from twofold.v1 import graph_pb2


def step(z: Tensor) -> Tensor:
    """1 where z >= 0, else 0, in z's type; NaN stays NaN, so that it is not taken for a class."""
    return torch.where(torch.isnan(z), z, (z >= 0).to(z.dtype))


class Step(nn.Module):
    """The Heaviside step, 1 at 0 (Rosenblatt 1958). Its gradient is zero."""

    def forward(self, z: Tensor) -> Tensor:
        """See `step`."""
        return step(z)


class OneHot(nn.Module):
    """int64 [B, k] indices to float32 [B, sum(classes)]; an index out of range gives zeros.

    By comparison, not by scatter: an index out of range must not stop a CUDA device. The tables
    are buffers that are not saved: they follow from `classes`.
    """

    column: Tensor
    position: Tensor

    def __init__(self, classes: Sequence[int]) -> None:
        super().__init__()
        # Of numbers: torch.cat and arange would be Python on the meta device, and slow.
        column = [index for index, count in enumerate(classes) for _ in range(count)]
        position = [place for count in classes for place in range(count)]
        for name, numbers in (("column", column), ("position", position)):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.int64), persistent=False)

    def forward(self, index: Tensor) -> Tensor:
        """One-hot rows of every column, side by side."""
        return (index[:, self.column] == self.position).to(torch.float32)


class Embedding(nn.Embedding):
    """torch's own, but on a GPU an index out of range gives NaN.

    There it would stop the device, and with it every other model of the process; a CPU raises.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Rows of the table."""
        if input.is_cuda:
            return known_rows(super().forward, input, self.num_embeddings)
        return super().forward(input)


class EmbeddingBag(nn.EmbeddingBag):
    """torch's own, but its bags begin in order and within the input: a CPU raises otherwise.

    torch itself adds up what it finds before the table, or answers what was left in the memory of
    its result.
    """

    def forward(
        self,
        input: Tensor,  # noqa: A002 - torch's name
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Sums, means or maxima of rows of the table."""
        if offsets is not None:
            offsets = in_order(offsets, input.size(0))
        return super().forward(input, offsets, per_sample_weights)


def in_order(offsets: Tensor, count: int) -> Tensor:
    """Where bags begin among `count` entries; IndexError on a CPU where they overlap or cannot.

    Elsewhere, where looking would wait for the device, they are moved to where they can.
    """
    is_looked_at = offsets.is_meta or torch.compiler.is_exporting()
    if is_looked_at or offsets.dim() != 1:  # torch refuses other forms
        return offsets
    found = offsets.clamp(0, count).cummax(0).values
    can_look = offsets.is_cpu and not torch.compiler.is_compiling()
    if can_look and not torch.equal(found, offsets):
        raise IndexError(f"offsets of bags that do not rise from 0 to at most {count}")
    return found


def known_rows(look_up: Callable[[Tensor], Tensor], index: Tensor, count: int) -> Tensor:
    """Rows that `look_up` has for indices below `count`; all others NaN, or -1 of whole numbers."""
    is_known = (index >= 0) & (index < count)
    rows = look_up(torch.where(is_known, index, 0))
    unknown = torch.nan if rows.is_floating_point() else -1
    return torch.where(is_known.unsqueeze(-1), rows, unknown)


def _encoder(**given: Any) -> nn.TransformerEncoder:  # noqa: ANN401 - torch's arguments
    """An encoder of equal layers; nested tensors only where torch would use them, as it warns."""
    count, has_norm = given.pop("num_layers"), given.pop("norm")
    nested, mask_check = given.pop("enable_nested_tensor"), given.pop("mask_check")
    is_even = given["nhead"] % 2 == 0
    can = is_even and given["batch_first"] and given["bias"] and not given["norm_first"]
    layer = nn.TransformerEncoderLayer(**given)
    norm = _final_norm(given) if has_norm else None
    return nn.TransformerEncoder(layer, count, norm, nested and can, mask_check)


def _decoder(**given: Any) -> nn.TransformerDecoder:  # noqa: ANN401 - torch's arguments
    """A decoder of equal layers."""
    count, has_norm = given.pop("num_layers"), given.pop("norm")
    layer = nn.TransformerDecoderLayer(**given)
    return nn.TransformerDecoder(layer, count, _final_norm(given) if has_norm else None)


def _final_norm(given: Mapping[str, Any]) -> nn.LayerNorm:
    return nn.LayerNorm(given["d_model"], eps=given["layer_norm_eps"], dtype=given["dtype"])


def _transformer(**given: Any) -> nn.Transformer:  # noqa: ANN401 - torch's arguments
    """A transformer; its encoder warns about nested tensors that it will not use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return nn.Transformer(**given)


def _recurrent(of: type[nn.RNNBase]) -> Callable[..., nn.RNNBase]:
    """Between layers is no place for a dropout where there is one layer; torch warns."""

    def make(**given: Any) -> nn.RNNBase:  # noqa: ANN401 - torch's arguments
        if given["num_layers"] == 1:
            given["dropout"] = 0.0
        return of(**given)

    return make


def _class_of(name: str) -> str:
    """MODULE_KIND_CONV_TRANSPOSE1D to convtranspose1d."""
    return name.removeprefix("MODULE_KIND_").replace("_", "").lower()


_TORCH = {name.lower(): value for name, value in vars(nn).items() if isinstance(value, type)}

#: The class of every permitted module; both are spelled alike.
CLASSES: Mapping[graph_pb2.ModuleKind, type[nn.Module]] = {
    kind: Step
    if kind == graph_pb2.MODULE_KIND_STEP
    else _TORCH[_class_of(graph_pb2.ModuleKind.Name(kind))]
    for kind in tables.MODULES
}

#: What makes a module where it is not the class itself.
_MAKERS: Mapping[graph_pb2.ModuleKind, Callable[..., nn.Module]] = {
    graph_pb2.MODULE_KIND_EMBEDDING: Embedding,
    graph_pb2.MODULE_KIND_EMBEDDING_BAG: EmbeddingBag,
    graph_pb2.MODULE_KIND_TRANSFORMER_ENCODER: _encoder,
    graph_pb2.MODULE_KIND_TRANSFORMER_DECODER: _decoder,
    graph_pb2.MODULE_KIND_TRANSFORMER: _transformer,
    graph_pb2.MODULE_KIND_RNN: _recurrent(nn.RNN),
    graph_pb2.MODULE_KIND_LSTM: _recurrent(nn.LSTM),
    graph_pb2.MODULE_KIND_GRU: _recurrent(nn.GRU),
}

#: What torch raises for arguments or operands that it does not take.
TORCH_ERRORS = (
    ValueError,
    TypeError,
    RuntimeError,  # also NotImplementedError
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    ArithmeticError,
)


def make_all(graph: graph_pb2.Graph) -> dict[str, nn.Module]:
    """Every module of a checked graph by path, on torch's current default device.

    Raises InvalidField for arguments that torch does not take together.
    """
    found: dict[str, nn.Module] = {}
    for index, module in enumerate(graph.modules):
        try:
            found[module.path] = _make(module)
        except TORCH_ERRORS as error:
            kind = graph_pb2.ModuleKind.Name(module.kind).removeprefix("MODULE_KIND_")
            allowed = f"arguments that {kind} takes: {first_line(error)}"
            raise InvalidField.of(f"graph.modules[{index}]", module.path, allowed) from error
    return found


def one_hots(graph: graph_pb2.Graph) -> dict[tuple[int, ...], OneHot]:
    """A module for all one-hot nodes of the same classes, by these."""
    return {
        classes: OneHot(classes)
        for node in (*graph.nodes, *graph.eval_nodes)
        if node.function == graph_pb2.FUNCTION_ONE_HOT
        for classes in [tuple(values.to_integers(node.arguments[1]) or ())]
    }


def first_line(error: BaseException) -> str:
    """The first line of what an error says, at most 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _make(module: graph_pb2.Module) -> nn.Module:
    given = {name: values.to_literal(value) for name, value in module.arguments.items()}
    # Parameters are float32 whatever torch's default type is.
    kind = {"dtype": torch.float32} if module.kind in LAYER_MODULES else {}
    return _MAKERS.get(module.kind, CLASSES[module.kind])(**given, **kind)
