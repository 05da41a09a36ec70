"""Job records as the flat fields of a hash, or of an event that is a snapshot of one."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import cast

from twofold.errors import Unimplemented
from twofold.jobs import Job
from twofold.queue.connection import Argument, Reply
from twofold.queue.schema import RECORD_FORMAT

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


#: What users see of a job; a new revision alone is no news.
_SHOWN = tuple(name for name in Job._fields if name not in _INTERNAL)
_shown = attrgetter(*_SHOWN)
_news = attrgetter(*(name for name in _SHOWN if name != "revision"))
#: A job of nothing but defaults; those of required fields are values that none has.
_EMPTY = Job(id="", model="")


def changed(old: Job | None, new: Job) -> list[Argument]:
    """Names and values, in turn, of the fields that a hash must get; a new one: but defaults."""
    arguments: list[Argument] = [] if old else ["format", RECORD_FORMAT]
    return arguments + _differences(Job._fields, old or _EMPTY, new)


def snapshot(job: Job) -> list[Argument]:
    """Names and values, in turn, of an event; defaults are left out."""
    found = _differences(_SHOWN, _shown(_EMPTY), _shown(job))
    return ["format", RECORD_FORMAT, *found]


def _differences(
    names: Sequence[str], before: Iterable[object], after: Iterable[object]
) -> list[Argument]:
    found: list[object] = []
    for name, was, value in zip(names, before, after, strict=True):
        if value != was:
            found += (name, int(value) if isinstance(value, bool) else value)
    return cast("list[Argument]", found)


def is_news(old: Job, new: Job) -> bool:
    """Whether users see a difference."""
    return bool(_news(old) != _news(new))


def pairs(reply: Reply) -> dict[str, bytes]:
    """A flat list of names and values as a dict."""
    flat = cast("list[bytes]", reply or [])
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def restored(reply: Reply) -> Job | None:
    """The job of a hash or an event; None where there is none.

    Raises:
        Unimplemented: a newer release wrote it.
    """
    flat = cast("list[bytes]", reply or [])
    values = dict(zip(flat[::2], flat[1::2], strict=True))
    if b"id" not in values:
        return None
    written = int(values.get(b"format", b"0"))
    if written > RECORD_FORMAT:
        raise Unimplemented(
            f"a job's record is of format {written}; this release reads {RECORD_FORMAT}: upgrade"
        )
    known = [(_PARSERS[key], value) for key, value in values.items() if key in _PARSERS]
    # Each value has its field's type by _PARSERS, which the type checker cannot see.
    return cast("Callable[..., Job]", Job)(**{name: parse(value) for (name, parse), value in known})


def _parser(default: object) -> Callable[[bytes], object]:
    if isinstance(default, bool):
        return b"1".__eq__
    if isinstance(default, int):
        return int
    return bytes if isinstance(default, bytes) else bytes.decode


#: The field and how it is read, by its name in Redis.
_PARSERS = {
    name.encode(): (name, _parser(default))
    for name, default in zip(Job._fields, _EMPTY, strict=True)
}
