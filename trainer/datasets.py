"""Data sets in the store: a file named by its digest, and a record that makes it visible."""

from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from twofold import keys, locks
from twofold.errors import Corrupt, InvalidField, NotFound, WrongState
from twofold.faults import fault
from twofold.internal.v1 import record_pb2
from twofold.names import TRUTH_TABLES, check_sha256
from twofold.store import Store
from twofold.v1 import dataset_pb2, spec_pb2

_RECORD_LIMIT_BYTES = 64 << 20


def read_dataset(store: Store, tenant: str, sha256: str) -> dataset_pb2.Dataset | None:
    """The record of a visible data set, or None; raises Corrupt, StoreError."""
    data = store.read(keys.dataset_record(tenant, sha256), _RECORD_LIMIT_BYTES)
    if data is None:
        return None
    try:
        return json_format.Parse(data, dataset_pb2.Dataset())
    except (json_format.ParseError, UnicodeDecodeError) as error:
        name = f"datasets/{sha256}"
        text = f"the record of {name} cannot be read; delete it and upload the file again"
        raise Corrupt(text, resource=name) from error


def need_dataset(store: Store, tenant: str, sha256: str) -> dataset_pb2.Dataset:
    """Like read_dataset; raises NotFound where there is none."""
    dataset = read_dataset(store, tenant, sha256)
    if dataset is None:
        name = f"datasets/{sha256}"
        raise NotFound(f"there is no {name}; upload it first", resource=name)
    return dataset


def need_rows(store: Store, tenant: str, sha256: str) -> dataset_pb2.Dataset:
    """Like need_dataset; raises InvalidField where it holds weights."""
    dataset = need_dataset(store, tenant, sha256)
    if dataset.format == dataset_pb2.DATASET_FORMAT_SAFETENSORS:
        raise InvalidField.of(
            "data.dataset", f"{sha256}, which holds weights", "a data set of rows"
        )
    return dataset


def need_weights(store: Store, tenant: str, sha256: str) -> Path:
    """The file of a data set of weights; raises NotFound, InvalidField where it holds rows."""
    dataset = need_dataset(store, tenant, sha256)
    if dataset.format != dataset_pb2.DATASET_FORMAT_SAFETENSORS:
        allowed = "a data set of format SAFETENSORS"
        raise InvalidField.of("network.weights", f"{sha256}, which holds rows", allowed)
    return store.path(keys.dataset_file(tenant, sha256))


def add_dataset(
    store: Store, tenant: str, temporary: Path, dataset: dataset_pb2.Dataset
) -> dataset_pb2.Dataset:
    """Makes a checked file visible and answers with its record, the first one if it was there.

    The record is created last: until then a crash leaves a file that the next upload adopts.
    """
    sha256 = dataset.name.removeprefix("datasets/")
    # False: the same bytes are there already, from an upload that ended here or runs beside.
    store.adopt(temporary, keys.dataset_file(tenant, sha256))
    fault("dataset.adopted")
    record = json_format.MessageToJson(dataset).encode()
    if store.create(keys.dataset_record(tenant, sha256), record):
        return dataset
    return need_dataset(store, tenant, sha256)


def remove_dataset(store: Store, tenant: str, sha256: str) -> None:
    """Makes a data set invisible, then removes its file, unless a job may still read it.

    Other processes create jobs meanwhile. One whose record was written before the data set was
    hidden is found here; one that comes later does not find the data set, and fails with DATA.

    Raises:
        NotFound: there is none.
        WrongState: a job that has not ended needs it.
        Conflict: it is being uploaded or deleted.
    """
    key = keys.dataset_record(tenant, sha256)
    store.temporary()  # makes the folder of the lock
    lock = store.path(keys.upload_lock(tenant, sha256))
    # Else an upload could take the file for one that stays, and make a record without a file.
    with locks.held(lock, f"datasets/{sha256} is being uploaded or deleted; try again later"):
        record = store.read(key, _RECORD_LIMIT_BYTES)
        if record is None:
            name = f"datasets/{sha256}"
            raise NotFound(f"there is no {name}", resource=name)
        _refuse_if_needed(store, tenant, sha256)
        store.remove(key)
        fault("dataset.hidden")
        try:
            _refuse_if_needed(store, tenant, sha256)
        except WrongState:
            store.create(key, record)
            raise
        store.remove(f"{keys.datasets(tenant)}/{sha256}")


def _refuse_if_needed(store: Store, tenant: str, sha256: str) -> None:
    """Raises WrongState for a data set of a job without an outcome.

    Jobs that have ended cost a look at a name; so do those that are being cancelled, whose end is
    decided, so that it does not matter what they read.
    """
    for job in store.names(keys.jobs(tenant)):
        if store.exists(keys.job_outcome(tenant, job)):
            continue
        try:
            record = record_pb2.JobRecord.FromString(store.read(keys.job_spec(tenant, job)) or b"")
        except (Corrupt, DecodeError):
            continue  # it cannot be trained
        if sha256 in datasets_of(record.spec):
            name = f"datasets/{sha256}"
            text = f"{name} is needed by jobs/{job}; wait for that job or cancel it"
            raise WrongState(text, resource=name, state="IN_USE")


def datasets_of(spec: spec_pb2.TrainingSpec) -> list[str]:
    """What a job reads: its rows, unless they are built in, and its network's weights."""
    asked = (spec.data.dataset, spec.network.weights)
    return [sha256 for sha256 in asked if sha256 and sha256 not in TRUTH_TABLES]


def list_datasets(store: Store, tenant: str) -> list[dataset_pb2.Dataset]:
    """Every visible data set, newest first; records that cannot be read are left out."""
    found: list[dataset_pb2.Dataset] = []
    for name in store.names(keys.datasets(tenant)):
        try:
            dataset = read_dataset(store, tenant, check_sha256("name", name))
        except (Corrupt, InvalidField):
            continue
        if dataset is not None:
            found.append(dataset)
    return sorted(found, key=position, reverse=True)


def position(dataset: dataset_pb2.Dataset) -> str:
    """Where it stands in the list: by time, then by name; fixed width, so that text sorts."""
    return f"{dataset.create_time.ToNanoseconds():020d}:{dataset.name}"
