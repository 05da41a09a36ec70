"""The world as handed in: clock and randomness. Tests and simulations hand in their own."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Clock(Protocol):
    """Time, and waiting for it."""

    def time_ms(self) -> int:
        """Milliseconds since the epoch; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back, for durations."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Returns `delay_s` later."""
        ...


class SystemClock:
    """The machine's clocks."""

    #: See Clock. The function itself: a request asks several times.
    monotonic_s = staticmethod(time.monotonic)

    def time_ms(self) -> int:
        """See Clock."""
        return time.time_ns() // 1_000_000

    async def sleep(self, delay_s: float) -> None:
        """See Clock."""
        await asyncio.sleep(delay_s)


class Randomness(Protocol):
    """Where identifiers and jitter come from."""

    def token_bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        ...

    def uniform(self) -> float:
        """A number in [0, 1)."""
        ...


class SystemRandomness:
    """The operating system's randomness."""

    def token_bytes(self, count: int) -> bytes:
        """See Randomness."""
        return secrets.token_bytes(count)

    def uniform(self) -> float:
        """See Randomness."""
        return secrets.randbelow(1 << 53) / (1 << 53)


class OffLoop(Protocol):
    """Runs a function that blocks."""

    async def __call__(self, act: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `act` returns or raises."""
        ...


async def in_thread(act: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """See OffLoop: on another thread, so that the event loop goes on."""
    return await asyncio.to_thread(act, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class World:
    """All of it; the default is the machine's."""

    clock: Clock = field(default_factory=SystemClock)
    randomness: Randomness = field(default_factory=SystemRandomness)
    off_loop: OffLoop = in_thread
