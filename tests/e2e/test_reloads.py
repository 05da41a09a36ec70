"""Hot reloads under load: no request fails, every answer is what its version computes."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType] - os.PathLike

from tests.e2e import specs
from twofold.client import Client
from twofold.cluster.embedded import Embedded
from twofold.errors import TwofoldError

RELOADS = 50
CLIENTS = 4
MODEL = "reloaded"
#: float32 [rows, 2]; other rows than those it is trained with.
ROWS = np.random.default_rng(5).normal(size=(16, 2)).astype(np.float32)


@dataclass
class Asking:
    """One client's answers: the first of every version, and whatever went wrong."""

    first: dict[int, NDArray[np.float32]] = field(default_factory=dict[int, NDArray[np.float32]])
    order: list[int] = field(default_factory=list[int])
    wrong: list[str] = field(default_factory=list[str])
    count: int = 0

    def ask(self, client: Client) -> None:
        try:
            prediction = client.predict(MODEL, ROWS)
        except TwofoldError as error:
            self.wrong.append(f"{type(error).__name__}: {error}")
            return
        self.count += 1
        number, value = prediction.version, prediction.value
        if number not in self.first:
            self.first[number] = value
            self.order.append(number)
        elif not np.array_equal(self.first[number], value):
            self.wrong.append(f"version {number} gave two different answers")
        if number != self.order[-1]:
            self.wrong.append(f"back to version {number} after {self.order[-1]}")


@contextmanager
def asking(cluster: Embedded) -> Generator[list[Asking]]:
    """CLIENTS threads that predict on and on, each over a connection of its own."""
    done, all_asking = threading.Event(), [Asking() for _ in range(CLIENTS)]

    def run(one: Asking) -> None:
        with Client(train=cluster.train, infer=cluster.infer) as client:
            while not done.wait(0.002):  # without a pause clients and server share the cores
                one.ask(client)

    threads = [threading.Thread(target=run, args=(one,)) for one in all_asking]
    for thread in threads:
        thread.start()
    try:
        yield all_asking
    finally:
        done.set()
        for thread in threads:
            thread.join()


def publish(client: Client, seed: int) -> int:
    """The number of a new version, different from every other."""
    spec = {
        "model": MODEL,
        "data": {"dataset": "xor", "task": "regression"},
        "network": {"family": "linear"},
        "training": {"epochs": 1, "seed": seed},
    }
    return client.train(spec).wait(timeout_s=30) and client.models.get(MODEL).current_version


def computed(cluster: Embedded, number: int) -> NDArray[np.float32]:
    """What a version must answer: x w + b by the weights that stand in the store."""
    folder = cluster.log.parent / "store" / "local" / "models" / MODEL / str(number)
    weights = load_file(folder / "weights.safetensors")
    (matrix,) = [array for array in weights.values() if array.ndim == 2 and array.size == 2]
    (bias,) = [array for array in weights.values() if array.ndim == 1 and array.size == 1]
    return ROWS @ matrix.reshape(2, 1) + bias


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_50_reloads_under_4_clients_fail_nothing_and_mix_nothing(
    client: Client, cluster: Embedded
) -> None:
    numbers = [publish(client, seed=0)]
    specs.until_served(client, MODEL, numbers[0])
    with asking(cluster) as all_asking:
        for seed in range(1, RELOADS + 1):
            numbers.append(publish(client, seed))
            specs.until_served(client, MODEL, numbers[-1])

    assert [problem for one in all_asking for problem in one.wrong] == []
    assert numbers == sorted(set(numbers))
    assert all(one.count > RELOADS for one in all_asking)
    assert len({number for one in all_asking for number in one.first}) > RELOADS * 0.9
    for one in all_asking:
        for number, value in one.first.items():
            assert np.allclose(value, computed(cluster, number), atol=1e-5)
    answers = [computed(cluster, number).tobytes() for number in numbers]
    assert len(set(answers)) == len(numbers)
