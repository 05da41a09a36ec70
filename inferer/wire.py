"""Answers as bytes: what is the same in every answer of a version is serialised once.

The bytes of a message are those of its fields, in any order (protobuf's encoding, "Message
Structure"), so that what varies is appended to what does not. The rest is as protobuf itself would
make it, which a test holds it to.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from inferer.convert import Signature, Wanted, encode_outputs
from inferer.outputs import Outputs, RawRows, RequestOutputs
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

_LENGTH_DELIMITED, _VARINT = 2, 0
#: Shapes of answers whose beginning is kept: of most versions there are as many as batch sizes.
_KEPT_SHAPES = 256
_ID = pb.ModelInferResponse.ID_FIELD_NUMBER
_PARAMETERS = pb.ModelInferResponse.PARAMETERS_FIELD_NUMBER
_RAW = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
_KEY, _VALUE = 1, 2  # of every entry of a map
_INT64 = pb.InferParameter.INT64_PARAM_FIELD_NUMBER


def varint(value: int) -> bytes:
    """A number of at least 0 and below 2^64, seven bits a byte."""
    if value < 0x80:  # noqa: PLR2004 - one byte
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - more follow
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def opening(number: int, size: int) -> bytes:
    """What stands before so many bytes of a field of bytes, text or a message."""
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(size)


def delimited(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return opening(number, len(content)) + content


def int64_parameter(name: str) -> Callable[[int], bytes]:
    """What makes a response parameter of numbers of at least 0."""
    key = delimited(_KEY, name.encode())
    tag = varint(_INT64 << 3 | _VARINT)

    @lru_cache(4096)
    def entry(value: int) -> bytes:
        return delimited(_PARAMETERS, key + delimited(_VALUE, tag + varint(value)))

    return entry


@lru_cache(4096)
def _raw_head(size: int) -> bytes:
    """What stands before the raw contents of an output."""
    return opening(_RAW, size)


class _Pieces:
    """A batch's outputs as bytes, in the order in which they are told."""

    __slots__ = ("prefixes", "raws", "shapes")

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.raws = [RawRows(array) for array in arrays]
        #: Of one row.
        self.shapes = tuple(array.shape[1:] for array in arrays)
        #: Beginnings of answers, by their rows.
        self.prefixes: dict[int, bytes] = {}


class AnswerEncoder:
    """Makes a version's answers. Not for several threads."""

    def __init__(
        self, model: str, number: int, constants: Mapping[str, str | int], signature: Signature
    ) -> None:
        """`constants` are parameters that every answer has."""
        self._signature = signature
        self._common = pb.ModelInferResponse(model_name=model, model_version=str(number))
        for name, value in constants.items():
            if isinstance(value, int):
                self._common.parameters[name].int64_param = value
            else:
                self._common.parameters[name].string_param = value
        #: Where a request names no outputs.
        self.everything = [Wanted(name) for name in signature.outputs]
        self._prefixes: dict[tuple[int, tuple[tuple[int, ...], ...]], bytes] = {}

    def encode(
        self,
        request_id: str,
        outputs: Mapping[str, Array],
        wanted: Sequence[Wanted],
        varying: bytes = b"",
    ) -> bytes:
        """The answer; `varying` are its other parameters, see int64_parameter."""
        if wanted is not self.everything:
            response = pb.ModelInferResponse()
            response.CopyFrom(self._common)
            encode_outputs(response, outputs, wanted, self._signature)
            parts = [response.SerializeToString(), varying]
        elif type(outputs) is RequestOutputs:
            parts = [*self._parts(outputs), varying]
        else:
            alone = Outputs(outputs)
            rows = len(next(iter(outputs.values())))
            parts = [*self._parts(RequestOutputs(alone, 0, rows)), varying]
        if request_id:
            parts.append(delimited(_ID, request_id.encode()))
        return b"".join(parts)

    def _parts(self, outputs: RequestOutputs) -> list[bytes]:
        """All outputs of one request of a batch."""
        whole, start, stop = outputs.whole, outputs.start, outputs.stop
        pieces = whole.kept
        if type(pieces) is not _Pieces:
            pieces = _Pieces([whole.arrays[want.name] for want in self.everything])
            whole.kept = pieces
        rows = stop - start
        prefix = pieces.prefixes.get(rows)
        if prefix is None:
            pieces.prefixes[rows] = prefix = self._prefix((rows, pieces.shapes), outputs)
        parts = [prefix]
        for raw in pieces.raws:
            data = raw.of(start, stop)
            parts += (_raw_head(len(data)), data)
        return parts

    def _prefix(
        self, key: tuple[int, tuple[tuple[int, ...], ...]], outputs: Mapping[str, Array]
    ) -> bytes:
        """What answers of these rows and shapes begin with."""
        if (found := self._prefixes.get(key)) is not None:
            return found
        response = pb.ModelInferResponse()
        response.CopyFrom(self._common)
        encode_outputs(response, outputs, self.everything, self._signature)
        response.ClearField("raw_output_contents")
        if len(self._prefixes) >= _KEPT_SHAPES:
            self._prefixes.clear()
        self._prefixes[key] = made = response.SerializeToString()
        return made
