"""The world as handed in: clock and randomness. Tests and simulations hand in their own."""

import asyncio
import secrets
import time
from typing import Protocol


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

    def time_ms(self) -> int:
        """See Clock."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """See Clock."""
        return time.monotonic()

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
