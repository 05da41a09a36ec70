"""Networks as data, and the one place that turns that data into torch modules.

`catalogue*`, `draft`, `bounds` and `tables*` do not import torch, so that a server can build and
check graphs without it; `net`, `modules` and `losses` do:
`from twofold.nets.net import load, init, Net`.

For notebooks: `twofold.nets.load("digits@3")` is a published version as a module, and
`twofold.nets.trace(module, example_inputs)` a module of one's own as data.
"""

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from twofold.nets.plugins import plugin
    from twofold.nets.registry import load
    from twofold.nets.trace_errors import InvalidModule
    from twofold.nets.tracing import Traced, trace, trace_loss

__all__ = ["InvalidModule", "Traced", "load", "plugin", "trace", "trace_loss"]

_HOMES = {
    "InvalidModule": "trace_errors",
    "Traced": "tracing",
    "load": "registry",
    "plugin": "plugins",
    "trace": "tracing",
    "trace_loss": "tracing",
}


def __getattr__(name: str) -> object:
    # Lazily, so that what needs no torch imports none.
    if name in _HOMES:
        return cast("object", vars(importlib.import_module(f"twofold.nets.{_HOMES[name]}"))[name])
    raise AttributeError(f"module 'twofold.nets' has no attribute {name!r}")
