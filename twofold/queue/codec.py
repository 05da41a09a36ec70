"""Job records as the flat fields of a hash, or of an event that is a snapshot of one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
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


def _flat(value: object) -> str | bytes | int:
    return int(value) if isinstance(value, bool) else cast("str | bytes | int", value)


def changed(old: Job | None, new: Job) -> list[Argument]:
    """Names and values, in turn, of the fields that a hash must get; a new one: but defaults."""
    arguments: list[Argument] = [] if old else ["format", RECORD_FORMAT]
    for name in _NAMES:
        # A field of ours, never a user's text.
        value = cast("object", getattr(new, name))
        before = cast("object", getattr(old, name)) if old else _DEFAULTS[name]
        if value != before:
            arguments += [name, _flat(value)]
    return arguments


def snapshot(job: Job) -> list[Argument]:
    """Names and values, in turn, of an event; defaults are left out."""
    arguments: list[Argument] = ["format", RECORD_FORMAT]
    for name in _NAMES:
        value = cast("object", getattr(job, name))  # a field of ours, never a user's text
        if name not in _INTERNAL and value != _DEFAULTS[name]:
            arguments += [name, _flat(value)]
    return arguments


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
    known: Iterable[str] = (name for name in _NAMES if name in values)
    parsed = {name: _parsed(_DEFAULTS[name], values[name]) for name in known}
    # Each value has its field's type by _parsed, which the type checker cannot see.
    return cast("Callable[..., Job]", Job)(**parsed)


def _parsed(default: object, value: bytes) -> object:
    if isinstance(default, bool):
        return value == b"1"
    if isinstance(default, int):
        return int(value)
    return value if isinstance(default, bytes) else value.decode()
