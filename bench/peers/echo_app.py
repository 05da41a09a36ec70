"""The inferer's native transport with nothing behind it: `echo_app.py HOST:PORT`."""
# pyright: basic

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Literal

import uvloop

from inferer.transport import Call, Reply, native
from twofold.seams import SystemClock


class Echo:
    """Answers every message with itself, at once; an Application."""

    def kind(self, path: str) -> Literal["unary", "stream"] | None:
        """See Application."""
        del path
        return "unary"

    async def unary(self, call: Call, message: bytes) -> bytes:
        """See Application."""
        del call
        return message

    def begin(self, call: Call, message: bytes, reply: Reply) -> Callable[[], object] | None:
        """See Application."""
        del call
        reply.answer(message)

    async def stream(self, call: Call, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """See Application."""
        del call
        async for message in messages:
            yield message


async def serve(address: str) -> None:
    """Serves until the process ends."""
    server = native.make_server(Echo(), SystemClock(), 64 << 20, None)
    await server.start(address)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if not native.is_usable():
        raise SystemExit("the native transport cannot be used here")
    uvloop.run(serve(sys.argv[1]))
