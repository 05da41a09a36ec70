"""One pass of stand-ins through forward(): what it does with them becomes nodes.

By torch.fx: its tracer hands stand-ins through forward() and calls back for every module and
attribute; functions come over torch's function mode, which also sees those that take no tensor.
Each operation is computed at once, for two batches of the example, by the function that the graph
will call: so whatever does not fit is known at the line that says it.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import contextlib
import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property

from twofold.nets import tables
from twofold.nets.functions import CALLS, FACTORIES
from twofold.nets.modules import TORCH_ERRORS, first_line
from twofold.nets.trace_calls import Row, of
from twofold.nets.trace_errors import current_line, refused, unsupported
from twofold.nets.trace_factories import SIDE_BY_SIDE
from twofold.nets.trace_leaves import Leaves
from twofold.nets.trace_lookup import CALLABLES, MAKERS, METHODS, Entry, unknown
from twofold.nets.trace_patches import patched
from twofold.nets.trace_stand import Pair, Stand, find, worth
from twofold.nets.trace_states import States
from twofold.nets.trace_values import encode
from twofold.v1 import graph_pb2

_Function = graph_pb2.Function
_COPY = "write y = x + 1 instead of x += 1, or x.add(1) instead of x.add_(1)"


@dataclass(slots=True)
class Passed:
    """What a pass gave."""

    nodes: list[graph_pb2.Node] = field(default_factory=list[graph_pb2.Node])
    #: What forward() returned, stand-ins in it.
    returned: Any = None


class Recorder(fx.Tracer):
    """Records a pass in one mode."""

    def __init__(
        self, inputs: Mapping[str, Pair], states: States, leaves: Leaves, *, is_training: bool
    ) -> None:
        side_by_side = tuple(getattr(torch, name) for name in SIDE_BY_SIDE)
        super().__init__(autowrap_functions=side_by_side)
        self._inputs = inputs
        self._states = states
        self._leaves = leaves
        self.is_training = is_training
        self.passed = Passed()
        self._names: set[str] = set()
        self._alive: list[weakref.ref[Stand]] = []
        #: Stand-ins of states and constants by their paths.
        self._read: dict[str, Stand] = {}
        self._is_computing = False
        #: fx patches torch for all threads; those of others are none of this pass.
        self._thread = threading.get_ident()

    def run(self, root: nn.Module | Callable[..., Any]) -> Passed:
        """The pass through `root`; raises InvalidModule."""
        for name, pair in self._inputs.items():
            self._add(graph_pb2.Node(input=name), name, pair)
        with torch.enable_grad(), _Mode(self), patched(self, root):
            self.trace(root)
        return self.passed

    # What fx calls.

    def create_arg(self, a: Any) -> Any:
        """Nothing is made of arguments: nodes are ours."""
        return a

    def create_node(self, kind: str, target: Any, args: Any, *rest: Any, **named: Any) -> Any:
        """Only fx's node of the output comes here."""
        del target, rest, named
        if kind == "output":
            self.passed.returned = args[0]

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any
    ) -> Any:
        """A stand-in for an argument of forward(), or what an operator gives."""
        del rest, named
        if kind != "placeholder":
            return self.function(target, args, kwargs)
        if target in self._inputs:
            return self._read[f":{target}"]
        return args[0] if args else ()

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """A parameter or buffer that forward() reads is a node."""
        del attr, parameter_proxy_cache
        if not isinstance(attr_val, Tensor) or self.is_foreign():
            return attr_val
        return self._state(attr_val)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """A permitted module is a node; what a user wrote is gone through."""
        if self.is_foreign():
            return forward(*args, **kwargs)
        with self._apart():
            leaf = self._leaves.leaf(m, args, kwargs, is_training=self.is_training)
        if leaf is None:
            return forward(*args, **kwargs)
        self._check_surroundings()
        encoded = encode(leaf.path, leaf.arguments, leaf.wanted, self._name_of)
        firsts: list[Any] = []

        def call(given: Any, named: Any) -> Any:
            firsts.extend(given[:1])
            return forward(*given, **named)

        found = self._computed(leaf.path, call, (args, kwargs), copies=leaf.may_write)
        writes = leaf.may_write and firsts and _memory(found[0]) == _memory(firsts[0])
        node = graph_pb2.Node(module=leaf.path, arguments=encoded)
        result = self._add(node, leaf.path.replace(".", "_"), found)
        return self._overwrite(leaf.arguments[0], result) if writes else result

    # What stand-ins and torch's function mode call.

    def intercepted(self, called: Any, args: Any, kwargs: Any) -> Any:
        """Any function of torch: recorded where it has to do with the graph, else just called."""
        if self.is_foreign():
            return called(*args, **kwargs)
        if called in MAKERS or next(find([args, kwargs]), None) is not None:
            return self.function(called, args, kwargs)
        before = torch.random.get_rng_state()
        found = called(*args, **kwargs)
        if not torch.equal(before, torch.random.get_rng_state()):
            raise unknown(called)
        return found

    def function(self, called: Any, args: Any, kwargs: Any) -> Any:
        """Records a function of torch, an operator or a function of Python's math."""
        entry = CALLABLES.get(called)
        if entry is not None:
            return self._call(entry, called.__name__, args, kwargs)
        name = getattr(called, "__name__", "")
        if is_tensor_method_or_property(called) or name.strip("_") != name:
            is_dunder = name.startswith("__")
            return self.method(name.strip("_") if is_dunder else name, args, kwargs)
        raise unknown(called)

    def method(self, name: str, args: Any, kwargs: Any) -> Any:
        """Records x.name(...); a name that ends in "_" writes over x."""
        writes = name.endswith("_") and name not in METHODS
        entry = METHODS.get(name[:-1] if writes else name)
        if entry is None:
            raise unknown(name)
        result = self._call(entry, name, args, kwargs)
        return self._overwrite(args[0], result) if writes else result

    def _call(self, entry: Entry, name: str, args: Any, kwargs: Any) -> Any:
        named = dict(kwargs)
        writes = named.pop("inplace", False)
        if named.pop("out", None) is not None:
            raise unsupported(f"the argument out of {name}", "use what it returns")
        if isinstance(entry, Row):
            result = self.emit(entry.function, *self._bound(entry, name, args, named))
        else:
            try:
                result = entry(self, *args, **named)
            except TypeError as error:
                raise refused(f"{name} with these arguments: {error}", "see torch's own") from error
        return self._overwrite(args[0], result) if writes else result

    def _bound(self, row: Row, name: str, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """The arguments in the tables' order."""
        if len(args) > len(row.names):
            raise refused(f"{name} with {len(args)} arguments", "see torch's own")
        pairs = [(row.names[i], row.targets[i], argument) for i, argument in enumerate(args)]
        pairs += [(key, row.target(key), argument) for key, argument in named.items()]
        found = {target: argument for _, target, argument in pairs if target}
        others = {key: argument for key, target, argument in pairs if not target}
        wanted = tables.FUNCTIONS[row.function]
        if (kind := others.pop("dtype", None)) is not None:  # such as sum(dtype=...)
            first = wanted[0].name
            found[first] = self.method("to", (found[first], kind), {})
        for key, argument in others.items():
            if not _is_default(argument, row.defaults.get(key)):
                raise unsupported(f"the argument {key} of {name}", "leave it out")
        if found.get("training") == self.is_training:
            del found["training"]
        for each in wanted:
            if each.default is tables.REQUIRED and each.name not in found:
                raise refused(f"{name} without {each.name}", "see torch's own")
        return [found.get(each.name, each.default) for each in wanted]

    def emit(self, function: _Function, *arguments: Any) -> Any:
        """A node that calls a function of the tables."""
        self._check_surroundings()
        what = graph_pb2.Function.Name(function).removeprefix("FUNCTION_").lower()
        wanted = tables.FUNCTIONS[function]
        encoded = encode(what, arguments, wanted, self._name_of)
        given = [*arguments, *(each.default for each in wanted[len(arguments) :])]
        given = [
            self.is_training if each.name == "training" and argument is None else argument
            for each, argument in zip(wanted, given, strict=True)
        ]
        call = CALLS.get(function) or self._factory(function)
        found = self._computed(what, lambda a, _: call(*a), (given, {}), copies=False)
        return self._add(graph_pb2.Node(function=function, arguments=encoded), what, found)

    def _factory(self, function: _Function) -> Callable[..., Any]:
        like = next(iter(self._inputs.values()))[0]
        make = FACTORIES[function]
        return lambda *arguments: make(like, *arguments)

    def _computed(
        self, what: str, call: Callable[[Any, Any], Any], given: Any, *, copies: bool
    ) -> Pair:
        """What a call gives for both batches."""
        try:
            with self._apart(), torch.no_grad():
                few, many = (
                    call(*(_copied(worth(given, which)) if copies else worth(given, which)))
                    for which in (0, 1)
                )
        except TORCH_ERRORS as error:
            problem = f"{what} does not run on the example: {first_line(error)}"
            raise refused(problem, "make its operands fit") from error
        return few, many

    @contextlib.contextmanager
    def _apart(self) -> Generator[None]:
        """For computations that are none of forward()'s."""
        self._is_computing = True
        try:
            yield
        finally:
            self._is_computing = False

    def _add(self, node: graph_pb2.Node, base: str, found: Pair) -> Any:
        """The node under a name of its own, and what stands for its result."""
        node.name = self._fresh(base)
        self.passed.nodes.append(node)
        result = self._wrapped(node.name, found)
        if node.input:
            self._read[f":{node.input}"] = result
        return result

    def _wrapped(self, name: str, found: Pair) -> Any:
        few, many = found
        if isinstance(few, tuple):
            whole = Stand(self, name, found)
            entries = [
                None if entry is None else self.emit(of("getitem"), whole, index)
                for index, entry in enumerate(few)
            ]
            return tuple(entries) if type(few) is tuple else type(few)(entries)
        stand = Stand(self, name, (few, many))
        self._alive.append(weakref.ref(stand))
        if isinstance(few, Tensor) and few.is_floating_point() and not torch.is_grad_enabled():
            with torch.enable_grad():
                return self.emit(of("detach"), stand)
        return stand

    def _fresh(self, base: str) -> str:
        name, count = base[:200], 1
        while name in self._names:
            count += 1
            name = f"{base[:200]}_{count}"
        self._names.add(name)
        return name

    def _name_of(self, value: Any) -> str:
        if type(value) is not Stand:
            return self._state(value).name
        if value.stale is not None:
            raise refused(f"a view of what {value.stale} wrote over is read", _COPY)
        return value.name

    def _state(self, tensor: Tensor) -> Stand:
        """What stands for a parameter, a buffer, or a tensor that is a constant to the graph."""
        path = self._states.path_of(tensor)
        if path not in self._read:
            node = graph_pb2.Node(state=path)
            self._read[path] = self._add(node, path.replace(".", "_"), (tensor, tensor))
        return self._read[path]

    def _overwrite(self, target: Any, result: Any) -> Any:
        """Gives a stand-in the value that was written over its own; other views of it are stale."""
        if type(target) is not Stand or self._states.holds(target.few):
            problem = "a parameter, buffer or constant is written over"
            raise refused(problem, "a graph writes only what it computed; use what it returns")
        if not torch.is_grad_enabled():
            raise refused("a tensor is written over without gradients", _COPY)
        if (result.few.shape, result.dtype) != (target.few.shape, target.dtype):
            raise refused("a tensor is written over with another shape or type", "make a new one")
        memory = _memory(target.few)
        for other in (reference() for reference in self._alive):
            is_view = other is not None and other.is_tensor and _memory(other.few) == memory
            if other is not None and other is not target and is_view:
                other.stale = current_line()
        target.name, target.values = result.name, result.values
        return target

    def _check_surroundings(self) -> None:
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            raise refused("autocast in forward()", "leave it out; training.precision asks for bf16")

    def is_foreign(self) -> bool:
        """Whether a call belongs to a computation of values, or to another thread."""
        return self._is_computing or threading.get_ident() != self._thread


class _Mode(TorchFunctionMode):
    """Sees every function of torch, of this thread."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        return self._recorder.intercepted(func, args, kwargs or {})


def _copied(given: Any) -> Any:
    """Arguments whose tensors may be written over."""
    if isinstance(given, Tensor):
        return given.clone()
    if isinstance(given, (list, tuple)):
        return type(given)([_copied(entry) for entry in given])
    if isinstance(given, dict):
        return {key: _copied(entry) for key, entry in given.items()}
    return given


def _is_default(argument: Any, default: object) -> bool:
    """Whether an argument that no graph has is as if it were not given."""
    if isinstance(argument, Tensor):
        return False
    return argument is None or argument is False or argument == default


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
