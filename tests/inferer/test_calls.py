"""Calls of the native transport, without a connection."""

import weakref
from collections.abc import Callable

import pytest

from inferer import transport
from inferer.transport import Call, Reply
from inferer.transport.native.calls import UnaryCall
from inferer.transport.native.framing import Head, frame
from tests.inferer.fakes import never

HEAD = Head("/x/y", (), float("inf"), "identity")


class Wire:
    """Takes everything."""

    peer = "peer"

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    def answer(self, stream_id: int, message: bytes) -> None:
        del stream_id
        self.answers.append(message)

    def take(self, stream_id: int, size: int) -> None:
        del stream_id, size

    def end(
        self, stream_id: int, error: Exception | None, *, has_begun: bool, is_read: bool
    ) -> None:
        del stream_id, error, has_begun, is_read

    begin = send = queued = when_room = mark = never


class Application:
    """Keeps what it is to answer, and gives what leads back to it."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.left = 0

    def begin(self, call: Call, message: bytes, reply: Reply) -> Callable[[], object]:
        assert (call.path, message) == ("/x/y", b"message")
        self.replies.append(reply)

        def leave(held: Reply = reply) -> None:
            del held
            self.left += 1

        return leave

    kind = unary = stream = never


class Shared:
    """Counts calls."""

    max_message_bytes = 100

    def __init__(self) -> None:
        self.own = Application()
        self.application: transport.Application = self.own
        self.forgotten = 0

    def forget(self, call: object) -> None:
        del call
        self.forgotten += 1

    buffer = watch = never


def begun(wire: Wire, shared: Shared) -> UnaryCall:
    call = UnaryCall(wire, shared, 1, HEAD, float("inf"))
    call.receive(frame(b"message"), is_last=True)
    return call


def answered(call: UnaryCall) -> None:
    call.answer(b"x")


def failed(call: UnaryCall) -> None:
    call.fail(ValueError())


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("end", [answered, failed, UnaryCall.leave])
def test_a_call_that_is_over_is_let_go_of_without_the_collector(
    end: Callable[[UnaryCall], None],
) -> None:
    wire, shared = Wire(), Shared()
    call = begun(wire, shared)
    seen = weakref.ref(call)

    end(call)
    shared.own.replies.clear()
    del call

    assert seen() is None
    assert shared.forgotten == 1


@pytest.mark.parametrize("end", [UnaryCall.leave, UnaryCall.expire])
def test_who_leaves_or_runs_out_of_time_is_told_once(end: Callable[[UnaryCall], None]) -> None:
    shared = Shared()
    call = begun(Wire(), shared)

    for _ in range(2):
        end(call)

    assert shared.own.left == 1


def test_an_answer_after_the_end_is_dropped() -> None:
    wire, shared = Wire(), Shared()
    call = begun(wire, shared)
    call.leave()

    call.answer(b"late")

    assert wire.answers == []
