"""What a bench sends: rows of a file as a model takes them."""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np

from twofold import tensors
from twofold.cli import rows
from twofold.client import predictions
from twofold.client.predictions import Rows
from twofold.errors import InvalidData
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

#: Requests that are made of a file at most, from its beginning; then they are sent again.
MOST_REQUESTS = 4_096


def from_file(
    source: str, metadata: pb.ModelMetadataResponse, row_count: int
) -> list[dict[str, Array]]:
    """Input tensors of the rows of a file, `row_count` at a time; a rest is left out.

    Of a model that tells its columns, as this project's do, all that `predict` takes; of others
    .npz with a member for each input, or .npy for a single one.

    Raises:
        InvalidData, InvalidTensor: rows that cannot be used, or fewer than `row_count`.
    """
    signature = predictions.signature_of(metadata)
    has_columns = bool(signature.columns)
    arrays = tuple(name for name, _ in signature.arrays)
    wanted = (
        rows.Wanted(signature.numeric_columns, signature.category_columns, (), arrays)
        if has_columns
        else rows.Wanted((), (), (), _members(source, metadata))
    )
    found = rows.batches(source, wanted, row_count)
    encoded = (
        (_encoded(batch, signature) for batch in found) if has_columns else _plain(found, metadata)
    )
    whole = (inputs for inputs in encoded if _row_count(inputs) == row_count)
    if batches := list(islice(whole, MOST_REQUESTS)):
        return batches
    raise InvalidData(f"{source} has fewer than {row_count} rows, which one request takes")


def _members(source: str, metadata: pb.ModelMetadataResponse) -> tuple[str, ...]:
    """The arrays of a file; one that has no names is that of the only input."""
    if source.lower().endswith(".npy"):
        return ()
    return tuple(tensor.name for tensor in metadata.inputs)


def _encoded(batch: Rows, signature: predictions.Signature) -> dict[str, Array]:
    if predictions.is_by_column(batch):
        return signature.encode(batch)
    return predictions.inputs_of(batch)


def _plain(found: Iterator[Rows], metadata: pb.ModelMetadataResponse) -> Iterator[dict[str, Array]]:
    """Arrays as they are, in the types that the model says."""
    inputs = {tensor.name: tensor.datatype for tensor in metadata.inputs}
    for batch in found:
        if isinstance(batch, Mapping):
            yield {name: _typed(name, inputs[name], array) for name, array in batch.items()}
        elif len(inputs) == 1:
            yield {name: _typed(name, kind, batch) for name, kind in inputs.items()}
        else:
            names = ", ".join(inputs)
            raise InvalidData(f"the model has several inputs: {names}; only a .npz names them")


def _typed(name: str, datatype: str, array: object) -> Array:
    given = np.asarray(array)
    try:
        dtype = tensors.dtype_of(datatype)
        return given if dtype.kind == "O" else given.astype(dtype)
    except ValueError as error:
        raise InvalidData(f"input {name}: {error}") from error


def _row_count(inputs: Mapping[str, Array]) -> int:
    return len(next(iter(inputs.values())))
