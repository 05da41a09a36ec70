"""What torch and Python would look into before a stand-in is asked, replaced for one pass."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import builtins
import contextlib
import inspect
from collections.abc import Callable, Generator, Iterator
from types import FunctionType, ModuleType
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils import checkpoint

from twofold.nets.trace_errors import is_foreign, unsupported
from twofold.nets.trace_factories import SIDE_BY_SIDE
from twofold.nets.trace_stand import Stand, find


class Pass(Protocol):
    """See trace_record."""

    def function(self, called: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Records a function."""
        ...

    def is_foreign(self) -> bool:
        """Whether a call is none of the pass."""
        ...


@contextlib.contextmanager
def patched(recorder: Pass, root: nn.Module | Callable[..., Any]) -> Generator[None]:
    """For one pass.

    torch.zeros(x.shape[0], 3): torch reads sizes side by side before it asks who else would. A
    torch.autograd.Function would lose its backward, and is refused. len(x) may be a node where
    forward() and the functions that it calls look `len` up. Checkpoints of activations are about
    memory alone, and are gone through.
    """
    with contextlib.ExitStack() as stack:
        for name in SIDE_BY_SIDE:
            make = _side_by_side(recorder, getattr(torch, name))
            stack.enter_context(_replaced(torch, name, make))
        apply: Any = vars(torch.autograd.Function)["apply"]
        refuse = classmethod(_refusal(recorder, apply))
        stack.enter_context(_replaced(torch.autograd.Function, "apply", refuse, apply))
        stack.enter_context(_replaced(checkpoint, "checkpoint", _at_once))
        for names in _namespaces(root):
            if "len" not in names:
                names["len"] = _length
                stack.callback(names.pop, "len")
            for name, value in list(names.items()):
                if value is _CHECKPOINT:
                    names[name] = _at_once
                    stack.callback(names.update, {name: value})
        yield


@contextlib.contextmanager
def _replaced(
    holder: ModuleType | type, name: str, value: Any, original: Any = None
) -> Generator[None]:
    original = getattr(holder, name) if original is None else original
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, original)


def _side_by_side(recorder: Pass, make: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if next(find(args), None) is None:
            return make(*args, **kwargs)
        return recorder.function(make, args, kwargs)

    return run


def _refusal(recorder: Pass, apply: Any) -> Callable[..., Any]:
    def refuse(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.is_foreign():
            return apply.__get__(None, cls)(*args, **kwargs)
        raise unsupported("torch.autograd.Function", "its backward would be lost; use functions")

    return refuse


def _length(value: Any) -> Any:
    if type(value) is Stand and value.ndim:
        return value.shape[0]
    return builtins.len(value)


_CHECKPOINT = checkpoint.checkpoint


def _at_once(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """torch.utils.checkpoint.checkpoint without its options."""
    for option in ("use_reentrant", "context_fn", "determinism_check", "debug", "early_stop"):
        kwargs.pop(option, None)
    kwargs.pop("preserve_rng_state", None)
    return function(*args, **kwargs)


def _namespaces(root: nn.Module | Callable[..., Any]) -> list[dict[str, Any]]:
    """The globals of methods of the module's parts, of what these call, and of what that calls."""
    found: dict[int, dict[str, Any]] = {}
    waiting = list(_functions(root))
    for _ in range(_DEPTH):
        fresh: dict[int, dict[str, Any]] = {}
        for each in waiting:
            names = inspect.unwrap(each).__globals__
            if id(names) not in found and not is_foreign(str(names.get("__file__", ""))):
                fresh[id(names)] = names
        found |= fresh
        several = (names.values() for names in fresh.values())
        waiting = [each for values in several for each in values if isinstance(each, FunctionType)]
    return list(found.values())


#: Calls deep: further ones would lead through all of numpy.
_DEPTH = 3


def _functions(root: nn.Module | Callable[..., Any]) -> Iterator[FunctionType]:
    if isinstance(root, FunctionType):
        yield root
    elif isinstance(root, nn.Module):
        classes = {of for module in root.modules() for of in type(module).__mro__}
        for holder in (*classes, *root.modules()):
            yield from (each for each in vars(holder).values() if isinstance(each, FunctionType))
