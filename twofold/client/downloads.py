"""Where a download stands: pure, shared by the blocking and the asyncio client."""

import hashlib
from dataclasses import dataclass

from twofold.client.calls import models
from twofold.client.calls.call import Call
from twofold.client.retry import RetryPolicy, next_delay_s
from twofold.errors import Corrupt, TwofoldError, Unavailable
from twofold.v1 import model_pb2 as pb


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a version, and what it must turn out to be."""

    version: str
    """ "models/digits/versions/3", by number: what an alias stands for may change in between."""
    file: str
    sha256: str
    largest_bytes: int
    """Its size, or of a manifest, whose size nothing says, the largest there is."""


class Receiving:
    """A download over as many streams as it takes. Decides; the clients read and write.

    The owner opens `call()`, hands each message to `took` and appends what it returns to the file;
    then asks `check_end`.
    """

    def __init__(self, wanted: Wanted, policy: RetryPolicy) -> None:
        self._wanted = wanted
        self._policy = policy
        self._failures = 0
        self._sha256 = hashlib.sha256()
        self._size_bytes = wanted.largest_bytes
        #: Bytes that have come.
        self.offset = 0

    def call(self) -> Call[pb.DownloadModelFileResponse]:
        """What to open next: it goes on where the last stream broke."""
        return models.download(self._wanted.version, self._wanted.file, self.offset)

    def took(self, message: pb.DownloadModelFileResponse) -> bytes:
        """The bytes to append, none for a header; raises Corrupt for what was not asked for."""
        if message.WhichOneof("payload") == "header":
            self._check_header(message.header)
            return b""
        if self.offset + len(message.chunk) > self._size_bytes:
            raise self._corrupt(f"is longer than {self._size_bytes} bytes")
        self._failures = 0  # it came further, so another stream may reach the end
        self._sha256.update(message.chunk)
        self.offset += len(message.chunk)
        return message.chunk

    def check_end(self) -> None:
        """After a stream's end: raises Unavailable where it came too early, Corrupt if it lied."""
        if self.offset < self._size_bytes:
            raise Unavailable(f"the stream of {self._wanted.file} ended early")
        if self._sha256.hexdigest() != self._wanted.sha256:
            raise self._corrupt("is not what its digest says")

    def delay_s(self, error: TwofoldError, remaining_s: float, uniform: float) -> float | None:
        """See retry.DelayAfter: as many tries for every piece that comes."""
        self._failures += 1
        return next_delay_s(self._policy, error, self._failures, remaining_s, uniform)

    def _check_header(self, header: pb.DownloadHeader) -> None:
        file = header.file
        if (header.offset_bytes, header.name) != (self.offset, self._wanted.version):
            raise self._corrupt("is sent from another place than was asked for")
        if file.sha256 != self._wanted.sha256 or file.size_bytes > self._wanted.largest_bytes:
            raise self._corrupt("is another one than was asked for")
        self._size_bytes = file.size_bytes

    def _corrupt(self, what: str) -> Corrupt:
        resource = f"{self._wanted.version}/{self._wanted.file}"
        return Corrupt(f"{resource} {what}", resource=resource)
