"""A data set is visible as a whole or not at all."""

from functools import partial
from pathlib import Path

import pytest

from tests.trainer.fakes import make_claim, make_settings
from trainer.datasets import (
    add_dataset,
    list_datasets,
    need_dataset,
    read_dataset,
    remove_dataset,
)
from trainer.order import order_for
from twofold import faults, keys
from twofold.errors import Corrupt, NotFound, WrongState
from twofold.internal.v1 import record_pb2
from twofold.store import LocalStore
from twofold.v1 import dataset_pb2

SHA = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def add(store: LocalStore, sha256: str = SHA, time_s: int = 1) -> dataset_pb2.Dataset:
    temporary = store.temporary()
    temporary.write_bytes(b"a\n1\n")
    dataset = dataset_pb2.Dataset(name=f"datasets/{sha256}", row_count=time_s)
    dataset.create_time.FromSeconds(time_s)
    return add_dataset(store, "local", temporary, dataset)


def test_what_is_added_can_be_read_and_its_temporary_file_is_gone(store: LocalStore) -> None:
    added = add(store)

    assert need_dataset(store, "local", SHA) == added
    assert store.read(keys.dataset_file("local", SHA)) == b"a\n1\n"
    assert not list((store.path("local").parent / "tmp").iterdir())


def test_the_first_record_stays(store: LocalStore) -> None:
    first = add(store, time_s=1)

    assert add(store, time_s=2) == first


def test_a_file_without_a_record_is_invisible_and_the_next_upload_completes_it(
    store: LocalStore,
) -> None:
    def crash() -> None:
        raise KeyboardInterrupt

    faults.arm("dataset.adopted", crash)
    try:
        with pytest.raises(KeyboardInterrupt):
            add(store)
    finally:
        faults.disarm()
    assert read_dataset(store, "local", SHA) is None

    add(store)
    assert read_dataset(store, "local", SHA) is not None


def test_removing_hides_first(store: LocalStore) -> None:
    add(store)

    def crash() -> None:
        raise KeyboardInterrupt

    faults.arm("dataset.hidden", crash)
    try:
        with pytest.raises(KeyboardInterrupt):
            remove_dataset(store, "local", SHA)
    finally:
        faults.disarm()
    assert read_dataset(store, "local", SHA) is None
    assert store.exists(keys.dataset_file("local", SHA))

    add(store)
    remove_dataset(store, "local", SHA)
    assert store.names(keys.datasets("local")) == []


def create_job(store: LocalStore, number: int, dataset: str = SHA) -> str:
    """What another process writes as it creates a job."""
    record = record_pb2.JobRecord(format_version=1)
    record.spec.data.dataset = dataset
    job = f"01J0000000000000000000000{number}"
    store.create(keys.job_spec("local", job), record.SerializeToString())
    return job


def create_job_now(store: LocalStore) -> None:
    create_job(store, 1)


def test_what_a_job_without_an_outcome_needs_stays(store: LocalStore) -> None:
    add(store)
    for number in (1, 2):
        store.create(keys.job_outcome("local", create_job(store, number)), b"")
    create_job(store, 3, "xor")
    store.create(keys.job_spec("local", "01J00000000000000000000004"), b"\xff not a record")
    store.make_folder(keys.job("local", "01J00000000000000000000005"))
    live = create_job(store, 6)

    with pytest.raises(WrongState, match=f"is needed by jobs/{live}; wait for that job or cancel"):
        remove_dataset(store, "local", SHA)
    store.create(keys.job_outcome("local", live), b"")
    remove_dataset(store, "local", SHA)


def test_a_job_created_by_another_process_meanwhile_keeps_its_data_set(store: LocalStore) -> None:
    """It found the data set before that was hidden, and has its record before the file goes."""
    first = add(store)
    faults.arm("dataset.hidden", partial(create_job_now, store))

    with pytest.raises(WrongState, match="needed by"):
        remove_dataset(store, "local", SHA)
    assert need_dataset(store, "local", SHA) == first
    assert store.exists(keys.dataset_file("local", SHA))


def test_a_job_created_too_late_to_keep_its_data_set_fails_with_a_clear_text(
    store: LocalStore,
) -> None:
    """Its creator found the data set, stood still, and wrote the record once all was over."""
    add(store)
    assert need_dataset(store, "local", SHA)
    remove_dataset(store, "local", SHA)
    create_job(store, 1)
    claim = make_claim("digits", dataset=SHA)

    # What the worker makes of it: see tests/trainer/test_attempt.py, FAILED with reason DATA.
    with pytest.raises(NotFound, match=f"there is no datasets/{SHA}; upload it first"):
        order_for(store, claim, make_settings(store.path("settings")))


def test_a_data_set_whose_record_is_broken_can_be_removed(store: LocalStore) -> None:
    store.create(keys.dataset_record("local", SHA), b"{ not json")

    remove_dataset(store, "local", SHA)
    with pytest.raises(NotFound, match="there is no"):
        remove_dataset(store, "local", SHA)


def test_lists_are_newest_first_and_leave_out_what_is_not_ours(store: LocalStore) -> None:
    for number, sha256 in enumerate(["aa" * 32, "bb" * 32, "cc" * 32]):
        add(store, sha256, number + 1)
    store.create(keys.dataset_record("local", "dd" * 32), b"{ not json")
    store.make_folder("local/datasets/junk")
    store.make_folder(f"local/datasets/{'ee' * 32}")

    names = [dataset.row_count for dataset in list_datasets(store, "local")]

    assert names == [3, 2, 1]


def test_a_record_that_cannot_be_read_is_reported(store: LocalStore) -> None:
    store.create(keys.dataset_record("local", SHA), b"{ not json")

    with pytest.raises(Corrupt, match=f"datasets/{SHA}"):
        read_dataset(store, "local", SHA)


def test_an_unknown_data_set_is_not_found(store: LocalStore) -> None:
    with pytest.raises(NotFound, match="upload it first"):
        need_dataset(store, "local", SHA)
