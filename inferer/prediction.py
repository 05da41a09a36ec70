"""One unary ModelInfer on its way: from its lane's outcome to the caller's bytes."""

from collections.abc import Callable, Sequence

from inferer import told
from inferer.batcher import Wishes
from inferer.convert import Wanted
from inferer.holdings import Served
from inferer.lane import Answer
from inferer.sole import Tensors
from inferer.transport import Reply
from twofold.errors import TwofoldError


class Prediction:
    """Takes what becomes of a request (lane.Done), and answers its caller.

    Args:
        reply: where the answer goes.
        served: the version that runs it.
        request_id: told back; empty: the caller gave none.
        wanted: the outputs that are answered.
    """

    __slots__ = ("_reply", "_request_id", "_served", "_ticket", "_wanted")

    def __init__(
        self, reply: Reply, served: Served, request_id: str, wanted: Sequence[Wanted]
    ) -> None:
        self._reply = reply
        self._served = served
        self._request_id = request_id
        self._wanted = wanted
        self._ticket = 0

    def begin(self, inputs: Tensors, deadline_s: float, wishes: Wishes) -> Callable[[], None]:
        """Has it run; what to call where the caller leaves. Raises as Lane.admit does."""
        self._ticket = self._served.lane.admit(inputs, deadline_s, self, wishes)
        return self._withdraw

    def __call__(self, outcome: Answer | TwofoldError) -> None:
        """Called once by the lane."""
        if isinstance(outcome, TwofoldError):
            self._reply.fail(outcome)
            return
        try:
            answer = encoded(self._served, self._request_id, self._wanted, outcome)
        except Exception as error:  # noqa: BLE001 - the caller must not wait for ever
            self._reply.fail(error)
        else:
            self._reply.answer(answer)

    def _withdraw(self) -> None:
        self._served.lane.withdraw(self._ticket)


def encoded(served: Served, request_id: str, wanted: Sequence[Wanted], answer: Answer) -> bytes:
    """The answer as a ModelInferResponse."""
    outputs, queue_ns, compute_ns, batch_rows = answer
    varying = told.varying(queue_ns, compute_ns, batch_rows) if served.tells else b""
    return served.encoder.encode(request_id, outputs, wanted, varying)
