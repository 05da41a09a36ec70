"""Files of versions, sent piece by piece; nothing stays open while a caller reads slowly."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from trainer.api.desk import Desk
from trainer.api.streams import StreamSlots
from twofold import keys, manifest
from twofold.errors import Corrupt, InvalidField, NotFound, Unavailable
from twofold.principal import Principal
from twofold.store import Store
from twofold.v1 import model_pb2

#: Bytes per message, as uploads have them.
CHUNK_BYTES = 1 << 20
#: Streams of one principal at once; each holds a piece or two in memory.
MAX_STREAMS = 16
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of a version, and where it stands."""

    resource: str
    """ "models/digits/versions/3"."""
    key: str
    file: model_pb2.File


def find(store: Store, tenant: str, version: tuple[str, int], name: str) -> Stored:
    """The file `name` of a visible version, as its manifest describes it.

    Raises:
        NotFound: there is no such visible version.
        InvalidField: it has no such file.
        Corrupt: the manifest cannot be read.
    """
    model, number = version
    resource = f"models/{model}/versions/{number}"
    key = keys.version_manifest(tenant, model, number)
    data = store.read(key, manifest.LIMIT_BYTES)
    if data is None:
        raise NotFound(f"{resource} does not exist", resource=resource)
    sha256 = manifest.sha256_hex(data)
    own = model_pb2.File(name=MANIFEST, size_bytes=len(data), sha256=sha256)
    if name == MANIFEST:
        return Stored(resource, key, own)
    files = manifest.decode(data).files
    for file in files:
        if file.name == name:
            return Stored(resource, f"{keys.version(tenant, model, number)}/{name}", file)
    raise InvalidField.of("file", name, ", ".join([MANIFEST, *(file.name for file in files)]))


class Downloads:
    """Streams of files. Owned by the event loop's thread; store calls run on others."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._slots = StreamSlots(
            MAX_STREAMS, "max_download_streams", "let one of the downloads end first"
        )

    async def stream(
        self, principal: Principal, stored: Stored, offset: int
    ) -> AsyncGenerator[model_pb2.DownloadModelFileResponse]:
        """The header, then the bytes from `offset` on.

        Raises:
            InvalidField: the offset is not one of the file.
            LimitExceeded: too many streams of this principal.
            Unavailable: the server drains; another goes on at the same offset.
            NotFound: the version was removed meanwhile.
            Corrupt: the file is shorter than its manifest says.
        """
        size = stored.file.size_bytes
        if not 0 <= offset <= size:
            raise InvalidField.of("offset_bytes", offset, f"0 to {size}, the file's size")
        with self._slots.taken_by(principal):
            header = model_pb2.DownloadHeader(
                name=stored.resource, file=stored.file, offset_bytes=offset
            )
            yield model_pb2.DownloadModelFileResponse(header=header)
            while offset < size:
                chunk = await self._read(stored, offset, min(CHUNK_BYTES, size - offset))
                yield model_pb2.DownloadModelFileResponse(chunk=chunk)
                offset += len(chunk)

    async def _read(self, stored: Stored, offset: int, size_bytes: int) -> bytes:
        if self._desk.draining.is_set():
            raise Unavailable("the server ends; go on at the same offset")
        store = self._desk.store
        chunk = await asyncio.to_thread(store.read_range, stored.key, offset, size_bytes)
        if chunk is None:
            text = f"{stored.resource} was removed meanwhile"
            raise NotFound(text, resource=stored.resource)
        if not chunk:
            text = f"{stored.file.name} of {stored.resource} is shorter than its manifest says"
            raise Corrupt(text, resource=stored.resource)
        return chunk
