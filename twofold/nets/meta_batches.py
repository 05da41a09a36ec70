"""Eval mode takes memory in proportion to the rows: a server decides how many there are.

Two sizes of a batch that fit say nothing of a third: a graph may calculate with the batch's size,
so that only a batch of 777 rows is one too many. So of the numbers that come of it only exact
multiples may be sizes, and only where a larger one makes a larger result. As a value any of them
may stand: x / sqrt(b).

A tensor's sizes, of which numbers come too, must each lie on one rising line over the batch's size:
then a quotient or a difference of two cannot be fixed in the batches that are looked at and large
between them, and what fits in a large batch fits in all below. Three small batches show the line of
a slice, which begins flat, rises and ends flat. What bends, x[:4], is as small as a constant may
be, and only taken by functions that keep sizes or sum over them.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from twofold.nets import arithmetic, steps, tables
from twofold.nets.functions import CALLS, FACTORIES, OF_TENSORS
from twofold.v1 import graph_pb2

#: The large batch that is measured, in rows.
LARGE = 65_536
#: How far above the line through two small batches a large one may lie.
_SLACK = 2

_Function = Callable[..., Any]
_EVERYWHERE = frozenset(range(8))
_CALLS: Mapping[graph_pb2.Function, _Function] = {**CALLS, **FACTORIES}


def _places(names: str, *places: int) -> dict[_Function, frozenset[int]]:
    """At which places of their sources functions may take a batch's size; without any: at all."""
    found = frozenset(places) or _EVERYWHERE
    return {_CALLS[getattr(graph_pb2, f"FUNCTION_{name}")]: found for name in names.split()}


#: Where a larger number makes no smaller result. The first source of a factory is the device's.
_TENSORS_OF: Mapping[_Function, frozenset[int]] = {
    **_places(
        "RESHAPE EXPAND REPEAT REPEAT_INTERLEAVE GETITEM TOPK INTERPOLATE ROLL AFFINE_GRID "
        "ADAPTIVE_AVG_POOL1D ADAPTIVE_AVG_POOL2D ADAPTIVE_AVG_POOL3D "
        "ADAPTIVE_MAX_POOL1D ADAPTIVE_MAX_POOL2D ADAPTIVE_MAX_POOL3D",
        1,
    ),
    **_places("UNFLATTEN ARANGE", 2),
    **_places("NARROW", 3),
    **_places("ZEROS ONES RAND RANDN FULL EYE LINSPACE"),
}
#: Where numbers are values, not sizes.
_VALUES_OF: Mapping[_Function, frozenset[int]] = {
    **_places("CLAMP WHERE MASKED_FILL LERP FULL_LIKE"),
    **_places("FULL", 2),
    **dict.fromkeys(arithmetic.BINARY.values(), _EVERYWHERE),
    **dict.fromkeys(OF_TENSORS.values(), _EVERYWHERE),
}
#: Arithmetic whose result grows with the number at one of these places, the other one being fixed.
_NUMBERS_OF: Mapping[_Function, frozenset[int]] = {
    **_places("MUL", 0, 1),
    **_places("DIV FLOOR_DIVIDE INT FLOAT FLOOR CEIL GETITEM", 0),
}


#: Of two multiples of the batch's size these compute a number that is fixed.
_QUOTIENTS = (_CALLS[graph_pb2.FUNCTION_DIV], _CALLS[graph_pb2.FUNCTION_FLOOR_DIVIDE])
#: Each size of what these compute is one of an operand's, or 1.
_KEEPING = frozenset(
    {
        *_places("SIZE SUM MEAN AMAX AMIN STD VAR NORM LOGSUMEXP MATMUL TRANSPOSE SOFTMAX DETACH"),
        *_VALUES_OF,
    }
)
_GETITEM = _CALLS[graph_pb2.FUNCTION_GETITEM]


def is_proportional(elements: Sequence[int], batches: Sequence[int]) -> bool:
    """Whether the last and large batch takes about what two small ones let expect."""
    few, *_, many, all_of_it = elements
    small, *_, medium, large = batches
    slope = max(0, many - few) / (medium - small)
    return all_of_it <= _SLACK * (few + slope * (large - small))


def first_odd(plan: steps.Plan, runs: Sequence[steps.Slots], batches: Sequence[int]) -> int | None:
    """The first step whose result may have a size that does not grow evenly with the batch's.

    Args:
        plan: of eval mode.
        runs: all slots after a run of each of several batch sizes.
        batches: these sizes.
    """
    begin = len(runs[0]) - len(plan.steps)
    known = _Known(batches, set(), set())
    bent: set[int] = set()
    for index, step in enumerate(plan.steps):
        values = [slots[begin + index] for slots in runs]
        sources = steps.sources_of(step)
        if not bent.isdisjoint(sources) and not _keeps_sizes(step):
            return index
        if not _has_tensors(values[0]):
            known.note(begin + index, step, values)
            continue
        is_even = _is_even(values, batches)
        if not _is_fine(step, known.places(sources)) or not (is_even or _is_small(values)):
            return index
        if not is_even:
            bent.add(begin + index)
    return None


