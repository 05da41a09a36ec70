"""What the child is told stands in absolute paths and plain numbers."""

from pathlib import Path

import pytest

from tests.trainer.fakes import make_claim, make_settings
from trainer.datasets import add_dataset
from trainer.order import order_for
from trainer.site import thread_count
from twofold import keys
from twofold.errors import NotFound
from twofold.store import LocalStore
from twofold.v1 import dataset_pb2

SHA = "ab" * 32


def test_a_truth_table_needs_no_file(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, device="cuda", threads=3)

    order = order_for(LocalStore(settings.store), make_claim("m"), settings)

    assert order.data_path == ""
    assert order.resume_path == ""
    assert (order.device, order.threads) == ("cuda:0", 3)
    assert Path(order.checkpoint_path).is_dir()
    assert Path(order.artifact_path).is_dir()
    assert order.spec.model == "m"
    assert (Path(order.store_path), order.tenant) == (settings.store.absolute(), "local")


def test_tensorboard_gets_a_folder_only_when_asked_for(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    store, claim = LocalStore(settings.store), make_claim("m")
    plain = order_for(store, claim, settings)
    claim.record.spec.training.tensorboard = True
    asked = order_for(store, claim, settings)

    assert plain.tensorboard_path == ""
    assert Path(asked.tensorboard_path) == store.path(keys.job_tensorboard("local", claim.job.id))
    assert Path(asked.tensorboard_path).is_dir()


def test_a_data_set_and_a_checkpoint_are_given_as_absolute_paths(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    store = LocalStore(settings.store)
    temporary = store.temporary()
    temporary.write_bytes(b"a\n1\n")
    dataset = dataset_pb2.Dataset(name=f"datasets/{SHA}", format=dataset_pb2.DATASET_FORMAT_PARQUET)
    add_dataset(store, "local", temporary, dataset)
    claim = make_claim("m", dataset=SHA, resume_path="local/jobs/J/checkpoints/A/7.ckpt")

    order = order_for(store, claim, settings)

    assert Path(order.data_path).read_bytes() == b"a\n1\n"
    assert order.data_format == dataset_pb2.DATASET_FORMAT_PARQUET
    assert order.resume_path == str(settings.store / "local/jobs/J/checkpoints/A/7.ckpt")


def test_a_deleted_data_set_is_not_found(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)

    with pytest.raises(NotFound):
        order_for(LocalStore(settings.store), make_claim("m", dataset=SHA), settings)


def test_training_takes_every_core_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.cores.usable_count", lambda: 3)

    assert thread_count(0) == 3
    assert thread_count(8) == 8
