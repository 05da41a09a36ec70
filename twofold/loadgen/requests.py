"""Requests to send over and over, from what a model says it takes. Pure."""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twofold import tensors
from twofold.errors import InvalidField, shorten
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

#: Different requests of random data: enough that no server answers them from a cache by chance.
COUNT = 64
#: Whether a gRPC message is compressed, and its length.
_PREFIX = struct.Struct(">BI")
#: Letters of a random text.
_LETTERS = 8
_ANY = -1
_PIXELS = 256

TensorMetadata = pb.ModelMetadataResponse.TensorMetadata


@dataclass(frozen=True, slots=True)
class Asked:
    """What each request asks for."""

    model: str
    version: str = ""
    rows: int = 1


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it, not compressed."""
    return _PREFIX.pack(0, len(message)) + message


def bodies(asked: Asked, batches: Iterable[Mapping[str, Array]]) -> list[bytes]:
    """One request for each batch of input tensors by name."""
    return [framed(_request(asked, inputs).SerializeToString()) for inputs in batches]


def _request(asked: Asked, inputs: Mapping[str, Array]) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=asked.model, model_version=asked.version)
    for name, array in inputs.items():
        datatype = tensors.datatype_of(array)
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(tensors.to_raw(array))
    return request


def random_batches(
    inputs: Sequence[TensorMetadata], rows: int, shapes: Mapping[str, Sequence[int]], seed: int
) -> list[dict[str, Array]]:
    """COUNT batches of random data for these inputs, the same ones for the same seed.

    Raises:
        InvalidField: a shape is open, or does not fit; a datatype that numpy does not have.
    """
    _check_names(inputs, shapes)
    random = np.random.default_rng(seed)
    whole = {tensor.name: shape_of(tensor, rows, shapes.get(tensor.name)) for tensor in inputs}
    return [
        {tensor.name: _random(tensor, whole[tensor.name], random) for tensor in inputs}
        for _ in range(COUNT)
    ]


def _check_names(inputs: Sequence[TensorMetadata], shapes: Mapping[str, Sequence[int]]) -> None:
    names = [tensor.name for tensor in inputs]
    for name in shapes:
        if name not in names:
            raise InvalidField.of("shape", name, "an input: " + ", ".join(names))


def shape_of(tensor: TensorMetadata, rows: int, given: Sequence[int] | None) -> tuple[int, ...]:
    """The whole shape of an input, rows first.

    `given` is all of it, or all but the rows. Raises InvalidField where it does not fit, or where a
    dimension stays open.
    """
    told = tuple(tensor.shape)
    if rows > 1 and told[:1] != (_ANY,):
        shown = f"1, as input {tensor.name} has the fixed shape {_text(told)}"
        raise InvalidField.of("rows", rows, shown)
    shape = _given(told, rows, given)
    if any(size < 1 for size in shape):
        raise InvalidField.of(
            "shape",
            f"{tensor.name}:{_text(told)}",
            f"no open dimension but the rows; say --shape {tensor.name}:"
            + ",".join("N" if size < 1 else str(size) for size in shape[1:]),
        )
    if len(shape) != len(told) or any(
        known not in (_ANY, size) for known, size in zip(told, shape, strict=True)
    ):
        raise InvalidField.of(
            "shape", f"{tensor.name}:{_text(shape)}", f"what fits {_text(told)}, -1 being any size"
        )
    return shape


def _given(told: tuple[int, ...], rows: int, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        return (rows, *told[1:]) if told[:1] == (_ANY,) else told
    return tuple(given) if len(given) == len(told) else (rows, *given)


def _text(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def _random(tensor: TensorMetadata, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Reals of a standard normal distribution, pixels of all values, other whole numbers 0 or 1.

    0 and 1 are rows that every table of embeddings has.
    """
    if tensor.datatype == "BYTES":
        return _texts(shape, random)
    if tensor.datatype not in tensors.DTYPES:
        raise InvalidField.of(
            "datatype", shorten(tensor.datatype), f"{tensors.allowed()}; input {tensor.name}"
        )
    dtype = tensors.DTYPES[tensor.datatype]
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, _PIXELS if tensor.datatype == "UINT8" else 2, shape).astype(dtype)


def _texts(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    letters = random.integers(ord("a"), ord("z") + 1, (math.prod(shape), _LETTERS), np.uint8)
    texts = np.empty(len(letters), np.object_)
    texts[:] = [row.tobytes() for row in letters]
    return texts.reshape(shape)
