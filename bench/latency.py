"""How long a user waits, warm, embedded: `python -m bench.latency [--rounds 30]`.

Two figures, each as percentiles over many rounds on one cluster that has run a job before:
submit of the XOR job to the first correct prediction (goal: p50 at most 2 s), and outcome decided
to the first answer by the new version under a loop of predictions (goal: p50 at most 200 ms).
"""

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from twofold.client import Client, JobHandle
from twofold.cluster.embedded import Embedded, running
from twofold.errors import NotFound, Unavailable

_ROWS: Final = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
_EXPECTED: Final = ["0", "1", "1", "0"]
_PERCENTILES: Final = (50, 90, 99)
_POLL_S: Final = 0.002
_GOALS_MS: Final = {"submit to first correct prediction": 2_000, "outcome to first answer": 200}


def xor(model: str, seed: int) -> dict[str, object]:
    """The job of examples/xor.toml under a name and with a seed of its own."""
    return {
        "model": model,
        "data": {"dataset": "xor"},
        "network": {"family": "mlp", "hidden": [8], "activation": "tanh"},
        "training": {"epochs": 400, "learning_rate": 0.05, "seed": seed},
    }


def first_prediction_ms(client: Client, model: str) -> float:
    """From before the submission of a new model to the first prediction, which must be right."""
    started_s = time.perf_counter()
    submit(client, model, seed=1)
    pause = threading.Event()
    while True:
        try:
            labels = client.predict(model, _ROWS, timeout_s=1).labels.tolist()
        except (NotFound, Unavailable):
            pause.wait(_POLL_S)
            continue
        if labels != _EXPECTED:
            raise SystemExit(f"{model} answered {labels}")
        return (time.perf_counter() - started_s) * 1000


def submit(client: Client, model: str, seed: int) -> JobHandle:
    """Submits the XOR job."""
    return client.train(xor(model, seed))  # pyright: ignore[reportArgumentType] - nested values


def reload_ms(client: Client, cluster: Embedded, seed: int) -> float:
    """From the time of the outcome's file to the first answer by the version it published."""
    before = client.models.get("reloaded").current_version
    handle = submit(client, "reloaded", seed)
    while client.predict("reloaded", _ROWS).version == before:
        pass
    answered_s = time.time()
    outcome = cluster.log.parent / "store" / "local" / "jobs" / handle.id / "outcome"
    return (answered_s - outcome.stat().st_mtime) * 1000


def report(title: str, taken_ms: Sequence[float]) -> str:
    """One line of percentiles, and whether the goal for p50 is met."""
    goal = _GOALS_MS[title]
    figures = [float(np.percentile(taken_ms, percentile)) for percentile in _PERCENTILES]
    shown = "  ".join(f"p{p} {f:7.1f}" for p, f in zip(_PERCENTILES, figures, strict=True))
    verdict = "met" if figures[0] <= goal else "MISSED"
    return f"{title:36} {shown} ms  n={len(taken_ms)}  goal p50 <= {goal} ms: {verdict}"


def measure(client: Client, cluster: Embedded, rounds: int) -> list[str]:
    """Both lines."""
    first_prediction_ms(client, "warm-up")
    first = [first_prediction_ms(client, f"round-{number}") for number in range(rounds)]
    first_prediction_ms(client, "reloaded")
    reloads = [reload_ms(client, cluster, seed) for seed in range(2, rounds + 2)]
    titles = list(_GOALS_MS)
    return [report(titles[0], first), report(titles[1], reloads)]


def main() -> None:
    """Runs a cluster, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds: int = parser.parse_args().rounds
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    with (
        tempfile.TemporaryDirectory(prefix="twofold-bench-") as folder,
        running(Path(folder) / "cluster") as cluster,
        Client(train=cluster.train, infer=cluster.infer) as client,
    ):
        lines = measure(client, cluster, rounds)
    print("\n".join(lines))
    sys.exit(any("MISSED" in line for line in lines))


if __name__ == "__main__":
    main()
