"""rq: the toy job, its client, what failed. Runs in the environment .venv-bench-rq."""

import contextlib
import sys

from redis import Redis
from rq import Queue, Retry
from rq.exceptions import DuplicateJobError

from bench.peers import toy

#: Long enough for the job, short enough to notice one that hangs.
_JOB_TIMEOUT_S = 10
#: More than a job is killed here; without `interval` a retry needs no scheduler.
_RETRY = Retry(max=10)


def job(name: str) -> None:
    """The toy job."""
    toy.run(name)


def main() -> None:
    """`submit` or `failed`."""
    queue = Queue(connection=Redis.from_url(toy.redis_url()))

    def enqueue(name: str) -> None:
        # `unique` makes a repeated submission harmless: the first one stands.
        with contextlib.suppress(DuplicateJobError):
            queue.enqueue(
                "bench.peers.rq_app.job",
                name,
                job_id=name,
                unique=True,
                job_timeout=_JOB_TIMEOUT_S,
                retry=_RETRY,
            )

    if sys.argv[1] == "submit":
        toy.submit_all(enqueue)
    else:
        toy.print_failed(queue.failed_job_registry.get_job_ids())


if __name__ == "__main__":
    main()
