"""Celery: the toy job, its settings, its client. Runs in the environment .venv-bench-celery."""

import sys

from celery import Celery

from bench.peers import toy

app = Celery("toy", broker=toy.redis_url(), backend=toy.redis_url())
app.conf.update(
    # A message is acknowledged after its task, and comes back if the process that ran it dies.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # No message waits behind a running task.
    worker_prefetch_multiplier=1,
    # Celery's default until 6.0. True would end tasks that cannot be acknowledged any more; with
    # results in the same Redis such tasks were lost (docs/benchmarks/queues.md).
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # A message that comes again after its task's success was stored is skipped.
    worker_deduplicate_successful_tasks=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        # Longer than the longest task, as the manual asks; the default is an hour.
        "visibility_timeout": toy.SILENCE_S,
        # Looked at each second instead of each 100 s.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # A worker that dies while it looks keeps the others from it for so long.
        "unacked_mutex_expire": toy.SILENCE_S,
    },
    result_backend_transport_options={"visibility_timeout": toy.SILENCE_S},
)


@app.task(name="toy")
def job(name: str) -> None:
    """The toy job."""
    toy.run(name)


def main() -> None:
    """`submit`, or `failed JOB ...`."""
    if sys.argv[1] == "submit":
        toy.submit_all(lambda name: job.apply_async(args=(name,), task_id=name))
    else:
        toy.print_failed([name for name in sys.argv[2:] if job.AsyncResult(name).failed()])


if __name__ == "__main__":
    main()
