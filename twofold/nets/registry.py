"""Published versions as modules: `twofold.nets.load("digits@3")`."""
# pyright: reportUnknownMemberType=false

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from google.protobuf.message import DecodeError
from safetensors import SafetensorError

import twofold
from twofold import artifact, features, names, private_folder, reference, signature
from twofold.artifact import GOLDEN, GRAPH, WEIGHTS
from twofold.errors import Corrupt, InvalidField
from twofold.golden import Golden, tolerance_for
from twofold.manifest import sha256_hex
from twofold.nets import net
from twofold.nets.meta import Measured
from twofold.nets.net import Net
from twofold.tensors import Array
from twofold.v1 import graph_pb2, model_pb2

_log = logging.getLogger(__name__)
#: Where the trainer is, as the command line has it.
_SERVER = "TWOFOLD_TRAIN"


def load(what: str | Path, *, server: str | None = None, cache: str | Path | None = None) -> Net:
    """A published version as a torch module: on the CPU, in eval mode, its forward gives logits.

    Its files are checked against their digests, its graph against all bounds, and its answers to
    the golden rows against those that were published. `.manifest` and its repr say what it is.

    Args:
        what: "digits", "digits@3" or "digits@stable": asked of the server, and kept in the cache;
            or a folder that `twofold models pull` wrote: a Path, or text with a "/".
        server: HOST:PORT of the trainer; None: $TWOFOLD_TRAIN, else 127.0.0.1:50051.
        cache: a folder that only this user can write; None: $TWOFOLD_CACHE or ~/.cache/twofold.

    Raises:
        InvalidField: `what` or `cache` cannot be used.
        NotFound: there is no such version.
        Unavailable: the server cannot be reached.
        Corrupt: what came or was kept is not what was published, or answers otherwise.
    """
    return build(*fetch(what, server=server, cache=cache))


def fetch(
    what: str | Path, *, server: str | None = None, cache: str | Path | None = None
) -> tuple[model_pb2.Manifest, Mapping[str, bytes]]:
    """Manifest and verified files of a version; see `load`, but for the replay."""
    if isinstance(what, Path) or os.sep in what:
        return _from_folder(Path(what))
    asked = reference.checked("what", what)
    address = server or os.environ.get(_SERVER)
    root = private_folder.make(Path(cache) if cache else private_folder.cache_root(), "cache")
    entries = private_folder.make(root / "models", "cache")
    with twofold.Client(train=address) if address else twofold.Client() as client:
        version = client.models.version(asked.model, asked.selector)
        entry = entries / names.check_sha256("manifest_sha256", version.manifest_sha256)
        return _kept(entry, entry.name) or _fetched(client, version, entry)


def build(manifest: model_pb2.Manifest, files: Mapping[str, bytes]) -> Net:
    """The net of a version's verified files, after its golden rows gave the published answers.

    Raises:
        Corrupt: the files are no network, or it answers otherwise.
    """
    built = parse(files)
    # Assigning would meet users' names: of their modules one may be called so.
    built.__dict__["manifest"] = manifest
    examples = Golden.parse(files[GOLDEN], signature.of_manifest(manifest))
    try:
        given = answers(built, manifest.features, examples.inputs)
    except (RuntimeError, ValueError, IndexError, KeyError) as error:
        raise Corrupt("golden replay: the network does not run on its own examples") from error
    examples.check(given, tolerance_for(manifest, "cpu"))
    return built


def parse(files: Mapping[str, bytes], measured: Measured | None = None) -> Net:
    """The net of graph and weights, not replayed yet; raises Corrupt where they are none.

    `measured` is that of a net whose graph had the same bytes: see net.load.
    """
    try:
        graph = graph_pb2.Graph.FromString(files[GRAPH])
        return net.load(graph, safetensors.torch.load(files[WEIGHTS]), measured)
    except DecodeError as error:
        raise Corrupt(f"{GRAPH} cannot be read", resource=GRAPH) from error
    except SafetensorError as error:
        raise Corrupt(f"{WEIGHTS} cannot be read", resource=WEIGHTS) from error
    except InvalidField as error:
        raise Corrupt(f"{GRAPH}: {error.message}", resource=GRAPH) from error


def _from_folder(folder: Path) -> tuple[model_pb2.Manifest, dict[str, bytes]]:
    if not (folder / artifact.MANIFEST).is_file():
        allowed = "a folder that `twofold models pull` wrote, or MODEL[@VERSION|@ALIAS]"
        raise InvalidField.of("what", str(folder), allowed)
    return _read(folder)


def _read(folder: Path) -> tuple[model_pb2.Manifest, dict[str, bytes]]:
    manifest, _ = artifact.read_manifest(folder)
    return manifest, artifact.read_files(folder, manifest)


def _kept(entry: Path, sha256: str) -> tuple[model_pb2.Manifest, dict[str, bytes]] | None:
    """What the cache holds, verified anew; None where it holds nothing, or something else."""
    if not entry.exists():
        return None
    try:
        manifest, data = artifact.read_manifest(entry)
        if sha256_hex(data) == sha256:
            return manifest, artifact.read_files(entry, manifest)
    except Corrupt as error:
        _log.warning("a cached version is fetched anew", extra={"why": error.message})
    shutil.rmtree(entry)
    return None


def _fetched(
    client: "twofold.Client", version: model_pb2.ModelVersion, entry: Path
) -> tuple[model_pb2.Manifest, dict[str, bytes]]:
    _, model, _, number = version.name.split("/")
    try:
        client.models.pull(model, number, entry)
    except InvalidField:
        # Another process may have fetched the same: then what it made is as good.
        found = _kept(entry, entry.name)
        if found is None:
            raise
        return found
    return _read(entry)


def answers(
    built: Net, spec: model_pb2.FeatureSpec, inputs: Mapping[str, Array]
) -> Mapping[str, Array]:
    """What a version answers to raw rows, by the names of its signature."""
    path = features.Features(spec, built.graph)
    with torch.inference_mode():
        arguments = [torch.from_numpy(np.array(array)) for array in path.inputs(inputs)]
        return path.answers(arrays_of(built.head(built(*arguments))))


def arrays_of(scores: torch.Tensor | tuple[torch.Tensor, ...]) -> features.Scores:
    """What a head answers, on the CPU."""
    if isinstance(scores, tuple):
        return [each.cpu().numpy() for each in scores]
    return scores.cpu().numpy()
