"""Workers: what trainer.worker and trainer.conclusion do, with a child that is a few lines."""

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from tests.chaos.sim.schedule import drive
from tests.chaos.sim.site import BEAT_US, PATROL_US, POLICY, TENANT, Node
from trainer.outage import PASSING
from twofold import keys
from twofold.errors import TwofoldError
from twofold.faults import fault
from twofold.jobs import TERMINAL, Fenced, Phase, Reason, State
from twofold.lifecycle import Claim
from twofold.v1 import model_pb2, training_pb2

_T = TypeVar("_T")
#: How long one look for a job waits. Where longer than a lease, whoever patrols comes first to
#: what was given out and whose answer was lost.
_CLAIM_BLOCKS_S = (2.0, 4.0, 6.0)
_FIRST_PAUSE_US = 100_000
_LONGEST_PAUSE_US = 2_000_000
_FILE = "weights.safetensors"
#: What histories say of each way in which an attempt ends.
_HOW = {
    "trained": "trained",
    "cancelled": "cancelled",
    "lost": "lost",
    "handed_back": "handed_back",
    "failed": "failed",
    "store": "failed",
    "data": "failed",
    "evicted": "failed",
}
_REASONS = {
    "failed": Reason.JOB_REASON_INTERNAL,
    "store": Reason.JOB_REASON_STORE,
    "data": Reason.JOB_REASON_DATA,
}


@dataclass(slots=True)
class Script:
    """How the attempts at a job go, one after the other; then they succeed."""

    endings: list[str] = field(default_factory=list[str])
    train_us: int = 1_000_000
    writes_checkpoint: bool = False


def start_worker(scripts: dict[str, Script], node: Node) -> None:
    """The threads of a worker's process. `scripts` by request."""
    node.process.spawn(lambda: _Worker(node, scripts).run())
    start_patrol(node, has_worker=True)


def start_patrol(node: Node, *, has_worker: bool) -> None:
    """What every trainer process does now and then."""
    node.process.spawn(lambda: _patrol(node, has_worker=has_worker))


def _patrol(node: Node, *, has_worker: bool) -> None:
    ledger = node.ledger
    chores: list[Callable[[], Coroutine[Any, Any, object]]] = [ledger.recover]
    if has_worker:
        chores += [ledger.reap, ledger.promote]
    schedule = node.process.schedule
    if node.site.is_used and not schedule.now_us:
        schedule.pause(int(PATROL_US * schedule.random.random()))  # it began before
    while not node.is_stopping:
        for chore in chores:
            attend(node, chore)
        schedule.pause(int(PATROL_US * (0.75 + schedule.random.random() / 2)))


