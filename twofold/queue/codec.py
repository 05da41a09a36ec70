"""Job records as the flat fields of a hash, or of an event that is a snapshot of one."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import cast

from twofold.errors import Unimplemented
from twofold.jobs import Job
from twofold.queue.connection import Argument, Reply
from twofold.queue.schema import RECORD_FORMAT

_DEFAULTS: dict[str, object] = {field.name: field.default for field in fields(Job)}
_NAMES = tuple(_DEFAULTS)
#: Not in events: users never see them.
_INTERNAL = frozenset(
    {
        "change",
        "owner",
        "entry",
        "ended_attempt",
        "lease_until_ms",
        "failure_count",
        "max_retries",
        "retry_user_errors",
    }
)


#: The values of all fields at once. Fields of ours, never a user's text.
_values = cast("Callable[[Job], tuple[object, ...]]", attrgetter(*_NAMES))
#: What users see of a change; a new revision alone is no news.
_news = attrgetter(*(name for name in _NAMES if name not in _INTERNAL | {"revision"}))


def _flat(value: object) -> str | bytes | int:
    return int(value) if isinstance(value, bool) else cast("str | bytes | int", value)


def changed(old: Job | None, new: Job) -> list[Argument]:
    """Names and values, in turn, of the fields that a hash must get; a new one: but defaults."""
    arguments: list[Argument] = [] if old else ["format", RECORD_FORMAT]
    before = _values(old) if old else _DEFAULTS.values()
    for name, was, value in zip(_NAMES, before, _values(new), strict=True):
        if value != was:
            arguments += [name, _flat(value)]
    return arguments


def snapshot(job: Job) -> list[Argument]:
    """Names and values, in turn, of an event; defaults are left out."""
    arguments: list[Argument] = ["format", RECORD_FORMAT]
    for (name, default), value in zip(_DEFAULTS.items(), _values(job), strict=True):
        if value != default and name not in _INTERNAL:
            arguments += [name, _flat(value)]
    return arguments


def is_news(old: Job, new: Job) -> bool:
    """Whether users see a difference."""
    return bool(_news(old) != _news(new))


def pairs(reply: Reply) -> dict[str, bytes]:
    """A flat list of names and values as a dict."""
    flat = cast("list[bytes]", reply or [])
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def restored(values: Mapping[str, bytes]) -> Job | None:
    """The job of a hash or an event; None where there is none.

    Raises:
        Unimplemented: a newer release wrote it.
    """
    if "id" not in values:
        return None
    written = int(values.get("format", b"0"))
    if written > RECORD_FORMAT:
        raise Unimplemented(
            f"a job's record is of format {written}; this release reads {RECORD_FORMAT}: upgrade"
        )
    parsed = {name: _PARSERS[name](value) for name, value in values.items() if name in _PARSERS}
    # Each value has its field's type by _PARSERS, which the type checker cannot see.
    return cast("Callable[..., Job]", Job)(**parsed)


def _parser(default: object) -> Callable[[bytes], object]:
    if isinstance(default, bool):
        return b"1".__eq__
    if isinstance(default, int):
        return int
    return bytes if isinstance(default, bytes) else bytes.decode


_PARSERS = {name: _parser(default) for name, default in _DEFAULTS.items()}
