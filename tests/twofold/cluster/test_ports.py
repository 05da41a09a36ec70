import socket

import pytest

from twofold.cluster.ports import Reserved
from twofold.config import UnusableSettings, split_address


def test_port_0_becomes_a_free_one(ports: Reserved) -> None:
    host, port = split_address(ports.resolve("--train-address", "127.0.0.1:0"))

    assert host == "127.0.0.1"
    assert port > 0


def test_a_given_port_is_kept(ports: Reserved) -> None:
    with Reserved() as other:
        address = other.free()

    assert ports.resolve("--train-address", address) == address


def test_a_reserved_port_is_nobody_elses_but_a_server_can_listen_on_it(ports: Reserved) -> None:
    address = split_address(ports.free())

    for _ in range(2):
        with socket.create_server(address), socket.create_connection(address):
            pass
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(address)


def test_a_port_is_given_back_at_the_end() -> None:
    with Reserved() as reserved:
        address = split_address(reserved.free())

    with socket.socket() as other:
        other.bind(address)


def test_ipv6_keeps_its_brackets(ports: Reserved) -> None:
    try:
        resolved = ports.resolve("--train-address", "[::1]:0")
    except UnusableSettings:
        pytest.skip("no IPv6 here")

    assert resolved.startswith("[::1]:")


def test_a_port_in_use_is_refused_with_a_remedy(ports: Reserved) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"

        with pytest.raises(UnusableSettings, match=r"--infer-address is .*in use; choose another"):
            ports.resolve("--infer-address", address)


@pytest.mark.parametrize("address", ["8001", "host:", "127.0.0.1:70000"])
def test_a_malformed_address_is_refused(ports: Reserved, address: str) -> None:
    with pytest.raises(UnusableSettings, match="must be HOST:PORT"):
        ports.resolve("--infer-address", address)


def test_an_exposed_address_needs_consent(ports: Reserved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWOFOLD_INSECURE", raising=False)
    with pytest.raises(UnusableSettings, match="TWOFOLD_INSECURE=i-know"):
        ports.resolve("--infer-address", "0.0.0.0:0")

    monkeypatch.setenv("TWOFOLD_INSECURE", "i-know")
    assert ports.resolve("--infer-address", "0.0.0.0:0").startswith("0.0.0.0:")
