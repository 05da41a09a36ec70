"""Eval mode takes memory in proportion to the rows: a server decides how many there are.

Two sizes of a batch that fit say nothing of a third: a graph may calculate with the batch's size,
so that only a batch of 777 rows is one too many. So of the numbers that come of it only multiples
may be sizes, and only where a larger one makes a larger result; then what fits in a large batch
fits in all below it. As a value any of them may stand: x / sqrt(b).
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from twofold.nets import arithmetic, steps
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


def is_proportional(elements: Sequence[int], batches: Sequence[int]) -> bool:
    """Whether the last and large batch takes about what two small ones let expect."""
    (few, many, all_of_it), (small, medium, large) = elements, batches
    slope = max(0, many - few) / (medium - small)
    return all_of_it <= _SLACK * (few + slope * (large - small))


def first_odd(plan: steps.Plan, runs: Sequence[steps.Slots], batches: Sequence[int]) -> int | None:
    """The first step whose result may have a size that does not grow with the batch's.

    Args:
        plan: of eval mode.
        runs: all slots after a run of each of several batch sizes.
        batches: these sizes.
    """
    begin = len(runs[0]) - len(plan.steps)
    known = _Known(set(), set())
    for index, step in enumerate(plan.steps):
        values = [slots[begin + index] for slots in runs]
        sources = steps.sources_of(step)
        if _is_quotient(step) and all(_is_multiple(source, runs, batches) for source in sources):
            continue
        if _has_tensors(values[0]):
            if not _is_fine(step, known.places(sources)):
                return index
        else:
            known.note(begin + index, step, values)
    return None


@dataclass(frozen=True, slots=True)
class _Known:
    """Slots of numbers that come of the batch's size."""

    #: Those that grow with it.
    multiples: set[int]
    others: set[int]

    def places(self, sources: Sequence[int]) -> tuple[set[int], set[int]]:
        """At which places of its sources a step has such numbers: multiples, and others."""
        multiples = {place for place, source in enumerate(sources) if source in self.multiples}
        others = {place for place, source in enumerate(sources) if source in self.others}
        return multiples, others

    def note(self, slot: int, step: steps.Step, values: Sequence[Any]) -> None:
        """Takes the number of a step, its values in all runs."""
        multiples, others = self.places(steps.sources_of(step))
        if others or (multiples and not _grows(step, multiples, values)):
            self.others.add(slot)
        elif multiples or any(value != values[0] for value in values):
            self.multiples.add(slot)


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


def _grows(step: steps.Step, places: set[int], values: Sequence[Any]) -> bool:
    """Whether a number, tuple or slice grows with multiples at these places."""
    if isinstance(step, steps.Collect):
        return step.make is not steps.to_slice or _is_beginning(places, values)
    if not isinstance(step, (steps.Call, steps.CallTwo)):
        return False
    return len(places) == 1 and _NUMBERS_OF.get(step.function, frozenset()).issuperset(places)


def _is_quotient(step: steps.Step) -> bool:
    return isinstance(step, steps.CallTwo) and step.function in _QUOTIENTS


def _is_multiple(source: int, runs: Sequence[steps.Slots], batches: Sequence[int]) -> bool:
    """Whether a slot holds a number that is k times the batch's size."""
    values = [slots[source] for slots in runs]
    return isinstance(values[0], (int, float)) and all(
        value * batches[0] == values[0] * batch > 0
        for value, batch in zip(values, batches, strict=True)
    )


def _is_beginning(places: set[int], values: Sequence[slice]) -> bool:
    """Whether slices are of the first entries, as many as the batch's size says."""
    return places == {1} and all(one.stop >= 0 for one in values)


def _has_tensors(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_has_tensors(entry) for entry in value)
    return isinstance(value, Tensor)
