"""Which row of the tables, or which special case, a callable of torch or of Python is."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import difflib
import inspect
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn import functional

from twofold.nets.trace_calls import FUNCTIONAL, HINTS, SHARED, SIGNED, Row, of, row
from twofold.nets.trace_errors import InvalidModule, unsupported
from twofold.nets.trace_factories import FACTORIES, LIKE
from twofold.nets.trace_shapes import Special
from twofold.nets.trace_special import SPECIAL, where_method

Entry = Row | Special


def _signed() -> Iterator[tuple[str, Row]]:
    """Rows of functions whose signatures Python knows."""
    for name in SIGNED:
        parameters = inspect.signature(getattr(functional, name)).parameters
        words = " ".join("dtype>data_type" if word == "dtype" else word for word in parameters)
        defaults = {each.name: each.default for each in parameters.values()}
        yield name, row(of(name), words, defaults)


_FUNCTIONAL: Mapping[str, Entry] = {
    **FUNCTIONAL,
    **dict(_signed()),
    "one_hot": SPECIAL["one_hot"],
}
_FUNCTIONS: Mapping[str, Entry] = {**SHARED, **SPECIAL, **LIKE, **FACTORIES}


def _callables() -> Iterator[tuple[Any, Entry]]:
    """All callables that have an entry; later ones are more special."""
    for namespace in (torch, torch.special, torch.linalg, operator):
        for name, entry in _FUNCTIONS.items():
            found = getattr(namespace, name, None)
            if callable(found) and not isinstance(found, type):
                yield found, entry
    for name, entry in _FUNCTIONAL.items():
        yield getattr(functional, name), entry
    for name in ("sqrt", "floor", "ceil"):
        yield getattr(math, name), SHARED[name]


#: Entries by what is called.
CALLABLES: Mapping[Any, Entry] = dict(_callables())
#: Entries by the name of a method.
METHODS: Mapping[str, Entry] = {**SHARED, **SPECIAL, **LIKE, "where": where_method}
#: What makes tensors of numbers alone.
MAKERS = frozenset(getattr(torch, name) for name in FACTORIES)


def unknown(called: Callable[..., Any] | str) -> InvalidModule:
    """The error for a function or a method that has no entry."""
    name = called if isinstance(called, str) else getattr(called, "__name__", str(called))
    hint = HINTS.get(name, "")
    if not hint:
        near = difflib.get_close_matches(name, [*_FUNCTIONS, *_FUNCTIONAL], n=2, cutoff=0.7)
        hint = f"permitted and near: {', '.join(near)}" if near else "write it with other functions"
    shown = f".{called}()" if isinstance(called, str) else f"{_module(called)}{name}"
    return unsupported(shown, hint)


def _module(called: Callable[..., Any]) -> str:
    """The namespace of a function, as people write it."""
    found = getattr(called, "__module__", None)
    if found in (None, "torch._VF", "_operator"):
        return ""
    return "torch." if found.startswith("torch._C") else f"{found}."
