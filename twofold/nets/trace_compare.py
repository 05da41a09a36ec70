"""A traced graph is checked as a server checks it, and answers what the module answers."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import Corrupt, InvalidField
from twofold.nets import net, trace_build
from twofold.nets.trace_errors import InvalidModule, refused
from twofold.nets.trace_stand import Pair
from twofold.v1 import graph_pb2

#: The same operations on the same machine; what torch fuses may round otherwise.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5


def check(
    graph: graph_pb2.Graph,
    state: Mapping[str, Tensor],
    called: nn.Module | Callable[..., Any],
    module: nn.Module,
    inputs: Mapping[str, Pair],
) -> None:
    """Raises InvalidModule where the graph is refused, or answers otherwise than `called`."""
    try:
        loaded = net.load(graph, state)
    except (InvalidField, Corrupt) as error:
        raise InvalidModule(f"module: {error.message}", field="module") from error
    _check_keys(loaded.state_dict().keys(), module.state_dict().keys())
    for is_training in (True, False):
        module.train(is_training)
        loaded.train(is_training)
        for which in (0, 1):
            given = {name: values[which] for name, values in inputs.items()}
            _check_answers(loaded, called, given)


def _check_keys(ours: Any, theirs: Any) -> None:
    for key in sorted(ours ^ theirs):
        who = "the module" if key in theirs else "the graph"
        way_out = "keep parameters and buffers where torch puts them"
        raise refused(f"{key} is in the state_dict() of {who} alone", way_out)


def _check_answers(
    loaded: net.Net, called: nn.Module | Callable[..., Any], given: Mapping[str, Tensor]
) -> None:
    with torch.no_grad():
        torch.default_generator.manual_seed(0)
        wanted = called(**{name: tensor.clone() for name, tensor in given.items()})
        torch.default_generator.manual_seed(0)
        found = loaded(*given.values())
    names = [spec.name for spec in loaded.graph.outputs]
    tensors = trace_build.in_order(trace_build.by_name(wanted), names)
    found = found if isinstance(found, tuple) else (found,)
    mode = "training" if loaded.training else "eval"
    for one, other in zip(found, tensors, strict=False):
        if one.shape != other.shape or not _is_close(one, other):
            problem = f"the graph answers otherwise than the module in {mode} mode"
            way_out = "look for what depends on the data or on numbers that change between calls"
            raise refused(problem, way_out)


def _is_close(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
