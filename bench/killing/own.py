"""Twofold's side of the comparison: the real trainer with a toy child, a client, what failed.

`work LOG SLOT` runs `python -m trainer` as it is but for the program of the training process;
`submit PREFIX COUNT SECONDS` creates jobs as the API does; `failed` lists jobs that ended FAILED;
`versions` counts the visible versions of each job. Jobs are told apart by their spec's seed.
"""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

from bench.peers import toy
from trainer import childproc
from trainer.__main__ import main as serve
from twofold import keys, publish, versions
from twofold.internal.v1 import record_pb2
from twofold.jobs import Policy, State
from twofold.lifecycle import Ledger
from twofold.principal import LOCAL
from twofold.queue import RedisQueue
from twofold.seams import World
from twofold.store import LocalStore

MODEL = "toy"
#: Prefixes of names, by their place: a job's seed is place * 1,000,000 + number.
PREFIXES = ("warm", "job")
_PLACE = 1_000_000
_CHILD = "bench.killing.own_child"


def seed_of(name: str) -> int:
    """The seed that stands for a job's name, such as "job-17"."""
    prefix, _, number = name.rpartition("-")
    return PREFIXES.index(prefix) * _PLACE + int(number)


def name_of(seed: int) -> str:
    """The name that `seed` stands for."""
    return f"{PREFIXES[seed // _PLACE]}-{seed % _PLACE}"


def record_for(name: str) -> record_pb2.JobRecord:
    """What the API would make of a request for this job; limits are the API's defaults."""
    record = record_pb2.JobRecord(
        request_id=name, request_sha256=hashlib.sha256(name.encode()).hexdigest()
    )
    record.spec.model = MODEL
    record.spec.data.dataset = "xor"
    record.spec.training.seed = seed_of(name)
    record.spec.limits.max_retries = 2
    record.spec.limits.max_duration.FromSeconds(86_400)
    record.spec.limits.progress_timeout.FromSeconds(600)
    return record


def _store() -> LocalStore:
    return LocalStore(Path(os.environ["TWOFOLD_STORE"]))


def _submit() -> None:
    with asyncio.Runner() as runner:
        queue = RedisQueue(toy.redis_url())
        ledger = Ledger(_store(), queue, World(), Policy())
        toy.submit_all(lambda name: runner.run(ledger.create(LOCAL, record_for(name))))
        runner.run(queue.close())


def _outcomes(store: LocalStore) -> dict[str, record_pb2.JobOutcome | None]:
    """How each job ended, by its name; None: it has not."""
    return {
        name: publish.read_outcome(store, LOCAL.tenant, job_id)
        for job_id, name in _names(store).items()
    }


def _names(store: LocalStore) -> dict[str, str]:
    """The names of all jobs that have a record, by their identifiers."""
    found: dict[str, str] = {}
    for job_id in store.names(keys.jobs(LOCAL.tenant)):
        data = store.read(keys.job_spec(LOCAL.tenant, job_id))
        if data is not None:
            found[job_id] = name_of(record_pb2.JobRecord.FromString(data).spec.training.seed)
    return found


def count_versions(store: LocalStore) -> dict[str, int]:
    """The visible versions of each job, by its name."""
    names = _names(store)
    counts = dict.fromkeys(names.values(), 0)
    for version in versions.visible_versions(store, LOCAL.tenant, MODEL):
        manifest, _ = versions.read_manifest(store, LOCAL.tenant, MODEL, version.number)
        counts[names[manifest.lineage.job.removeprefix("jobs/")]] += 1
    return counts


def _work() -> int:
    childproc.PROGRAM = ("-m", _CHILD, *sys.argv[2:])  # the one thing that differs
    return serve(["--role", "worker"])


def main() -> int:
    """See the module."""
    match sys.argv[1]:
        case "work":
            return _work()
        case "submit":
            _submit()
        case "failed":
            outcomes = _outcomes(_store())
            toy.print_failed(
                [
                    name
                    for name, end in outcomes.items()
                    if end and end.state == State.JOB_STATE_FAILED
                ]
            )
        case _:
            sys.stdout.write(json.dumps(count_versions(_store())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
