"""What a change of a job does to Redis, as operations of apply.lua. Pure."""

from collections.abc import Sequence
from typing import cast

from twofold.jobs import WAITING, Job, Phase, Reason, State
from twofold.queue import codec, schema
from twofold.queue.connection import Argument


class Plan:
    """Keys, fields and operations of one run of the script, while they are put together."""

    def __init__(self, tenant: str, job_id: str, fields: Sequence[Argument]) -> None:
        self.tenant = tenant
        self.keys = [schema.job(tenant, job_id)]
        #: What the script gets after the two tokens.
        self.arguments: list[Argument] = [len(fields), *fields]

    def add(self, operation: str, key: str, *arguments: Argument) -> None:
        """One more operation."""
        if key not in self.keys:
            self.keys.append(key)
        number = self.keys.index(key) + 1
        self.arguments += (operation, number, len(arguments), *arguments)


def announcement(tenant: str) -> tuple[Argument, ...]:
    """The command that tells inferers to look at the store."""
    return (
        *("XADD", schema.versions(tenant), "MAXLEN", "~", schema.VERSIONS_LENGTH, "*"),
        *("change", "1"),
    )


def plan_change(tenant: str, old: Job | None, new: Job) -> Plan:
    """What turns `old` into `new`, with all that hangs on it."""
    plan = Plan(tenant, new.id, codec.changed(old, new))
    job_key, events = plan.keys[0], schema.events(tenant, new.id)
    _plan_queue(plan, old, new)
    if old is None or codec.is_news(old, new):
        trim: tuple[Argument, ...] = ("MAXLEN", "~", schema.EVENTS_LENGTH, "*")
        plan.add("XADD", events, *trim, *codec.snapshot(new))
    if new.is_terminal:
        plan.add("PEXPIRE", job_key, schema.JOB_LIFE_MS)
        plan.add("PEXPIRE", events, schema.EVENTS_LIFE_MS)
        _plan_end(plan, new)
    return plan


def _plan_queue(plan: Plan, old: Job | None, new: Job) -> None:
    """An entry stands in the stream if and only if the job is QUEUED, RUNNING or CANCELLING."""
    queue, delayed = schema.queue(plan.tenant), schema.delayed(plan.tenant)
    if old and old.entry and old.entry != new.entry:
        plan.add("XACK", queue, schema.GROUP, old.entry)
        plan.add("XDEL", queue, old.entry)  # XACK alone frees no memory
    if old and old.phase in WAITING:
        plan.add("ZREM", delayed, new.id)
    if new.phase in WAITING:
        plan.add("ZADD", delayed, new.due_ms, new.id)
    if new.phase == Phase.JOB_PHASE_QUEUED and not new.entry:
        plan.add("ENQUEUE", queue, new.id)
    if new.entry and new.attempt:
        # Resets the entry's idle time, which is the lease. FORCE: also of one that the group has
        # lost, or nobody would notice when its worker is lost too.
        plan.add("XCLAIM", queue, schema.GROUP, new.owner, 0, new.entry, "FORCE", "JUSTID")


def _plan_end(plan: Plan, new: Job) -> None:
    if new.state == State.JOB_STATE_SUCCEEDED:
        name, key, *rest = announcement(plan.tenant)
        plan.add(cast("str", name), cast("str", key), *rest)
    if new.state == State.JOB_STATE_FAILED:
        trim: tuple[Argument, ...] = ("MAXLEN", "~", schema.DEAD_LENGTH, "*")
        reason = Reason.Name(new.reason)
        plan.add("XADD", schema.dead(plan.tenant), *trim, "job", new.id, "reason", reason)
