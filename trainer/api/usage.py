"""Keeps a data set from being deleted while a job that needs it is being created."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from twofold.errors import NotFound, WrongState


class DatasetUsage:
    """Who creates jobs on which data set and who deletes it, within this process.

    Owned by the event loop: only its thread may call. Between a check in the store and the write
    that relies on it other calls run; this closes that gap.
    """

    def __init__(self) -> None:
        self._creating: Counter[tuple[str, str]] = Counter()
        self._deleting: set[tuple[str, str]] = set()

    @contextmanager
    def creating(self, tenant: str, sha256: str) -> Generator[None]:
        """While a job is created; raises NotFound where the data set is just being deleted."""
        key = (tenant, sha256)
        if key in self._deleting:
            name = f"datasets/{sha256}"
            raise NotFound(f"there is no {name}: it is being deleted", resource=name)
        self._creating[key] += 1
        try:
            yield
        finally:
            self._creating[key] -= 1
            if not self._creating[key]:
                del self._creating[key]

    @contextmanager
    def deleting(self, tenant: str, sha256: str) -> Generator[None]:
        """While it is deleted; raises WrongState where a job on it is just being created."""
        key = (tenant, sha256)
        if key in self._creating or key in self._deleting:
            name = f"datasets/{sha256}"
            text = f"{name} is in use at this moment; repeat the call"
            raise WrongState(text, resource=name, state="IN_USE")
        self._deleting.add(key)
        try:
            yield
        finally:
            self._deleting.discard(key)
