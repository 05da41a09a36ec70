"""Versions that nobody published, loaded once before the first that somebody does. No torch.

What a process does for the first time takes it long: torch imports modules, libraries make their
threads and buffers. A rehearsal goes the whole way of a load, from a manifest's bytes to a warm
program, so that the first version takes no longer than the second. Nothing of it is kept.
"""

import functools
import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import safetensors.numpy

from inferer.loading import Engine, Loader
from twofold import keys, tensors
from twofold.artifact import GOLDEN, GRAPH, WEIGHTS
from twofold.features import signature
from twofold.manifest import FORMAT_VERSION, encode, sha256_hex
from twofold.nets import catalogue, net, registry
from twofold.nets.net import Net
from twofold.principal import LOCAL
from twofold.tensors import Array
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

_MODEL, _NUMBER = "rehearsal", 1
_ROWS = 4
_LABELS = ("a", "b")
_MAX_BATCH_SIZE = 64

_log = logging.getLogger(__name__)


class Make(Protocol):
    """Makes an engine for a rehearsal: one that keeps nothing."""

    def __call__(self, *, threads: int, device: str) -> Engine:
        """The engine."""
        ...


@functools.cache
def rehearse_usual(make: Make, threads: int, device: str) -> None:
    """A network of linear layers over numbers and categories: 50 ms. For the loader's thread.

    Once in a process, as `rehearse_others`; neither raises.
    """
    _rehearse(make(threads=threads, device=device), spec_pb2.FAMILY_MLP, _columns())


@functools.cache
def rehearse_others(make: Make, threads: int, device: str) -> None:
    """Embeddings and images: a second, since torch imports its compiler to know their shapes."""
    engine = make(threads=threads, device=device)
    _rehearse(engine, spec_pb2.FAMILY_EMBEDDING_MLP, _columns())
    image = graph_pb2.TensorSpec(
        name="image", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 1, 8, 8]
    )
    _rehearse(engine, spec_pb2.FAMILY_CNN, model_pb2.FeatureSpec(array_columns=[image]))


def _columns() -> model_pb2.FeatureSpec:
    category = model_pb2.CategoryColumn(name="c", vocabulary=["u", "v"])
    return model_pb2.FeatureSpec(numeric_columns=["x0", "x1"], category_columns=[category])


def _rehearse(engine: Engine, family: spec_pb2.Family, spec: model_pb2.FeatureSpec) -> None:
    spec.target, spec.task = "y", spec_pb2.TASK_CLASSIFICATION
    spec.labels.extend(_LABELS)
    try:
        hidden = [4] if family != spec_pb2.FAMILY_CNN else []
        network = spec_pb2.NetworkSpec(family=family, hidden=hidden)
        graph = catalogue.build(network, spec, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED)
        shelf = Shelf(spec, net.init(graph, 0).eval(), engine.device_type)
        Loader(shelf, engine, _MAX_BATCH_SIZE).load(LOCAL.tenant, _MODEL, _NUMBER)
    except Exception:  # noqa: BLE001 - whatever it is, the inferer can do without
        _log.warning("a rehearsal failed; the first version may load slowly", exc_info=True)


class Shelf:
    """A store that holds one version, whose golden rows are zeros."""

    def __init__(self, spec: model_pb2.FeatureSpec, made: Net, device_type: str) -> None:
        files = _files(spec, made)
        inputs, outputs = signature(spec, len(_LABELS), made.graph)
        manifest = model_pb2.Manifest(
            format_version=FORMAT_VERSION,
            model=_MODEL,
            version=_NUMBER,
            files=[
                model_pb2.File(name=name, size_bytes=len(data), sha256=sha256_hex(data))
                for name, data in files.items()
            ],
            inputs=inputs,
            outputs=outputs,
            features=spec,
            tolerances=[_tolerance(device_type)],
        )
        manifest.create_time.FromSeconds(1)
        folder = keys.version(LOCAL.tenant, _MODEL, _NUMBER)
        self._files = {f"{folder}/{name}": data for name, data in files.items()}
        self._files[keys.version_manifest(LOCAL.tenant, _MODEL, _NUMBER)] = encode(manifest)

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        """See loading.Shelf."""
        del limit_bytes
        return self._files.get(key)


def _tolerance(device_type: str) -> model_pb2.Tolerance:
    return model_pb2.Tolerance(device=device_type, precision="fp32", absolute=1e-3, relative=1e-3)


def _files(spec: model_pb2.FeatureSpec, made: Net) -> dict[str, bytes]:
    inputs = _inputs(spec)
    golden = {f"input.{name}": _stored(array) for name, array in inputs.items()}
    answers = registry.answers(made, spec, inputs)
    golden |= {f"output.{name}": _stored(array) for name, array in answers.items()}
    weights = {path: tensor.contiguous().numpy() for path, tensor in made.weights().items()}
    return {
        GRAPH: made.graph.SerializeToString(),
        WEIGHTS: safetensors.numpy.save(weights),
        GOLDEN: safetensors.numpy.save(golden),
    }


def _inputs(spec: model_pb2.FeatureSpec) -> Mapping[str, Array]:
    inputs: dict[str, Array] = {}
    if spec.numeric_columns:
        inputs["x"] = np.zeros((_ROWS, len(spec.numeric_columns)), np.float32)
    if spec.category_columns:
        inputs["category"] = np.full((_ROWS, len(spec.category_columns)), b"u", object)
    for column in spec.array_columns:
        inputs[column.name] = np.zeros((_ROWS, *column.shape[1:]), np.float32)
    return inputs


def _stored(array: Array) -> Array:
    """As golden.safetensors holds it: texts as the bytes that they are on the wire."""
    if array.dtype.kind == "O":
        return np.frombuffer(tensors.to_raw(array), np.uint8)
    return np.ascontiguousarray(array)
