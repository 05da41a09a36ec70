"""Networks as data, and the one place that turns that data into torch modules.

`catalogue*`, `draft`, `bounds` and `tables*` do not import torch, so that a server can build and
check graphs without it; `net`, `modules` and `losses` do:
`from twofold.nets.net import load, init, Net`.

`twofold.nets.load("digits@3")` is for notebooks: a published version as a module.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twofold.nets.registry import load

__all__ = ["load"]


def __getattr__(name: str) -> object:
    # Lazily, so that what needs no torch imports none.
    if name == "load":
        from twofold.nets.registry import load  # noqa: PLC0415 - see above

        return load
    raise AttributeError(f"module 'twofold.nets' has no attribute {name!r}")
