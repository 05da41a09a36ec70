"""Tier P's own parts: plans are the seed's, wrong answers are noticed, the stopped are found."""

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tests.chaos.full import answers
from tests.chaos.full.clients import monotonic_ns
from tests.chaos.full.plan import plan_of
from tests.chaos.full.site import stopped_below
from tests.inferer.artifacts import constant, put
from tests.waiting import until
from twofold.faults import POINTS
from twofold.store import LocalStore

SEEDS = range(200)


def test_a_seed_draws_one_plan() -> None:
    assert [plan_of(seed) for seed in SEEDS] == [plan_of(seed) for seed in SEEDS]
    assert len({str(plan_of(seed)) for seed in SEEDS}) == len(SEEDS)


def test_plans_share_no_name_and_arm_only_points_that_exist() -> None:
    models = [model for seed in SEEDS for model in plan_of(seed).models]
    requests = [errand.request_id for seed in SEEDS for errand in plan_of(seed).errands]
    armed = {fault.armed.partition("=")[0] for seed in SEEDS for fault in plan_of(seed).faults}

    assert len(set(models)) == len(models)
    assert len(set(requests)) == len(requests)
    assert armed - {""} <= POINTS


def test_an_answer_is_right_only_for_the_version_that_computes_it(store: LocalStore) -> None:
    for value in (1.0, 2.0):
        put(store, "m", constant(value))
    root = store.path("m").parent
    rows = len(answers.ROWS)

    def answered(value: float) -> NDArray[np.float32]:
        return torch.full((rows, 1), value).numpy()

    assert answers.is_right(root, "m", 1, answered(1.0))
    assert not answers.is_right(root, "m", 2, answered(1.0))
    assert not answers.is_right(root, "m", 1, answered(1.0)[1:])


def test_a_log_lines_time_is_told_on_the_clock_of_histories() -> None:
    now = datetime.now(UTC)
    text = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"

    assert abs(monotonic_ns(text) - time.monotonic_ns()) < 5e9


async def test_stopped_processes_are_found_also_below_others(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    shell = f"sleep 60 & echo $! > {pid_file}; wait"
    parent = await asyncio.create_subprocess_exec("/bin/sh", "-c", shell)

    async def is_written() -> bool:
        return pid_file.exists() and pid_file.read_text().endswith("\n")

    async def is_found() -> bool:
        return stopped_below([parent.pid]) == [child]

    await until(is_written)
    child = int(pid_file.read_text())
    before = stopped_below([parent.pid])
    os.kill(child, signal.SIGSTOP)
    await until(is_found)
    os.kill(child, signal.SIGKILL)
    await parent.wait()

    assert before == []
