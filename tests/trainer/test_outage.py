"""Outages are told once; retries are gentle."""

import logging

import pytest

from trainer.outage import Backoff, Outages
from twofold.errors import Unavailable
from twofold.store import StoreError


class FakeRandomness:
    def __init__(self, value: float) -> None:
        self.value = value

    def token_bytes(self, count: int) -> bytes:
        return bytes(count)

    def uniform(self) -> float:
        return self.value


def test_an_outage_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages()
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            outages.failed(StoreError("the store is full"))
        assert "store" in repr(outages)
        outages.worked("queue", "store")
        outages.worked("queue", "store")

    assert [record.message for record in caplog.records] == ["out of reach", "in reach again"]
    assert repr(outages) == "Outages(none)"


def test_the_queues_outages_are_left_to_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages()
    with caplog.at_level(logging.INFO):
        outages.failed(Unavailable("away"))
        outages.worked("queue")

    assert not caplog.records


def test_waits_double_up_to_the_cap_and_start_anew() -> None:
    backoff = Backoff(FakeRandomness(0.0), first_s=1, longest_s=5)

    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_s() == 1


def test_up_to_half_of_a_wait_is_left_out() -> None:
    assert Backoff(FakeRandomness(0.999), first_s=1).next_s() == pytest.approx(0.5, abs=0.01)
