"""Receiving a file: a header, then chunks, into a part that outlives the stream, off the loop."""

import asyncio
import errno
import hashlib
import hmac
import os
import stat
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import BinaryIO

from twofold import keys, locks
from twofold.errors import Conflict, DeadlineExceeded, InvalidData, InvalidField, LimitExceeded
from twofold.faults import fault
from twofold.names import check_sha256
from twofold.store import Store, StoreError
from twofold.v1 import dataset_pb2

MAX_CHUNK_BYTES = 1 << 20
MAX_DISPLAY_NAME = 255
#: Seconds between two messages: an upload that stands still holds a slot and a file.
IDLE_LIMIT_S = 60.0
#: Never through a link, nor waiting for the other end of a planted FIFO.
_PART = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class IncomingFile:
    """What has come of a file, and grows; nobody else writes it until `close`.

    Its methods block and may run on any thread. A cancelled call may leave a write running on
    another thread; BufferedWriter's own lock makes `close` wait for it.
    """

    def __init__(self, path: Path, offset: int, lock: AbstractContextManager[None]) -> None:
        """Goes on at `offset`; `lock` is entered now and left at the end.

        Raises:
            Conflict: another holds the lock, or fewer bytes than `offset` have come.
            LimitExceeded, StoreError: the disk is full or fails.
        """
        self.path = path
        self.offset = self.size_bytes = offset
        self._digest = hashlib.sha256()
        self._is_wanted = True
        with ExitStack() as undo:
            undo.enter_context(lock)
            with _disk_errors(offset):
                descriptor = _open_part(path)
                self._file: BinaryIO = undo.enter_context(os.fdopen(descriptor, "wb"))
                self._take_over(descriptor)
            self._opened = undo.pop_all()

    def _take_over(self, descriptor: int) -> None:
        """Keeps the first `offset` bytes, which count for the digest."""
        has_bytes = os.fstat(descriptor).st_size
        if has_bytes < self.offset:
            raise Conflict(f"{has_bytes} bytes have come, not {self.offset}; ask GetUpload")
        position = 0
        while chunk := os.pread(descriptor, min(MAX_CHUNK_BYTES, self.offset - position), position):
            self._digest.update(chunk)
            position += len(chunk)
        os.ftruncate(descriptor, self.offset)
        os.lseek(descriptor, self.offset, os.SEEK_SET)

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
        """Nobody is to go on with what has come: `close` removes it."""
        self._is_wanted = False

    def close(self) -> None:
        """Ends writing, and lets others write."""
        with self._opened:
            with suppress(OSError):  # what cannot be flushed has not come
                self._file.close()
            if not (self._is_wanted and self.size_bytes):
                with suppress(OSError):  # what stays is swept later
                    self.path.unlink()


def _open_part(path: Path) -> int:
    """A descriptor of a file that has this one name."""
    descriptor = os.open(path, _PART, 0o640)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return descriptor
    # A crash left it as a second name of a data set's bytes, which must not be written.
    os.close(descriptor)
    path.unlink()
    return os.open(path, _PART | os.O_EXCL, 0o640)


def committed_size(store: Store, tenant: str, sha256: str) -> int:
    """Bytes that have come of a file, from its beginning. Blocks."""
    try:
        found = store.path(keys.upload_part(tenant, sha256)).lstat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0


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
async def receiving(
    store: Store, tenant: str, header: dataset_pb2.UploadHeader
) -> AsyncGenerator[IncomingFile]:
    """The file that `header` announces, to be written by nobody else.

    What has come stays if the stream breaks or the store fails, so that another can go on; it goes
    if it is found to be no part of a data set, or if its bytes could not be made durable: a disk
    tells of lost writes once. A stream that ends early counts as broken, as gRPC may tell a client
    that goes away by an end. Raises Conflict where another writes the file.
    """
    incoming = await _opened(store, tenant, header)
    try:
        yield incoming
    except InvalidData:
        if incoming.size_bytes >= header.size_bytes:
            incoming.discard()
        raise
    except (Conflict, InvalidField, LimitExceeded):
        incoming.discard()
        raise
    finally:
        await asyncio.to_thread(incoming.close)


async def _opened(store: Store, tenant: str, header: dataset_pb2.UploadHeader) -> IncomingFile:
    opening = asyncio.create_task(asyncio.to_thread(_open, store, tenant, header))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread goes on: what it locks must not stay locked.
        opened = (await asyncio.gather(opening, return_exceptions=True))[0]
        if isinstance(opened, IncomingFile):
            await asyncio.to_thread(opened.close)
        raise


def _open(store: Store, tenant: str, header: dataset_pb2.UploadHeader) -> IncomingFile:
    store.temporary()  # makes the folder
    lock = locks.held(
        store.path(keys.upload_lock(tenant, header.sha256)),
        f"another stream uploads datasets/{header.sha256}, or it is being deleted; try again later",
    )
    return IncomingFile(store.path(keys.upload_part(tenant, header.sha256)), header.offset, lock)


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
    if not 0 <= header.offset <= header.size_bytes:
        raise InvalidField.of("header.offset", header.offset, f"0 to {header.size_bytes}")
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
        Conflict: the digest differs, maybe because of what had come before.
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
    if incoming.offset and digest != header.sha256 and incoming.size_bytes == header.size_bytes:
        raise Conflict(
            "what had come before was no part of this file; upload it from its beginning"
        )
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
