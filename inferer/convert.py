"""Requests to arrays and arrays to answers: the tensor rules of the Open Inference Protocol.

The server never casts: datatype and shape must be the signature's. Answers are always raw, since
clients look nowhere else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from inferer.batcher import NO_WISHES, Wishes
from twofold import tensors
from twofold.errors import InvalidField, InvalidTensor, Unimplemented
from twofold.oip import inference_pb2 as oip
from twofold.signature import TensorSpec, by_name, row_bytes
from twofold.tensors import Array
from twofold.v1 import model_pb2

MAX_ID_BYTES = 256
MAX_PARAMETERS = 64
#: Largest message, unless the settings say otherwise; clients take answers up to it.
MESSAGE_BYTES = 64 << 20
#: Of a message, for all but its tensors.
_ENVELOPE_BYTES = 64 << 10
#: Of the reserved prefix, the one name that a client may send.
_TRITON_ALLOWED = frozenset({"triton_enable_empty_final_response"})
SHARED_MEMORY = "shared_memory_region"

#: The typed field of each datatype; FP16 has none.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

_NUMBERS = frozenset(tensors.DTYPES) - {"BOOL", "BYTES"}

Request = TypeVar("Request", bound=Message)
InputTensor = oip.ModelInferRequest.InferInputTensor


@dataclass(frozen=True, slots=True)
class Signature:
    """What a version takes and answers, in the protocol's words."""

    #: "models/digits/versions/3", for messages.
    resource: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    #: Class labels in the order of the probabilities.
    labels: tuple[str, ...]
    #: Most rows of a request.
    max_batch_size: int

    @property
    def sole(self) -> TensorSpec | None:
        """The one input, where there is one of numbers whose rows have one size."""
        if len(self.inputs) != 1:
            return None
        (spec,) = self.inputs.values()
        is_fixed = all(size > 0 for size in spec.shape[1:])
        return spec if is_fixed and spec.datatype in _NUMBERS else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that a request asks for; `classes` is its top-k, 0 for the tensor itself."""

    name: str
    classes: int = 0


class Inputs(NamedTuple):
    """A request's tensors by name, of one batch size."""

    arrays: Mapping[str, Array]
    rows: int


