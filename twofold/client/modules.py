"""Training a torch module of the user's: what is sent of it. torch is imported only then."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from twofold.client import uploads
from twofold.client.uploads import Upload
from twofold.errors import Unimplemented
from twofold.names import TRUTH_TABLES
from twofold.truth_tables import truth_table
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2


class NoTorch(Unimplemented):
    """Modules are traced with torch, which is not installed here."""


class Packed(Protocol):
    """See twofold.nets.packing."""

    @property
    def graph(self) -> graph_pb2.Graph:
        """The graph."""
        ...

    @property
    def weights(self) -> bytes:
        """Safetensors."""
        ...


class _Packing(Protocol):
    def pack(
        self, module: object, columns: Sequence[dataset_pb2.Column], data: spec_pb2.DataSpec
    ) -> Packed: ...


class _WeightsIn(Protocol):
    def load_into(self, module: object, path: Path) -> None: ...


def pack(module: object, columns: Sequence[dataset_pb2.Column], data: spec_pb2.DataSpec) -> Packed:
    """The graph and the weights of a module; see twofold.nets.packing.pack.

    Raises NoTorch where torch is not installed.
    """
    packing = cast("_Packing", _imported("twofold.nets.packing"))
    return packing.pack(module, columns, data)


def load_weights(module: object, file: Path) -> None:
    """Gives a module the weights of a safetensors file; see twofold.nets.weights_in.load_into.

    Raises NoTorch where torch is not installed.
    """
    cast("_WeightsIn", _imported("twofold.nets.weights_in")).load_into(module, file)


def _imported(name: str) -> object:
    """A module of ours that needs torch: not at the top, since a client is without it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        text = f"a module is traced with {error.name}; install twofold[torch]"
        raise NoTorch(text) from error


def builtin_dataset(name: str) -> dataset_pb2.Dataset | None:
    """What is to be known of a truth table; None for what is at the server."""
    if name not in TRUTH_TABLES:
        return None
    table = truth_table(name)
    return dataset_pb2.Dataset(columns=table.columns, row_count=table.row_count)


def weights_of(packed: Packed, model: str) -> Upload:
    """What has to be uploaded."""
    return uploads.from_weights(packed.weights, f"{model} weights")


def completed(
    spec: spec_pb2.TrainingSpec, packed: Packed, weights: dataset_pb2.Dataset
) -> spec_pb2.TrainingSpec:
    """The spec with the module as its network."""
    done = spec_pb2.TrainingSpec()
    done.CopyFrom(spec)
    done.network.graph.CopyFrom(packed.graph)
    done.network.weights = weights.name.removeprefix("datasets/")
    return done
