from dataclasses import replace
from pathlib import Path

import pytest

from inferer.batcher import Limits, QueuePolicy
from inferer.engine import Engine
from inferer.loading import Loaded, Loader, narrow
from inferer.models import Refused
from tests.inferer import artifacts
from tests.twofold import arrays
from twofold.errors import Unavailable
from twofold.principal import LOCAL
from twofold.signature import TensorSpec
from twofold.store import LocalStore, StoreError


class BrokenStore(LocalStore):
    """Reads manifests, and nothing else."""

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        if not key.endswith("manifest.json"):
            raise StoreError("the store cannot be used now; try again later")
        return super().read(key, limit_bytes)


class BrokenEngine(Engine):
    """Fails in a way that nobody thought of."""

    def load(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - always raises
        raise MemoryError


def load(store: LocalStore, number: int = 1, engine: type[Engine] = Engine) -> Loaded:
    with engine() as made:
        return Loader(store, made, max_batch_size=8).load(LOCAL.tenant, "m", number)


@pytest.fixture
def published(store: LocalStore) -> LocalStore:
    artifacts.put(store, "m", artifacts.constant(3))
    return store


def test_a_published_version_is_ready(published: LocalStore) -> None:
    loaded = load(published)

    assert loaded.signature.resource == "models/m/versions/1"
    assert loaded.signature.max_batch_size == 8
    assert loaded.program.expected_s(1) < 1.0
    assert len(loaded.manifest_sha256) == 64


def test_large_rows_make_smaller_requests_and_shorter_queues(store: LocalStore) -> None:
    """A row is 432 bytes in, and 592 out: two logits, four maps and an index."""
    artifacts.put(store, "m", artifacts.module(arrays.conv(maps=True), "a", "b"))
    small = 64 << 10  # what a message may have beside its tensors
    with Engine() as engine:
        for message_bytes, rows in ((small + 592 * 5, 5), (small, 1), (64 << 20, 1000)):
            loader = Loader(store, engine, 1000, message_bytes)
            signature = loader.load(LOCAL.tenant, "m", 1).signature
            assert signature.max_batch_size == rows
    limits = narrow(Limits(1000, 16_384, 0.5), signature)
    assert limits == Limits(1000, 16_384, 0.5)
    wide = replace(signature, inputs={"a": TensorSpec("a", "FP32", (-1, 1 << 20))})
    assert narrow(Limits(1000, 16_384), replace(wide, max_batch_size=15)) == Limits(15, 256)
    assert narrow(Limits(1000, 16_384), wide).max_queue_size == 1000, "one request has room"
    queues = (QueuePolicy(9), QueuePolicy(16_384))
    levels = Limits(1000, 16_384, preferred_batch_size=(8, 16), queues=queues)
    assert narrow(levels, replace(wide, max_batch_size=15)) == Limits(
        15, 128, preferred_batch_size=(8,), queues=(QueuePolicy(9), QueuePolicy(128))
    ), "all levels together have the bytes"


def test_every_damaged_byte_is_noticed(published: LocalStore) -> None:
    """Bits are flipped all over each file; none is ever loaded."""
    for name in ("graph.pb", "weights.safetensors", "golden.safetensors"):
        whole = published.path(f"local/models/m/1/{name}").read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 10)):
            flipped = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
            artifacts.overwrite(published, "m", 1, name, flipped)
            with pytest.raises(Refused, match=f"{name} differs"):
                load(published)
        artifacts.overwrite(published, "m", 1, name, whole)

    assert load(published)


@pytest.mark.parametrize("change", [b"", b"longer than it was" * 1000])
def test_truncated_and_longer_files_are_refused(published: LocalStore, change: bytes) -> None:
    artifacts.overwrite(published, "m", 1, "weights.safetensors", change)

    with pytest.raises(Refused):
        load(published)


def test_a_missing_file_is_refused(published: LocalStore) -> None:
    published.path("local/models/m/1/graph.pb").unlink()

    with pytest.raises(Refused, match=r"graph\.pb is missing"):
        load(published)


def test_a_file_that_the_manifest_does_not_list_is_not_loaded(published: LocalStore) -> None:
    artifacts.remake_manifest(published, "m", 1, {"files": []})

    with pytest.raises(Refused, match=r"does not list graph\.pb"):
        load(published)


def test_the_manifest_of_another_version_is_refused(published: LocalStore) -> None:
    artifacts.remake_manifest(published, "m", 1, {"version": "2"})

    with pytest.raises(Refused, match="another version's"):
        load(published)


def test_a_newer_format_is_refused(published: LocalStore) -> None:
    artifacts.remake_manifest(published, "m", 1, {"format_version": 2})

    with pytest.raises(Refused, match="of format 2"):
        load(published)


def test_what_cannot_be_read_now_may_be_tried_again(published: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        load(BrokenStore(tmp_path / "store"))
    with pytest.raises(Unavailable):
        load(published, number=7)


def test_an_unexpected_failure_refuses_the_version_and_tells_no_details(
    published: LocalStore,
) -> None:
    with pytest.raises(Refused, match="it could not be loaded"):
        load(published, engine=BrokenEngine)
