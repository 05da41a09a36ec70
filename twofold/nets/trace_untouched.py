"""A module stays as it was while it is traced; what a trace could not see is refused."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import contextlib
import random
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import nn

from twofold.nets.trace_errors import refused

_TABLES = ("_parameters", "_buffers", "_modules")


@contextlib.contextmanager
def module(root: nn.Module) -> Generator[None]:
    """Puts modes, attributes and the numbers of buffers back at the end."""
    kept: list[tuple[nn.Module, dict[str, Any]]] = []
    for each in root.modules():
        attributes = dict(vars(each))
        for table in _TABLES:
            attributes[table] = dict(attributes[table])
        kept.append((each, attributes))
    numbers = [
        (buffer, buffer.detach().clone()) for buffer in root.buffers() if _has_numbers(buffer)
    ]
    try:
        yield
    finally:
        for each, attributes in kept:
            vars(each).clear()
            vars(each).update(attributes)
        with torch.no_grad():
            for buffer, number in numbers:
                buffer.copy_(number)


def _has_numbers(buffer: torch.Tensor) -> bool:
    return not nn.parameter.is_lazy(buffer) and not buffer.is_meta


@contextlib.contextmanager
def no_other_randomness() -> Generator[None]:
    """Refuses draws of Python's or numpy's random numbers: a graph would repeat one for ever."""
    before = _random_states()
    yield
    for name, one, other in zip(("random", "numpy"), before, _random_states(), strict=True):
        if one != other:
            way_out = "use torch.rand, and torch.where to choose"
            raise refused(
                f"forward() draws from {name}, and a graph would repeat one draw", way_out
            )


def _random_states() -> tuple[Any, Any]:
    kind, keys, place, *_ = np.random.get_state()  # noqa: NPY002 - the global one is looked at
    return random.getstate(), (kind, keys.tobytes(), place)  # pyright: ignore[reportAttributeAccessIssue]
