"""Calls of permitted modules while a module is traced."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.loss import _Loss

from twofold.nets import tables
from twofold.nets.trace_errors import refused
from twofold.nets.trace_modules import check_whole, kind_of, module_of
from twofold.v1 import graph_pb2

#: What computes otherwise in training than in eval mode; the net's mode is that of all of them.
_MODAL = (
    nn.modules.dropout._DropoutNd,  # noqa: SLF001 - the base class of all dropouts
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 - and of all norms with statistics
    nn.RReLU,
    nn.RNNBase,
    nn.MultiheadAttention,
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A call of a permitted module."""

    path: str
    #: In the order of the table, without trailing ones that were not given.
    arguments: Sequence[Any]
    wanted: Sequence[tables.Parameter]
    #: Whether it was asked to write over its first argument; not every class then does.
    may_write: bool


#: Masks of stacks, and what says that they are causal. torch looks into a mask where it is not
#: said; a graph has it computed as any other.
_CAUSAL = (("mask", "is_causal"), ("src_mask", "src_is_causal"), ("tgt_mask", "tgt_is_causal"))


class Leaves:
    """The permitted modules that are called, by path."""

    def __init__(self, root: nn.Module, *, has_losses: bool) -> None:
        self._paths: dict[nn.Module, str] = {}
        for path, module in root.named_modules():
            self._paths.setdefault(module, path)
        self._has_losses = has_losses
        self.called: dict[str, graph_pb2.Module] = {}

    def leaf(self, module: nn.Module, args: Any, kwargs: Any, *, is_training: bool) -> Leaf | None:
        """What a call becomes; None where the module is gone through instead."""
        path = self._paths.get(module)
        if path is None:
            name = type(module).__name__
            if name in tables.CONTAINERS:  # such as self.layers[:2]
                return None
            way_out = "keep it as an attribute, or in a ModuleList or ModuleDict"
            raise refused(f"{name} is no part of the module that is traced", way_out)
        if self._has_losses and isinstance(module, _Loss):
            return None
        kind = kind_of(module, path or "the module")
        if kind is None:
            return None
        self._check_mode(module, path, is_training=is_training)
        if path not in self.called:
            for name, inner in module.named_modules(prefix=path):
                check_whole(inner, name)
            self.called[path] = module_of(module, path, kind)
        wanted = tables.MODULES[kind].forward
        arguments = _positional(path, wanted, args, kwargs)
        return Leaf(path, arguments, wanted, bool(getattr(module, "inplace", False)))

    @staticmethod
    def _check_mode(module: nn.Module, path: str, *, is_training: bool) -> None:
        for name, each in module.named_modules(prefix=path):
            if isinstance(each, _MODAL) and each.training != is_training:
                mode, other = ("training", "eval") if is_training else ("eval", "training")
                problem = f"{name} is in {other} mode while the module is in {mode} mode"
                way_out = "let train() and eval() reach all of it; to freeze, use requires_grad"
                raise refused(problem, way_out)


def _positional(
    path: str, wanted: Sequence[tables.Parameter], args: Sequence[Any], named: Mapping[str, Any]
) -> list[Any]:
    """A call's arguments in the table's order, up to the last that is given."""
    found = dict(zip((each.name for each in wanted), args, strict=False))
    unknown = [name for name in named if name not in {each.name for each in wanted}]
    if len(args) > len(wanted) or unknown:
        names = ", ".join(each.name for each in wanted)
        raise refused(f"{path} with {', '.join(unknown) or 'more arguments'}", f"allowed: {names}")
    found |= named
    for mask, causal in _CAUSAL:
        is_open = any(each.name == causal and each.default is None for each in wanted)
        if is_open and found.get(mask) is not None and found.get(causal) is None:
            found[causal] = False
    last = max((i for i, each in enumerate(wanted) if each.name in found), default=-1)
    lacking = [each.name for each in wanted[: last + 1] if each.name not in found]
    for name in lacking:
        found[name] = next(each.default for each in wanted if each.name == name)
    return [found[each.name] for each in wanted[: last + 1]]
