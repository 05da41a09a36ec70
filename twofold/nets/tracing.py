"""A module of the user's as a graph: `twofold.nets.trace(module, example_inputs)`.

forward() runs on stand-ins in training and in eval mode (see trace_record). What comes out is
checked here as a server would check it, and compared with the module itself.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import InvalidField
from twofold.nets import trace_build, trace_compare, trace_untouched
from twofold.nets.bounds_nodes import check_name, check_unique
from twofold.nets.trace_errors import InvalidModule, line_of, refused
from twofold.nets.trace_leaves import Leaves
from twofold.nets.trace_modules import check_plain, kind_of
from twofold.nets.trace_record import Passed, Recorder
from twofold.nets.trace_stand import Pair
from twofold.nets.trace_states import States
from twofold.nets.trace_values import data_type
from twofold.v1 import graph_pb2

#: One tensor, several in the order of forward(), or by its argument names.
Examples = Tensor | Sequence[Tensor] | Mapping[str, Tensor]

#: Rows of the two batches. Batch norms train on two at least; no half or remainder of the two is
#: the same by chance.
_FEW, _MANY = 2, 5
#: fx patches torch itself while it traces: one at a time.
_ONE = threading.RLock()


@dataclass(frozen=True, slots=True)
class Traced:
    """A module as data."""

    #: With HEAD_RAW; a spec says otherwise.
    graph: graph_pb2.Graph
    #: What `twofold.nets.net.load` takes with it: parameters and buffers by path.
    state: Mapping[str, Tensor]


def trace(
    module: nn.Module, example_inputs: Examples, *, names: Mapping[str, str] | None = None
) -> Traced:
    """The graph and the state of a module, which is left as it was.

    Args:
        module: on the CPU, float32, of permitted classes and functions; docs/training.md says more.
        example_inputs: a few rows for forward(): a tensor, a tuple in its order, or a mapping by
            its argument names. Dimension 0 is the batch; all other sizes are fixed by it.
        names: other names on the wire, by argument name.

    Raises:
        InvalidModule: it cannot be a graph; says which line, why, and what to write instead.
    """
    _check_given(module, nn.Module)
    if kind_of(module, "the module") is not None:
        name = type(module).__name__
        raise refused(f"{name} alone is traced", "wrap it: torch.nn.Sequential(module)")
    return _traced(module, _examples(module, example_inputs), names or {})


def trace_loss(
    loss: nn.Module | Callable[..., Tensor], output: Tensor | Sequence[Tensor], target: Tensor
) -> Traced:
    """The graph of a loss: a function or a module of the output and the target, in this order.

    The graph's inputs are called "output" and "target"; of a network with several outputs, each of
    which is an argument, "output_0", "output_1" and so on. It answers one number for all rows, or
    one for each. Losses of torch.nn may be parts of it.

    Args:
        loss: as `trace` takes modules.
        output: a few rows of what the network answers: a tensor, or one for each of its outputs.
        target: as many rows of what is to be.

    Raises:
        InvalidModule: as `trace`, and where it answers anything else.
    """
    if not callable(loss):
        raise refused(f"the loss is {type(loss).__name__}", "give a function or a torch.nn.Module")
    outputs = [output] if isinstance(output, Tensor) else list(output)
    root = loss if isinstance(loss, nn.Module) else _plain(loss, len(outputs))
    numbered = [f"output_{place}" for place in range(len(outputs))]
    given = [*outputs, target]
    wire_names = [*(["output"] if isinstance(output, Tensor) else numbered), "target"]
    names = _loss_arguments(root, wire_names)
    examples = dict(zip(names, given, strict=True))
    wire = dict(zip(names, wire_names, strict=True))
    found = _traced(root, examples, wire, is_loss=True)
    spec = found.graph.outputs[0]
    if len(found.graph.outputs) > 1 or list(spec.shape) not in ([], [-1]):
        shown = ", ".join(str(list(each.shape)) for each in found.graph.outputs)
        raise refused(f"the loss answers {shown}", "return its mean, or one number per row [B]")
    return found


def _loss_arguments(
    loss: nn.Module | Callable[..., Any], wire_names: Sequence[str]
) -> Sequence[str]:
    """The arguments that take what a loss is computed from; it may need no others."""
    names = argument_names(loss)
    needed = [name for name in names if _is_needed(loss, name)]
    if len(names) < len(wire_names) or len(needed) > len(wire_names):
        problem = f"the loss has arguments {', '.join(names)}"
        way_out = f"let it take {', '.join(wire_names)}, in this order; others need a default"
        raise refused(problem, way_out)
    return names[: len(wire_names)]


def _traced(
    root: nn.Module | Callable[..., Any],
    examples: Mapping[str, Tensor],
    names: Mapping[str, str],
    *,
    is_loss: bool = False,
) -> Traced:
    """Both passes, the graph of them, and its comparison with the module."""
    module = root if isinstance(root, nn.Module) else nn.Module()
    inputs = {name: pair(name, tensor) for name, tensor in examples.items()}
    check_plain(module)
    with _ONE, trace_untouched.module(module), torch.random.fork_rng(devices=[]):
        states = States(module)
        leaves = Leaves(module, has_losses=is_loss)
        passes: list[Passed] = []
        for is_training in (True, False):
            module.train(is_training)
            recorder = Recorder(inputs, states, leaves, is_training=is_training)
            passes.append(_passed(recorder, root))
        graph = trace_build.graph(passes, inputs, states, leaves, is_loss=is_loss)
        state = trace_build.state(graph, states)
        trace_compare.check(graph, state, root, module, inputs)
    for spec in graph.inputs:
        spec.name = names.get(spec.name, spec.name)
    for node in (*graph.nodes, *graph.eval_nodes):
        if node.input:
            node.input = names.get(node.input, node.input)
    _check_names(graph)
    copies = {path: tensor.detach().clone() for path, tensor in state.items()}
    return Traced(graph, copies)


def _check_names(graph: graph_pb2.Graph) -> None:
    """Raises InvalidModule where inputs have names that no graph may have, or one has another's."""
    names = [spec.name for spec in graph.inputs]
    try:
        check_unique("names", names)
        for name in names:
            check_name("names", name)
    except InvalidField as error:
        raise InvalidModule(error.message, field="module") from error


