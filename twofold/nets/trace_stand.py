"""What stands for a tensor, or for a number that depends on the batch, while forward() runs.

A stand-in carries what it is worth for two batches of the example. So ranks, element types and
sizes that do not depend on the batch are plain Python, and forward() may branch and loop on them.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from twofold.nets.trace_errors import Line, refused, unsupported

#: What a stand-in is worth for the small and for the large batch.
Pair = tuple[Any, Any]

_NUMBER = "a graph runs for every size of a batch; calculate with it, or use a size that is fixed"
_WHOLE = "leave int() out: a size is whole, and stays whole with // in place of / and int()"
_BRANCH = (
    "use torch.where to pick between two tensors, or multiply by a mask; both ways are computed"
)


class Recorder(Protocol):
    """Where stand-ins leave what is done with them; see trace_record."""

    def method(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records x.name(...), x being the first of `args`."""
        ...

    def function(self, called: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Records a function."""
        ...


#: Where the example is computed; a graph runs wherever the service does.
PLACE = torch.device("cpu")


class _Node:
    """What fx notes of functions that it wraps, and nobody reads."""

    def __init__(self) -> None:
        self.meta: dict[str, Any] = {}


class Stand(fx.Proxy):
    """A stand-in; see the module's docstring."""

    def __init__(self, recorder: Recorder, name: str, values: Pair) -> None:
        self.tracer: Any = recorder  # as fx has it
        self.node: Any = _Node()  # likewise
        self.recorder = recorder
        #: The node that computes it.
        self.name = name
        self.values = values
        #: Where it was written over, if it was and this is another view of it.
        self.stale: Line | None = None

    def __repr__(self) -> str:
        return f"<{self.name} of the graph>"

    @property
    def few(self) -> Any:
        """Its value for the small batch."""
        return self.values[0]

    @property
    def is_tensor(self) -> bool:
        """Whether it is no number."""
        return isinstance(self.few, Tensor)

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride] - on purpose
        """What isinstance() sees: forward() may ask whether something is a tensor."""
        return Tensor if self.is_tensor else Stand

    @classmethod
    def __torch_function__(
        cls,
        orig_method: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        found = next(find([args, kwargs]))
        return found.recorder.function(orig_method, args or (), kwargs or {})

    def __getattr__(self, k: str) -> Any:
        if k.startswith("__") or not self.is_tensor or not hasattr(Tensor, k):
            raise AttributeError(f"a tensor has no attribute {k!r}")
        if not callable(getattr(Tensor, k)):
            raise unsupported(f"reading .{k} of a tensor", _PROPERTIES.get(k, ""))
        return partial(self._method, k)

    def _method(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        return self.recorder.method(method, (self, *args), kwargs)

    @property
    def shape(self) -> Any:
        """Every size; those that depend on the batch are nodes."""
        return self._method("size")

    @property
    def dtype(self) -> torch.dtype:
        """Element type."""
        return self.few.dtype

    @property
    def device(self) -> torch.device:
        """Stands for wherever the graph runs."""
        return PLACE

    @property
    def ndim(self) -> int:
        """How many dimensions, which no batch changes."""
        return self.few.dim()

    def dim(self) -> int:
        """As ndim."""
        return self.ndim

    ndimension = dim

    def is_floating_point(self) -> bool:
        """By its element type."""
        return self.few.is_floating_point()

    def is_contiguous(self) -> bool:
        """A graph's operations take what they get."""
        return True

    @property
    def is_cuda(self) -> bool:
        """No: what a graph computes does not depend on where it runs."""
        return False

    @property
    def T(self) -> Any:  # noqa: N802 - torch's name
        """Dimensions the other way round."""
        return self._method("permute", tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Any:  # noqa: N802 - torch's name
        """Matrices the other way round."""
        return self._method("transpose", -2, -1)

    @property
    def data(self) -> Any:
        """Without its gradient."""
        return self._method("detach")

    def __len__(self) -> int:
        first = self.shape[0]
        if isinstance(first, int):
            return first
        raise refused("len() of the batch is needed as a plain number", "use x.shape[0]")

    def __iter__(self) -> Iterator[Any]:
        if not self.is_tensor:
            raise TypeError("a number is not iterable")
        if not isinstance(self.shape[0], int):
            raise refused(
                "a loop over the rows of a batch", "compute on all rows at once; torch broadcasts"
            )
        return iter(self._method("unbind", 0))

    def __bool__(self) -> bool:
        if self.is_tensor:
            raise refused("a branch that depends on the data", _BRANCH)
        raise refused("a branch that depends on the size of the batch", _NUMBER)

    def __index__(self) -> int:
        raise self._no_number()

    def __int__(self) -> int:
        raise self._no_number(_WHOLE)

    def __float__(self) -> float:
        raise self._no_number()

    def _no_number(self, way_out: str = _NUMBER) -> Exception:
        if self.is_tensor:
            return refused("a value of a tensor is needed as a plain number", _BRANCH)
        return refused("a size of the batch is needed as a plain number", way_out)

    def __setitem__(self, index: object, value: object) -> None:
        del index, value
        way_out = (
            "make a new tensor with torch.where, torch.cat, torch.stack or x.masked_fill; what "
            "does not depend on the input belongs into __init__()"
        )
        raise refused("an assignment to a part of a tensor", way_out)

    def __contains__(self, value: object) -> bool:
        del value
        raise refused("a branch that depends on the data", _BRANCH)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises TypeError, as a tensor."""
        del args, kwargs
        raise TypeError("a tensor is not callable")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        del memo
        return self._method("clone")

    def __copy__(self) -> Any:
        return self._method("clone")

    def __round__(self, ndigits: int | None = None) -> Any:
        return self._method("round", *(() if ndigits is None else (ndigits,)))

    def __floor__(self) -> Any:
        return self._method("floor")

    def __ceil__(self) -> Any:
        return self._method("ceil")

    def __trunc__(self) -> Any:
        return self._method("trunc")


def _in_place(name: str) -> Callable[[Stand, Any], Any]:
    """X += y and its like."""

    def run(self: Stand, other: Any) -> Any:
        if self.is_tensor:
            return self.recorder.method(f"{name}_", (self, other), {})
        return getattr(operator, name)(self, other)  # a name of the list below

    return run


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor"):
    setattr(Stand, f"__i{_name.strip('_')}__", _in_place(_name))

_PROPERTIES = {
    "requires_grad": "gradients are the trainer's; use x.detach() or torch.no_grad()",
    "grad": "gradients are the trainer's",
    "H": "use .mH or transpose of real tensors",
    "imag": "complex numbers are not among the types of a graph",
}


def find(value: Any) -> Iterator[Stand]:
    """Every stand-in in nested lists, tuples and dictionaries."""
    if type(value) is Stand:
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from find(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from find(entry)
    elif isinstance(value, slice):
        yield from find((value.start, value.stop, value.step))


def worth(value: Any, which: int) -> Any:
    """Nested arguments with every stand-in replaced by its value for one of the batches."""
    if type(value) is Stand:
        return value.values[which]
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        entries = [worth(entry, which) for entry in value]
        return entries if isinstance(value, list) else tuple(entries)
    if isinstance(value, dict):
        return {key: worth(entry, which) for key, entry in value.items()}
    if isinstance(value, slice):
        return slice(*worth((value.start, value.stop, value.step), which))
    return value
