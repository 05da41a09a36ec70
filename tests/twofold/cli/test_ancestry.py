"""The walk from a version to the first that it came from."""

from collections.abc import Callable

import pytest

from twofold import errors
from twofold.cli import ancestry
from twofold.cli.ancestry import Link, Reads
from twofold.v1.model_pb2 import ModelVersion


def name_of(number: int) -> str:
    return f"models/m/versions/{number}"


def version(number: int, parent: str = "", dataset: str = "builtin/xor") -> ModelVersion:
    made = ModelVersion(name=name_of(number), manifest_sha256=f"{number}" * 64)
    lineage = made.manifest.lineage
    lineage.job, lineage.spec_sha256 = f"jobs/J{number}", f"{number}e" * 32
    lineage.dataset, lineage.code_version, lineage.parent = dataset, "0.1.0", parent
    return made


def reads(*versions: ModelVersion, gone: tuple[str, ...] = (), damaged: int = 0) -> Reads:
    """A trainer that has these versions and everything but `gone`."""

    def read(model: str, number: int) -> ModelVersion:
        if number == damaged:
            raise errors.Corrupt("the manifest is damaged", resource=name_of(number))
        for found in versions:
            if found.name == f"models/{model}/versions/{number}":
                return found
        raise errors.NotFound("no", resource=name_of(number))

    def other(name: str) -> object:
        if name in gone:
            raise errors.NotFound("no", resource=name)
        return name

    return Reads(read, other, other)


def walked(begin: ModelVersion, site: Reads) -> list[Link]:
    return list(ancestry.walk(begin, site))


def test_the_walk_goes_up_to_the_first() -> None:
    first, second = version(1), version(2, name_of(1), "datasets/" + "ab" * 32)
    second.withdrawn = True
    third = version(3, name_of(2))

    links = walked(third, reads(first, second, third))

    assert [(link.version, link.state) for link in links] == [
        (name_of(3), ""),
        (name_of(2), "withdrawn"),
        (name_of(1), ""),
    ]
    assert links[1] == Link(
        version=name_of(2),
        state="withdrawn",
        manifest_sha256="2" * 64,
        job="jobs/J2",
        spec_sha256="2e" * 32,
        dataset="datasets/" + "ab" * 32,
        code_version="0.1.0",
        parent=name_of(1),
    )
    lines = ancestry.table(links).splitlines()
    assert lines[0].split() == ["VERSION", "STATE", "MANIFEST", "JOB", "SPEC", "DATA", "CODE"]
    assert lines[2].split() == [
        "m@2",
        "withdrawn",
        "222222222222",
        "J2",
        "2e2e2e2e2e2e",
        "abababababab",
        "0.1.0",
    ]
    assert lines[3].split() == ["m@1", "111111111111", "J1", "1e1e1e1e1e1e", "builtin/xor", "0.1.0"]


def test_what_was_deleted_is_marked() -> None:
    data = "datasets/" + "ab" * 32
    begin = version(2, name_of(1), data)

    links = walked(begin, reads(begin, gone=("jobs/J2", data)))

    assert (links[0].job_state, links[0].dataset_state) == ("deleted", "deleted")
    assert links[1:] == [Link(name_of(1), "deleted")]
    lines = ancestry.table(links).splitlines()
    assert "J2 (deleted)" in lines[1]
    assert "abababababab (deleted)" in lines[1]
    assert lines[2].split() == ["m@1", "deleted"]


def test_a_cycle_is_an_end() -> None:
    first, second = version(1, name_of(2)), version(2, name_of(1))

    links = walked(second, reads(first, second))

    assert [link.state for link in links] == ["", "", "cycle"]
    assert links[-1].version == name_of(2)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (lambda: version(2, name_of(1)), Link(name_of(1), "damaged")),
        (lambda: version(2, "junk"), Link("junk", "damaged")),
        (lambda: version(2, "models/m/versions/x"), Link("models/m/versions/x", "damaged")),
    ],
)
def test_a_parent_that_cannot_be_read_is_an_end(
    begin: Callable[[], ModelVersion], end: Link
) -> None:
    links = walked(begin(), reads(version(1), damaged=1))

    assert links[1:] == [end]


def test_a_version_of_unknown_origin_is_shown() -> None:
    bare = ModelVersion(name=name_of(1))

    assert walked(bare, reads(bare)) == [Link(name_of(1), "")]
