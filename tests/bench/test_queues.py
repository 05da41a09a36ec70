"""The command line of the comparison."""

import pytest

from bench.queues import choose


def test_a_queue_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match="called toy, nats; there are twofold, rq, celery"):
        choose("twofold,toy,nats")


def test_this_checkout_can_always_be_chosen() -> None:
    assert [system.name for system in choose("twofold")] == ["twofold"]
