"""Calls however their frames are cut, mixed and timed (RFC 9113; gRPC over HTTP/2)."""

import asyncio
import re
from collections.abc import Sequence
from urllib.parse import unquote

import pytest

from tests.inferer.conformance import frames
from tests.inferer.conformance.application import ODD_TEXT, STREAM, UNARY
from tests.inferer.conformance.transports import Running
from tests.inferer.conformance.wire import connected
from tests.waiting import until

ECHO = UNARY + "Echo"


async def test_an_answer_has_headers_messages_and_trailers(server: Running) -> None:
    async with connected(server.address) as wire:
        exchange = await wire.call(1, ECHO)

    assert exchange.headers[":status"] == "200"
    assert exchange.headers["content-type"].startswith("application/grpc")
    assert exchange.messages == [b"abc"]
    assert exchange.trailers["grpc-status"] == "0"
    assert ":status" not in exchange.trailers


async def test_a_failed_call_has_a_status_and_no_message(server: Running) -> None:
    async with connected(server.address) as wire:
        exchange = await wire.call(1, UNARY + "Fail", b"full")

    assert (exchange.outcome, exchange.messages) == ("status RESOURCE_EXHAUSTED", [])


async def test_a_text_of_a_status_travels_in_printable_ascii(server: Running) -> None:
    """Percent-encoded UTF-8, and the details in base64 without padding (PROTOCOL-HTTP2.md)."""
    async with connected(server.address) as wire:
        exchange = await wire.call(1, UNARY + "Fail", b"text")

    fields = exchange.headers | exchange.trailers
    text = fields["grpc-message"]
    assert re.fullmatch("[ -~]+", text)
    assert unquote(text) == ODD_TEXT
    assert re.fullmatch("[A-Za-z0-9+/]+", fields["grpc-status-details-bin"])


async def test_a_message_of_no_bytes_is_a_message(server: Running) -> None:
    async with connected(server.address) as wire:
        exchange = await wire.call(1, ECHO, b"")

    assert exchange.messages == [b""]


async def test_everything_may_come_byte_by_byte(server: Running) -> None:
    async with connected(server.address, greets=False) as wire:
        everything = frames.PREFACE + frames.settings() + frames.request(1, ECHO, b"slowly")
        for byte in everything:
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)  # the server reads it alone

        assert (await wire.ended(1)).messages == [b"slowly"]


async def test_everything_may_come_at_once(server: Running) -> None:
    streams = range(1, 100, 2)
    calls = [frames.request(stream, ECHO, f"{stream}".encode()) for stream in streams]
    async with connected(server.address, greets=False) as wire:
        await wire.send(frames.PREFACE, frames.settings(), *calls)

        assert [(await wire.ended(n)).messages for n in streams] == [
            [f"{n}".encode()] for n in streams
        ]


@pytest.mark.parametrize("path", [UNARY + "Echo", STREAM + "Echo"])
@pytest.mark.parametrize("sizes", [[1] * 8, [5, 3], [3, 5], [4, 0, 4], [0, 8, 0]])
async def test_a_message_may_be_cut_into_frames_anywhere(
    server: Running, path: str, sizes: Sequence[int]
) -> None:
    whole, parts = frames.message(b"abc"), list[bytes]()
    for size in sizes:
        parts.append(frames.data(1, whole[:size]))
        whole = whole[size:]
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(path)))
        for part in parts:
            await wire.send(part)
        await wire.send(frames.data(1, b"", end=True))

        assert (await wire.ended(1)).messages == [b"abc"]


async def test_messages_may_share_a_frame(server: Running) -> None:
    sent = [b"a", b"", b"bc" * 100, b"d"]
    payload = b"".join(map(frames.message, sent))
    async with connected(server.address) as wire:
        opening = frames.headers(1, frames.request_fields(STREAM + "Echo"))
        await wire.send(opening, frames.data(1, payload, end=True))

        assert (await wire.ended(1)).messages == sent


