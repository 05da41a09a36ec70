"""The native server's clock and insides, for what its bounds are about."""

from collections.abc import Sequence
from typing import cast

from inferer.transport.native.connection import Connection
from inferer.transport.native.hub import Hub
from inferer.transport.native.server import NativeServer
from tests.inferer.conformance.transports import Running
from tests.waiting import until
from twofold.seams import SystemClock

#: Between two looks of a server whose clock is set forward.
SWEEP_S = 0.001


class Ahead(SystemClock):
    """The machine's clock, which tests set forward; counts how often the server looks at it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.looks = 0

    def monotonic_s(self) -> float:
        self.looks += 1
        return super().monotonic_s() + self.ahead_s

    async def passes(self, seconds: float) -> None:
        """Returns once the server has noticed, if there is a connection."""
        await self.looked(4)  # what was done before counts from before
        self.ahead_s += seconds
        await self.looked(4)

    async def looked(self, times: int) -> None:
        """Returns after so many looks at a connection, if nothing else asks for the time."""
        goal = self.looks + times

        async def is_enough() -> bool:
            return self.looks >= goal

        await until(is_enough)


def hub_of(server: Running) -> Hub:
    return cast("NativeServer", server.server)._hub


def connections(server: Running) -> Sequence[Connection]:
    """All that the server still knows."""
    return [cast("Connection", one) for one in hub_of(server).connections]


def open_count(server: Running) -> int:
    """Connections that have not had the last word."""
    return sum(not connection._life.is_closed for connection in connections(server))


async def until_known(server: Running, count: int) -> None:
    async def is_so() -> bool:
        return len(connections(server)) == count

    await until(is_so)
