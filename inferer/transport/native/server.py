"""Listens, sweeps and drains; a Server of the transport seam."""

import asyncio
import logging
import math
from contextlib import suppress
from typing import Any

from inferer.transport import Application
from inferer.transport.native import bounds
from inferer.transport.native.connection import Connection
from inferer.transport.native.hub import Hub
from inferer.transport.tls import Tls
from twofold.config import UNIX, split_address
from twofold.seams import Clock

_SWEEP_S = 1.0
_BACKLOG = 512

_log = logging.getLogger(__name__)


class NativeServer:
    """Serves an application by HTTP/2 on this event loop."""

    def __init__(
        self,
        application: Application,
        clock: Clock,
        max_message_bytes: int,
        tls: Tls | None = None,
    ) -> None:
        self._hub = Hub(application, clock, max_message_bytes)
        self._tls = None if tls is None else tls.context()
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, address: str) -> str:
        """See Server; "unix:PATH" is an address, too."""
        loop = asyncio.get_running_loop()
        make = lambda: Connection(self._hub)  # noqa: E731 - asyncio's protocol factory
        options: dict[str, Any] = {"ssl": self._tls, "backlog": _BACKLOG}
        if self._tls is not None:
            options["ssl_handshake_timeout"] = bounds.HANDSHAKE_S
        try:
            if address.startswith(UNIX):
                path = address.removeprefix(UNIX)
                self._server = await loop.create_unix_server(make, path, **options)
            else:
                host, port = split_address(address)
                self._server = await loop.create_server(make, host, port, **options)
                port = self._server.sockets[0].getsockname()[1]
                address = f"{address.rpartition(':')[0]}:{port}"
        except OSError as error:
            raise OSError(f"cannot listen on {address}: is it in use?") from error
        self._sweeping = loop.create_task(self._sweep())
        return address

    async def stop(self, grace_s: float) -> None:
        """See Server."""
        if self._server is None or self._sweeping is None:
            return
        self._server.close()
        self._server = None
        self._hub.is_closing = True
        end_s = self._hub.now_s() + grace_s
        for connection in tuple(self._hub.connections):
            connection.notice(math.inf)  # what is too long is known below
        await asyncio.sleep(min(bounds.NOTICE_S, grace_s))
        for connection in tuple(self._hub.connections):
            connection.finish()
        await self._hub.emptied(end_s)
        for connection in tuple(self._hub.connections):
            connection.cancel()
        await self._hub.emptied(self._hub.now_s() + min(grace_s, bounds.LINGER_S))
        for connection in tuple(self._hub.connections):
            connection.abort()
        await asyncio.sleep(0)
        self._sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await self._sweeping

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            for connection in tuple(self._hub.connections):
                connection.sweep(self._hub.now_s())
