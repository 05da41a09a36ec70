"""Calls of torch about sizes: what a tensor has, and what it is to have. See trace_special."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch

from twofold.nets.trace_calls import of
from twofold.nets.trace_errors import unsupported
from twofold.nets.trace_stand import Stand


class Emitter(Protocol):
    """What adds a node to the graph; see trace_record."""

    is_training: bool

    def emit(self, function: Any, *arguments: Any) -> Any:
        """The result of a function of the tables."""
        ...


Special = Callable[..., Any]  # called with an emitter, then as torch's function is


def numbers(first: Any, rest: Sequence[Any]) -> Any:
    """What may be given as f(1, 2) or as f((1, 2))."""
    if rest or isinstance(first, int) or type(first) is Stand:
        return (first, *rest)
    return tuple(first)


def varied(function: str) -> Special:
    """A function of x and of numbers, side by side or as a sequence; by keyword, too."""

    def run(at: Emitter, x: Any, first: Any = None, *rest: Any, **named: Any) -> Any:
        given = first if not named else next(iter(named.values()))
        if isinstance(given, torch.dtype):
            raise unsupported("view(dtype)", "use x.to(dtype)")
        return at.emit(of(function), x, numbers(given, rest))

    return run


class Sizes(tuple[Any, ...]):
    """x.shape: a torch.Size where no size depends on the batch."""

    __slots__ = ()

    def __new__(cls, sizes: Iterable[Any]) -> Any:
        """Of plain numbers torch's own."""
        found = tuple(sizes)
        is_plain = all(isinstance(each, int) for each in found)
        return torch.Size(found) if is_plain else super().__new__(cls, found)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return Sizes(found) if isinstance(index, slice) else found

    def numel(self) -> Any:
        """Their product."""
        return functools.reduce(operator.mul, self, 1)


def size(at: Emitter, x: Stand, dim: int | None = None) -> Any:
    """x.size(): plain numbers, but nodes for what depends on the batch."""
    if dim is not None:
        return _size(at, x, dim)
    return Sizes(_size(at, x, index) for index in range(x.ndim))


def _size(at: Emitter, x: Stand, dim: int) -> Any:
    few, many = (value.shape[dim] for value in x.values)
    return few if few == many else at.emit(of("size"), x, dim)


def numel(at: Emitter, x: Stand) -> Any:
    """x.numel()."""
    few, many = (value.numel() for value in x.values)
    return few if few == many else at.emit(of("numel"), x)


def view_as(at: Emitter, x: Any, other: Stand) -> Any:
    """x.view_as(other)."""
    return at.emit(of("reshape"), x, size(at, other))


def transposed(at: Emitter, x: Stand) -> Any:
    """x.t()."""
    return x if x.ndim < 2 else at.emit(of("transpose"), x, 0, 1)  # noqa: PLR2004 - a matrix


def select(at: Emitter, x: Stand, dim: int, index: Any) -> Any:
    """x.select(dim, index)."""
    before = (slice(None),) * (dim % x.ndim)
    return at.emit(of("getitem"), x, (*before, index))


def flip(at: Emitter, x: Any, *dims: Any, **named: Any) -> Any:
    """torch.flip, x.flip."""
    given = named.get("dims", dims[0] if dims else ())
    return at.emit(of("flip"), x, numbers(given, dims[1:]))


def stacked(dim: int) -> Special:
    """torch.hstack and torch.vstack of tensors of two dimensions or more."""

    def run(at: Emitter, tensors: Sequence[Any]) -> Any:
        return at.emit(of("cat"), list(tensors), dim)

    return run


def ravel(at: Emitter, x: Any) -> Any:
    """x.ravel()."""
    return at.emit(of("flatten"), x, 0, -1)


def spread_out(at: Emitter, x: Any, first: Any = None, *rest: Any, **named: Any) -> Any:
    """x.expand(...)."""
    given = named.get("size", first)
    return at.emit(of("expand"), x, numbers(given, rest))
