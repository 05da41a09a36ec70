"""What nearly every request is: one raw tensor of numbers, looked at with its whole batch."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from inferer.convert import SHARED_MEMORY, Inputs, InputTensor
from twofold import tensors
from twofold.oip import inference_pb2 as oip
from twofold.signature import TensorSpec
from twofold.tensors import Array


class SoleInput:
    """Takes requests of one raw tensor of numbers, as it should be; one for each loaded version.

    What it does not take is decoded, or refused, by `convert.decode_inputs`.
    """

    def __init__(self, spec: TensorSpec, max_rows: int) -> None:
        self.name, self._datatype = spec.name, spec.datatype
        self._dtype = tensors.dtype_of(spec.datatype)
        self._row_shape = tuple(spec.shape[1:])
        self._row_bytes = tensors.element_count(self._row_shape) * self._dtype.itemsize
        self._max_rows = max_rows

    def decode(self, request: oip.ModelInferRequest) -> "SoleRows | None":
        """The request's tensor; None where `decode_inputs` must look."""
        if len(request.inputs) != 1 or len(request.raw_input_contents) != 1:
            return None
        data = request.raw_input_contents[0]  # once: each look makes a copy
        rows = self._rows_of(request.inputs[0], len(data))
        return SoleRows(self, data, rows) if rows else None

    def _rows_of(self, tensor: InputTensor, size: int) -> int:
        if tensor.name != self.name or tensor.datatype != self._datatype:
            return 0
        shape = tuple(tensor.shape)
        rows, *_ = shape or (0,)
        if shape[1:] != self._row_shape or not 0 < rows <= self._max_rows:
            return 0
        if size != rows * self._row_bytes or tensor.HasField("contents"):
            return 0
        return 0 if tensor.parameters and SHARED_MEMORY in tensor.parameters else rows

    def array(self, data: bytes) -> Array:
        """Whole rows as an array [rows, ...]; a read-only view."""
        return np.frombuffer(data, self._dtype).reshape(-1, *self._row_shape)


class SoleRows(Mapping[str, Array]):
    """A request's one tensor as it came; an array where somebody looks at it.

    Has the attributes of Inputs, and is its own `arrays`.
    """

    __slots__ = ("data", "rows", "sole")

    def __init__(self, sole: SoleInput, data: bytes, rows: int) -> None:
        self.sole = sole
        self.data = data
        self.rows = rows

    @property
    def arrays(self) -> Mapping[str, Array]:
        """See Inputs."""
        return self

    def __getitem__(self, name: str) -> Array:
        if name != self.sole.name:
            raise KeyError(name)
        return self.sole.array(self.data)

    def __iter__(self) -> Iterator[str]:
        return iter((self.sole.name,))

    def __len__(self) -> int:
        return 1

    @staticmethod
    def joined(parts: Sequence[Mapping[str, Array]]) -> tuple[Array, list[int]] | None:
        """The rows of all requests and how many each has; None where one is of another kind."""
        alike = [part for part in parts if type(part) is SoleRows]
        if len(alike) != len(parts):
            return None
        data = b"".join([part.data for part in alike])
        return alike[0].sole.array(data), [part.rows for part in alike]


#: A request's tensors, looked at or not.
Tensors = Inputs | SoleRows
