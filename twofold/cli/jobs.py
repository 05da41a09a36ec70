"""`twofold jobs`."""

from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer

from twofold.cli import compare, plot, progress, render
from twofold.cli.group import client_of
from twofold.client import TERMINAL_STATES, JobEvent, JobFilter
from twofold.errors import DeadlineExceeded
from twofold.v1 import training_pb2

#: Seconds that `logs` reads a live job's events: those kept come at once.
_HISTORY_S = 1.0

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Training jobs.\n\nExample: twofold jobs list",
)

Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's identifier.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


class State(StrEnum):
    """States as the command line has them."""

    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATES = {
    State.PENDING: training_pb2.JOB_STATE_PENDING,
    State.RUNNING: training_pb2.JOB_STATE_RUNNING,
    State.CANCELLING: training_pb2.JOB_STATE_CANCELLING,
    State.SUCCEEDED: training_pb2.JOB_STATE_SUCCEEDED,
    State.FAILED: training_pb2.JOB_STATE_FAILED,
    State.CANCELLED: training_pb2.JOB_STATE_CANCELLED,
}


@app.command("list")
def list_jobs(
    context: typer.Context,
    states: Annotated[
        list[State] | None, typer.Option("--state", help="Only these states; repeatable.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="Only jobs of this model.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Example: twofold jobs list --state running --state pending
    """
    wanted = JobFilter(
        states=[_STATES[state] for state in states or []],
        model=model,
    )
    with client_of(context) as client:
        jobs = client.jobs.list(wanted, limit=limit)
    if as_json:
        typer.echo(render.to_json(jobs))
        return
    header = ("job", "state", "phase", "model", "epoch", "version", "created")
    typer.echo(render.table(header, map(_row, jobs)))


def _row(job: training_pb2.TrainingJob) -> tuple[str, ...]:
    return (
        job.name.removeprefix("jobs/"),
        render.state(job),
        render.phase(job) or render.reason(job),
        job.spec.model,
        render.epochs(job.progress),
        render.version_of(job.model_version),
        render.time(job.create_time),
    )


@app.command("get")
def get_job(context: typer.Context, job: Job, *, as_json: AsJson = False) -> None:
    """Show one job.

    Example: twofold jobs get 01K5V7Q2J8M4T6Z0X9C3B1N5RW
    """
    with client_of(context) as client:
        found = client.jobs.get(job)
    typer.echo(render.to_json(found) if as_json else render.pairs(_details(found)))


def _details(job: training_pb2.TrainingJob) -> dict[str, object]:
    return {
        "job": job.name.removeprefix("jobs/"),
        "state": render.state(job),
        "phase": render.phase(job),
        "reason": render.reason(job),
        "message": job.message,
        "model": job.spec.model,
        "dataset": job.spec.data.dataset,
        "version": render.version_of(job.model_version),
        "progress": progress.figures(job),
        **_choices(job),
        "warning": "; ".join(job.progress.warnings),
        "resume warning": job.progress.resume_warning,
        "metrics": render.metrics(job.progress.metrics),
        "attempts": job.attempt_count,
        "evictions": job.eviction_count,
        "retry of": job.retry_of.removeprefix("jobs/"),
        "created": render.time(job.create_time),
        "started": render.time(job.start_time),
        "ended": render.time(job.end_time),
    }


def _choices(job: training_pb2.TrainingJob) -> dict[str, object]:
    """What the service picked, and why; empty before it has."""
    choices = job.progress.choices
    if not choices.device:
        return {}
    measured: dict[str, object] = {
        "device": choices.device,
        "threads": f"{choices.threads} ({choices.threads_reason})",
        "precision": f"{choices.precision} ({choices.precision_reason})",
        "warm start": choices.warm_start,
    }
    if not job.spec.training.epochs:  # nothing is trained
        return measured
    return measured | {
        "execution": f"{choices.execution} ({choices.execution_reason})",
        "optimizer": choices.optimizer,
        "batch": f"{choices.batch_size:,} rows, {choices.micro_batch_size:,} at once "
        f"({choices.batch_size_reason})",
    }


@app.command("watch")
def watch_job(context: typer.Context, job: Job) -> None:
    """Follow a job to its version; exits with 0 only if one was published.

    Ctrl-C ends the watch, not the job.

    Example: twofold jobs watch 01K5V7Q2J8M4T6Z0X9C3B1N5RW
    """
    with client_of(context) as client:
        progress.follow(client.jobs.handle(client.jobs.get(job)))


@app.command("logs")
def log_job(
    context: typer.Context,
    job: Job,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print a job's history: its events, as long as they are kept.

    Example: twofold jobs logs 01K5V7Q2J8M4T6Z0X9C3B1N5RW
    """
    with client_of(context) as client:
        # First, so that an unknown job or a lost server is told as such.
        is_over = client.jobs.get(job).state in TERMINAL_STATES
        timeout_s = None if follow or is_over else _HISTORY_S
        with suppress(DeadlineExceeded):
            for event in client.jobs.watch(job, timeout_s=timeout_s):
                typer.echo(render.to_json(event.job, indent=None) if as_json else _line(event))


def _line(event: JobEvent) -> str:
    time = event.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    standing, history = progress.standing(event.job), progress.history(event.job)
    return f"{time}  {standing:12}  {history}".rstrip()


@app.command("cancel")
def cancel_job(context: typer.Context, job: Job) -> None:
    """Ask for a job's cancellation; prints its state.

    Example: twofold jobs cancel 01K5V7Q2J8M4T6Z0X9C3B1N5RW
    """
    with client_of(context) as client:
        typer.echo(render.state(client.jobs.cancel(job)))


@app.command("retry")
def retry_job(
    context: typer.Context,
    job: Job,
    *,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Follow the new job to its version.")
    ] = False,
) -> None:
    """Run the spec of a job that has ended again, as a new job; prints its identifier.

    Example: twofold jobs retry 01K5V7Q2J8M4T6Z0X9C3B1N5RW --watch
    """
    with client_of(context) as client:
        handle = client.jobs.handle(client.jobs.retry(job))
        typer.echo(handle.id)
        if watch:
            progress.follow(handle)


app.command("compare")(compare.compare)
app.command("plot")(plot.plot)
