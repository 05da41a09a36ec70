"""`twofold jobs compare`."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from twofold import names, toml_spec
from twofold.cli import comparing, progress, reference, render
from twofold.cli.comparing import Comparison, Facts, Subject
from twofold.cli.group import client_of
from twofold.client import Client
from twofold.errors import InvalidField, NotFound
from twofold.toml_spec import Value
from twofold.v1 import model_pb2, training_pb2

_FEWEST, _MOST = 2, 8
#: Points of a series that are read: enough for its median speed and its last loss.
_POINTS = 500
#: Digits of a digest that people see.
_DIGITS = 12
#: Characters of a value that are shown.
_WIDTH = 40


def compare(
    context: typer.Context,
    subjects: Annotated[
        list[str],
        typer.Argument(metavar="JOB|MODEL@VERSION...", help="Two to eight of them."),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Show jobs or versions side by side: specs where they differ, choices, metrics, speed.

    A star marks the best value of a metric, where all were measured on the same rows.

    Example: twofold jobs compare digits@1 digits@2

    Example: twofold jobs compare 01K5V7Q2J8M4T6Z0X9C3B1N5RW digits@stable --json
    """
    if not _FEWEST <= len(subjects) <= _MOST:
        raise typer.BadParameter(f"{len(subjects)} given; two to eight can be compared")
    with client_of(context) as client:
        found = comparing.compare([_subject(client, text) for text in subjects])
    typer.echo(json.dumps(_plain(found), indent=2, ensure_ascii=False) if as_json else text(found))


def _subject(client: Client, asked: str) -> Subject:
    if is_job(asked):
        job = client.jobs.get(asked)
        return Subject(job, _version(client, job), client.jobs.metrics(asked, _POINTS))
    wanted = reference.parse(asked)
    version = client.models.version(wanted.model, wanted.selector)
    job = _job(client, version)
    points = [] if job is None else client.jobs.metrics(job.name, _POINTS)
    return Subject(job, version, points)


def is_job(asked: str) -> bool:
    """Whether an argument names a job: models' names have no capitals."""
    try:
        names.check_ulid("job", asked.removeprefix("jobs/"))
    except InvalidField:
        return False
    return True


def _version(client: Client, job: training_pb2.TrainingJob) -> model_pb2.ModelVersion | None:
    """What a job published; None where it has not, or it is removed."""
    name = render.version_of(job.model_version)
    if not name:
        return None
    model, number = reference.parse_version(name)
    try:
        return client.models.version(model, number)
    except NotFound:
        return None


def _job(client: Client, version: model_pb2.ModelVersion) -> training_pb2.TrainingJob | None:
    """The job that made a version; None where it is removed."""
    try:
        return client.jobs.get(version.manifest.lineage.job)
    except NotFound:
        return None


def text(found: Comparison) -> str:
    """A comparison as a table, a column per subject."""
    rows = [*_head(found.subjects), *_spec(found), *_tail(found)]
    shown = [row for row in rows if any(row[1:])]
    header = ["", *(chr(ord("A") + index) for index in range(len(found.subjects)))]
    parts = [render.table(header, shown)]
    if not found.differences:
        parts.append("the specs are the same")
    return "\n\n".join([*parts, *filter(None, [found.note])])


Row = tuple[str, ...]


def _row(name: str, subjects: Iterable[Facts], cell: Callable[[Facts], str]) -> Row:
    return (name, *map(cell, subjects))


def _head(subjects: Sequence[Facts]) -> list[Row]:
    return [
        _row("job", subjects, lambda one: one.job),
        _row("version", subjects, lambda one: one.version),
        _row("state", subjects, lambda one: one.state),
        _row("data set", subjects, lambda one: _short(one.dataset)),
        _row("rows", subjects, _rows),
    ]


def _rows(one: Facts) -> str:
    if one.training_rows is None:
        return ""
    return f"{one.training_rows:,} + {one.held_out_rows:,} held out"


def _spec(found: Comparison) -> list[Row]:
    return [(key, *map(_value, values)) for key, values in found.differences.items()]


def _value(value: "Value | None") -> str:
    if value is None:
        return "-"
    shown = value if isinstance(value, str) else toml_spec.literal(value)
    shown = _short(shown)
    return shown if len(shown) <= _WIDTH else shown[: _WIDTH - 3] + "..."


def _short(value: str) -> str:
    """Enough of a digest; anything else as it is."""
    try:
        return names.check_sha256("digest", value)[:_DIGITS]
    except InvalidField:
        return value


def _tail(found: Comparison) -> list[Row]:
    subjects = found.subjects
    choices = dict.fromkeys(name for one in subjects for name in one.choices)
    metrics = sorted({name for one in subjects for name in one.metrics})
    return [
        *((name.replace("_", " "), *(_choice(one, name) for one in subjects)) for name in choices),
        _row("epochs", subjects, lambda one: "" if one.epochs is None else f"{one.epochs:,}"),
        _row("published epoch", subjects, _published),
        *(_metric(name, found) for name in metrics),
        _row("training loss", subjects, lambda one: _figure(one.training_loss)),
        _row("duration", subjects, _duration),
        _row("rows/s", subjects, _speed),
    ]


def _choice(one: Facts, name: str) -> str:
    value = one.choices.get(name, "")
    return value if isinstance(value, str) else f"{value:,}"


def _published(one: Facts) -> str:
    return "" if one.published_epoch is None else f"{one.published_epoch:,}"


def _metric(name: str, found: Comparison) -> Row:
    best = found.best.get(name, ())
    cells = (_figure(one.metrics.get(name)) for one in found.subjects)
    return (name, *(f"{cell} *" if place in best else cell for place, cell in enumerate(cells)))


def _figure(value: float | None) -> str:
    return "" if value is None else render.figure(value)


def _duration(one: Facts) -> str:
    if one.duration_s is None:
        return ""
    short_s = 60
    is_short = one.duration_s < short_s
    return f"{one.duration_s:.1f} s" if is_short else progress.duration(one.duration_s)


def _speed(one: Facts) -> str:
    return "" if one.rows_per_second is None else f"{one.rows_per_second:,.0f}"


def _plain(found: Comparison) -> Mapping[str, object]:
    return {
        "subjects": [_facts(one) for one in found.subjects],
        "differences": found.differences,
        "best": found.best,
        "note": found.note,
    }


def _facts(one: Facts) -> dict[str, object]:
    """Without the whole spec, which `jobs get --json` shows."""
    return {name: value for name, value in asdict(one).items() if name != "spec"}
