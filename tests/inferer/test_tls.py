"""TLS, mutual TLS and unix sockets, on both transports and by real clients."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import pytest
import pytest_asyncio
import trustme

from inferer.transport.grpcio import GrpcioServer
from inferer.transport.native.server import NativeServer
from inferer.transport.tls import Tls, tls_of
from tests.inferer.test_transport import FakeApplication
from twofold import config
from twofold.config import InfererSettings, UnusableSettings
from twofold.seams import SystemClock

Kind = type[GrpcioServer | NativeServer]
LIMIT = 4096


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    server = ca.issue_cert("localhost", "127.0.0.1")
    for place, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(folder / "server.pem", append=place > 0)
    server.private_key_pem.write_to_path(folder / "server.key")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    return folder


@pytest.fixture(params=[GrpcioServer, NativeServer])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest_asyncio.fixture
async def tls_address(kind: Kind, files: Path) -> AsyncGenerator[str]:
    tls = Tls(files / "server.pem", files / "server.key")
    server = kind(FakeApplication(), SystemClock(), LIMIT, tls)
    yield await server.start("127.0.0.1:0")
    await server.stop(0)


@pytest_asyncio.fixture
async def mutual_address(kind: Kind, files: Path) -> AsyncGenerator[str]:
    tls = Tls(files / "server.pem", files / "server.key", files / "ca.pem")
    server = kind(FakeApplication(), SystemClock(), LIMIT, tls)
    yield await server.start("127.0.0.1:0")
    await server.stop(0)


async def call(channel: grpc.aio.Channel, message: bytes = b"abc") -> bytes:
    method = cast("Callable[..., Awaitable[bytes]]", channel.unary_unary("/a.Unary/Reverse"))
    return await method(message, timeout=5)


async def test_a_caller_who_trusts_the_ca_is_answered(tls_address: str, files: Path) -> None:
    credentials = grpc.ssl_channel_credentials((files / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(tls_address, credentials) as channel:
        big = bytes(range(256)) * 16
        assert [await call(channel), await call(channel, big)] == [b"cba", big[::-1]]


async def test_a_caller_without_tls_is_not(tls_address: str) -> None:
    async with grpc.aio.insecure_channel(tls_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls_asks_for_a_certificate(
    mutual_address: str, files: Path, ca: trustme.CA
) -> None:
    root = (files / "ca.pem").read_bytes()
    async with grpc.aio.secure_channel(
        mutual_address, grpc.ssl_channel_credentials(root)
    ) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    client = ca.issue_cert("client@example.org")
    pair = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_channel_credentials(root, *pair)
    async with grpc.aio.secure_channel(mutual_address, credentials) as channel:
        assert await call(channel) == b"cba"


def exchange(address: str, context: ssl.SSLContext) -> bytes:
    """What a caller of HTTP/1.1 gets; nothing where the connection is refused."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                secure.sendall(b"GET / HTTP/1.1\r\n\r\n")
                return secure.recv(100)
        except OSError:
            return b""


async def test_a_caller_that_does_not_speak_http_2_is_turned_away(
    tls_address: str, files: Path
) -> None:
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    context.set_alpn_protocols(["http/1.1"])

    assert b"200" not in await asyncio.to_thread(exchange, tls_address, context)


async def test_a_unix_socket_is_an_address(kind: Kind, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/inferer.sock"
    server = kind(FakeApplication(), SystemClock(), LIMIT)

    assert await server.start(address) == address
    async with grpc.aio.insecure_channel(address) as channel:
        assert await call(channel) == b"cba"
    await server.stop(0)


def settings(
    monkeypatch: pytest.MonkeyPatch, folder: Path, names: Mapping[str, str]
) -> InfererSettings:
    for name, value in names.items():
        monkeypatch.setenv(f"TWOFOLD_{name.upper()}", str(folder / value))
    return config.read(InfererSettings)


def test_settings_name_the_files(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tls_of(config.read(InfererSettings)) is None
    names = {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "ca.pem"}
    made = tls_of(settings(monkeypatch, files, names))
    assert made == Tls(files / "server.pem", files / "server.key", files / "ca.pem")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"tls_certificate": "server.pem"}, "belong together"),
        ({"tls_key": "server.key"}, "belong together"),
        ({"tls_client_ca": "ca.pem"}, "belong together"),
        ({"tls_certificate": "gone.pem", "tls_key": "server.key"}, "gone.pem"),
        ({"tls_certificate": "ca.pem", "tls_key": "server.key"}, "cannot be set up"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    files: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], why: str
) -> None:
    with pytest.raises(UnusableSettings, match=why):
        tls_of(settings(monkeypatch, files, names))
