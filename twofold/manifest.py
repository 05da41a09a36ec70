"""manifest.json: its canonical bytes, and what a reader refuses."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import cast

from google.protobuf import json_format

from twofold import names
from twofold.errors import Corrupt, InvalidField
from twofold.v1 import model_pb2

FORMAT_VERSION = 1
#: Larger ones are refused before they are parsed: 1,000 columns of 1,000 categories fit.
LIMIT_BYTES = 16 << 20
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\.[a-z0-9]{1,16}")


def encode(manifest: model_pb2.Manifest) -> bytes:
    """The canonical JSON: sorted keys, no spaces, ASCII; equal manifests have equal bytes."""
    fields = json_format.MessageToDict(manifest, preserving_proto_field_name=True)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def decode(data: bytes) -> model_pb2.Manifest:
    """The manifest in `data`; fields that a later release added to this format are ignored.

    Raises:
        Corrupt: not JSON, of a newer format, or a field is wrong.
    """
    if len(data) > LIMIT_BYTES:
        raise Corrupt(f"the manifest has {len(data)} bytes; allowed: {LIMIT_BYTES}")
    try:
        fields = cast("object", json.loads(data))
    except (ValueError, RecursionError) as error:
        raise Corrupt("the manifest is not JSON") from error
    if not isinstance(fields, dict):
        raise Corrupt("the manifest is not a JSON object")
    return _parse(cast("dict[str, object]", fields))


def _parse(fields: dict[str, object]) -> model_pb2.Manifest:
    version = fields.get("format_version", fields.get("formatVersion"))
    if version != FORMAT_VERSION:
        raise Corrupt(
            f"the manifest is of format {str(version)[:20]}; this release reads {FORMAT_VERSION}"
        )
    manifest = model_pb2.Manifest()
    try:
        json_format.ParseDict(fields, manifest, ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError) as error:
        raise Corrupt("the manifest has a field of the wrong type") from error
    _check(manifest)
    return manifest


def _check(manifest: model_pb2.Manifest) -> None:
    try:
        names.check_name("model", manifest.model)
        for file in manifest.files:
            names.check_sha256("sha256", file.sha256)
    except InvalidField as error:
        raise Corrupt(f"the manifest's {error.message}") from error
    if manifest.version < 1:
        raise Corrupt(f"the manifest's version is {manifest.version}")
    if len({file.name for file in manifest.files}) != len(manifest.files):
        raise Corrupt("the manifest names a file twice")
    for file in manifest.files:
        if not is_file_name(file.name) or file.size_bytes < 0:
            raise Corrupt("the manifest names a file that cannot be part of a version")


def is_file_name(name: str) -> bool:
    """Whether `name` may be a file of a version: a plain name, never a path."""
    return _FILE_NAME.fullmatch(name) is not None


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def verify_files(manifest: model_pb2.Manifest, files: Mapping[str, bytes]) -> None:
    """Checks sizes and digests of a version's files.

    Raises:
        Corrupt: a file is missing or differs; the message names it.
    """
    for file in manifest.files:
        data = files.get(file.name)
        found = None if data is None else (len(data), sha256_hex(data))
        verify_file(file, found)


def verify_file(file: model_pb2.File, found: tuple[int, str] | None) -> None:
    """Checks one file's (size, SHA-256) as found; None: it is not there; raises Corrupt."""
    if found is None:
        raise Corrupt(f"{file.name} is missing", resource=file.name)
    if found != (file.size_bytes, file.sha256):
        raise Corrupt(f"{file.name} differs from its manifest", resource=file.name)
