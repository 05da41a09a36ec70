"""TLS and mutual TLS (RFC 9113, 9.2): real clients, and what is no client of ours."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Sequence

import grpc
import pytest
import pytest_asyncio

from inferer.transport.native import bounds
from inferer.transport.tls import Tls
from tests.inferer.conformance import frames
from tests.inferer.conformance.application import STREAM, UNARY, huge
from tests.inferer.conformance.callers import Failure, calling
from tests.inferer.conformance.certificates import Authority
from tests.inferer.conformance.transports import MAX_MESSAGE_BYTES, Running, serving
from tests.inferer.conformance.wire import TIMEOUT_S, connected, is_serving
from tests.waiting import until

ECHO, SLOW = UNARY + "Echo", UNARY + "Slow"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


@pytest.fixture
def tls(ours: Authority) -> Tls:
    return ours.server()


@pytest_asyncio.fixture
async def secured(
    transport: str, tls: Tls, ours: Authority, all_caught: None
) -> AsyncGenerator[Running]:
    """A server with a certificate. Whatever a test did to it, afterwards it answers."""
    del all_caught
    async with serving(transport, tls=tls) as running:
        yield running
        assert await is_serving(running.address, ours.context("h2"))


@pytest_asyncio.fixture
async def mutual(
    transport: str, ours: Authority, kind: str, all_caught: None
) -> AsyncGenerator[Running]:
    """A server that asks for one. Whoever was turned away, a right caller is answered."""
    del all_caught
    right = ours.credentials(ours.issue("client", "client@example.org"))
    async with serving(transport, tls=ours.server(is_mutual=True)) as running:
        yield running
        async with calling(kind, running.address, credentials=right) as caller:
            assert await caller.unary(ECHO) == b"abc"


async def test_clients_who_trust_the_ca_are_served(
    secured: Running, kind: str, ours: Authority
) -> None:
    content, sent = huge(MAX_MESSAGE_BYTES), [b"%d" % number * 99 for number in range(100)]
    async with calling(kind, secured.address, credentials=ours.credentials()) as caller:
        assert await caller.unary(ECHO, content) == content
        assert await caller.unary(UNARY + "Huge", b"3999999") == huge(3_999_999)
        assert await caller.stream(STREAM + "Echo", sent) == sent
        assert await caller.talk(STREAM + "Echo", b"abc") == b"abc"
        calls = [caller.unary(UNARY + "Tasked", one) for one in sent[:16]]
        assert await asyncio.gather(*calls) == sent[:16]
        with pytest.raises(Failure) as caught:
            await caller.unary(UNARY + "Fail", b"full")
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        with pytest.raises(Failure) as caught:
            await caller.unary(SLOW, timeout_s=0.1)
        assert caught.value.code == "DEADLINE_EXCEEDED"

    assert secured.application.calls[0].peer.startswith("ipv4:127.0.0.1:")
    await until(secured.application.is_idle)


async def refused(server: Running, kind: str, credentials: grpc.ChannelCredentials | None) -> str:
    """The code with which a caller fails."""
    async with calling(kind, server.address, credentials=credentials) as caller:
        with pytest.raises(Failure) as caught:
            await caller.unary(ECHO)
    assert not server.application.calls
    return caught.value.code


async def test_a_client_without_tls_is_turned_away(secured: Running, kind: str) -> None:
    assert await refused(secured, kind, None) == "UNAVAILABLE"


async def test_a_client_who_trusts_others_does_not_call(
    secured: Running, kind: str, theirs: Authority
) -> None:
    assert await refused(secured, kind, theirs.credentials()) == "UNAVAILABLE"


async def test_a_client_with_a_certificate_of_the_ca_is_served(
    mutual: Running, kind: str, ours: Authority
) -> None:
    right = ours.credentials(ours.issue("other", "other@example.org"))
    async with calling(kind, mutual.address, credentials=right) as caller:
        assert await caller.unary(ECHO, huge(MAX_MESSAGE_BYTES)) == huge(MAX_MESSAGE_BYTES)
        assert await caller.stream(STREAM + "Echo", [b"a", b"b"]) == [b"a", b"b"]


async def test_a_client_without_a_certificate_is_turned_away(
    mutual: Running, kind: str, ours: Authority
) -> None:
    assert await refused(mutual, kind, ours.credentials()) == "UNAVAILABLE"


async def test_a_client_with_a_certificate_of_another_ca_is_turned_away(
    mutual: Running, kind: str, ours: Authority, theirs: Authority
) -> None:
    foreign = theirs.issue("client", "client@example.org")

    assert await refused(mutual, kind, ours.credentials(foreign)) == "UNAVAILABLE"


@pytest.mark.parametrize("protocols", [["h2"], ["http/1.1", "h2"]])
async def test_who_offers_http_2_gets_it(
    secured: Running, ours: Authority, protocols: Sequence[str]
) -> None:
    async with connected(secured.address, tls=ours.context(*protocols)) as wire:
        assert (await wire.call(1, ECHO)).messages == [b"abc"]


@pytest.mark.parametrize("protocols", [["http/1.1"], ["spdy/3", "http/1.1"], []])
async def test_who_does_not_offer_http_2_is_hung_up_on(
    secured: Running, ours: Authority, protocols: Sequence[str]
) -> None:
    """Also where it speaks it all the same (RFC 9113, 3.2)."""
    context = ours.context(*protocols)
    for said in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", frames.PREFACE + frames.settings()):
        try:
            async with connected(secured.address, greets=False, tls=context) as wire:
                await wire.send(said + frames.request(1, ECHO))
                assert await wire.rest() == b""
        except OSError:
            pass  # refused within the handshake
    assert not secured.application.calls


_HELLO = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"


@pytest.mark.parametrize("said", [_HELLO, _HELLO + bytes(160), frames.PREFACE, b"GET / HTTP/1.1"])
async def test_who_breaks_off_the_handshake_disturbs_nobody(secured: Running, said: bytes) -> None:
    async with connected(secured.address, greets=False) as wire:
        await wire.send(said)
        wire.hang_up()
        await wire.rest()

    assert not secured.application.calls


async def test_a_handshake_that_is_not_begun_or_not_gone_on_with_ends(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "HANDSHAKE_S", 0.1)
    async with (
        serving("native", tls=tls) as server,
        connected(server.address, greets=False) as silent,
        connected(server.address, greets=False) as halfway,
    ):
        await halfway.send(_HELLO)

        assert [await silent.rest(), await halfway.rest()] == [b"", b""]


async def test_a_drain_lets_running_calls_end(transport: str, tls: Tls, ours: Authority) -> None:
    context = ours.context("h2")
    async with (
        serving(transport, tls=tls) as server,
        connected(server.address, tls=context) as wire,
    ):
        await wire.send(frames.request(1, SLOW))
        await until(server.application.has_begun)
        stopping = asyncio.create_task(server.server.stop(30))
        await wire.until(lambda: len(wire.goaways) >= 2)
        server.application.release.set()
        assert (await wire.ended(1)).messages == [b"abc"]
        await wire.end()
        wire.abort()
        await asyncio.wait_for(stopping, 5)


async def test_who_is_connecting_when_the_drain_begins_goes_elsewhere(
    tls: Tls, ours: Authority
) -> None:
    """Before its handshake has ended nobody can tell it to: it is not served, nor waited for."""
    async with serving("native", tls=tls) as server, contextlib.AsyncExitStack() as stack:
        plain = socket.create_connection(("127.0.0.1", server.port))
        wire = await stack.enter_async_context(connected(server.address, tls=ours.context("h2")))
        await wire.send(frames.request(1, SLOW))
        await until(server.application.has_begun)
        stopping = asyncio.create_task(server.server.stop(30))
        await wire.until(lambda: bool(wire.goaways))

        assert await answered_to(plain, ours) == b""
        server.application.release.set()
        assert (await wire.ended(1)).messages == [b"abc"]
        await stack.aclose()
        await asyncio.wait_for(stopping, 5)
        assert len(server.application.calls) == 1


async def answered_to(plain: socket.socket, ca: Authority) -> bytes:
    """What comes back to a call that is made once TLS is spoken; nothing where it never is."""
    plain.setblocking(False)  # noqa: FBT003 - the socket module's own
    try:
        reader, writer = await asyncio.open_connection(
            sock=plain, ssl=ca.context("h2"), server_hostname="127.0.0.1"
        )
        writer.write(frames.PREFACE + frames.settings() + frames.request(1, ECHO))
        try:
            return await asyncio.wait_for(reader.read(), TIMEOUT_S)
        finally:
            writer.transport.abort()
    except ConnectionError:
        return b""
