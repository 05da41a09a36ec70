"""grpcio's clients, blocking and asyncio, against each transport."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from typing import cast

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from tests.inferer.conformance.application import ODD_TEXT, STREAM, UNARY, huge
from tests.inferer.conformance.callers import AioCaller, Caller, Failure, calling
from tests.inferer.conformance.transports import MAX_MESSAGE_BYTES, Running
from tests.waiting import until
from twofold.errors import InvalidField, QueueFull
from twofold.rpc import DETAILS_KEY, from_rpc_error
from twofold.seams import SystemClock

ECHO = UNARY + "Echo"
PACKED = [grpc.Compression.Gzip, grpc.Compression.Deflate]


@pytest_asyncio.fixture
async def caller(server: Running, kind: str) -> AsyncGenerator[Caller]:
    async with calling(kind, server.address) as made:
        yield made


@pytest.mark.parametrize("name", ["Echo", "Tasked"])
async def test_a_call_is_answered(caller: Caller, name: str) -> None:
    assert await caller.unary(UNARY + name, b"abc") == b"abc"
    assert await caller.unary(UNARY + name, b"") == b""


async def test_a_call_brings_its_path_peer_and_deadline(server: Running, caller: Caller) -> None:
    before_s = SystemClock().monotonic_s()
    await caller.unary(ECHO, timeout_s=5)

    call = server.application.calls[0]
    assert call.path == ECHO
    assert call.peer.startswith("ipv4:127.0.0.1:")
    assert before_s + 4 < call.deadline_s < SystemClock().monotonic_s() + 6  # rounded on the wire


async def test_a_call_without_a_deadline_has_none(server: Running, caller: Caller) -> None:
    await caller.unary(ECHO, timeout_s=None)

    assert server.application.calls[0].deadline_s == math.inf


async def test_metadata_arrive_as_text_and_as_bytes(caller: Caller) -> None:
    sent = [
        ("plain", "value, with ; signs = and spaces"),
        ("twice", "one"),
        ("twice", "two"),
        ("triton_grpc_error", "true"),
        ("raw-bin", bytes(range(256))),
        ("none-bin", b""),
        ("pair-bin", b"a"),
        ("pair-bin", b"bc"),
    ]
    got = json.loads(await caller.unary(UNARY + "Metadata", metadata=sent))

    names = {name for name, _ in sent}
    expected = [[name, {"hex": value.hex()} if isinstance(value, bytes) else value]
                for name, value in sent]  # fmt: skip
    assert [pair for pair in got if pair[0] in names] == expected
    assert not [pair for pair in got if pair[0].startswith(":")]


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (b"full", "RESOURCE_EXHAUSTED", "10 rows wait"),
        (b"invalid", "INVALID_ARGUMENT", "rows is 9; allowed: 1 to 8"),
        (b"text", "NOT_FOUND", ODD_TEXT),
    ],
)
async def test_an_error_arrives_with_code_text_and_details(
    caller: Caller, message: bytes, code: str, text: str
) -> None:
    for call in (caller.unary(UNARY + "Fail", message), caller.stream(STREAM + "Fail", [message])):
        with pytest.raises(Failure) as caught:
            await call

        failure = caught.value
        status = status_pb2.Status.FromString(cast("bytes", failure.trailers[DETAILS_KEY]))
        assert (failure.code, failure.details) == (code, text)
        assert status.message == text
        assert status.details[0].type_url.endswith("/google.rpc.ErrorInfo")


async def test_an_error_is_read_back_as_what_it_was(caller: Caller) -> None:
    expected = [(b"full", QueueFull), (b"invalid", InvalidField)]
    for message, kind in expected:
        with pytest.raises(Failure) as caught:
            await caller.unary(UNARY + "Fail", message)
        assert type(from_rpc_error(caught.value.rpc_error)) is kind

    hint = error_details_pb2.RetryInfo()
    with pytest.raises(Failure) as caught:
        await caller.unary(UNARY + "Fail", b"full")
    status = status_pb2.Status.FromString(cast("bytes", caught.value.trailers[DETAILS_KEY]))
    assert any(detail.Unpack(hint) for detail in status.details)
    assert hint.retry_delay.ToMilliseconds() == 250


async def test_a_defect_tells_the_log_and_not_the_caller(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [caller.unary(UNARY + "Fail", b"break"), caller.stream(STREAM + "Fail", [b"break"])]
    for call in calls:
        with pytest.raises(Failure) as caught:
            await call

        assert caught.value.code == "INTERNAL"
        assert "42" not in f"{caught.value.details}{caught.value.trailers}"

    assert caplog.text.count("RuntimeError: the secret is 42") == len(calls)
    assert [record.message for record in caplog.records].count("call failed") == len(calls)


@pytest.mark.parametrize("path", ["/no.Such/Call", UNARY + "Nothing", STREAM + "Nothing"])
async def test_a_path_that_is_not_served_is_unimplemented(caller: Caller, path: str) -> None:
    with pytest.raises(Failure) as caught:
        await caller.unary(path)
    assert caught.value.code == "UNIMPLEMENTED"

    with pytest.raises(Failure) as caught:
        await caller.stream(path, [b"abc"])
    # Not before the caller has sent something: grpc.aio makes INTERNAL of such a status.
    assert caught.value.code == "UNIMPLEMENTED"


async def test_a_stream_takes_what_a_unary_caller_sends(caller: Caller) -> None:
    """As the service relies on: what it does not offer it serves as a stream."""
    assert await caller.unary(STREAM + "Echo", b"abc") == b"abc"


async def test_a_deadline_ends_a_call_on_both_sides(server: Running, caller: Caller) -> None:
    with pytest.raises(Failure) as caught:
        await caller.unary(UNARY + "Slow", timeout_s=0.1)
    assert caught.value.code == "DEADLINE_EXCEEDED"

    with pytest.raises(Failure) as caught:
        await caller.stream(STREAM + "Deaf", [b"abc"], timeout_s=0.1)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    await until(server.application.is_idle)
    assert server.application.cancelled == 2


async def test_a_caller_that_cancels_cancels_its_call(server: Running, caller: Caller) -> None:
    cancel = caller.begin(UNARY + "Slow")
    await until(server.application.has_begun)
    cancel()

    await until(server.application.has_cancelled)
    assert await server.application.is_idle()
    assert await caller.unary(ECHO, b"abc") == b"abc"


async def test_a_stream_is_a_conversation(caller: Caller) -> None:
    assert await caller.talk(STREAM + "Echo", b"abc") == b"abc"


async def test_a_stream_of_many_messages_keeps_their_order(caller: Caller) -> None:
    sent = [b"%d" % number * (number % 50) for number in range(500)]

    assert await caller.stream(STREAM + "Echo", sent) == sent


async def test_a_stream_may_only_listen(caller: Caller) -> None:
    sent = [bytes(10_000)] * 100

    assert await caller.stream(STREAM + "Listen", sent) == [b"100"]
    assert await caller.stream(STREAM + "Echo", []) == []


@pytest.mark.parametrize("compression", PACKED)
async def test_requests_may_be_compressed(caller: Caller, compression: grpc.Compression) -> None:
    content = b"twofold " * 10_000

    assert await caller.unary(ECHO, content, compression=compression) == content
    assert await caller.unary(ECHO, b"x", compression=compression) == b"x"
    assert await caller.unary(ECHO, content) == content


async def test_messages_have_a_limit_and_reach_it(caller: Caller) -> None:
    content = huge(MAX_MESSAGE_BYTES)
    assert await caller.unary(ECHO, content) == content
    assert await caller.stream(STREAM + "Echo", [content, content]) == [content, content]

    for call in (
        caller.unary(ECHO, content + b"x"),
        caller.unary(ECHO, content + b"x", compression=grpc.Compression.Gzip),
        caller.stream(STREAM + "Echo", [content + b"x"]),
    ):
        with pytest.raises(Failure) as caught:
            await call
        assert caught.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 3_999_999])
async def test_answers_may_be_larger_than_requests(caller: Caller, length: int) -> None:
    """4 MB is what clients take unless they are told otherwise."""
    assert await caller.unary(UNARY + "Huge", b"%d" % length) == huge(length)


async def test_metadata_have_a_limit(server: Running, caller: Caller) -> None:
    assert await caller.unary(ECHO, metadata=[("long", "x" * 15_000)]) == b"abc"
    with pytest.raises(Failure) as caught:
        await caller.unary(ECHO, metadata=[("long", "x" * 20_000)])

    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert len(server.application.calls) == 1


async def test_many_calls_run_at_once_on_one_connection(server: Running, caller: Caller) -> None:
    # Blocking calls take a thread each.
    count = 200 if isinstance(caller, AioCaller) else 16
    calls = [asyncio.create_task(caller.unary(UNARY + "Slow", b"%d" % n)) for n in range(count)]
    await until(lambda: server.application.has_begun(min(count, 5)))
    server.application.release.set()

    assert await asyncio.gather(*calls) == [b"%d" % number for number in range(count)]


async def test_many_clients_are_served_side_by_side(server: Running, kind: str) -> None:
    async def one(number: int) -> list[bytes]:
        async with calling(kind, server.address) as caller:
            sent = [b"%d %d" % (number, at) for at in range(10)]
            answers = [await caller.unary(ECHO, message) for message in sent]
            return answers if answers != sent else []

    assert await asyncio.gather(*(one(number) for number in range(16))) == [[]] * 16


async def test_an_honest_keepalive_is_no_flood(server: Running, kind: str) -> None:
    options = [
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with calling(kind, server.address, options) as caller:
        assert await caller.unary(ECHO) == b"abc"
        assert await caller.stream(STREAM + "Echo", [b"abc"]) == [b"abc"]
