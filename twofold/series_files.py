"""Where a job's metric series stands in the store. Every call blocks.

While a job lives, each attempt has a series of its own beside its checkpoints. It begins with what
the series of the attempt it resumes has up to that epoch, so the newest one is whole, and an
attempt that has lost its job writes to nothing that another reads. When the job has ended, the
series of the attempt that ended it becomes `jobs/<id>/metrics.jsonl`, by exclusive create.
"""

from twofold import keys, names, publish, series
from twofold.errors import InvalidField
from twofold.series import Series
from twofold.store import Store


def read(store: Store, tenant: str, job_id: str) -> Series:
    """The series so far; empty where no epoch has ended.

    Raises:
        Corrupt: it cannot be read.
        StoreError: the store cannot be used.
    """
    # The last again: the job may have ended between the two looks, and its checkpoints be gone.
    data = (
        _lasting(store, tenant, job_id)
        or _newest(store, tenant, job_id)
        or _lasting(store, tenant, job_id)
    )
    return Series() if data is None else series.parse(data)


def keep(store: Store, tenant: str, job_id: str) -> None:
    """Gives the series of a job that has ended its lasting place; again is fine.

    Before the checkpoints are removed, with which an attempt's own series goes.

    Raises:
        Corrupt: the job's outcome cannot be read.
        StoreError: the store cannot be used.
    """
    key = keys.job_series(tenant, job_id)
    if store.exists(key):
        return
    data = _newest(store, tenant, job_id)
    if data is not None:
        store.create(key, data[: data.rindex(b"\n") + 1])


def _lasting(store: Store, tenant: str, job_id: str) -> bytes | None:
    return store.read(keys.job_series(tenant, job_id), series.LIMIT_BYTES)


def _newest(store: Store, tenant: str, job_id: str) -> bytes | None:
    """The series of the attempt that ended the job, else of the youngest that has a point."""
    attempts = [
        name for name in store.names(keys.job_checkpoints(tenant, job_id)) if _is_attempt(name)
    ]
    outcome = publish.read_outcome(store, tenant, job_id)
    attempts.sort(key=lambda name: (outcome is not None and name == outcome.attempt, name))
    for attempt in reversed(attempts):
        data = store.read(keys.attempt_series(tenant, job_id, attempt), series.LIMIT_BYTES)
        if data is not None and data.count(b"\n") > 1:
            return data
    return None


def _is_attempt(name: str) -> bool:
    try:
        names.check_ulid("attempt", name)
    except InvalidField:
        return False
    return True
