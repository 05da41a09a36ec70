"""Many batches: in order, bounded, patient with a full queue."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.twofold.client.serving import Servers
from twofold.cli import bulk
from twofold.cli.reference import Reference
from twofold.client import Client
from twofold.errors import InvalidData, QueueFull

ROWS = {"a": np.array([2.0, 1.0]), "b": np.array([1.0, 2.0])}


def test_answers_come_in_order_whoever_is_first() -> None:
    """The first batch's answer comes last."""
    others = threading.Semaphore(0)

    def ask(batch: int) -> int:
        if batch == 0:
            assert others.acquire(timeout=20)
        else:
            others.release()
        return batch * 10

    found = list(bulk.in_order(ask, range(7), limit=3))

    assert found == [(batch, batch * 10) for batch in range(7)]


def test_no_more_is_read_than_may_be_under_way() -> None:
    read: list[int] = []

    def batches() -> Iterator[int]:
        for batch in range(9):
            read.append(batch)
            yield batch

    for done, _ in bulk.in_order(lambda batch: batch, batches(), limit=2):
        assert len(read) <= done + 2
    assert len(read) == 9


def test_the_first_failure_ends_it_and_what_waits_is_not_asked() -> None:
    asked: list[int] = []

    def ask(batch: int) -> int:
        asked.append(batch)
        if batch == 1:
            raise InvalidData("bad row")
        return batch

    with pytest.raises(InvalidData):
        list(bulk.in_order(ask, range(100), limit=2))

    assert len(asked) <= 4


@pytest.fixture
def client(servers: Servers) -> Iterator[Client]:
    with Client(connection=servers.connection()) as made:
        yield made


def test_a_full_queue_is_waited_for(client: Client, servers: Servers) -> None:
    slept: list[float] = []
    asking = bulk.Asking(
        client, Reference("digits", None, None), is_pinned=False, sleep=slept.append
    )
    servers.script.failures["ModelInfer"] = [QueueFull("full")] * 3

    answer = asking(ROWS)

    assert answer.prediction.labels.tolist() == ["yes", "no"]
    assert slept == [0.1] * 3


def test_a_queue_that_stays_full_is_told(client: Client, servers: Servers) -> None:
    slept: list[float] = []
    asking = bulk.Asking(
        client, Reference("digits", None, None), is_pinned=False, sleep=slept.append
    )
    servers.script.failures["ModelInfer"] = [QueueFull("full")] * 1_000

    with pytest.raises(QueueFull):
        asking(ROWS)

    assert sum(slept) == pytest.approx(bulk.PATIENCE_S, abs=0.2)


@pytest.mark.parametrize(
    ("reference", "versions"),
    [
        (Reference("digits", None, None), ["3", "3"]),
        (Reference("digits", None, "stable"), ["3", "3"]),
        (Reference("digits", 2, None), ["3", "3"]),
    ],
)
def test_a_pinned_file_is_answered_by_one_version(
    client: Client, servers: Servers, reference: Reference, versions: list[str]
) -> None:
    asking = bulk.Asking(client, reference, is_pinned=True)
    asking(ROWS)
    asking(ROWS)

    assert [request.model_version for request in servers.inferer.requests] == versions
