"""From the effect log and the kills to the table's figures: data in, data out."""

import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

What: TypeAlias = Literal["begin", "end", "acked", "refused", "given up"]


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the effect log."""

    at_s: float
    what: What
    job: str
    pid: int
    slot: int


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill that was done, with all processes that it hit."""

    at_s: float
    pids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one queue showed."""

    acked: int
    #: Submissions that failed at first and were repeated.
    refused: int
    #: Acknowledged, and the effect never came.
    lost: int
    #: Those of them that the queue itself reports as failed.
    lost_but_told: int
    #: Begun more than once.
    begun_again: int
    #: The effect of the job came more than once.
    ended_again: int
    #: What the queue lets stand of it came more than once: versions, or else the effect itself.
    doubled: int
    #: Kills that hit a job at work.
    hits: int
    #: Seconds from such a kill until the job ran again, ascending; never: absent.
    recoveries_s: tuple[float, ...] = field(default=())

    def recovery(self) -> tuple[float, float] | None:
        """Median and longest recovery."""
        if not self.recoveries_s:
            return None
        return statistics.median(self.recoveries_s), self.recoveries_s[-1]


def open_runs(notes: Sequence[Note]) -> dict[tuple[str, int], Note]:
    """Runs that have begun and not ended, by job and process."""
    found: dict[tuple[str, int], Note] = {}
    for note in notes:
        if note.what == "begin":
            found[note.job, note.pid] = note
        elif note.what == "end":
            found.pop((note.job, note.pid), None)
    return found


def figures(
    notes: Sequence[Note],
    kills: Sequence[Kill],
    failed: Collection[str],
    results: Mapping[str, int] | None,
) -> Figures:
    """`results`: how many results of each job stand; None: its effects are its results."""
    begun = Counter(note.job for note in notes if note.what == "begin")
    ended = Counter(note.job for note in notes if note.what == "end")
    acked = {note.job for note in notes if note.what == "acked"}
    lost = {job for job in acked if not (ended if results is None else results).get(job, 0)}
    recoveries_s, hits = _recoveries_s(notes, kills)
    return Figures(
        acked=len(acked),
        refused=sum(note.what == "refused" for note in notes),
        lost=len(lost),
        lost_but_told=len(lost & set(failed)),
        begun_again=_repeated(begun),
        ended_again=_repeated(ended),
        doubled=_repeated(ended if results is None else results),
        hits=hits,
        recoveries_s=tuple(sorted(recoveries_s)),
    )


def _repeated(counts: Mapping[str, int]) -> int:
    return sum(count > 1 for count in counts.values())


def _recoveries_s(notes: Sequence[Note], kills: Sequence[Kill]) -> tuple[list[float], int]:
    """From each kill of a job at work until it began again, and how many such kills there were."""
    found: list[float] = []
    hits = 0
    for kill in kills:
        before = [note for note in notes if note.at_s <= kill.at_s]
        for (job, pid), run in open_runs(before).items():
            if pid not in kill.pids or _ended_after_all(notes, run):
                continue
            hits += 1
            again = [n.at_s for n in notes if n.what == "begin" and n.job == job]
            later = [at_s for at_s in again if at_s > kill.at_s]
            if later:
                found.append(later[0] - kill.at_s)
    return found, hits


def _ended_after_all(notes: Sequence[Note], run: Note) -> bool:
    """Whether the run's end was written between the look at the log and the signal."""
    return any(
        note.what == "end" and (note.job, note.pid) == (run.job, run.pid) and note.at_s > run.at_s
        for note in notes
    )