def _passed(recorder: Recorder, called: nn.Module | Callable[..., Any]) -> Passed:
    """A pass; whatever else forward() raises is told with its line."""
    try:
        with trace_untouched.no_other_randomness():
            return recorder.run(called)
    except InvalidModule:
        raise
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        way_out = "it runs on stand-ins for tensors, which only functions of torch take"
        raise refused(problem, way_out, line_of(error)) from error


def _plain(function: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    """A function with code of its own, as fx wants it."""
    if inspect.isfunction(function):
        return function
    if outputs > 1:
        problem = f"a loss of {outputs} outputs is a {type(function).__name__}"
        raise refused(problem, "write a function (def) or a module that calls it")

    def call(output: Any, target: Any) -> Any:
        return function(output, target)

    return call


def _check_given(
    value: object, kind: type, what: str = "it", wanted: str = "a torch.nn.Module"
) -> None:
    if not isinstance(value, kind):
        raise refused(f"{what} is {type(value).__name__}", f"give {wanted}")


def _examples(module: nn.Module, given: Examples) -> dict[str, Tensor]:
    """The example by argument name."""
    names = argument_names(module)
    if isinstance(given, Mapping):
        found = dict(given)
    else:
        several = [given] if isinstance(given, Tensor) else list(given)
        if len(several) > len(names):
            problem = f"{len(several)} example inputs for forward({', '.join(names)})"
            raise refused(problem, "give one for each argument")
        found = dict(zip(names, several, strict=False))
    if unknown := [name for name in found if name not in names]:
        raise refused(f"forward() has no argument {unknown[0]}", f"it has {', '.join(names)}")
    for name in names:
        if name not in found and _is_needed(module, name):
            raise refused(
                f"forward() has an argument {name}", "give an example of it, or a default"
            )
    return found


def argument_names(called: nn.Module | Callable[..., Any]) -> list[str]:
    """Names of the arguments of forward(); raises InvalidModule for *args."""
    parameters = _parameters(called).values()
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise refused(f"forward() has {each}", "name its arguments: they name the inputs")
        if each.kind is each.POSITIONAL_ONLY:
            raise refused(f"forward() takes {each.name} by its place alone", "leave out the /")
    return [each.name for each in parameters]


def _is_needed(called: nn.Module | Callable[..., Any], name: str) -> bool:
    """Whether an argument has no default."""
    return _parameters(called)[name].default is inspect.Parameter.empty


def _parameters(called: nn.Module | Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    function = called.forward if isinstance(called, nn.Module) else called
    return inspect.signature(function).parameters


def pair(name: str, example: Tensor) -> Pair:
    """An example as two batches: of its first rows, repeated where they are too few."""
    _check_given(example, Tensor, f"the example of {name}", "a tensor of a few rows")
    if example.dim() < 1 or not len(example):
        shown = f"the example of {name} is {tuple(example.shape)}"
        raise refused(shown, "give a tensor of a few rows")
    data_type(example.dtype, name)
    rows = example.detach().clone()
    while len(rows) < _MANY:
        rows = torch.cat([rows, rows])
    return rows[:_FEW].clone(), rows[:_MANY].clone()
