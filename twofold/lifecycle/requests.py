"""The users' side of the ledger: create, read, watch, cancel, retry."""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError

from twofold import formats, keys, names, publish
from twofold.errors import (
    Corrupt,
    InvalidField,
    LimitExceeded,
    NotFound,
    RequestIdReused,
    WrongState,
)
from twofold.faults import fault
from twofold.internal.v1 import record_pb2
from twofold.jobs import TERMINAL, Job, State, cancelled, new_job, outcome_of, to_proto, verdict_of
from twofold.lifecycle.core import Core
from twofold.principal import Principal
from twofold.queue.connection import BLOCK_LIMIT_S
from twofold.transitions import Created, decide, ended_job
from twofold.v1 import training_pb2

_CURSOR = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
#: Both parts of a stream's entry id are unsigned 64-bit numbers.
_CURSOR_LIMIT = 1 << 64
# Within the class `list` is the method.
_Jobs = list[training_pb2.TrainingJob]
_Names = list[str]
#: Jobs looked at for one page: a rare state must not make a call read a whole store.
_SCAN_LIMIT = 1_000
_SCAN_CHUNK = 50


class Requests(Core):
    """What users ask for; see Ledger."""

    async def create(
        self, principal: Principal, record: record_pb2.JobRecord
    ) -> training_pb2.TrainingJob:
        """Stores and enqueues a job; durable when it returns. A repeat returns the first job.

        The request is bound to one job first; then come the job's record and the queue. Each step
        is there already or is made, so a repeat completes what a crash left unfinished. Refusals
        come before the first step; after it a failure is Unavailable: the job may come to life.

        Raises:
            RequestIdReused: the request_id was used with another request.
            LimitExceeded: too many jobs wait, or the queue's memory is full. Of creates that run at
                once, several may find the same last place.
        """
        tenant = principal.tenant
        bound = await self._off_loop(self._read_binding, tenant, record)
        if not bound:
            await self._check_room(tenant)
            bound = await self._off_loop(self._bind, tenant, record)
            fault("ledger.bound")
        filled = self._filled(principal, record)
        is_new = await self._off_loop(self._journal, tenant, bound, filled)
        fault("ledger.journaled")
        if is_new:
            return await self._enqueue(tenant, bound, filled)
        return await self._repeated(tenant, bound)

    async def get(self, principal: Principal, job_id: str) -> training_pb2.TrainingJob:
        """The job as it stands; raises InvalidField, NotFound."""
        record = await self._off_loop(self._read_record, principal.tenant, job_id)
        job, _ = await self._queue.read(principal.tenant, job_id)
        return await self._shown(principal.tenant, job_id, job, record)

    async def list(
        self,
        principal: Principal,
        page_size: int,
        page_token: str,
        states: Sequence[training_pb2.JobState],
        model: str,
    ) -> tuple[_Jobs, str]:
        """Jobs, newest first, and the token of the next page, "" at the end.

        `states` and `model`: only such jobs; empty: all. Of a large store a call looks at a part
        only: a page may then be short, even empty, and still have a token.
        """
        candidates = await self._off_loop(self._older_jobs, principal.tenant, page_token)
        found: _Jobs = []
        for begin in range(0, min(len(candidates), _SCAN_LIMIT), _SCAN_CHUNK):
            chunk = candidates[begin : begin + _SCAN_CHUNK]
            for job in await self._read_chunk(principal.tenant, chunk):
                if (not states or job.state in states) and (not model or job.spec.model == model):
                    found.append(job)
                if len(found) == page_size:
                    last = job.name.removeprefix("jobs/")
                    return found, last if last != candidates[-1] else ""
        return found, candidates[_SCAN_LIMIT - 1] if len(candidates) > _SCAN_LIMIT else ""

    async def watch(
        self, principal: Principal, job_id: str, cursor: str
    ) -> AsyncIterator[tuple[training_pb2.TrainingJob, str, int]]:
        """A job's events after `cursor` ("": all that are kept): job, cursor, milliseconds.

        Ends after the event that is terminal; raises InvalidField, NotFound.
        """
        if cursor and not _is_cursor(cursor):
            raise InvalidField.of("cursor", cursor, "the cursor of an event")
        tenant, position = principal.tenant, cursor or "0-0"
        record = await self._off_loop(self._read_record, tenant, job_id)
        block_s = 0.0
        while True:
            for event in await self._queue.events(tenant, job_id, position, block_s):
                position = event.cursor
                yield to_proto(event.job, record.spec), position, event.time_ms
                if event.job.is_terminal:
                    return
            # The stream may have ended before the cursor, expired or been lost with the server.
            job, now_ms = await self._queue.read(tenant, job_id)
            if job is None or job.is_terminal:
                shown = await self._shown(tenant, job_id, job, record)
                if shown.state in TERMINAL and not await self._queue.events(
                    tenant, job_id, position, 0
                ):
                    yield shown, position, shown.end_time.ToMilliseconds() or now_ms
                    return
            block_s = BLOCK_LIMIT_S

    async def cancel(self, principal: Principal, job_id: str) -> training_pb2.TrainingJob:
        """Ends the job unless it has ended; idempotent; raises InvalidField, NotFound.

        The decision is made here, in the store: whatever a running attempt does from now on, the
        job will not succeed. CANCELLING lasts until its worker has let go.
        """
        tenant = principal.tenant
        record = await self._off_loop(self._read_record, tenant, job_id)
        known, now_ms = await self._queue.read(tenant, job_id)
        job = known or new_job(job_id, record)
        outcome = await self._off_loop(self._cancel_in_store, tenant, job, now_ms)
        fault("ledger.cancelled")
        changed = await self._apply_verdict(tenant, job_id, verdict_of(outcome))
        return await self._shown(tenant, job_id, changed, record)

    async def retry(
        self, principal: Principal, job_id: str, request_id: str
    ) -> training_pb2.TrainingJob:
        """A new job of an ended one's spec, with retry_of set.

        Raises:
            InvalidField, NotFound: `job_id` is no job.
            WrongState: it has not ended.
            RequestIdReused, LimitExceeded: see `create`.
        """
        record = await self._off_loop(self._read_record, principal.tenant, job_id)
        job, _ = await self._queue.read(principal.tenant, job_id)
        shown = await self._shown(principal.tenant, job_id, job, record)
        if shown.state not in TERMINAL:
            state = State.Name(shown.state).removeprefix("JOB_STATE_")
            raise WrongState(
                f"jobs/{job_id} is {state}; only a job that has ended can be repeated",
                resource=f"jobs/{job_id}",
                state=state,
            )
        repeat = record_pb2.JobRecord(
            spec=record.spec,
            request_id=request_id,
            retry_of=f"jobs/{job_id}",
            request_sha256=hashlib.sha256(f"retry {job_id}".encode()).hexdigest(),
        )
        return await self.create(principal, repeat)

    def _filled(self, principal: Principal, record: record_pb2.JobRecord) -> record_pb2.JobRecord:
        """The record with what only we know."""
        filled = record_pb2.JobRecord()
        filled.CopyFrom(record)
        filled.format_version = formats.JOB
        filled.principal = principal.name
        if not filled.HasField("create_time"):
            filled.create_time.FromMilliseconds(self._clock.time_ms())
        return filled

    def _read_binding(self, tenant: str, record: record_pb2.JobRecord) -> str:
        """The job that the request made before, "" for none; raises RequestIdReused, Corrupt."""
        if not record.request_id:
            return ""
        data = self._store.read_durable(keys.request(tenant, record.request_id))
        if data is None:
            return ""
        try:
            binding = record_pb2.RequestRecord.FromString(data)
        except DecodeError as error:
            raise Corrupt("a request's record cannot be read") from error
        if binding.format_version != formats.REQUEST:
            raise Corrupt(
                f"a request's record is of format {binding.format_version}; this release reads "
                f"{formats.REQUEST}"
            )
        if binding.request_sha256 != record.request_sha256:
            raise RequestIdReused(
                f"request_id {record.request_id} made {binding.job} from another request; "
                "use a new one",
                request_id=record.request_id,
                job=binding.job,
            )
        return names.resource_id("job", binding.job, "jobs")

    def _bind(self, tenant: str, record: record_pb2.JobRecord) -> str:
        """A new job's identifier, or that of whoever bound the same request at the same time."""
        job_id = self._ulid()
        if not record.request_id:
            return job_id
        binding = record_pb2.RequestRecord(
            format_version=formats.REQUEST,
            job=f"jobs/{job_id}",
            request_sha256=record.request_sha256,
        )
        binding.create_time.FromMilliseconds(self._clock.time_ms())
        data = binding.SerializeToString(deterministic=True)
        if self._store.create(keys.request(tenant, record.request_id), data):
            return job_id
        return self._read_binding(tenant, record) or job_id

    def _journal(self, tenant: str, job_id: str, record: record_pb2.JobRecord) -> bool:
        """Writes the job's record; False where it was there."""
        data = record.SerializeToString(deterministic=True)
        return self._store.create(keys.job_spec(tenant, job_id), data)

    async def _check_room(self, tenant: str) -> None:
        """Refuses before anything is written."""
        await self._queue.check_memory()
        depth = await self._queue.depth(tenant)
        waiting, allowed = depth.waiting + depth.delayed, self._policy.max_queued_jobs
        if waiting >= allowed:
            raise LimitExceeded(
                f"{waiting} jobs wait; allowed: {allowed}; try again later",
                limit="max_queued_jobs",
                value=waiting,
                allowed=allowed,
            )

    async def _enqueue(
        self, tenant: str, job_id: str, record: record_pb2.JobRecord
    ) -> training_pb2.TrainingJob:
        """The job, made live unless it is."""
        now_ms = await self._queue.time_ms()
        created = decide(None, Created(new_job(job_id, record)), now_ms, self._policy).job
        assert created is not None  # noqa: S101 - Created of no job always makes one
        stored = await self._queue.create(tenant, created, self._ulid())
        fault("ledger.enqueued")
        if stored is None:  # another was quicker: a repeat, or whoever reconciles
            stored, _ = await self._queue.read(tenant, job_id)
        return await self._shown(tenant, job_id, stored, record)

    async def _repeated(self, tenant: str, job_id: str) -> training_pb2.TrainingJob:
        """The job that the request made before, made live unless it is or has ended."""
        record = await self._off_loop(self._read_record, tenant, job_id)
        job, _ = await self._queue.read(tenant, job_id)
        verdict = await self._off_loop(self._standing_verdict, tenant, job_id)
        if job is not None or verdict is not None:
            return await self._shown(tenant, job_id, job, record)
        shown = await self._enqueue(tenant, job_id, record)
        # Who ended the job meanwhile did not find it in the queue.
        verdict = await self._off_loop(self._standing_verdict, tenant, job_id)
        if verdict is None:
            return shown
        return await self._shown(
            tenant, job_id, await self._apply_verdict(tenant, job_id, verdict), record
        )

    def _cancel_in_store(self, tenant: str, job: Job, now_ms: int) -> record_pb2.JobOutcome:
        """The outcome that stands: CANCELLED, unless another was decided before."""
        standing = publish.standing_outcome(self._store, tenant, job.id)
        if standing is None:
            self._store.create(keys.job_cancel(tenant, job.id), b"")
            fault("ledger.cancel_asked")
            verdict = replace(
                cancelled(),
                end_ms=now_ms,
                attempt_count=job.attempt_count,
                eviction_count=job.eviction_count,
            )
            proposed = outcome_of(verdict, job.model, job.attempt)
            standing = publish.decide_outcome(self._store, tenant, job.id, proposed)
        publish.complete(self._store, tenant, standing)
        return standing

    async def _shown(
        self, tenant: str, job_id: str, job: Job | None, record: record_pb2.JobRecord
    ) -> training_pb2.TrainingJob:
        """The job as users see it; from the store alone where the queue has forgotten it."""
        if job is None:
            job = await self._off_loop(self._stored_job, tenant, job_id, record)
        return to_proto(job, record.spec)

    def _stored_job(self, tenant: str, job_id: str, record: record_pb2.JobRecord) -> Job:
        outcome = publish.read_outcome(self._store, tenant, job_id)
        return ended_job(job_id, record, outcome) if outcome else new_job(job_id, record)

    def _older_jobs(self, tenant: str, page_token: str) -> _Names:
        """Identifiers of jobs before the token's, newest first."""
        if page_token:
            names.check_ulid("page_token", page_token)
        found = self._store.names(keys.jobs(tenant))
        return [name for name in reversed(found) if not page_token or name < page_token]

    async def _read_chunk(self, tenant: str, job_ids: Sequence[str]) -> _Jobs:
        records = await self._off_loop(self._read_records, tenant, job_ids)
        jobs = await self._queue.read_many(tenant, list(records))
        return [
            await self._shown(tenant, job_id, job, record)
            for (job_id, record), job in zip(records.items(), jobs, strict=True)
        ]

    def _read_records(self, tenant: str, job_ids: Sequence[str]) -> dict[str, record_pb2.JobRecord]:
        """The records that can be read; a folder without one is not a job yet."""
        found: dict[str, record_pb2.JobRecord] = {}
        for job_id in job_ids:
            try:
                found[job_id] = self._read_record(tenant, job_id)
            except (InvalidField, NotFound):
                continue
        return found


def _is_cursor(text: str) -> bool:
    found = _CURSOR.fullmatch(text)
    return found is not None and all(int(part) < _CURSOR_LIMIT for part in found.groups())
