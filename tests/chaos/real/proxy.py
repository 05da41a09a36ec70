"""A proxy between a process and the queue's server that breaks the connections through it.

For unix sockets; each process gets one of its own. What it does may change at any time:

  delay_s      every piece waits that long, both ways
  freeze()     what is open now is black for ever, new connections work
  is_black     nothing passes, nothing is closed, as a cable that was pulled; healing closes what
               had to wait, since a real one would have forgotten the connection
  cut_after    that many more bytes of answers pass, then every connection is reset
  flip_at      after so many more bytes of answers a bit of the next answer's first byte is flipped,
               once. Not within an answer: the protocol has no checksum, so TCP or TLS must notice
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trainer import tasks

_CHUNK = 1 << 16


@dataclass(eq=False, slots=True)
class _Link:
    """A connection through the proxy, by its side to our process."""

    writer: asyncio.StreamWriter
    is_frozen: bool = False


class Proxy:
    """Listens on `path` and connects each of its clients to `target`."""

    def __init__(self, path: Path, target: Path) -> None:
        self.url = f"unix://{path}?db=0"
        self.delay_s = 0.0
        self.is_black = False
        self.cut_after: int | None = None
        self.flip_at: int | None = None
        self._path = path
        self._target = target
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._links: set[_Link] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await tasks.end(*self._pumps)

    def reset(self) -> None:
        """Resets every connection."""
        for link in list(self._links):
            link.writer.transport.abort()

    def freeze(self) -> None:
        """What is open now passes nothing any more and is not closed, as if half-open."""
        for link in self._links:
            link.is_frozen = True

    def heal(self) -> None:
        """Passes everything again, over new connections where old ones were broken."""
        was_black = self.is_black
        self.delay_s, self.is_black, self.cut_after, self.flip_at = 0.0, False, None, None
        if was_black:
            self.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._pump_both(reader, link)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            self._pumps.discard(task)
            writer.transport.abort()

    async def _pump_both(self, reader: asyncio.StreamReader, link: "_Link") -> None:
        there, onward = await asyncio.open_unix_connection(self._target)
        pumps = [
            asyncio.create_task(self._pump(link, reader, onward)),
            asyncio.create_task(self._pump(link, there, link.writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tasks.end(*pumps)
            onward.close()

    async def _pump(
        self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        is_answer = writer is link.writer
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self._is_lost(link):
                    continue
                writer.write(self._spoiled(data) if is_answer else data)
                await writer.drain()
                if is_answer and self.cut_after == 0:
                    self.cut_after = None
                    self.reset()
        if is_answer and self._is_lost(link):
            await asyncio.Event().wait()  # our side must not hear of the end

    def _is_lost(self, link: "_Link") -> bool:
        return self.is_black or link.is_frozen

    def _spoiled(self, data: bytes) -> bytes:
        if self.cut_after is not None:
            data = data[: self.cut_after]
            self.cut_after -= len(data)
        if self.flip_at is not None:
            at, self.flip_at = self.flip_at, self.flip_at - len(data)
            if at < len(data):
                self.flip_at = None
                return bytes([data[0] ^ 0x80]) + data[1:]
        return data
