"""A proxy between a process and the queue's server that breaks the connections through it.

For unix sockets; each process gets one of its own. What it does may change at any time:

  delay_s      every piece waits that long, both ways
  is_black     nothing passes, nothing is closed, as a cable that was pulled; healing closes what
               had to wait, since a real one would have forgotten the connection
  cut_after    that many more bytes of answers pass, then every connection is reset
  flip_at      the bit of the answers' byte that comes after so many more is flipped, once
"""

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Self

from trainer import tasks

_CHUNK = 1 << 16
_ABORT = struct.pack("ii", 1, 0)


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
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await tasks.end(*self._pumps)

    def reset(self) -> None:
        """Resets every connection."""
        for writer in list(self._writers):
            _abort(writer)

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
        self._writers.add(writer)
        try:
            await self._pump_both(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            self._pumps.discard(task)
            _abort(writer)

    async def _pump_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_unix_connection(self._target)
        pumps = [
            asyncio.create_task(self._pump(reader, onward, is_answer=False)),
            asyncio.create_task(self._pump(there, writer, is_answer=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tasks.end(*pumps)
            onward.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.is_black:
                    continue
                writer.write(self._spoiled(data) if is_answer else data)
                await writer.drain()
                if is_answer and self.cut_after == 0:
                    self.cut_after = None
                    self.reset()
        if self.is_black:
            await asyncio.Event().wait()  # the other side must not hear of the end

    def _spoiled(self, data: bytes) -> bytes:
        if self.cut_after is not None:
            data = data[: self.cut_after]
            self.cut_after -= len(data)
        if self.flip_at is not None:
            at, self.flip_at = self.flip_at, self.flip_at - len(data)
            if at < len(data):
                self.flip_at = None
                return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return data


def _abort(writer: asyncio.StreamWriter) -> None:
    """Closes without a word, as a reset."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
