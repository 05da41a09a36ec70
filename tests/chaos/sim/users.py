"""Users: they ask the API's processes, see answers or not, and repeat."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from tests.chaos.final import is_intact, state_name
from tests.chaos.history import DEFINITE, Value
from tests.chaos.sim.schedule import drive
from tests.chaos.sim.site import TENANT, Node, Site
from tests.chaos.sim.workers import attend, start_patrol
from twofold import versions
from twofold.errors import TwofoldError
from twofold.internal.v1 import record_pb2
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.store import StoreError
from twofold.v1 import training_pb2

Answer = dict[str, Value]
_PAUSE_US = 300_000
_READ_US = 900_000


def start_api(node: Node) -> None:
    """The threads of an API's process; calls bring their own."""
    start_patrol(node, has_worker=False)


def start_reader(model: str, node: Node) -> None:
    """Looks at the visible versions all the time, as an inferer does."""
    node.process.spawn(lambda: _read(node, model))


def _read(node: Node, model: str) -> None:
    site = node.site
    known: set[int] = set()
    while not site.is_over:
        call = site.new_call()
        site.note(node.name, "invoke", call, op="versions", model=model)
        try:
            found = versions.visible_versions(node.store, TENANT, model)
            numbers = [state.number for state in found]
            fresh = [number for number in numbers if number not in known]
            broken = [n for n in fresh if not is_intact(node.store, TENANT, model, n)]
            known.update(fresh)
        except StoreError as error:
            site.note(node.name, "unknown", call, code=error.code)
        else:
            site.note(node.name, "ok", call, numbers=numbers, broken=broken)
        site.schedule.pause(int(_READ_US * (0.5 + site.schedule.random.random())))


def reconcile(site: Site, name: str, at_us: int) -> None:
    """An operator who compares store and queue while everything is at work."""
    site.schedule.pause(at_us)
    node = site.nodes[name]
    node.process.spawn(lambda: attend(node, node.ledger.reconcile))


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with one job."""

    site: Site
    name: str
    apis: tuple[str, ...]
    record: record_pb2.JobRecord
    #: Stops repeating after so many tries; 0: never.
    tries: int = 0

    def create(self) -> str:
        """The job's identifier; "" where it was refused or given up."""
        return self._repeat(
            "create",
            lambda ledger: ledger.create(LOCAL, self.record),
            {"request_id": self.record.request_id, "model": self.record.spec.model},
        )

    def retry(self, job: str, request_id: str) -> str:
        """As `create`, of another's spec."""
        return self._repeat(
            "retry",
            lambda ledger: ledger.retry(LOCAL, job, request_id),
            {"request_id": request_id, "job_of": job},
        )

    def cancel(self, job: str) -> str:
        """The state answered; "" where there was no answer."""
        answer = self.call("cancel", {"job": job}, lambda ledger: ledger.cancel(LOCAL, job))
        return str(answer.get("state", ""))

    def get(self, job: str) -> str:
        """The state answered; "" where there was no answer."""
        answer = self.call("get", {"job": job}, lambda ledger: ledger.get(LOCAL, job))
        return str(answer.get("state", ""))

    def call(
        self, op: str, fields: Answer, act: Callable[[Ledger], Awaitable[training_pb2.TrainingJob]]
    ) -> Answer:
        """One call to any API process; {} where there was no answer, "code" where it failed."""
        site = self.site
        call = site.new_call()
        site.note(self.name, "invoke", call, op=op, **fields)
        node = site.nodes[site.schedule.random.choice(self.apis)]
        if node.process.is_dead:
            site.note(self.name, "unknown", call, code="UNAVAILABLE")
            return {}
        answer: Answer = {}

        def handle() -> None:
            try:
                job = drive(cast("Coroutine[Any, Any, training_pb2.TrainingJob]", act(node.ledger)))
            except TwofoldError as error:
                answer["code"] = error.code
                kind = "fail" if error.code in DEFINITE else "unknown"
                site.note(self.name, kind, call, code=error.code)
            else:
                answer.update(_shown(op, job))
                site.note(self.name, "ok", call, **answer)

        site.schedule.join(node.process.spawn(handle))
        return answer

    def _repeat(
        self,
        op: str,
        act: Callable[[Ledger], Awaitable[training_pb2.TrainingJob]],
        fields: Answer,
    ) -> str:
        tries = 0
        while True:
            answer = self.call(op, fields, act)
            if "job" in answer:
                return str(answer["job"])
            tries += 1
            if tries == self.tries or answer.get("code") in {"FAILED_PRECONDITION", "NOT_FOUND"}:
                return ""
            self.site.schedule.pause(_PAUSE_US)


def _shown(op: str, job: training_pb2.TrainingJob) -> Answer:
    name = job.name.removeprefix("jobs/")
    if op in {"create", "retry"}:
        return {"job": name}
    version = int(job.model_version.rpartition("/")[2] or 0)
    return {"state": state_name(job.state), "version": version}
