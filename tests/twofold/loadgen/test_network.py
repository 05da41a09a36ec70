"""Real sockets: what is sent arrives whole, losses are told, waits are short."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from twofold.errors import InvalidField, Unavailable
from twofold.loadgen.network import SocketChannel, Sockets, locate, wake_precisely

S = 10**9
LARGE = 20_000_000


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def connect(server: socket.socket) -> Sockets[str]:
    return Sockets(server.family, server.getsockname())


def received(network: Sockets[str], channel: SocketChannel, size: int) -> bytes:
    """As many bytes as that, of one channel."""
    data = b""
    while len(data) < size:
        network.wait(10 * S)
        data += channel.receive()
    return data


def test_bytes_go_and_come(server: socket.socket) -> None:
    with connect(server) as network:
        channel = network.open("owner")
        channel.send(b"before it is connected ")
        accepted, _ = server.accept()
        with accepted:
            assert network.wait(0) == []
            channel.send(b"after")
            assert accepted.recv(28, socket.MSG_WAITALL) == b"before it is connected after"
            accepted.sendall(b"answer")
            assert received(network, channel, 6) == b"answer"
            assert bytes(channel.receive()) == b""


def test_more_than_the_kernel_takes_is_sent_as_there_is_room(server: socket.socket) -> None:
    taken: list[int] = []

    def read(accepted: socket.socket) -> None:
        while count := len(accepted.recv(1 << 20)):
            taken.append(count)
            if sum(taken) == LARGE:
                accepted.sendall(b"done")

    with connect(server) as network:
        channel = network.open("owner")
        accepted, _ = server.accept()
        network.wait(0)
        channel.send(bytes(LARGE - 1))
        channel.send(b"1")
        reader = threading.Thread(target=read, args=(accepted,))
        reader.start()
        assert received(network, channel, 4) == b"done"
    reader.join()
    accepted.close()
    assert len(taken) > 1


def test_server_that_closes_is_a_loss(server: socket.socket) -> None:
    with connect(server) as network:
        channel = network.open("owner")
        server.accept()[0].close()

        assert network.wait(S) == ["owner"]
        with pytest.raises(ConnectionResetError, match="the server closed the connection"):
            channel.receive()
        channel.send(b"nobody")  # no error: receive tells
        channel.close()
        channel.close()


def test_nobody_listening_is_a_loss() -> None:
    with socket.create_server(("127.0.0.1", 0)) as made:
        address = made.getsockname()
    with Sockets[str](socket.AF_INET, address) as network:
        channel = network.open("owner")

        assert network.wait(S) == ["owner"]
        with pytest.raises(ConnectionRefusedError):
            channel.receive()


def test_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with (
        socket.socket(socket.AF_UNIX) as made,
        Sockets[str](*locate(f"unix:{path}", 1)) as network,
    ):
        made.bind(path)
        made.listen()
        channel = network.open("owner")
        accepted, _ = made.accept()
        with accepted:
            accepted.sendall(b"hello")
            assert received(network, channel, 5) == b"hello"


def test_missing_unix_socket_is_a_loss(tmp_path: Path) -> None:
    with Sockets[str](*locate(f"unix:{tmp_path / 'none'}", 1)) as network:
        channel = network.open("owner")

        assert network.wait(S) == ["owner"]
        with pytest.raises(FileNotFoundError):
            channel.receive()


def test_short_waits_are_not_rounded_to_milliseconds(server: socket.socket) -> None:
    """At 20,000 requests a second, 50 us lie between two."""
    wake_precisely()
    with connect(server) as network:
        network.open("owner")
        network.wait(0)
        taken_ns: list[int] = []
        for _ in range(20):
            began_ns = time.monotonic_ns()
            assert network.wait(100_000) == []
            taken_ns.append(time.monotonic_ns() - began_ns)

    assert min(taken_ns) >= 100_000
    assert min(taken_ns) < 700_000


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:x", "host:99999"])
def test_address_that_is_none(address: str) -> None:
    with pytest.raises(InvalidField, match="allowed: HOST:PORT or unix:PATH"):
        locate(address, 1)


def test_address_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port = made.getsockname()[1]

    with pytest.raises(Unavailable, match=f"127.0.0.1:{port} cannot be reached: Connection refu"):
        locate(f"127.0.0.1:{port}", 1)
