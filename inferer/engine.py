"""The engine: with inferer.forms the one part that knows torch. It owns the device and the threads.

Two threads beside the event loop's: `loader` loads, replays and warms versions up; `slow` runs
batches that are too long for the loop. Loading never runs on a thread that answers.
"""
# pyright: reportUnknownMemberType=false

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch

from inferer.aside import Aside
from inferer.forms.compiled import Compiler, inductor
from inferer.forms.eager import EagerForm
from inferer.forms.offers import CpuOffers, CudaOffers
from inferer.forms.remembered import Choices, machine_of
from inferer.lane import Turns
from inferer.preparation import Offers, Preparation, Structure
from inferer.program import NetProgram
from twofold.artifact import GRAPH
from twofold.errors import Corrupt, InvalidField
from twofold.features import Features, raw_outputs
from twofold.features import signature as wire_signature
from twofold.nets import registry
from twofold.nets.meta import Measured
from twofold.nets.net import Net
from twofold.v1 import graph_pb2, model_pb2

#: Graphs of which is known what was measured; the one that was loaded longest ago is forgotten.
_STRUCTURES = 256

_log = logging.getLogger(__name__)


class Engine:
    """The device and the threads. A context manager: the threads live within it.

    `cache` is where choices of forms and compiled networks are kept, a folder of this user's;
    without it choices are not kept.

    Raises ValueError for a CUDA device where there is none.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        device: str = "cpu",
        cache: Path | None = None,
        is_compiling: bool = False,
    ) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError("torch finds no CUDA device here")
        self._threads = threads
        self._device = torch.device(device)
        self.device_type = self._device.type
        versions = (f"torch {torch.__version__}", f"numpy {np.__version__}", f"{threads} threads")
        self._choices = Choices.below(cache, machine_of(device, *versions))
        self._compiler = _compiler(cache) if is_compiling and self.device_type == "cpu" else None
        # In every thread that computes: one that was not told so uses a thread per core for
        # products of matrices, and those wait for the next one at full speed.
        self._use_threads = partial(torch.set_num_threads, threads)
        self._aside = Aside("compiler", self._use_threads)
        #: By the digest of graph and preprocessing. The loader's thread.
        self._known: OrderedDict[str, tuple[Measured, Structure]] = OrderedDict()

    def __enter__(self) -> Self:
        self._use_threads()
        self.loader: Executor = ThreadPoolExecutor(1, "loader", self._use_threads)
        self.slow = Turns(ThreadPoolExecutor(1, "engine", self._use_threads))
        return self

    def __exit__(self, *_: object) -> None:
        # What runs now may take long, and nobody waits for it any more.
        self.loader.shutdown(wait=False, cancel_futures=True)
        self.slow.executor.shutdown(wait=False, cancel_futures=True)
        self._aside.close()

    def load(self, manifest: model_pb2.Manifest, files: Mapping[str, bytes]) -> NetProgram:
        """A version's program, neither replayed nor warm yet. For the loader's thread.

        Of a version whose graph and preprocessing are those of one that was loaded before only the
        weights are new: what was checked and measured of it is taken over.

        Args:
            manifest: the version's.
            files: the very bytes whose digests were verified, by name; all of artifact.FILES.

        Raises:
            Corrupt: the files are not a network, or not this manifest's.
        """
        preprocessing = manifest.features.SerializeToString(deterministic=True)
        digest = hashlib.sha256(files.get(GRAPH, b"")).hexdigest()
        key = digest + hashlib.sha256(preprocessing).hexdigest()
        measured, structure = self._known.get(key, (None, None))
        net = registry.parse(files, measured)
        _check_signature(manifest, net.graph)
        if structure is None:
            structure = self._structure(digest, manifest.features, net)
        self._remember(key, (net.measured, structure))
        net = net.to(self._device)
        eager = EagerForm(net, self._device)
        preparation = Preparation(structure, eager, self._offers(net), self._aside)
        is_inline = self.device_type == "cpu"
        return NetProgram(structure.features, eager, preparation, is_inline=is_inline)

    def _structure(self, digest: str, spec: model_pb2.FeatureSpec, net: Net) -> Structure:
        features = Features(spec, net.graph)
        keep = partial(self._choices.keep, digest)
        # What one thread computes is measured by its own time: others may take its core.
        is_alone = self.device_type == "cpu" and self._threads == 1
        clock = time.thread_time if is_alone else time.perf_counter
        return Structure(features, keep, clock, self._choices.find(digest))

    def _remember(self, key: str, known: tuple[Measured, Structure]) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > _STRUCTURES:
            self._known.popitem(last=False)

    def _offers(self, net: Net) -> Offers:
        if self.device_type == "cpu":
            return CpuOffers(net, self._compiler)
        return CudaOffers(net, self._device)


def _compiler(cache: Path | None) -> Compiler | None:
    """The compiler of networks; none, with a warning, without a private cache."""
    if cache is None:
        _log.warning("networks are not compiled", extra={"why": "there is no cache"})
        return None
    try:
        return inductor(cache)
    except InvalidField as error:
        _log.warning("networks are not compiled", extra={"why": error.message})
        return None


def _check_signature(manifest: model_pb2.Manifest, graph: graph_pb2.Graph) -> None:
    """Raises Corrupt where a manifest's signature is not that of its columns, labels and graph."""
    score_count, label_count = _score_count(manifest), len(manifest.features.labels)
    if not raw_outputs(graph) and label_count not in (0, score_count):
        raise Corrupt(f"the manifest has {label_count} labels for {score_count} scores")
    expected = wire_signature(manifest.features, score_count, graph)
    if (list(manifest.inputs), list(manifest.outputs)) != expected:
        raise Corrupt("the manifest's signature is not that of its columns and labels")
    if {spec.name for spec in manifest.inputs} != {spec.name for spec in graph.inputs}:
        raise Corrupt("the graph's inputs are not those of the manifest's columns")


def _score_count(manifest: model_pb2.Manifest) -> int:
    """Width of the scores: classes or targets."""
    return next((spec.shape[1] for spec in manifest.outputs if len(spec.shape) > 1), 0)
