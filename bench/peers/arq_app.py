"""arq: the toy job, its settings, its client. Runs in the environment .venv-bench-arq."""

import asyncio
import sys
from dataclasses import replace

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bench.peers import toy

_REDIS = replace(
    RedisSettings.from_dsn(toy.redis_url()),
    # Without these a worker ends when the server goes away, and its running jobs with it.
    retry=Retry(ExponentialBackoff(cap=1, base=0.1), 10),
    retry_on_timeout=True,
    # A refused connection is an OSError there.
    retry_on_error=[RedisConnectionError, RedisTimeoutError, OSError],
)


async def job(_context: dict[str, object], name: str) -> None:
    """The toy job."""
    toy.note("begin", name)
    await asyncio.sleep(toy.duration_s())
    toy.note("end", name)


class WorkerSettings:
    """What `arq` reads."""

    functions = (job,)
    redis_settings = _REDIS
    max_jobs = 1
    #: A job of a lost worker is free again 10 s after this, and by nothing else.
    job_timeout = toy.SILENCE_S
    max_tries = 10
    retry_jobs = True


async def _failed(pool: ArqRedis) -> list[str]:
    return [str(result.args[0]) for result in await pool.all_job_results() if not result.success]


def main() -> None:
    """`submit` or `failed`."""
    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(_REDIS))
        if sys.argv[1] == "submit":
            # A name that is taken gives None: the first submission stands.
            toy.submit_all(lambda name: runner.run(pool.enqueue_job("job", name, _job_id=name)))
        else:
            toy.print_failed(runner.run(_failed(pool)))
        runner.run(pool.aclose())


if __name__ == "__main__":
    main()
