"""Which form runs batches of which size: measured, decided (pure), told."""

import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

#: Batch sizes that are warmed up and measured, in rows.
BUCKETS = (1, 4, 16, 64)
EAGER = "eager"
#: A form replaces the eager one where its median is at most this part of eager's.
CLEARLY = 0.9
#: Rounds of measuring, fewer where the first agree.
_ROUNDS = 7
_LEAST_ROUNDS = 3
#: Repetitions in a round: as many as fill _ROUND_S, 50 at most.
_ROUND_S = 0.0003
_MOST_REPEATS = 50

#: Seconds from some point on.
Clock = Callable[[], float]
#: Medians in seconds: by form, then by rows. Forms lack the sizes that they cannot run.
Timings = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Forms by batch size, smallest first."""

    #: (form, largest batch in rows); the last one runs whatever is larger, too.
    ranges: tuple[tuple[str, int], ...]
    #: Why, for people.
    reason: str

    @property
    def forms(self) -> list[str]:
        """Names of the forms that run, each once."""
        return list(dict.fromkeys(name for name, _ in self.ranges))

    def told(self) -> str:
        """For people: "arrays up to 16 rows, then fused"."""
        *limited, (last, _) = self.ranges
        return "".join(f"{name} up to {rows} rows, then " for name, rows in limited) + last


ALL_EAGER = Choice(((EAGER, BUCKETS[-1]),), "the network as it is")


def measure(
    runs: Mapping[str, Mapping[int, Callable[[], object]]], clock: Clock = time.perf_counter
) -> Timings:
    """Medians of a few rounds, in which all take turns: what slows one down slows all.

    A size is measured no further once its first rounds agree on who wins there.

    Args:
        runs: by form, EAGER among them, then by rows.
        clock: the thread's own time does not count what others take of its core.
    """
    jobs = [
        (name, rows, run, _repeats(run, clock))
        for name, sizes in runs.items()
        for rows, run in sizes.items()
    ]
    found: dict[str, dict[int, list[float]]] = {name: {} for name in runs}
    for count in range(1, _ROUNDS + 1):
        for name, rows, run, repeats in jobs:
            found[name].setdefault(rows, []).append(_seconds(run, repeats, clock))
        if count >= _LEAST_ROUNDS:
            doubtful = {rows for _, rows, _, _ in jobs if _is_doubtful(found, rows)}
            jobs = [job for job in jobs if job[1] in doubtful]
    return {
        name: {rows: statistics.median(taken) for rows, taken in sizes.items()}
        for name, sizes in found.items()
    }


def _is_doubtful(found: Mapping[str, Mapping[int, Sequence[float]]], rows: int) -> bool:
    """Whether rounds differ in who wins at a size."""
    able = {name: sizes[rows] for name, sizes in found.items() if rows in sizes}
    winners = {
        _best({name: {rows: taken[each]} for name, taken in able.items()}, rows)
        for each in range(len(able[EAGER]))
    }
    return len(winners) > 1


def _repeats(run: Callable[[], object], clock: Clock) -> int:
    run()  # warm
    return max(1, min(_MOST_REPEATS, int(_ROUND_S / max(_seconds(run, 1, clock), 1e-7))))


def _seconds(run: Callable[[], object], repeats: int, clock: Clock) -> float:
    start_s = clock()
    for _ in range(repeats):
        run()
    return (clock() - start_s) / repeats


def decide(timings: Timings, bounded: Collection[str] = ()) -> Choice:
    """The fastest form at each size, where it clearly wins; a form that wins nowhere is out.

    `bounded` are forms that run no larger batches than were measured.
    """
    sizes = sorted(timings[EAGER])
    best = [_best(timings, rows) for rows in sizes]
    if best[-1] in bounded:
        others = {name: taken for name, taken in timings.items() if name not in bounded}
        best.append(_best(others, sizes[-1]))
        sizes.append(sizes[-1] + 1)
    ranges: list[tuple[str, int]] = []
    for name, rows in zip(best, sizes, strict=True):
        if ranges and ranges[-1][0] == name:
            ranges.pop()
        ranges.append((name, rows))
    return Choice(tuple(ranges), _reason(timings, sorted(timings[EAGER])))


def _best(timings: Timings, rows: int) -> str:
    eager_s = timings[EAGER][rows]
    able = {name: sizes[rows] for name, sizes in timings.items() if rows in sizes}
    name = min(able, key=lambda each: able[each])
    return name if able[name] <= CLEARLY * eager_s else EAGER


def _reason(timings: Timings, sizes: Sequence[int]) -> str:
    shown = (sizes[0], sizes[-1])
    parts = [
        f"{rows} rows: "
        + ", ".join(
            f"{name} {taken[rows] * 1e6:.1f} us" for name, taken in timings.items() if rows in taken
        )
        for rows in dict.fromkeys(shown)
    ]
    return "; ".join(parts)


def sizes(one_s: float, budget_s: float) -> list[int]:
    """The buckets whose batch fits into a budget where one row takes `one_s`; two at least."""
    most = min(BUCKETS[-1], max(2, int(budget_s / max(one_s, 1e-9))))
    return [*[rows for rows in BUCKETS if rows < most], most]
