"""A version as files in a folder: whole and verified, or not there at all. Shared by both clients.

Every call here may read or write files, so asyncio code runs them on threads.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from twofold import artifact, manifest
from twofold.client.downloads import Wanted
from twofold.errors import Corrupt, InvalidField
from twofold.v1 import model_pb2

_ALLOWED_OUT = "a folder that is not there yet, is empty, or holds this very version"


@dataclass(frozen=True, slots=True)
class Pulled:
    """A version in a folder."""

    version: str
    """ "models/digits/versions/3"."""
    folder: Path
    manifest: model_pb2.Manifest
    manifest_sha256: str
    """Of manifest.json's bytes: what the version is known by."""
    files: tuple[model_pb2.File, ...]
    """All of the folder's files, manifest.json first."""
    is_new: bool
    """False: the folder held it before, and nothing was written."""


class Pull:
    """One pull into `out`; what it has written is gone at the end unless `finish` was reached.

    Raises:
        InvalidField: the folder cannot be made or written, or holds something else.
    """

    def __init__(self, version: model_pb2.ModelVersion, out: Path | str | None) -> None:
        _, model, _, number = version.name.split("/")
        self._version = version.name
        self._of = (model, int(number))
        self._sha256 = version.manifest_sha256
        self.target = Path(f"{model}@{number}" if out is None else out).absolute()
        name = f".{self.target.name}.{secrets.token_hex(8)}.partial"
        self._staging = self.target.parent / name

    def standing(self) -> Pulled | None:
        """What the folder holds already; None where it is empty or not there."""
        with self._naming_failures():
            if not self.target.exists() or (
                self.target.is_dir() and not any(self.target.iterdir())
            ):
                return None
        try:
            found, data = artifact.read_manifest(self.target)
        except Corrupt as error:
            raise self._taken() from error
        if manifest.sha256_hex(data) != self._sha256:
            raise self._taken()
        try:
            plain = artifact.verify(self.target, found)
        except Corrupt as error:
            text = f"{self.target} holds this version, but {error.message}; remove it first"
            raise InvalidField(text, field="out", value=self.target) from error
        files = _all(found, data, plain)
        return Pulled(self._version, self.target, found, self._sha256, files, is_new=False)

    def _taken(self) -> InvalidField:
        return InvalidField.of("out", str(self.target), _ALLOWED_OUT)

    def __enter__(self) -> Self:
        with self._naming_failures():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()

    def discard(self) -> None:
        """Removes what was written and not finished; after `finish` that is nothing."""
        shutil.rmtree(self._staging, ignore_errors=True)

    def manifest_wanted(self) -> Wanted:
        """What comes first."""
        return Wanted(self._version, artifact.MANIFEST, self._sha256, manifest.LIMIT_BYTES)

    def files_wanted(self) -> list[Wanted]:
        """What comes then; raises Corrupt where the manifest, which has come, is unusable."""
        found, _ = artifact.read_manifest(self._staging)
        if (found.model, found.version) != self._of:
            raise Corrupt(f"{self._version} has the manifest of another version")
        artifact.check_files(found)
        return [
            Wanted(self._version, file.name, file.sha256, file.size_bytes) for file in found.files
        ]

    @contextlib.contextmanager
    def file(self, wanted: Wanted) -> Generator[BinaryIO]:
        """A new file, to be written from its beginning, then made durable by `sync`."""
        with self._naming_failures(), (self._staging / wanted.file).open("xb") as file:
            yield file

    def sync(self, file: BinaryIO) -> None:
        """Makes a file that is complete durable."""
        with self._naming_failures():
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> Pulled:
        """Writes the plain state_dict, and gives the folder its name; all files have come."""
        with self._naming_failures():
            plain = artifact.write_state_dict(self._staging)
            found, data = artifact.read_manifest(self._staging)
            files = _all(found, data, plain)
            _sync(self._staging)
            # Onto nothing or an empty folder, or not at all: what stands there is never replaced.
            self._staging.rename(self.target)
            _sync(self.target.parent)
        return Pulled(self._version, self.target, found, self._sha256, files, is_new=True)

    @contextlib.contextmanager
    def _naming_failures(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            text = f"{self.target} cannot be written: {error.strerror}"
            raise InvalidField(text, field="out", value=self.target) from error


def _all(
    found: model_pb2.Manifest, data: bytes, plain: model_pb2.File
) -> tuple[model_pb2.File, ...]:
    sha256 = manifest.sha256_hex(data)
    own = model_pb2.File(name=artifact.MANIFEST, size_bytes=len(data), sha256=sha256)
    return own, *found.files, plain


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
