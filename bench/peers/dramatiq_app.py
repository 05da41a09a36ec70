"""Dramatiq: the toy job, its broker, its client. Runs in the environment .venv-bench-dramatiq."""

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers import toy

broker = RedisBroker(
    url=toy.redis_url(),
    # Milliseconds of silence after which a worker's messages go back; the default is a minute.
    heartbeat_timeout=toy.SILENCE_S * 1000,
    # How many of a million commands look for such workers: about one look per second here. The
    # default, 1,000, would look every few minutes with so few workers.
    maintenance_chance=100_000,
)
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=10)
def job(name: str) -> None:
    """The toy job."""
    toy.run(name)


def main() -> None:
    """`submit` or `failed`: dead letters."""
    if sys.argv[1] == "submit":
        toy.submit_all(job.send)
    else:
        dead = broker.client.hvals("dramatiq:default.XQ.msgs")
        toy.print_failed([dramatiq.Message.decode(data).args[0] for data in dead])


if __name__ == "__main__":
    main()
