"""The clients of a seed: each thread has one errand, and one reads what is published."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from tests.chaos import final
from tests.chaos.full import answers
from tests.chaos.full.plan import Errand
from tests.chaos.full.recorder import Fields, Recorder
from tests.chaos.history import Value
from tests.e2e import specs
from twofold.client import Client, CreateOptions
from twofold.principal import LOCAL
from twofold.store import LocalStore
from twofold.v1 import training_pb2 as pb

_CALL_LIMIT_S = 5.0
_POLL_S = 0.2
_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Desk:
    """What every client has."""

    client: Client
    recorder: Recorder
    root: Path
    #: Set once nobody needs to go on.
    over: Event

    def read_versions(self, actor: str, model: str) -> list[int]:
        """The visible versions, each checked against its digests; empty where there is none."""
        store = LocalStore(self.root, read_only=True)

        def look() -> Fields:
            found = specs.versions(self.client, model)
            broken = [n for n in found if not final.is_intact(store, LOCAL.tenant, model, n)]
            return {"numbers": found, "broken": broken}

        answer = self.recorder.call(actor, "versions", {"model": model}, look)
        numbers = answer["numbers"] if isinstance(answer, Mapping) else []
        return numbers if isinstance(numbers, list) else []

    def predict(self, actor: str, model: str, timeout_s: float = _CALL_LIMIT_S) -> bool:
        """Asks the current version; whether it answered."""

        def ask() -> Fields:
            found = self.client.predict(model, answers.ROWS, timeout_s=timeout_s)
            is_right = answers.is_right(self.root, model, found.version, found.probabilities)
            return {"version": found.version, "is_right": is_right}

        fields: dict[str, Value] = {"model": model, "reference": ""}
        return not isinstance(self.recorder.call(actor, "predict", fields, ask), str)


class Customer:
    """Submits one job, and sees it to its end."""

    def __init__(self, desk: Desk, name: str, errand: Errand) -> None:
        self._desk = desk
        self._name = name
        self._errand = errand
        self.is_done = False

    def run(self) -> None:
        """Until the job, and its repeat if there is one, has ended, or all is over."""
        self._desk.over.wait(self._errand.begin_s)
        job = self._until_accepted("create", self._errand.request_id)
        for _ in range(self._errand.repeats if job else 0):
            self._submit("create", self._errand.request_id)
        state = self._follow(job, self._errand.cancel_after_s) if job else ""
        if self._errand.retries and state in {"FAILED", "CANCELLED"}:
            again = self._until_accepted("retry", f"1{self._errand.request_id[1:]}", job)
            state = self._follow(again, None) if again else ""
        self.is_done = state in _ENDED

    def _until_accepted(self, op: str, request_id: str, job: str = "") -> str:
        while not self._desk.over.is_set():
            if made := self._submit(op, request_id, job):
                return made
            self._desk.over.wait(_POLL_S)
        return ""

    def _submit(self, op: str, request_id: str, job: str = "") -> str:
        jobs, errand = self._desk.client.jobs, self._errand
        fields: dict[str, Value] = {"request_id": request_id, "model": errand.model}

        def create() -> Fields:
            spec = specs.xor(errand.model, epochs=errand.epochs, checkpoint_interval=0.05)
            made = jobs.create(spec, CreateOptions(request_id=request_id), _CALL_LIMIT_S)
            return {"job": _id(made)}

        def retry() -> Fields:
            return {"job": _id(jobs.retry(job, request_id, _CALL_LIMIT_S))}

        if op == "retry":
            fields = {"job": job, "request_id": request_id}
        make = create if op == "create" else retry
        answer = self._desk.recorder.call(self._name, op, fields, make)
        return "" if isinstance(answer, str) else str(answer["job"])

    def _follow(self, job: str, cancel_after_s: float | None) -> str:
        """Asks until the job has ended; its state as last seen."""
        begun_s, state = time.monotonic(), ""
        while state not in _ENDED and not self._desk.over.is_set():
            due = cancel_after_s is not None and time.monotonic() - begun_s >= cancel_after_s
            if due and self._ask("cancel", job):
                cancel_after_s = None
            state = self._ask("get", job) or state
            self._desk.over.wait(_POLL_S)
        return state

    def _ask(self, op: str, job: str) -> str:
        """The job's state as "get" or "cancel" answers it; empty where there was no answer."""
        jobs = self._desk.client.jobs

        def ask() -> Fields:
            found = (jobs.get if op == "get" else jobs.cancel)(job, _CALL_LIMIT_S)
            state = pb.JobState.Name(found.state).removeprefix("JOB_STATE_")
            version = int(found.model_version.rpartition("/")[2] or 0)
            return {"state": state, "version": version} if op == "get" else {"state": state}

        answer = self._desk.recorder.call(self._name, op, {"job": job}, ask)
        return "" if isinstance(answer, str) else str(answer["state"])


def read_on(desk: Desk, models: list[str]) -> None:
    """Lists, verifies and asks every model until all is over."""
    while not desk.over.is_set():
        for model in models:
            if desk.read_versions("reader", model):
                desk.predict("reader", model)
        desk.over.wait(_POLL_S)


def _id(job: pb.TrainingJob) -> str:
    return job.name.removeprefix("jobs/")


def monotonic_ns(timestamp: str) -> int:
    """A log line's time, "2026-01-02T03:04:05.678Z", on the clock of histories."""
    when = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return int(when.timestamp() * 1e9) + time.monotonic_ns() - time.time_ns()
