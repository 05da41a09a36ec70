"""One seed of tier P: its plan on a site, its history, what is left, what is broken."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from threading import Event, Thread
from typing import cast

from tests.chaos import checker, final
from tests.chaos.full.clients import Customer, Desk, monotonic_ns, read_on
from tests.chaos.full.plan import FAULTS_S, WORKERS, Plan
from tests.chaos.full.recorder import Recorder
from tests.chaos.full.site import LEASE_S, Site
from tests.chaos.runs import Result, Violation
from twofold.principal import LOCAL
from twofold.queue import schema
from twofold.queue.connection import Connection
from twofold.store import LocalStore

#: Everything must have ended so long after the last fault: three leases, a few trainings of two
#: seconds, starts of torch; with room for a machine that has something else to do.
SETTLE_S = 90.0
_POLL_S = 0.05
_REDIS_PATIENCE_S = 5.0
#: A worker's word for how an attempt ended, and the history's.
_HOW = {
    "trained": "trained",
    "failed": "failed",
    "overdue": "failed",
    "cancelled": "cancelled",
    "stopped": "handed_back",
    "died": "lost",
    "lost": "lost",
}


class Scenario:
    """A plan as it runs. The calling thread owns the site; clients have threads of their own."""

    def __init__(self, site: Site, plan: Plan) -> None:
        self._site = site
        self._plan = plan
        self._recorder = Recorder(plan.seed)
        self._over = Event()
        self._begun_s = time.monotonic()
        self._log_starts = {name: _size(site, name) for name in WORKERS}

    def run(self) -> Result:
        """Runs it to its end."""
        with self._site.connect() as client:
            desk = Desk(client, self._recorder, self._site.store, self._over)
            customers = [
                Customer(desk, f"client-{number}", errand)
                for number, errand in enumerate(self._plan.errands)
            ]
            actors = [Thread(target=customer.run, daemon=True) for customer in customers]
            models = self._plan.models
            actors.append(Thread(target=read_on, args=(desk, models), daemon=True))
            for actor in actors:
                actor.start()
            self._break_things()
            self._settle(customers)
            unserved = self._ask_at_the_end(desk)
            self._over.set()
            for actor in actors:
                actor.join()
        return self._judged(unserved)

    def _break_things(self) -> None:
        """Every fault in its time; afterwards nothing is armed and nothing stopped."""
        stop_s = self._plan.stop_in_leases * LEASE_S
        for fault in self._plan.faults:
            self._pass_time(self._begun_s + fault.at_s, stop_s)
            self._recorder.fact("harness", "fault", what=fault.kind, which=fault.which)
            if fault.kind == "wipe":
                self._recorder.fact("harness", "wipe")
            self._site.break_by(fault)
        self._pass_time(self._begun_s + FAULTS_S, stop_s)
        for name in self._site.disarm():
            self._recorder.fact("harness", "fault", what="kill", which=name)
        self._recorder.fact("harness", "quiet")

    def _pass_time(self, until_s: float, stop_s: float) -> None:
        while True:
            self._site.mend(stop_s)
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _POLL_S))

    def _settle(self, customers: list[Customer]) -> None:
        deadline_s = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline_s:
            self._site.mend(self._plan.stop_in_leases * LEASE_S)
            if all(customer.is_done for customer in customers) and not self._is_anything_live():
                self._recorder.fact("harness", "settled")
                return
            time.sleep(_POLL_S)

    def _is_anything_live(self) -> bool:
        """Whether the queue still has an entry: a worker that has not noticed the end yet."""
        return self._site.ask("XLEN", schema.queue(LOCAL.tenant)) != 0

    def _ask_at_the_end(self, desk: Desk) -> list[Violation]:
        """What is published must be served, by its own weights."""
        found: list[Violation] = []
        for model in self._plan.models:
            deadline_s = time.monotonic() + SETTLE_S
            if not desk.read_versions("last", model):
                continue
            while not desk.predict("last", model):
                if time.monotonic() > deadline_s:
                    found.append(Violation("SERVED", f"{model} has versions, none is served"))
                    break
                self._site.mend(0.0)
        return found

    def _judged(self, unserved: list[Violation]) -> Result:
        for name in WORKERS:
            self._note_attempts(name)
        events, left = self._recorder.events, asyncio.run(self._final())
        # A machine that is busy otherwise may lose a lease by itself.
        violations = [*checker.check(events, left, once=False), *unserved]
        kinds = Counter(event.kind for event in events if not event.call)
        counts = {"jobs": len(left.jobs), "faults": kinds["fault"]}
        counts |= {"attempts": kinds["train_begin"], "versions": len(left.versions)}
        duration_s = time.monotonic() - self._begun_s
        story = self._story() if violations else ""
        return Result(self._plan.seed, tuple(violations), duration_s, counts, story)

    async def _final(self) -> final.Final:
        """What is left of this seed; other seeds share the store."""
        store = LocalStore(self._site.store)
        async with Connection(self._site.valkey.url, _REDIS_PATIENCE_S) as commands:
            found = await final.read(store, commands, LOCAL.tenant)
        models = self._plan.models
        return replace(
            found,
            jobs=[job for job in found.jobs if job.model in models],
            versions=[version for version in found.versions if version.model in models],
        )

    def _note_attempts(self, worker: str) -> None:
        """When attempts began and ended, from the worker's log."""
        for line in log_lines(self._site, worker, self._log_starts[worker]):
            if line.get("logger") not in {"trainer.worker", "trainer.conclusion"}:
                continue
            names = {name: str(line.get(name, "")) for name in ("job", "attempt")}
            at_ns = monotonic_ns(str(line["time"]))
            if line["message"] == "attempt begun":
                self._recorder.fact(worker, "train_begin", at_ns, **names)
            elif line["message"] == "attempt ended":
                how = _HOW[str(line["how"])]
                self._recorder.fact(worker, "train_end", at_ns, **names, how=how)

    def _story(self) -> str:
        lines = [str(self._plan)]
        for event in self._recorder.events:
            at_s = event.at_ns / 1e9 - self._begun_s
            fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
            lines.append(f"{at_s:8.3f} {event.actor:9} {event.kind:11} {event.call:8} {fields}")
        return "\n".join([*lines, self._site.tail(60)])


def attempts_in(site: Site, worker: str, job: str) -> list[str]:
    """The attempts at a job that a worker has begun."""
    lines = [line for line in log_lines(site, worker) if line.get("job") == job]
    return [str(line["attempt"]) for line in lines if line["message"] == "attempt begun"]


def log_lines(site: Site, worker: str, begin: int = 0) -> Iterator[dict[str, object]]:
    """What a worker has logged, from that byte on; other output is passed over."""
    text = (site.folder / f"{worker}.log").read_bytes()[begin:]
    for line in text.decode("utf-8", "backslashreplace").splitlines():
        try:
            found: object = json.loads(line)
        except ValueError:
            continue  # a killed writer leaves half a line
        if isinstance(found, dict):
            yield cast("dict[str, object]", found)


def _size(site: Site, name: str) -> int:
    path = site.folder / f"{name}.log"
    return path.stat().st_size if path.exists() else 0
