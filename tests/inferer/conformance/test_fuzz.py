"""Bytes that nobody meant to send; bounded to a few seconds, other ones in every run."""

import asyncio
import itertools
import logging
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY
from tests.inferer.conformance.transports import Running
from tests.inferer.conformance.wire import connected
from tests.waiting import until

_BOUNDED = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ECHO = UNARY + "Echo"
_PATHS = (ECHO, UNARY + "Fail", UNARY + "Tasked", STREAM + "Echo", STREAM + "Listen", "/no/Such")
_ids = st.integers(0, 9)
_few = st.binary(max_size=40)


def _calls() -> st.SearchStrategy[bytes]:
    """Whole calls, whose content may be anything."""
    changes = st.dictionaries(
        st.sampled_from(
            ["te", "content-type", "grpc-timeout", "grpc-encoding", ":method", "x-bin"]
        ),
        st.one_of(st.none(), st.text("0123456789Smgzip/=", max_size=8)),
        max_size=2,
    )
    return st.builds(frames.request, _ids, st.sampled_from(_PATHS), _few, changes)


def _frames() -> st.SearchStrategy[bytes]:
    """Frames of every type, with flags and streams that may not fit."""
    return st.builds(frames.frame, st.integers(0, 11), st.integers(0, 255), _ids, _few)


def _mutated(sent: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
    """With some slices replaced."""
    for at, length, other in changes:
        begin = at % (len(sent) + 1)
        sent = sent[:begin] + other + sent[begin + length :]
    return sent


_changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 6), st.binary(max_size=6)))
_conversations = st.builds(
    lambda parts, changes: _mutated(b"".join(parts), changes),  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    st.lists(st.one_of(_calls(), _calls(), _frames()), max_size=8),
    _changes,
)


@_BOUNDED
@given(sent=_conversations)
async def test_nothing_that_is_sent_disturbs_others(
    server: Running, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with caplog.at_level(logging.ERROR):
        caplog.clear()
        async with connected(server.address) as other, connected(server.address) as wire:
            await wire.send(sent)
            wire.hang_up()
            assert (await other.call(1, ECHO, b"me")).messages == [b"me"]
            await wire.rest()
    await until(server.application.is_idle)

    assert {record.getMessage() for record in caplog.records} <= {"call failed"}
    assert all("the secret is 42" in str(record.exc_info) for record in caplog.records)


@_BOUNDED
@given(sent=st.binary(max_size=200))
async def test_no_greeting_disturbs_others(server: Running, sent: bytes) -> None:
    async with connected(server.address, greets=False) as wire:
        await wire.send(sent)
        wire.hang_up()
        await wire.rest()

    async with connected(server.address) as other:
        assert (await other.call(1, ECHO, b"me")).messages == [b"me"]


@_BOUNDED
@given(
    sent=st.lists(st.binary(max_size=300), max_size=8),
    cuts=st.lists(st.integers(0, 2500), max_size=10),
    reads=st.lists(st.integers(0, 5000), max_size=10),
)
async def test_messages_survive_any_cut_into_frames_and_reads(
    server: Running, sent: list[bytes], cuts: list[int], reads: list[int]
) -> None:
    payload = b"".join(map(frames.message, sent))
    places = [0, *sorted(cut % (len(payload) + 1) for cut in cuts), len(payload)]
    pieces = [payload[begin:end] for begin, end in itertools.pairwise(places)]
    wire_bytes = frames.headers(1, frames.request_fields(STREAM + "Echo"))
    wire_bytes += b"".join(frames.data(1, piece) for piece in pieces)
    wire_bytes += frames.data(1, b"", end=True)
    async with connected(server.address) as wire:
        begin = 0
        for end in [*sorted(read % len(wire_bytes) for read in reads), len(wire_bytes)]:
            await wire.send(wire_bytes[begin:end])
            await asyncio.sleep(0)
            begin = end
        exchange = await wire.ended(1)

    assert (exchange.messages, exchange.status) == (sent, "OK")
