"""manifest.json: canonical bytes, and refusals."""

import json

import pytest

from tests.twofold.samples import sample_manifest
from twofold import manifest
from twofold.errors import Corrupt
from twofold.v1 import model_pb2


def altered(**fields: object) -> bytes:
    """The sample's JSON with fields replaced."""
    data: dict[str, object] = json.loads(manifest.encode(sample_manifest()))
    return json.dumps({**data, **fields}).encode()


def test_round_trip() -> None:
    sample = sample_manifest()

    assert manifest.decode(manifest.encode(sample)) == sample


def test_equal_manifests_have_equal_bytes() -> None:
    one, other = model_pb2.Manifest(), model_pb2.Manifest()
    one.metrics["a"], one.metrics["b"] = 0.1, 0.2
    other.metrics["b"], other.metrics["a"] = 0.2, 0.1

    assert manifest.encode(one) == manifest.encode(other)


def test_field_of_a_later_release_is_ignored() -> None:
    assert manifest.decode(altered(novelty={"a": 1})) == sample_manifest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"1" * (manifest.LIMIT_BYTES + 1),
        altered(format_version=2),
        altered(format_version=None),
        altered(version="many"),
        altered(version=0),
        altered(model="../etc"),
        altered(model=""),
        altered(files=[{"name": "../x.pb", "size_bytes": 1, "sha256": "a" * 64}]),
        altered(files=[{"name": "graph.pb", "size_bytes": -1, "sha256": "a" * 64}]),
        altered(files=[{"name": "graph.pb", "size_bytes": 1, "sha256": "A" * 64}]),
        altered(files=[{"name": "graph.pb", "size_bytes": 1, "sha256": "a" * 64}] * 2),
    ],
)
def test_bad_manifest_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        manifest.decode(data)


def test_files_that_match_pass() -> None:
    data = b"data"
    sample = model_pb2.Manifest()
    sample.files.add(name="graph.pb", size_bytes=4, sha256=manifest.sha256_hex(data))

    manifest.verify_files(sample, {"graph.pb": data, "other": b""})


@pytest.mark.parametrize("files", [{}, {"graph.pb": b"datA"}, {"graph.pb": b"data "}])
def test_file_that_differs_is_named(files: dict[str, bytes]) -> None:
    sample = model_pb2.Manifest()
    sample.files.add(name="graph.pb", size_bytes=4, sha256=manifest.sha256_hex(b"data"))

    with pytest.raises(Corrupt, match=r"graph\.pb"):
        manifest.verify_files(sample, files)