def signature_of(
    manifest: model_pb2.Manifest,
    max_batch_size: int,
    max_message_bytes: int = MESSAGE_BYTES,
) -> Signature:
    """The signature that a manifest records.

    Rows that are large, such as images, make its `max_batch_size` smaller: neither a request nor
    an answer is larger than a message may be, unless one row alone is.
    """
    inputs, outputs = by_name(manifest.inputs), by_name(manifest.outputs)
    widest = max(row_bytes(inputs.values()), row_bytes(outputs.values()), 1)
    fitting = max(1, (max_message_bytes - _ENVELOPE_BYTES) // widest)
    return Signature(
        resource=f"models/{manifest.model}/versions/{manifest.version}",
        inputs=inputs,
        outputs=outputs,
        labels=tuple(manifest.features.labels),
        max_batch_size=min(max_batch_size, fitting),
    )


def parse(kind: type[Request], message: bytes) -> Request:
    """The message in `message`; raises InvalidField."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        name, value = kind.__name__, f"{len(message)} bytes"
        text = f"the message is not a {name}"
        raise InvalidField(text, field="message", value=value, allowed=name) from error


def check_request(request: oip.ModelInferRequest) -> None:
    """Refuses what no model takes: oversized ids, parameter floods, unknown reserved names."""
    if len(request.id) > MAX_ID_BYTES // 4 and len(request.id.encode()) > MAX_ID_BYTES:
        raise InvalidField.of("id", request.id, f"at most {MAX_ID_BYTES} bytes")
    if not (count := len(request.parameters)):
        return
    if count > MAX_PARAMETERS:
        raise InvalidField.of("parameters", f"{count} entries", f"at most {MAX_PARAMETERS}")
    for name in request.parameters:
        if name.startswith("triton_") and name not in _TRITON_ALLOWED:
            allowed = "no name with the reserved prefix triton_"
            raise InvalidField.of("parameters", name, allowed)


def wishes(request: oip.ModelInferRequest) -> Wishes:
    """The parameters `priority` and `timeout`, which is sent in microseconds."""
    parameters = request.parameters
    if not parameters:
        return NO_WISHES
    priority = timeout_us = 0
    if "priority" in parameters:
        priority = _whole("priority", parameters["priority"], "a uint64, 1 for the highest")
    if "timeout" in parameters:
        timeout_us = _whole("timeout", parameters["timeout"], "microseconds, an int64 of 0 or more")
    if not priority and not timeout_us:
        return NO_WISHES
    return Wishes(priority, timeout_us / 1e6 or math.inf)


def _whole(name: str, parameter: oip.InferParameter, allowed: str) -> int:
    """A whole number, of either kind: some clients' protos lack uint64."""
    kind = parameter.WhichOneof("parameter_choice")
    if kind == "uint64_param":
        return parameter.uint64_param
    if kind != "int64_param" or parameter.int64_param < 0:
        raise InvalidField.of(f"parameters.{name}", str(parameter).strip(), allowed)
    return parameter.int64_param


def decode_inputs(request: oip.ModelInferRequest, signature: Signature) -> Inputs:
    """The request's tensors, every one checked against the signature; raises InvalidTensor."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidTensor(
            f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs of "
            f"{signature.resource}; send one per input, in the same order"
        )
    arrays: dict[str, Array] = {}
    for index, tensor in enumerate(request.inputs):
        spec = _expected(tensor, signature, arrays)
        arrays[tensor.name] = _decode(tensor, spec, raw[index] if raw else None, signature)
    missing = [name for name in signature.inputs if name not in arrays]
    if missing:
        message = f"input {missing[0]} of {signature.resource} is missing"
        raise InvalidTensor(message, input=missing[0], expected=", ".join(signature.inputs))
    return Inputs(arrays, _common_rows(arrays, signature))


def _expected(tensor: InputTensor, signature: Signature, seen: Mapping[str, Array]) -> TensorSpec:
    spec = signature.inputs.get(tensor.name)
    if spec is None or tensor.name in seen:
        what = "is unknown" if spec is None else "is given twice"
        names = ", ".join(signature.inputs)
        name = tensor.name[:64]
        raise InvalidTensor(
            f"input {name!r} of {signature.resource} {what}; inputs: {names}",
            input=name,
            expected=names,
        )
    if SHARED_MEMORY in tensor.parameters:
        raise Unimplemented(f"input {spec.name}: shared memory is not offered; send raw contents")
    return spec


def _decode(tensor: InputTensor, spec: TensorSpec, raw: bytes | None, of: Signature) -> Array:
    shape = tuple(tensor.shape)
    if tensor.datatype != spec.datatype or not _fits(shape, spec.shape, of.max_batch_size):
        raise _mismatch(tensor, spec, of)
    if tensor.HasField("contents") and tensor.contents.ByteSize():
        if raw is not None:
            message = f"input {spec.name} of {of.resource} has contents beside raw_input_contents"
            raise InvalidTensor(message + "; send one of them", input=spec.name)
        return _from_contents(tensor, spec, of)
    if raw is None:
        message = f"input {spec.name} of {of.resource} has no data"
        raise InvalidTensor(message, input=spec.name)
    try:
        return tensors.from_raw(spec.datatype, shape, raw)
    except ValueError as error:
        message = f"input {spec.name} of {of.resource}: {error}"
        raise InvalidTensor(message, input=spec.name) from error


def _fits(shape: Sequence[int], expected: Sequence[int], max_rows: int) -> bool:
    return (
        len(shape) == len(expected)
        and 1 <= shape[0] <= max_rows
        and all(want in (-1, got) and got >= 0 for got, want in zip(shape, expected, strict=True))
    )


def _shown(shape: Sequence[int], rank: int) -> str:
    """A shape for people, cut where it is longer than `rank`."""
    sizes = [str(size) for size in shape[:rank]] + ["..."] * (len(shape) > rank)
    return f"[{', '.join(sizes)}]"


def _mismatch(tensor: InputTensor, spec: TensorSpec, of: Signature) -> InvalidTensor:
    rank = len(spec.shape)
    shape = list(tensor.shape[: rank + 1])
    if tensor.datatype == spec.datatype and len(shape) == rank and shape[0] > of.max_batch_size:
        return InvalidTensor(
            f"batch of {shape[0]} exceeds max_batch_size {of.max_batch_size} of {of.resource}; "
            "split the request",
            input=spec.name,
            expected=of.max_batch_size,
            got=shape[0],
        )
    expected = f"{spec.datatype} {_shown(spec.shape, rank)}"
    got = f"{tensor.datatype[:16]} {_shown(tensor.shape, rank)}"
    return InvalidTensor(
        f"input {spec.name} of {of.resource} is {got}; expected {expected} "
        f"with 1 to {of.max_batch_size} rows",
        input=spec.name,
        expected=expected,
        got=got,
    )


def _from_contents(tensor: InputTensor, spec: TensorSpec, of: Signature) -> Array:
    """The typed contents as an array; refuses other fields than the datatype's and wrong counts."""
    field = _CONTENTS[spec.datatype]
    present = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    count = tensors.element_count(tensor.shape)
    values: Sequence[object] = getattr(tensor.contents, field)  # a value of our own table
    if present != [field] or len(values) != count:
        raise InvalidTensor(
            f"input {spec.name} of {of.resource} has {len(values)} {field} and "
            f"{'other' if present != [field] else 'no other'} contents; expected {count} "
            f"for {spec.datatype} {list(tensor.shape)}",
            input=spec.name,
        )
    array = np.empty(count, dtype=tensors.DTYPES[spec.datatype])
    array[:] = values
    # INT8 and INT16 travel as int32, UINT8 and UINT16 as uint32; numpy wraps what does not fit.
    if array.dtype.kind in "iu" and array.tolist() != list(values):
        message = f"input {spec.name} of {of.resource}: a value is outside {spec.datatype}"
        raise InvalidTensor(message, input=spec.name)
    return array.reshape(tuple(tensor.shape))


def _common_rows(arrays: Mapping[str, Array], signature: Signature) -> int:
    rows = {name: len(array) for name, array in arrays.items()}
    first = next(iter(rows.values()))
    for name, count in rows.items():
        if count != first:
            raise InvalidTensor(
                f"inputs of {signature.resource} differ in rows: {rows}",
                input=name,
                expected=first,
                got=count,
            )
    return first


def wanted_outputs(request: oip.ModelInferRequest, signature: Signature) -> list[Wanted]:
    """The outputs asked for, in the request's order; all of them where it names none."""
    if not request.outputs:
        return [Wanted(name) for name in signature.outputs]
    names = {output.name for output in request.outputs[: len(signature.outputs) + 1]}
    wanted = [_wanted(output, signature) for output in request.outputs[: len(names)]]
    if len(names) != len(request.outputs):
        raise InvalidTensor(f"an output of {signature.resource} is asked for twice")
    return wanted


def _wanted(
    output: oip.ModelInferRequest.InferRequestedOutputTensor, signature: Signature
) -> Wanted:
    spec = signature.outputs.get(output.name)
    if spec is None:
        names = ", ".join(signature.outputs)
        raise InvalidTensor(
            f"output {output.name[:64]!r} of {signature.resource} is unknown; outputs: {names}",
            output=output.name,
            expected=names,
        )
    if SHARED_MEMORY in output.parameters:
        raise Unimplemented(f"output {spec.name}: shared memory is not offered")
    if "classification" not in output.parameters:
        return Wanted(spec.name)
    classes = output.parameters["classification"].int64_param
    is_table = len(spec.shape) == 2 and spec.datatype not in ("BOOL", "BYTES")  # noqa: PLR2004 - scores of each row
    if classes < 1 or not is_table:
        field = f"outputs.{spec.name}.parameters.classification"
        allowed = "an int64 of at least 1, on a numeric output [rows, scores]"
        raise InvalidField.of(field, classes, allowed)
    return Wanted(spec.name, classes)


def encode_outputs(
    response: oip.ModelInferResponse,
    outputs: Mapping[str, Array],
    wanted: Sequence[Wanted],
    signature: Signature,
) -> None:
    """Adds the wanted outputs to the response, raw, one entry each and in order."""
    for want in wanted:
        array = outputs[want.name]
        datatype = signature.outputs[want.name].datatype
        if want.classes:
            array, datatype = _top_classes(array, want.classes, signature.labels), "BYTES"
        response.outputs.add(name=want.name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(tensors.to_raw(array))


def _top_classes(scores: Array, count: int, labels: Sequence[str]) -> Array:
    """Per row the best `count` as `value:index[:label]`, best first: Triton's extension."""
    rows, width = scores.shape
    top = np.argsort(-scores, axis=1, kind="stable")[:, : min(count, width)]
    named = len(labels) == width
    texts = np.empty(top.shape, dtype=object)
    for row, column in np.ndindex(rows, top.shape[1]):
        index = int(top[row, column])
        text = f"{float(scores[row, index]):f}:{index}"
        texts[row, column] = (f"{text}:{labels[index]}" if named else text).encode()
    return texts
