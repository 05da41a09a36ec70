"""How a job's progress is shown: a bar on a terminal, else a line per event. On standard error."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from twofold.cli import render
from twofold.cli.group import INTERRUPTED
from twofold.client import JobEvent, JobHandle
from twofold.client.following import outcome
from twofold.v1 import training_pb2

#: The metric shown, the first of these that a job has.
_METRICS = ("accuracy", "r2", "rmse", "macro_f1", "mae")


class Display(Protocol):
    """Where events go."""

    def show(self, event: JobEvent) -> None:
        """Shows one."""
        ...


def follow(handle: JobHandle) -> None:
    """Shows a job until it has ended and prints MODEL@VERSION.

    Raises:
        JobFailed: it ended without a version.
        Exit: Ctrl-C; the job goes on.
    """
    try:
        with display_on(Console(stderr=True)) as display:
            for event in handle.watch():
                display.show(event)
    except KeyboardInterrupt as interrupt:
        typer.echo(
            f"\nthe job goes on. Follow it: twofold jobs watch {handle.id}\n"
            f"                 Cancel it: twofold jobs cancel {handle.id}",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from interrupt
    typer.echo(render.version_of(outcome(handle.job).model_version))


@contextmanager
def display_on(console: Console) -> Generator[Display]:
    """What events are shown by: a bar on a terminal, else lines."""
    if not console.is_terminal:
        yield Lines()
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
    ) as progress:
        yield Bar(progress)


class Bar:
    """One progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("waiting", total=None, figures="")

    def show(self, event: JobEvent) -> None:
        """See Display."""
        job = event.job
        has_progress = job.HasField("progress")
        self._progress.update(
            self._task,
            description=standing(job),
            completed=job.progress.epoch,
            total=job.progress.epoch_count if has_progress else None,
            figures=figures(job),
        )


class Lines:
    """A line per event that says something new."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, event: JobEvent) -> None:
        """See Display."""
        line = " ".join(filter(None, (standing(event.job), history(event.job))))
        if line != self._last:
            typer.echo(line, err=True)
        self._last = line


def standing(job: training_pb2.TrainingJob) -> str:
    """Where a job stands, in a word or two."""
    return (render.phase(job) or render.state(job)).lower().replace("_", " ")


def history(job: training_pb2.TrainingJob) -> str:
    """A job's figures, or how it ended, for a line of its history."""
    if job.model_version:
        return render.version_of(job.model_version)
    if job.reason:
        return render.one_line(" ".join(filter(None, (render.reason(job), job.message))))
    return figures(job)


def figures(job: training_pb2.TrainingJob) -> str:
    """Attempt if not the first, epoch, loss, metric; speed and remaining time while it trains."""
    progress = job.progress
    again = job.attempt_count > 1
    if not job.HasField("progress"):
        return f"attempt {job.attempt_count}" if again else ""
    parts = [
        *([f"attempt {job.attempt_count}"] if again else []),
        *([f"resumed from {progress.resumed_epoch}"] if progress.resumed_epoch else []),
        *([f"epoch {render.epochs(progress)}"] if progress.epoch_count else []),
        # Of weights that are published as they came it is known once they are measured.
        *([f"loss {render.figure(progress.loss)}"] if progress.epoch or progress.metrics else []),
    ]
    if progress.HasField("validation_loss"):
        parts.append(f"validation {render.figure(progress.validation_loss)}")
    parts += [
        f"{name} {render.figure(progress.metrics[name])}"
        for name in _METRICS
        if name in progress.metrics
    ][:1]
    if job.phase != training_pb2.JOB_PHASE_TRAINING:
        return "  ".join(parts)
    if progress.rows_per_second:
        parts.append(f"{progress.rows_per_second:,.0f} rows/s")
    if progress.HasField("remaining_duration"):
        parts.append(f"ETA {duration(progress.remaining_duration.ToTimedelta().total_seconds())}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    whole = max(0, round(seconds))
    if whole < 3600:  # noqa: PLR2004 - an hour
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
