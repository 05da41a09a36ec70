"""Callers who call on and on while their server drains: none of their calls may be lost.

A call is answered, or its caller is told by GOAWAY that it was not begun, and makes it elsewhere.
"""

import asyncio
import functools
import itertools
import time
from dataclasses import dataclass
from random import Random

import uvloop
from hyperframe.frame import GoAwayFrame

from tests.chaos.runs import Result, Tier, Violation
from tests.inferer.conformance import frames, transports
from tests.inferer.conformance.application import UNARY
from tests.inferer.conformance.transports import Running
from tests.inferer.conformance.wire import Wire, connected
from tests.waiting import until

_GRACE_S = 10.0
#: What GOAWAY names before it is known which call is the last one.
_ANY_STREAM = 2**31 - 1
_KINDS = (UNARY + "Echo", UNARY + "Tasked")


@dataclass
class Outcome:
    """What became of one caller's calls."""

    answered: int = 0
    lost: int = 0


def run(seed: int) -> Result:
    """One server's end."""
    begun_s = time.monotonic()
    random = Random(seed)  # noqa: S311 - chance that can be repeated
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_violations(random))
    return Result(seed, tuple(found), time.monotonic() - begun_s)


async def _violations(random: Random) -> list[Violation]:
    async with transports.serving("native") as server:
        paths = random.choices(_KINDS, k=random.randint(2, 8))
        callers = [asyncio.create_task(_call_on(server, path)) for path in paths]
        calls = random.randint(20, 200)
        await until(lambda: server.application.has_begun(calls))
        await server.server.stop(_GRACE_S)
        outcomes = await asyncio.gather(*callers)
        begun = len(server.application.calls)
    answered = sum(outcome.answered for outcome in outcomes)
    lost = sum(outcome.lost for outcome in outcomes)
    if lost:
        return [Violation("DRAIN", f"{lost} of {len(callers)} callers lost a call")]
    if begun != answered:
        # The others are made again elsewhere.
        return [Violation("DRAIN", f"{begun} calls were begun, of which {answered} were answered")]
    return []


async def _call_on(server: Running, path: str) -> Outcome:
    """One call after the other, until the caller is told to go elsewhere, or nothing at all."""
    outcome = Outcome()
    async with connected(server.address) as wire:
        for stream in itertools.count(1, 2):
            await wire.send(frames.request(stream, path))
            await wire.until(functools.partial(_is_settled, wire, stream))
            if wire.exchange(stream).status == "OK":
                outcome.answered += 1
            else:
                outcome.lost += _last_served(wire) >= stream
            if wire.is_closed or _last_served(wire) < _ANY_STREAM:
                break
    return outcome


def _is_settled(wire: Wire, stream: int) -> bool:
    return wire.exchange(stream).is_over or _last_served(wire) < stream


def _last_served(wire: Wire) -> int:
    goaways = [seen.last_stream_id for seen in wire.seen if isinstance(seen, GoAwayFrame)]
    return min(goaways, default=_ANY_STREAM)


TIER = Tier("draining", run, width=1)
