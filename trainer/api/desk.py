"""What the handlers of all services share."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from trainer.api.usage import DatasetUsage
from twofold.internal.v1 import record_pb2
from twofold.principal import Principal
from twofold.seams import Clock
from twofold.store import Store
from twofold.v1 import training_pb2


class ApiLedger(Protocol):
    """The users' side of twofold.lifecycle.Ledger, which documents it."""

    async def create(
        self, principal: Principal, record: record_pb2.JobRecord
    ) -> training_pb2.TrainingJob:
        """See Ledger."""
        ...

    async def get(self, principal: Principal, job_id: str) -> training_pb2.TrainingJob:
        """See Ledger."""
        ...

    def watch(
        self, principal: Principal, job_id: str, cursor: str
    ) -> AsyncIterator[tuple[training_pb2.TrainingJob, str, int]]:
        """See Ledger."""
        ...

    async def cancel(self, principal: Principal, job_id: str) -> training_pb2.TrainingJob:
        """See Ledger."""
        ...

    async def retry(
        self, principal: Principal, job_id: str, request_id: str
    ) -> training_pb2.TrainingJob:
        """See Ledger."""
        ...

    async def list(
        self,
        principal: Principal,
        page_size: int,
        page_token: str,
        states: "list[training_pb2.JobState]",
        model: str,
    ) -> "tuple[list[training_pb2.TrainingJob], str]":
        """See Ledger."""
        ...

    async def announce_versions(self, tenant: str) -> None:
        """See Ledger."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers of all services share."""

    ledger: ApiLedger
    store: Store
    clock: Clock
    usage: DatasetUsage
    #: Set once the server drains: streams end, so that clients go on elsewhere.
    draining: asyncio.Event
