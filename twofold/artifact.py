"""A version's files in a folder: what they are, reading them verified, a plain state_dict of them.

Without torch and without safetensors: whoever pulls a version needs neither.
"""

import hashlib
import os
from pathlib import Path

from google.protobuf.message import DecodeError

from twofold import manifest, state_dict
from twofold.errors import Corrupt
from twofold.v1 import graph_pb2, model_pb2

MANIFEST = "manifest.json"
GRAPH, WEIGHTS, GOLDEN = "graph.pb", "weights.safetensors", "golden.safetensors"
#: What every version has, beside its manifest.
FILES = (GRAPH, WEIGHTS, GOLDEN)
#: Made of graph and weights where a version is pulled; no manifest lists it.
STATE_DICT = "state_dict.safetensors"


def check_files(found: model_pb2.Manifest) -> None:
    """Raises Corrupt unless a manifest lists FILES, and nothing that would hide another file."""
    listed = {file.name for file in found.files}
    for name in FILES:
        if name not in listed:
            raise Corrupt(f"the manifest does not list {name}", resource=name)
    for name in (MANIFEST, STATE_DICT):
        if name in listed:
            raise Corrupt(f"the manifest lists {name}, which is none of a version's", resource=name)


def read_manifest(folder: Path) -> tuple[model_pb2.Manifest, bytes]:
    """manifest.json of a folder, and its very bytes; raises Corrupt."""
    data = _read(folder / MANIFEST, manifest.LIMIT_BYTES)
    return manifest.decode(data), data


def read_files(folder: Path, found: model_pb2.Manifest) -> dict[str, bytes]:
    """FILES of a folder, in memory and verified: these very bytes have the manifest's digests.

    Raises:
        Corrupt: a file is missing or differs.
    """
    check_files(found)
    wanted = [file for file in found.files if file.name in FILES]
    # A file larger than its manifest says is refused before it is read.
    files = {file.name: _read(folder / file.name, file.size_bytes) for file in wanted}
    for file in wanted:
        data = files[file.name]
        manifest.verify_file(file, (len(data), manifest.sha256_hex(data)))
    return files


def write_state_dict(folder: Path) -> model_pb2.File:
    """Writes a folder's plain state_dict, durably; raises Corrupt, FileExistsError."""
    sha256 = hashlib.sha256()
    with (folder / WEIGHTS).open("rb") as weights, (folder / STATE_DICT).open("xb") as file:

        def write(piece: bytes) -> None:
            sha256.update(piece)
            file.write(piece)

        state_dict.convert(weights, write, *_beside_weights(folder))
        file.flush()
        os.fsync(file.fileno())
        return model_pb2.File(name=STATE_DICT, size_bytes=file.tell(), sha256=sha256.hexdigest())


def verify(folder: Path, found: model_pb2.Manifest) -> model_pb2.File:
    """Reads all files of a folder, piece by piece, and describes its plain state_dict.

    Raises:
        Corrupt: a file is missing or differs; of the state_dict, from what the weights give.
    """
    check_files(found)
    for file in found.files:
        manifest.verify_file(file, _digest(folder / file.name))
    sha256 = hashlib.sha256()
    with (folder / WEIGHTS).open("rb") as weights:
        state_dict.convert(weights, sha256.update, *_beside_weights(folder))
    size_bytes, actual = _digest(folder / STATE_DICT) or (0, "")
    if actual != sha256.hexdigest():
        raise Corrupt(f"{STATE_DICT} is not that of {WEIGHTS}", resource=STATE_DICT)
    return model_pb2.File(name=STATE_DICT, size_bytes=size_bytes, sha256=actual)


def _beside_weights(folder: Path) -> tuple[dict[str, str], set[str]]:
    """Keys that a folder's state_dict has beside the weights', and those that it has not.

    Raises Corrupt where graph.pb is no graph.
    """
    try:
        graph = graph_pb2.Graph.FromString((folder / GRAPH).read_bytes())
    except DecodeError as error:
        raise Corrupt(f"{GRAPH} cannot be read", resource=GRAPH) from error
    left_out = {state.path for state in graph.states if state.non_persistent}
    return {tie.path: tie.source for tie in graph.ties}, left_out


def _digest(path: Path) -> tuple[int, str] | None:
    """A file's size in bytes and SHA-256; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), sha256
    except OSError:
        return None


def _read(path: Path, limit_bytes: int) -> bytes:
    """A file's bytes; raises Corrupt where it cannot be read or has more than `limit_bytes`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        text = f"{path.name} cannot be read: {error.strerror}"
        raise Corrupt(text, resource=path.name) from error
    if len(data) > limit_bytes:
        raise Corrupt(f"{path.name} has more than {limit_bytes} bytes", resource=path.name)
    return data
