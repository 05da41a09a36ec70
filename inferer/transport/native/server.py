"""Listens, sweeps and drains; a Server of the transport seam."""

import asyncio
import logging
import ssl
from contextlib import suppress

from inferer.transport import Application
from inferer.transport.native.connection import Connection
from inferer.transport.native.hub import Hub
from twofold.config import split_address
from twofold.seams import Clock

_SWEEP_S = 1.0
#: Between the two steps of the end: a call may be on its way when the first is.
_NOTICE_S = 0.1
_BACKLOG = 512
_UNIX = "unix:"

_log = logging.getLogger(__name__)


class NativeServer:
    """Serves an application by HTTP/2 on this event loop."""

    def __init__(
        self,
        application: Application,
        clock: Clock,
        max_message_bytes: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` must offer the protocol "h2" by ALPN."""
        self._hub = Hub(application, clock, max_message_bytes)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, address: str) -> str:
        """See Server; "unix:PATH" is an address, too."""
        loop = asyncio.get_running_loop()
        make = lambda: Connection(self._hub)  # noqa: E731 - asyncio's protocol factory
        if address.startswith(_UNIX):
            path = address.removeprefix(_UNIX).removeprefix("//")
            self._server = await loop.create_unix_server(
                make, path, ssl=self._tls, backlog=_BACKLOG
            )
        else:
            host, port = split_address(address)
            try:
                self._server = await loop.create_server(
                    make, host.strip("[]"), port, ssl=self._tls, backlog=_BACKLOG
                )
            except OSError as error:
                raise OSError(f"cannot listen on {address}: is it in use?") from error
            address = f"{host}:{self._server.sockets[0].getsockname()[1]}"
        self._sweeping = loop.create_task(self._sweep())
        return address

    async def stop(self, grace_s: float) -> None:
        """See Server."""
        if self._server is None or self._sweeping is None:
            return
        self._server.close()
        self._server = None
        end_s = self._hub.now_s() + grace_s
        for connection in tuple(self._hub.connections):
            connection.notice()
        await asyncio.sleep(min(_NOTICE_S, grace_s))
        for connection in tuple(self._hub.connections):
            connection.finish()
        await self._hub.emptied(end_s)
        for connection in tuple(self._hub.connections):
            connection.cancel()
        await asyncio.sleep(0)
        self._sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await self._sweeping

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            for connection in tuple(self._hub.connections):
                connection.sweep(self._hub.now_s())
