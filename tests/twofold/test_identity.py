"""A store's name for itself."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twofold import identity, keys
from twofold.config import UnusableSettings
from twofold.errors import Corrupt
from twofold.names import ulid
from twofold.store import LocalStore

ONE, OTHER = "01J00000000000000000000000", "01J00000000000000000000001"


def test_it_is_made_once_and_kept(store: LocalStore) -> None:
    assert identity.read(store) is None
    assert identity.make(store, ONE) == ONE
    assert identity.make(store, OTHER) == ONE
    assert identity.read(store) == ONE


def test_processes_that_begin_at_once_agree(tmp_path: Path) -> None:
    def begin(_: int) -> str:
        return identity.make(LocalStore(tmp_path / "store"), ulid())

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(begin, range(8)))

    assert len(made) == 1


@pytest.mark.parametrize("data", [b"", b"\xff", b"no identity"])
def test_one_that_is_none_is_no_reason_to_make_another(store: LocalStore, data: bytes) -> None:
    store.create(keys.identity(), data)

    with pytest.raises(Corrupt, match="identity"):
        identity.make(store, ONE)


def test_a_queue_of_another_store_is_refused_with_the_remedy() -> None:
    identity.check(ONE, ONE)
    with pytest.raises(UnusableSettings, match=f"store {OTHER}, but TWOFOLD_STORE is store {ONE}"):
        identity.check(ONE, OTHER)
