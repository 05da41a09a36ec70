"""Eval mode takes memory in proportion to the rows: a server decides how many there are.

Two sizes of a batch that fit say nothing of a third: a graph may calculate with the batch's size,
so that only a batch of 777 rows is one too many. So numbers that come of it must grow with it and
may only stand where a larger one makes a larger result; then what fits in a large batch fits in all
below it.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Collection, Mapping, Sequence
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
    # Their numbers are values, not sizes.
    **_places("CLAMP WHERE MASKED_FILL LERP FULL_LIKE"),
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
    """The first step that does something else with a batch's size than to grow with it.

    Args:
        plan: of eval mode.
        runs: all slots after a run of each of several batch sizes.
        batches: these sizes.
    """
    begin = len(runs[0]) - len(plan.steps)
    sizes: set[int] = set()
    for index, step in enumerate(plan.steps):
        slot = begin + index
        values = [slots[slot] for slots in runs]
        sources = steps.sources_of(step)
        places = {place for place, source in enumerate(sources) if source in sizes}
        if _is_quotient(step) and all(_is_multiple(source, runs, batches) for source in sources):
            continue
        if places and not _is_fine(step, places, values):
            return index
        if not _has_tensors(values[0]) and (places or any(one != values[0] for one in values)):
            sizes.add(slot)
    return None


def _is_fine(step: steps.Step, places: Collection[int], values: Sequence[Any]) -> bool:
    """Whether a step may have sizes of the batch at these places of its sources."""
    if isinstance(step, steps.Collect):
        return step.make is not steps.to_slice or _is_beginning(places, values)
    if not isinstance(step, (steps.Call, steps.CallTwo)):
        return False  # a module
    if _has_tensors(values[0]):
        return _TENSORS_OF.get(step.function, frozenset()).issuperset(places)
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


def _is_beginning(places: Collection[int], values: Sequence[slice]) -> bool:
    """Whether slices are of the first entries, as many as the batch's size says."""
    return set(places) == {1} and all(one.stop >= 0 for one in values)


def _has_tensors(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_has_tensors(entry) for entry in value)
    return isinstance(value, Tensor)
