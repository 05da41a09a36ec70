"""The rules of gRPC over HTTP/2 that need no connection."""

import base64
import gzip
import itertools
import math
import zlib

import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from inferer.transport.native import framing
from inferer.transport.native.framing import Head, Messages, Refused
from twofold.errors import NotFound
from twofold.rpc import from_status

HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc+proto"),
]
LIMIT = 100


def head(*more: tuple[bytes, bytes], without: bytes = b"") -> Head:
    return framing.parse_head([pair for pair in HEADERS if pair[0] != without] + list(more))


def test_a_head_says_what_is_called_and_how() -> None:
    found = head((b"user-agent", b"x/1"), (b"grpc-timeout", b"250m"), (b"grpc-encoding", b"gzip"))

    assert found == Head("/a.B/C", (("user-agent", "x/1"),), 0.25, "gzip")
    assert head() == Head("/a.B/C", (), math.inf, "identity")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9),
        (b"99999999S", 99_999_999), (b"0S", 0),
    ],
)  # fmt: skip
def test_timeouts_have_units(text: bytes, seconds: float) -> None:
    assert head((b"grpc-timeout", text)).timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"1", b"S", b"1s", b"-1S", b"1.5S", b"123456789S", b"1S "])
def test_malformed_timeouts_are_refused(text: bytes) -> None:
    with pytest.raises(Refused, match="grpc-timeout"):
        head((b"grpc-timeout", text))


def test_what_is_no_call_is_refused_as_http() -> None:
    with pytest.raises(Refused) as caught:
        head(without=b"content-type")
    assert caught.value.http_status == 415
    with pytest.raises(Refused) as caught:
        head((b":method", b"GET"), without=b":method")
    assert caught.value.http_status == 405


def test_an_encoding_that_is_not_offered_tells_which_are() -> None:
    with pytest.raises(Refused) as caught:
        head((b"grpc-encoding", b"br"))

    assert caught.value.code == "UNIMPLEMENTED"
    assert (b"grpc-accept-encoding", b"identity,gzip,deflate") in framing.refusal_of(caught.value)


def test_binary_metadata_are_bytes_with_or_without_padding() -> None:
    found = head((b"a-bin", b"AAE"), (b"b-bin", b"AAE="), (b"c-bin", b"AA,AQ"), (b"d", b"AA"))

    assert found.metadata == (
        ("a-bin", b"\0\1"), ("b-bin", b"\0\1"), ("c-bin", b"\0"), ("c-bin", b"\1"), ("d", "AA"),
    )  # fmt: skip
    with pytest.raises(Refused, match="base64"):
        head((b"a-bin", b"!!"))


@given(
    st.lists(st.binary(max_size=LIMIT), max_size=5),
    st.lists(st.integers(0, 600), max_size=8),
    st.sampled_from(["identity", "gzip", "deflate"]),
)
def test_messages_come_whole_in_whatever_pieces(
    messages: list[bytes], cuts: list[int], encoding: str
) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding]
    flag = bytes([encoding != "identity"])
    data = b"".join(
        flag + len(packed).to_bytes(4, "big") + packed for packed in map(pack, messages)
    )
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    buffer = Messages(encoding, LIMIT * 2)

    found: list[bytes] = []
    for start, stop in itertools.pairwise(places):
        found += buffer.feed(data[start:stop])

    assert found == messages
    assert len(buffer) == 0


def test_a_message_of_the_limit_is_taken_and_one_more_byte_is_not() -> None:
    assert Messages("identity", 3).feed(framing.frame(b"abc")) == [b"abc"]
    with pytest.raises(Refused, match="4 bytes is larger than the largest allowed one, 3"):
        Messages("identity", 3).feed(framing.frame(b"abcd")[:5])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused_before_it_grows(encoding: str) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    bomb = pack(bytes(10_000_000))

    with pytest.raises(Refused, match="larger than the largest"):
        Messages(encoding, 20_000).feed(b"\1" + len(bomb).to_bytes(4, "big") + bomb)


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        ("identity", b"\1\0\0\0\1x", "without a grpc-encoding"),
        ("gzip", b"\2\0\0\0\1x", "without a grpc-encoding"),
        ("gzip", b"\1\0\0\0\1x", "is not gzip"),
        ("deflate", b"\1\0\0\0\2\x78\x9c", "ends too early"),
    ],
)
def test_what_cannot_be_decompressed_is_refused(encoding: str, body: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        Messages(encoding, LIMIT).feed(body)
    assert caught.value.code == "INTERNAL"


@given(st.binary(max_size=30), st.integers(0, 20))
def test_the_quick_way_takes_one_whole_message_only(body: bytes, limit: int) -> None:
    found = framing.sole_message(body, limit)
    try:
        buffer = Messages("identity", limit)
        careful = buffer.feed(body)
    except Refused:
        assert found is None
    else:
        assert found == (careful[0] if len(careful) == 1 and not len(buffer) else None)


@given(st.text(max_size=50))
def test_an_error_travels_with_its_text_and_details(text: str) -> None:
    trailers = dict(framing.trailers_of(NotFound(text, resource="models/m")))
    details = trailers[b"grpc-status-details-bin"]

    assert trailers[b"grpc-status"] == b"5"
    assert trailers[b"grpc-message"].isascii()
    assert all(0x20 <= code < 0x7F for code in trailers[b"grpc-message"])
    status = status_pb2.Status.FromString(base64.b64decode(details + b"=" * (-len(details) % 4)))
    assert from_status(status).message == text


def test_a_defect_tells_nothing() -> None:
    trailers = dict(framing.trailers_of(RuntimeError("the secret is 42")))

    assert trailers[b"grpc-status"] == b"13"
    assert b"42" not in b"".join(trailers.values())
