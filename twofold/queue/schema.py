"""Names and life-times of the queue's keys; what each holds stands at the head of apply.lua."""

#: The consumer group of every queue.
GROUP = "workers"
#: Version of the job records; a newer one is refused.
RECORD_FORMAT = 1

JOB_LIFE_MS = 7 * 24 * 3_600_000
EVENTS_LIFE_MS = 24 * 3_600_000
EVENTS_LENGTH = 1_000
DEAD_LENGTH = 1_000
VERSIONS_LENGTH = 100

#: Last words of the keys that never expire; "job:" and "events:" only until their job is terminal.
PERMANENT = ("queue", "delayed", "dead", "versions", "checked", "job:", "events:")


def _key(tenant: str, rest: str) -> str:
    return f"twofold:{{{tenant}}}:{rest}"


def job(tenant: str, job_id: str) -> str:
    """The job's hash."""
    return _key(tenant, f"job:{job_id}")


def events(tenant: str, job_id: str) -> str:
    """The job's stream of events."""
    return _key(tenant, f"events:{job_id}")


def queue(tenant: str) -> str:
    """The stream that workers read."""
    return _key(tenant, "queue")


def delayed(tenant: str) -> str:
    """Jobs that are not due yet."""
    return _key(tenant, "delayed")


def checked(tenant: str) -> str:
    """What the server's data were when they were last compared with the store."""
    return _key(tenant, "checked")


def dead(tenant: str) -> str:
    """Dead letters."""
    return _key(tenant, "dead")


def versions(tenant: str) -> str:
    """News for inferers."""
    return _key(tenant, "versions")