async def test_two_messages_and_the_half_of_a_third_may_share_a_read(server: Running) -> None:
    payload = b"".join(map(frames.message, [b"one", b"two", b"three"]))
    async with connected(server.address) as wire:
        opening = frames.headers(1, frames.request_fields(STREAM + "Echo"))
        await wire.send(opening, frames.data(1, payload[:-3]))
        await wire.until(lambda: len(wire.exchange(1).body) >= 16)
        assert wire.exchange(1).messages == [b"one", b"two"]
        await wire.send(frames.data(1, payload[-3:], end=True))

        assert (await wire.ended(1)).messages == [b"one", b"two", b"three"]


async def test_frames_of_many_streams_may_alternate(server: Running) -> None:
    streams = range(1, 41, 2)
    payloads = {stream: frames.message(bytes([stream]) * 100) for stream in streams}
    async with connected(server.address) as wire:
        for stream in streams:
            await wire.send(frames.headers(stream, frames.request_fields(ECHO)))
        for at in range(0, 105, 7):
            await wire.send(*(frames.data(n, payloads[n][at : at + 7]) for n in streams))
        await wire.send(*(frames.data(n, b"", end=True) for n in streams))

        for stream in streams:
            assert (await wire.ended(stream)).messages == [bytes([stream]) * 100]


async def test_headers_may_come_in_continuations(server: Running) -> None:
    block = frames.encoded(frames.request_fields(ECHO))
    async with connected(server.address) as wire:
        await wire.send(
            frames.headers(1, block[:3], done=False),
            frames.continuation(1, block[3:20], done=False),
            frames.continuation(1, block[20:], done=True),
            frames.data(1, frames.message(b"abc"), end=True),
        )

        assert (await wire.ended(1)).messages == [b"abc"]


async def test_padding_is_no_content(server: Running) -> None:
    body = frames.message(b"abc")
    block = frames.encoded(frames.request_fields(ECHO))
    opening = frames.frame(0x1, frames.END_HEADERS | frames.PADDED, 1, b"\x04" + block + bytes(4))
    padded = frames.frame(0x0, frames.PADDED | frames.END_STREAM, 1, b"\xff" + body + bytes(255))
    async with connected(server.address) as wire:
        await wire.send(opening, padded)

        # grpcio knows no padding.
        allowed = {"native": ["status OK"], "grpcio": ["status INTERNAL", "reset PROTOCOL_ERROR"]}
        assert await wire.outcome(1) in allowed[server.name]
        assert wire.exchange(1).messages == ([b"abc"] if server.name == "native" else [])


async def test_priorities_and_unknown_frames_are_passed_over(server: Running) -> None:
    block = frames.encoded(frames.request_fields(ECHO))
    flags = frames.END_HEADERS | frames.PRIORITY
    noise = frames.frame(0xFA, 0x55, 0, b"unknown") + frames.frame(0x10, 0, 0, bytes(4) + b"u=1")
    async with connected(server.address) as wire:
        await wire.send(
            noise,
            frames.priority(1, 7),
            frames.frame(0x1, flags, 1, bytes(4) + b"\x10" + block),
            frames.frame(0xFA, 0, 1, b"unknown"),
            frames.priority(1),
            frames.data(1, frames.message(b"abc"), end=True),
            frames.settings({0xFAFA: 1}),
        )

        assert (await wire.ended(1)).messages == [b"abc"]


async def test_fields_that_nobody_knows_are_passed_over(server: Running) -> None:
    changes = {"x-unknown": "y", "user-agent": "test", "grpc-unknown": "z"}
    async with connected(server.address) as wire:
        assert (await wire.call(1, ECHO, b"abc", changes)).messages == [b"abc"]


@pytest.mark.parametrize("subtype", ["", "+proto"])
async def test_the_content_type_may_name_a_format(server: Running, subtype: str) -> None:
    changes = {"content-type": "application/grpc" + subtype}
    async with connected(server.address) as wire:
        assert (await wire.call(1, ECHO, b"abc", changes)).messages == [b"abc"]


async def test_a_call_may_end_with_trailers(server: Running) -> None:
    async with connected(server.address) as wire:
        await wire.send(
            frames.headers(1, frames.request_fields(ECHO)),
            frames.data(1, frames.message(b"abc")),
            frames.headers(1, [("x-trailer", "1")], end=True),
        )

        assert (await wire.ended(1)).messages == [b"abc"]


