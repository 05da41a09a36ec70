"""A version's signature: the tensors that it takes and answers, in the protocol's words."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twofold import tensors
from twofold.v1 import graph_pb2, model_pb2

#: Names of the Open Inference Protocol.
DATATYPES: Mapping[graph_pb2.DataType, str] = {
    graph_pb2.DATA_TYPE_FP32: "FP32",
    graph_pb2.DATA_TYPE_FP64: "FP64",
    graph_pb2.DATA_TYPE_INT64: "INT64",
    graph_pb2.DATA_TYPE_INT32: "INT32",
    graph_pb2.DATA_TYPE_BOOL: "BOOL",
    graph_pb2.DATA_TYPE_BYTES: "BYTES",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of a signature; dimension 0 is the batch and stands as -1."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Tensors:
    """Inputs and outputs by name, in order."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def __str__(self) -> str:
        inputs, outputs = (
            ", ".join(map(str, specs.values())) for specs in (self.inputs, self.outputs)
        )
        return f"{inputs} -> {outputs}"


def of_manifest(manifest: model_pb2.Manifest) -> Tensors:
    """The signature that a manifest records."""
    return Tensors(by_name(manifest.inputs), by_name(manifest.outputs))


def row_bytes(specs: Iterable[TensorSpec]) -> int:
    """Bytes of a row of these tensors on the wire; text, whose length nobody knows, counts as 0."""
    return sum(
        math.prod(spec.shape[1:]) * tensors.DTYPES[spec.datatype].itemsize
        for spec in specs
        if spec.datatype not in ("", "BYTES")
    )


def by_name(specs: Iterable[graph_pb2.TensorSpec]) -> dict[str, TensorSpec]:
    """Tensors by name. A type of a later release becomes "", which no tensor has."""
    return {
        spec.name: TensorSpec(spec.name, DATATYPES.get(spec.data_type, ""), tuple(spec.shape))
        for spec in specs
    }
