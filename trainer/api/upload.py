"""Receiving a file: a header, then chunks, into a temporary file of the store, off the loop."""

import asyncio
import errno
import hashlib
import hmac
import time
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from twofold.errors import DeadlineExceeded, InvalidData, InvalidField, LimitExceeded
from twofold.faults import fault
from twofold.names import check_sha256
from twofold.store import Store, StoreError
from twofold.v1 import dataset_pb2

MAX_CHUNK_BYTES = 1 << 20
MAX_DISPLAY_NAME = 255
#: Seconds between two messages: an upload that stands still holds a slot and a file.
IDLE_LIMIT_S = 60.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class IncomingFile:
    """A temporary file that grows; its methods block and may run on any thread.

    A cancelled call may leave a write running on another thread; BufferedWriter's own lock makes
    discard() wait for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")

    def write(self, chunk: bytes) -> None:
        """Appends; raises LimitExceeded where there is no room, StoreError otherwise."""
        with _disk_errors(self.size_bytes + len(chunk)):
            self._file.write(chunk)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    def finish(self) -> str:
        """Flushes, closes, answers with the SHA-256 in hexadecimal."""
        with _disk_errors(self.size_bytes):
            self._file.close()
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Closes and removes it; nothing there is fine."""
        with suppress(OSError):  # what it could not flush goes with the file
            self._file.close()
        self.path.unlink(missing_ok=True)


def sweep(folder: Path, older_than_s: float) -> int:
    """Removes temporary files that a crash left behind; how many.

    Only those untouched for so long that no upload and no write can still be at them.
    """
    count = 0
    limit_s = time.time() - older_than_s
    for path in folder.iterdir():
        with suppress(OSError):  # another process sweeps too
            if path.lstat().st_mtime < limit_s:
                path.unlink()
                count += 1
    return count


@contextmanager
def _disk_errors(size_bytes: int) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            text = "the server has no room for the file; delete data sets or ask its operator"
            raise LimitExceeded(
                text, limit="storage", value=size_bytes, allowed="what is free"
            ) from error
        raise StoreError("a temporary file could not be written") from error


@asynccontextmanager
async def receiving(store: Store) -> AsyncGenerator[IncomingFile]:
    """A new temporary file of the store, gone afterwards however the upload ends."""
    incoming = await asyncio.to_thread(_open, store)
    try:
        yield incoming
    finally:
        await asyncio.to_thread(incoming.discard)


def _open(store: Store) -> IncomingFile:
    with _disk_errors(0):
        return IncomingFile(store.temporary())


async def receive_header(
    requests: AsyncIterator[dataset_pb2.UploadDatasetRequest], max_upload_bytes: int
) -> dataset_pb2.UploadHeader:
    """The first message, checked; raises InvalidField, LimitExceeded."""
    first = await _next(requests)
    if first is None or not first.HasField("header"):
        got = "nothing" if first is None else first.WhichOneof("part") or "an empty message"
        raise InvalidField.of("header", got, "a header as the first message")
    return check_header(first.header, max_upload_bytes)


def check_header(
    header: dataset_pb2.UploadHeader, max_upload_bytes: int
) -> dataset_pb2.UploadHeader:
    """`header`, if a file of this kind may be sent; raises InvalidField, LimitExceeded."""
    if header.format not in dataset_pb2.DatasetFormat.values() or not header.format:
        names = ", ".join(name for name in dataset_pb2.DatasetFormat.keys()[1:])
        raise InvalidField.of("header.format", header.format, names)
    if header.size_bytes < 1:
        raise InvalidField.of("header.size_bytes", header.size_bytes, f"1 to {max_upload_bytes}")
    if header.size_bytes > max_upload_bytes:
        text = f"a file of {header.size_bytes} bytes is above the limit of {max_upload_bytes}"
        raise LimitExceeded(
            text, limit="max_upload_bytes", value=header.size_bytes, allowed=max_upload_bytes
        )
    check_sha256("header.sha256", header.sha256)
    check_display_name(header.display_name)
    return header


def check_display_name(text: str) -> None:
    """Raises InvalidField for long ones and for control, format and unassigned characters."""
    if len(text) > MAX_DISPLAY_NAME or any(unicodedata.category(mark)[0] == "C" for mark in text):
        allowed = f"at most {MAX_DISPLAY_NAME} characters, no control characters"
        raise InvalidField.of("header.display_name", text, allowed)


async def receive_file(
    header: dataset_pb2.UploadHeader,
    requests: AsyncIterator[dataset_pb2.UploadDatasetRequest],
    incoming: IncomingFile,
) -> None:
    """All chunks; raises where they are not the file that the header announced.

    Raises:
        LimitExceeded: at the first byte over the announced size, or where the disk is full.
        InvalidField: a message is not a chunk of at most 1 MiB.
        InvalidData: the size or the digest differs.
    """
    while (message := await _next(requests)) is not None:
        chunk = _chunk(message)
        if incoming.size_bytes + len(chunk) > header.size_bytes:
            text = f"the file is longer than the {header.size_bytes} bytes its header announces"
            raise LimitExceeded(
                text,
                limit="header.size_bytes",
                value=incoming.size_bytes + len(chunk),
                allowed=header.size_bytes,
            )
        await asyncio.to_thread(incoming.write, chunk)
        fault("upload.chunk")
    digest = await asyncio.to_thread(incoming.finish)
    _check_whole(header, incoming.size_bytes, digest)


def _chunk(message: dataset_pb2.UploadDatasetRequest) -> bytes:
    if message.WhichOneof("part") != "chunk":
        got = message.WhichOneof("part") or "an empty message"
        raise InvalidField.of("part", got, "a chunk in every message but the first")
    if len(message.chunk) > MAX_CHUNK_BYTES:
        got = f"{len(message.chunk)} bytes"
        raise InvalidField.of("chunk", got, f"at most {MAX_CHUNK_BYTES} bytes")
    return message.chunk


def _check_whole(header: dataset_pb2.UploadHeader, size_bytes: int, digest: str) -> None:
    if size_bytes != header.size_bytes:
        text = f"{size_bytes} bytes came of the {header.size_bytes} announced; upload it again"
        raise InvalidData(text, value=size_bytes, allowed=header.size_bytes)
    if not hmac.compare_digest(digest, header.sha256):
        text = f"the file's SHA-256 is {digest}, announced was {header.sha256}; upload it again"
        raise InvalidData(text, value=digest, allowed=header.sha256)


async def _next(
    requests: AsyncIterator[dataset_pb2.UploadDatasetRequest],
) -> dataset_pb2.UploadDatasetRequest | None:
    try:
        async with asyncio.timeout(IDLE_LIMIT_S):
            return await anext(requests, None)
    except TimeoutError as error:
        text = f"nothing came for {IDLE_LIMIT_S:.0f} s; upload the file again"
        raise DeadlineExceeded(text) from error