async def test_a_stream_answers_while_its_caller_still_sends(server: Running) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.headers(1, frames.request_fields(STREAM + "Echo")))
        for number in range(1, 6):
            await wire.send(frames.data(1, frames.message(b"%d" % number)))
            await wire.until(lambda wanted=number: len(wire.exchange(1).body) >= 6 * wanted)
        await wire.send(frames.data(1, b"", end=True))
        exchange = await wire.ended(1)

    assert exchange.messages == [b"1", b"2", b"3", b"4", b"5"]
    assert exchange.status == "OK"


async def test_a_stream_of_nothing_is_answered_by_nothing(server: Running) -> None:
    opening = frames.headers(1, frames.request_fields(STREAM + "Echo"), end=True)
    async with connected(server.address) as wire:
        await wire.send(opening)
        exchange = await wire.ended(1)

    assert (exchange.messages, exchange.outcome) == ([], "status OK")


async def test_an_answer_may_come_long_after_its_caller_was_done_sending(server: Running) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, UNARY + "Slow", b"later"))
        await until(server.application.has_begun)
        assert (await wire.call(3, ECHO, b"meanwhile")).messages == [b"meanwhile"]
        server.application.release.set()

        assert (await wire.ended(1)).messages == [b"later"]


async def test_an_error_ends_a_stream_after_the_answers_before_it(server: Running) -> None:
    sent = b"".join(map(frames.message, [b"one", b"full", b"three"]))
    async with connected(server.address) as wire:
        opening = frames.headers(1, frames.request_fields(STREAM + "Fail"))
        await wire.send(opening, frames.data(1, sent))
        exchange = await wire.ended(1)

    assert (exchange.messages, exchange.status) == ([b"one"], "RESOURCE_EXHAUSTED")


async def test_a_caller_that_resets_its_stream_cancels_its_call(server: Running) -> None:
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, UNARY + "Slow"))
        await until(server.application.has_begun)
        await wire.send(frames.reset(1))

        await until(server.application.has_cancelled)
        assert (await wire.call(3, ECHO)).messages == [b"abc"]
    assert await server.application.is_idle()


async def test_a_caller_that_resets_its_stream_mid_request_is_forgotten(server: Running) -> None:
    async with connected(server.address) as wire:
        opening = frames.headers(1, frames.request_fields(ECHO))
        await wire.send(opening, frames.data(1, frames.message(b"abc")[:4]), frames.reset(1))

        assert (await wire.call(3, ECHO)).messages == [b"abc"]
    assert len(server.application.calls) <= 2  # grpcio hands a call over before its message


async def test_a_caller_that_resets_its_stream_mid_answer_ends_it(server: Running) -> None:
    async with connected(server.address) as wire:
        opening = frames.headers(1, frames.request_fields(STREAM + "Talk"), end=True)
        await wire.send(opening)
        await wire.until(lambda: len(wire.exchange(1).body) > 100_000)
        await wire.send(frames.reset(1))

        await until(server.application.is_idle)
        assert (await wire.call(3, ECHO)).messages == [b"abc"]
    assert server.application.cancelled == 1


@pytest.mark.parametrize("path", [UNARY + "Slow", STREAM + "Deaf"])
async def test_a_caller_that_hangs_up_cancels_its_calls(server: Running, path: str) -> None:
    async with connected(server.address) as wire:
        await wire.send(*(frames.request(stream, path) for stream in range(1, 21, 2)))
        await until(lambda: server.application.has_begun(10))
        wire.abort()

        await until(lambda: server.application.has_cancelled(10))
    assert await server.application.is_idle()


async def test_an_answer_that_nobody_waits_for_disturbs_nobody(server: Running) -> None:
    """Late answers although its caller left, as the seam allows it."""
    async with connected(server.address) as wire:
        await wire.send(frames.request(1, UNARY + "Late"))
        await until(server.application.has_begun)
        await wire.send(frames.reset(1))
        await until(server.application.has_cancelled)
        server.application.release.set()
        await until(server.application.is_idle)

        assert (await wire.call(3, ECHO)).messages == [b"abc"]
        assert not wire.exchange(1).body
