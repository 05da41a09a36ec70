"""Whether an answer is one: all are looked at, some closely. Pure."""

import math
from collections import Counter
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from twofold import tensors
from twofold.errors import shorten
from twofold.oip import inference_pb2 as pb

#: Bytes before a gRPC message: whether it is compressed, and its length.
_PREFIX_BYTES = 5
#: Field 1, of texts: model_name, which every serializer writes first.
_NAME_TAG = b"\x0a"
#: One answer in so many is parsed whole.
SAMPLE = 256


class Checker:
    """Judges the answers to requests for one model."""

    def __init__(self, model: str, version: str = "") -> None:
        name = pb.ModelInferResponse(model_name=model).SerializeToString()
        self._model = model
        self._version = version if version.isdecimal() else ""
        self._begin = name if name.startswith(_NAME_TAG) else b""
        self._count = 0
        #: Versions that answered, among the answers that were parsed whole.
        self.versions = Counter[str]()

    def __call__(self, body: bytes) -> str:
        """What is wrong with a gRPC message; "" where nothing is.

        Of every one: that it is whole, not compressed, and an answer of the model. Of the first and
        of one in SAMPLE: all of it.
        """
        self._count += 1
        if (
            self._count % SAMPLE != 1
            and body.startswith(self._begin, _PREFIX_BYTES)
            and int.from_bytes(body[:_PREFIX_BYTES]) == len(body) - _PREFIX_BYTES
        ):
            return ""
        return self._closely(body)

    def _closely(self, body: bytes) -> str:
        if problem := framing_problem(body):
            return problem
        try:
            answer = pb.ModelInferResponse.FromString(body[_PREFIX_BYTES:])
        except DecodeError:
            return "the answer is no ModelInferResponse"
        self.versions[answer.model_version] += 1
        return self._identity_problem(answer) or outputs_problem(answer)

    def _identity_problem(self, answer: pb.ModelInferResponse) -> str:
        if answer.model_name != self._model:
            return f"the answer is of model {shorten(answer.model_name)}, not {self._model}"
        if self._version and answer.model_version != self._version:
            return f"the answer is of version {shorten(answer.model_version)}, not {self._version}"
        return ""


def framing_problem(body: bytes) -> str:
    """What is wrong with a gRPC message as such; "" where nothing is."""
    if len(body) < _PREFIX_BYTES:
        return "the answer has no message"
    if body[0]:
        return "the answer is compressed, which was not asked for"
    if int.from_bytes(body[1:_PREFIX_BYTES]) != len(body) - _PREFIX_BYTES:
        return "the answer is not exactly one message"
    return ""


def outputs_problem(answer: pb.ModelInferResponse) -> str:
    """What is wrong with the outputs; "" where nothing is."""
    if not answer.outputs:
        return "the answer has no outputs"
    raw = answer.raw_output_contents
    if raw and len(raw) != len(answer.outputs):
        return f"the answer has {len(answer.outputs)} outputs and {len(raw)} raw contents"
    for place, output in enumerate(answer.outputs):
        if problem := _raw_problem(output, raw[place]) if raw else _typed_problem(output):
            return problem
    return ""


def _raw_problem(output: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> str:
    if output.datatype not in tensors.DTYPES:  # BF16, and what comes after this was written
        return ""
    try:
        tensors.from_raw(output.datatype, output.shape, raw)
    except ValueError as error:
        return f"output {shorten(output.name)}: {error}"
    return ""


def _typed_problem(output: pb.ModelInferResponse.InferOutputTensor) -> str:
    """Contents are in one of several fields; a server may fill those of its own choice."""
    counts: Sequence[int] = [len(values) for _, values in output.contents.ListFields()]
    expected = math.prod(output.shape)
    if sum(counts) == expected:
        return ""
    shown = f"{sum(counts)} values, but shape {list(output.shape)} has {expected}"
    return f"output {shorten(output.name)}: {shown}"
