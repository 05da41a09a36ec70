"""Requests whose like came before: all but their numbers is read and checked once. Pure.

A caller sends the same message over and over, but for the tensor's bytes, which come last: field 7
is the highest of a ModelInferRequest. What such a message begins with is kept, with what it means.
"""

from typing import NamedTuple

from google.protobuf.message import DecodeError

from inferer.batcher import Wishes
from inferer.reference import Reference
from inferer.sole import SoleInput, SoleRows
from inferer.wire import opening
from twofold.oip import inference_pb2 as pb

_RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
#: Lengths of messages of which beginnings are kept, and of each the last so many.
_MOST_LENGTHS = 1024
_MOST_ALIKE = 8
#: Of a longer one nothing is kept.
_MOST_BYTES = 4096


class Known(NamedTuple):
    """A request that was understood, without the numbers of its one tensor."""

    #: The whole message up to them, and how long that is.
    head: bytes
    size: int
    model: str
    reference: Reference
    wishes: Wishes
    #: Of the version that ran it: of another version it must be understood again.
    sole: SoleInput
    rows: int


class Recognition:
    """Finds messages that differ from an earlier one in the numbers alone."""

    def __init__(self) -> None:
        #: By the message's length, the last one first.
        self._known: dict[int, list[Known]] = {}

    def find(self, message: bytes) -> Known | None:
        """The earlier one."""
        for known in self._known.get(len(message), ()):
            if message.startswith(known.head):
                return known
        return None

    def note(
        self,
        message: bytes,
        request: pb.ModelInferRequest,
        reference: Reference,
        wishes: Wishes,
        inputs: SoleRows,
    ) -> None:
        """Keeps a request that was understood, where others may differ in their numbers alone.

        Args:
            message: as it came.
            request: the same, parsed.
            reference: what its version means.
            wishes: what it asks of its queue.
            inputs: its tensor.
        """
        head = _head(message, request, len(inputs.data))
        if not head:
            return
        if len(self._known) >= _MOST_LENGTHS:
            self._known.clear()
        alike = self._known.setdefault(len(message), [])
        others = [known for known in alike if known.head != head][: _MOST_ALIKE - 1]
        name, size = request.model_name, len(head)
        made = Known(head, size, name, reference, wishes, inputs.sole, inputs.rows)
        self._known[len(message)] = [made, *others]


def _head(message: bytes, request: pb.ModelInferRequest, data_bytes: int) -> bytes:
    """What stands before the numbers; empty where others like it would have to be parsed.

    It is a whole message without them, and their field's tag and length. So whatever follows it, of
    that length, are the numbers and nothing else.
    """
    size = len(message) - data_bytes
    if request.id or request.outputs or size > _MOST_BYTES:
        return b""
    head, last = message[:size], opening(_RAW, data_bytes)
    try:
        pb.ModelInferRequest.FromString(head.removesuffix(last))
    except DecodeError:  # it ends within another field
        return b""
    return head if head.endswith(last) else b""