def attend(node: Node, chore: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Does a chore; what passes, or is one job's, is left for the next time."""
    try:
        drive(chore())
    except TwofoldError as error:
        node.site.schedule.tell(node.name, f"{chore.__name__}: {error.message}")


class _Worker:
    """The main thread."""

    def __init__(self, node: Node, scripts: dict[str, Script]) -> None:
        self._node = node
        self._scripts = scripts
        # Unique among living workers, as in the product.
        self._name = f"{node.name}-{node.site.schedule.random.randrange(1 << 32):08x}"

    def run(self) -> None:
        """Works until told to stop."""
        node = self._node
        pause_us = _FIRST_PAUSE_US
        while not node.is_stopping:
            try:
                block_s = node.site.schedule.random.choice(_CLAIM_BLOCKS_S)
                claim = drive(node.ledger.claim(self._name, block_s))
                if claim is not None:
                    script = self._scripts.get(claim.record.request_id) or Script()
                    _Attempt(node, claim, script).run()
                pause_us = _FIRST_PAUSE_US
            except TwofoldError as error:
                node.site.schedule.tell(node.name, f"claim: {error.message}")
                node.site.schedule.pause(pause_us)
                pause_us = min(pause_us * 2, _LONGEST_PAUSE_US)
        node.site.schedule.tell(node.name, "ends")


class _Attempt:
    """One attempt at a job."""

    def __init__(self, node: Node, claim: Claim, script: Script) -> None:
        self._node = node
        self._claim = claim
        self._script = script
        self._phase = Phase.JOB_PHASE_TRAINING
        self._is_lost = False
        self._is_cancelling = False
        self._is_over = False
        self._thread = node.site.schedule.running()

    def run(self) -> None:
        """Trains and tells the ledger."""
        node, claim = self._node, self._claim
        names = {"job": claim.job.id, "attempt": claim.attempt}
        node.site.note(node.name, "train_begin", **names)
        node.site.count("attempts")
        fault("worker.claimed")
        beater = node.process.spawn(self._beat)
        try:
            ending = self._train()
            node.site.note(node.name, "train_end", **names, how=_HOW[ending])
            fault("worker.trained")
            self._conclude(ending)
        finally:
            self._is_over = True
            node.site.schedule.wake(beater)

    def _beat(self) -> None:
        schedule = self._node.site.schedule
        while True:
            schedule.pause(BEAT_US)
            if self._is_over or self._is_lost:
                return
            try:
                job = drive(self._node.ledger.beat(self._claim, self._phase))
            except Fenced:
                self._is_lost = True
            except TwofoldError as error:
                schedule.tell(self._node.name, f"beat: {error.message}")
                continue
            else:
                self._is_cancelling |= job.state == State.JOB_STATE_CANCELLING
            if self._is_lost or self._is_cancelling:
                schedule.wake(self._thread)

    def _train(self) -> str:
        """How it ended: a word of the script, or what came from outside."""
        node, schedule = self._node, self._node.site.schedule
        until_us = schedule.now_us + self._script.train_us
        if self._claim.resume_path and node.store.read(self._claim.resume_path) is None:
            schedule.tell(node.name, "the checkpoint is gone")
        if self._script.writes_checkpoint:
            folder = keys.attempt_checkpoints(TENANT, self._claim.job.id, self._claim.attempt)
            self._try_writing(f"{folder}/{self._claim.job.attempt_count}.safetensors")
        while schedule.now_us < until_us:
            if self._is_lost:
                return "lost"
            if self._is_cancelling:
                return "cancelled"
            if node.is_stopping:
                return "handed_back"
            schedule.pause(until_us - schedule.now_us)
        if self._script.endings:
            return self._script.endings.pop(0)
        folder = keys.attempt_artifact(TENANT, self._claim.job.id, self._claim.attempt)
        return "trained" if self._try_writing(f"{folder}/{_FILE}") else "store"

    def _try_writing(self, key: str) -> bool:
        try:
            self._node.store.create(key, self._claim.attempt.encode())
        except TwofoldError:
            return False
        return True

    def _conclude(self, ending: str) -> None:
        ledger, claim = self._node.ledger, self._claim
        try:
            if ending == "trained":
                state = self._publish()
            elif ending == "cancelled":
                state = self._persist(lambda: ledger.cancelled(claim)).state
            elif ending == "handed_back":
                state = self._persist(lambda: ledger.hand_back(claim)).state
            elif ending == "evicted":
                state = self._persist(lambda: ledger.evicted(claim, 9)).state
            elif ending == "lost":
                return
            else:
                state = self._fail(_REASONS[ending])
        except Fenced:
            return
        fault("worker.concluded")
        if state in TERMINAL:
            self._clear_up()

    def _publish(self) -> int:
        self._phase = Phase.JOB_PHASE_PUBLISHING
        try:
            return self._persist(self._publish_or_cancel).state
        except TwofoldError as error:  # nothing that passes
            self._node.site.schedule.tell(self._node.name, f"publish: {error.message}")
            return self._fail(Reason.JOB_REASON_INTERNAL)

    async def _publish_or_cancel(self) -> Any:  # noqa: ANN401 - a job or an outcome
        if self._is_cancelling:
            return await self._node.ledger.cancelled(self._claim)
        return await self._node.ledger.publish(self._claim, self._manifest())

    def _fail(self, reason: training_pb2.JobReason) -> int:
        ledger, claim = self._node.ledger, self._claim
        job = self._persist(lambda: ledger.fail(claim, reason, "it failed"))
        if job.phase == Phase.JOB_PHASE_RETRY_WAIT:
            self._note_wait(job.due_ms, job.failure_count)
        return job.state

    def _note_wait(self, due_ms: int, failure_count: int) -> None:
        site = self._node.site
        site.note(
            self._node.name,
            "retry_wait",
            job=self._claim.job.id,
            wait_ms=due_ms - site.server_ms(),
            full_ms=POLICY.retry_backoff_ms << (failure_count - 1),
        )

    def _persist(self, act: Callable[[], Awaitable[_T]]) -> _T:
        """Repeats while failures pass; raises Fenced."""
        schedule, pause_us = self._node.site.schedule, _FIRST_PAUSE_US
        while True:
            if self._is_lost:
                raise Fenced(self._claim.attempt)
            try:
                return drive(cast("Coroutine[Any, Any, _T]", act()))
            except PASSING as error:
                schedule.tell(self._node.name, f"again: {error.message}")
            schedule.pause(int(pause_us * (1 - schedule.random.random() / 2)))
            pause_us = min(pause_us * 2, _LONGEST_PAUSE_US)

    def _clear_up(self) -> None:
        job = self._claim.job.id
        try:
            self._node.store.remove(keys.attempt_artifact(TENANT, job, self._claim.attempt))
            self._node.store.remove(keys.job_checkpoints(TENANT, job))
        except TwofoldError as error:
            self._node.site.schedule.tell(self._node.name, f"scratch left: {error.message}")

    def _manifest(self) -> model_pb2.Manifest:
        data = self._claim.attempt.encode()
        found = model_pb2.Manifest(format_version=1, model=self._claim.record.spec.model)
        sha256 = hashlib.sha256(data).hexdigest()
        found.files.add(name=_FILE, size_bytes=len(data), sha256=sha256)
        return found
