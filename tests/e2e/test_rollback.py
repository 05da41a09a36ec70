"""A rollback on a whole cluster: told through Redis, served by what was loaded before."""

import asyncio
import threading
import urllib.request

import pytest

from tests.e2e import specs
from tests.waiting import until
from twofold.client import Client
from twofold.cluster.embedded import Embedded
from twofold.errors import WrongState


def loads(cluster: Embedded) -> int:
    """How many versions the inferer has loaded since its start."""
    with urllib.request.urlopen(f"http://{cluster.metrics}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith("twofold_inferer_loads_total")]
    return int(float(line.split()[-1]))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_operators_at_once_roll_back_once_and_nothing_is_loaded_for_it(
    client: Client, cluster: Embedded
) -> None:
    for seed in (1, 2):
        client.train(specs.xor("m", epochs=20, seed=seed)).wait(timeout_s=60)
        specs.until_served(client, "m", seed)
    before = loads(cluster)
    told: list[bool] = []

    def operate() -> None:
        with Client(train=cluster.train) as own:
            told.append(own.models.rollback("m").changed)

    operators = [threading.Thread(target=operate) for _ in range(4)]
    for operator in operators:
        operator.start()
    for operator in operators:
        operator.join()

    async def is_back() -> bool:
        return client.predict("m", specs.ROWS).version == 1

    asyncio.run(until(is_back))
    assert sorted(told) == [False, False, False, True]
    assert loads(cluster) == before
    with pytest.raises(WrongState, match="no version before 1 can serve"):
        client.models.rollback("m", 1)
    assert client.predict("m", specs.ROWS, version=2).version == 2
