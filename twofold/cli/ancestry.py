"""Where a version came from, version by version, up to the first: read, then shown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from twofold import errors
from twofold.cli import render
from twofold.v1 import model_pb2

HEADER = ("version", "state", "manifest", "job", "spec", "data", "code")
#: Of a digest, in a table.
_DIGITS = 12
_BUILTIN = "builtin/"
_UPLOADED = "datasets/"
#: What stands for an end of the walk, or for something that it names and that is gone.
DELETED = "deleted"
DAMAGED = "damaged"
CYCLE = "cycle"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reads:
    """The trainer's API, as far as the walk needs it; each raises NotFound or Corrupt."""

    #: By MODEL@VERSION's model and number, by job, by data set.
    version: Callable[[str, int], model_pb2.ModelVersion]
    job: Callable[[str], object]
    dataset: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Link:
    """A version of the walk. Of one that cannot be read all but name and state is empty."""

    version: str
    #: "", "withdrawn", or why the walk ends here: "deleted", "damaged", "cycle".
    state: str
    manifest_sha256: str = ""
    job: str = ""
    job_state: str = ""
    spec_sha256: str = ""
    #: "builtin/NAME", or "datasets/" and the SHA-256 of the data.
    dataset: str = ""
    dataset_state: str = ""
    code_version: str = ""
    #: The version that training began from; empty: none.
    parent: str = ""

    def plain(self) -> dict[str, object]:
        """The link as JSON has it."""
        return asdict(self)

    def row(self) -> tuple[str, ...]:
        """The link as a line of a table."""
        return (
            render.version_of(self.version) or self.version,
            self.state,
            self.manifest_sha256[:_DIGITS],
            _noted(self.job.removeprefix("jobs/"), self.job_state),
            self.spec_sha256[:_DIGITS],
            _noted(_short(self.dataset), self.dataset_state),
            self.code_version,
        )


def walk(begin: model_pb2.ModelVersion, reads: Reads) -> Iterator[Link]:
    """The version, its parent, and so on; the last has no parent, or is missing."""
    seen: set[str] = set()
    found: model_pb2.ModelVersion | None = begin
    while found is not None:
        seen.add(found.name)
        link = _link(found, reads)
        yield link
        if not link.parent:
            return
        if link.parent in seen:
            yield Link(link.parent, CYCLE)
            return
        found, state = _read(lambda parent=link.parent: _parent(parent, reads))
        if found is None:
            yield Link(link.parent, state)


def _link(found: model_pb2.ModelVersion, reads: Reads) -> Link:
    lineage = found.manifest.lineage
    return Link(
        version=found.name,
        state="withdrawn" if found.withdrawn else "",
        manifest_sha256=found.manifest_sha256,
        job=lineage.job,
        job_state=_state(lineage.job, reads.job),
        spec_sha256=lineage.spec_sha256,
        dataset=lineage.dataset,
        dataset_state=""
        if lineage.dataset.startswith(_BUILTIN)
        else _state(lineage.dataset, reads.dataset),
        code_version=lineage.code_version,
        parent=lineage.parent,
    )


def _parent(name: str, reads: Reads) -> model_pb2.ModelVersion:
    model, _, number = render.version_of(name).partition("@")
    if not number.isdigit():
        raise errors.Corrupt(f"{name!r} is no version", resource=name)
    return reads.version(model, int(number))


def _state(name: str, read: Callable[[str], object]) -> str:
    return _read(lambda: read(name))[1] if name else ""


def _read(read: Callable[[], T]) -> tuple[T | None, str]:
    """What is there, or None and why it is not."""
    try:
        return read(), ""
    except errors.NotFound:
        return None, DELETED
    except errors.Corrupt:
        return None, DAMAGED


def _short(dataset: str) -> str:
    return dataset.removeprefix(_UPLOADED)[:_DIGITS] if dataset.startswith(_UPLOADED) else dataset


def _noted(text: str, note: str) -> str:
    return f"{text} ({note})" if note else text


def table(links: Sequence[Link]) -> str:
    """The walk, a line each."""
    return render.table(HEADER, (link.row() for link in links))
