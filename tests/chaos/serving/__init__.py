"""Serving's share: one inferer under virtual time, over a real store, without torch."""

from tests.chaos.runs import Result, Tier


def _run(seed: int) -> Result:
    from tests.chaos.serving import scenario  # noqa: PLC0415 - a cycle otherwise

    return scenario.run(seed)


TIER = Tier("serving", _run, width=2)