@dataclass(frozen=True, slots=True)
class _Known:
    """Slots of numbers that come of the batch's size."""

    batches: Sequence[int]
    #: Those that are k times the batch's size, and tuples of them and of fixed ones.
    multiples: set[int]
    others: set[int]

    def places(self, sources: Sequence[int]) -> tuple[set[int], set[int]]:
        """At which places of its sources a step has such numbers: multiples, and others."""
        multiples = {place for place, source in enumerate(sources) if source in self.multiples}
        others = {place for place, source in enumerate(sources) if source in self.others}
        return multiples, others

    def note(self, slot: int, step: steps.Step, values: Sequence[Any]) -> None:
        """Takes the number of a step, its values in all runs."""
        sources = steps.sources_of(step)
        multiples, others = self.places(sources)
        is_fixed = all(value == values[0] for value in values)
        if not others and is_fixed and (not multiples or _is_of_several(step, multiples, sources)):
            return
        is_grown = not others and (not multiples or _grows(step, multiples, values))
        is_multiple = is_grown and _are_multiples(values, self.batches)
        (self.multiples if is_multiple else self.others).add(slot)


def _is_of_several(step: steps.Step, multiples: set[int], sources: Sequence[int]) -> bool:
    """Whether a number that is fixed is the quotient of two multiples, or one of all sizes."""
    if not isinstance(step, steps.CallTwo):
        return False
    is_quotient = step.function in _QUOTIENTS and len(multiples) == len(sources)
    return is_quotient or (step.function is _GETITEM and multiples == {0})


def _are_multiples(values: Sequence[Any], batches: Sequence[int]) -> bool:
    """Whether a number is k times the batch's size; of a tuple all that are not fixed."""
    first = values[0]
    if isinstance(first, slice):
        return True  # it ends at one
    if isinstance(first, tuple):
        return all(
            all(entry == entries[0] for entry in entries) or _are_multiples(entries, batches)
            for entries in zip(*values, strict=False)
        )
    return isinstance(first, (int, float)) and all(
        value * batches[0] == first * batch > 0
        for value, batch in zip(values, batches, strict=True)
    )


def _is_fine(step: steps.Step, places: tuple[set[int], set[int]]) -> bool:
    """Whether a step to tensors may have multiples, and others, at these places."""
    if not any(places):
        return True
    if not isinstance(step, (steps.Call, steps.CallTwo)):
        return False  # a module
    multiples, others = places
    as_values = _VALUES_OF.get(step.function, frozenset())
    as_sizes = _TENSORS_OF.get(step.function, frozenset())
    return others <= as_values and multiples <= as_values | as_sizes


def _is_even(values: Sequence[Any], batches: Sequence[int]) -> bool:
    """Whether every size of a tensor, or of several, is fixed or grows evenly with the batch's."""
    first = values[0]
    if isinstance(first, (tuple, list)):
        is_alike = all(len(value) == len(first) for value in values)
        entries = zip(*values, strict=False)
        return is_alike and all(_is_even(several, batches) for several in entries)
    if not isinstance(first, Tensor):
        return True
    shapes = [tuple(value.shape) for value in values]
    if any(len(shape) != len(shapes[0]) for shape in shapes):  # squeeze() of a batch of one row
        shapes = [(value.numel(),) for value in values]
    return all(_is_line(sizes, batches) for sizes in zip(*shapes, strict=True))


def _is_small(values: Sequence[Any]) -> bool:
    """Whether a tensor never shrinks as the batch grows, and is as small as a constant may be."""
    if not all(isinstance(value, Tensor) for value in values):
        return False
    rises = all(
        one <= other
        for before, after in pairwise(value.shape for value in values)
        for one, other in zip(before, after, strict=False)
    )
    return rises and values[-1].numel() <= tables.MAX_ROW_ELEMENTS


def _keeps_sizes(step: steps.Step) -> bool:
    """Whether every size of a step's result is one of an operand's, or 1."""
    return isinstance(step, (steps.Call, steps.CallTwo)) and step.function in _KEEPING


def _is_line(sizes: Sequence[int], batches: Sequence[int]) -> bool:
    rise, run = sizes[-1] - sizes[0], batches[-1] - batches[0]
    return rise >= 0 and all(
        (size - sizes[0]) * run == rise * (batch - batches[0])
        for size, batch in zip(sizes, batches, strict=True)
    )


def _grows(step: steps.Step, places: set[int], values: Sequence[Any]) -> bool:
    """Whether a number, tuple or slice grows with multiples at these places."""
    if isinstance(step, steps.Collect):
        return step.make is not steps.to_slice or _is_beginning(places, values)
    if not isinstance(step, (steps.Call, steps.CallTwo)):
        return False
    return len(places) == 1 and _NUMBERS_OF.get(step.function, frozenset()).issuperset(places)


def _is_beginning(places: set[int], values: Sequence[slice]) -> bool:
    """Whether slices are of the first entries, as many as the batch's size says."""
    return places == {1} and all(one.stop >= 0 and one.start in (None, 0) for one in values)


def _has_tensors(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_has_tensors(entry) for entry in value)
    return isinstance(value, Tensor)
