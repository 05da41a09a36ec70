"""Ports of this machine: free ones, and whether an address can be taken."""

import socket

from twofold.config import UnusableSettings, is_insecure_accepted, is_loopback, split_address

_LOOPBACK = "127.0.0.1"


def free_address() -> str:
    """HOST:PORT on loopback that nothing listens on now; another process may still be faster."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return f"{_LOOPBACK}:{probe.getsockname()[1]}"


def resolve(option: str, address: str) -> str:
    """`address`, or one with a free port where it asks for port 0.

    Raises:
        UnusableSettings: it is malformed, in use, not of this machine, or reachable from other
            machines without consent.
    """
    try:
        host, port = split_address(address)
    except ValueError as error:
        raise UnusableSettings(f"{option} is {address[:100]!r}: {error}") from error
    if not is_loopback(address) and not is_insecure_accepted():
        raise UnusableSettings(
            f"{option} is {address!r}: other machines could reach it without TLS and tokens; use "
            "127.0.0.1, or set TWOFOLD_INSECURE=i-know where the network itself is closed"
        )
    return f"{_bracketed(host)}:{_bound_port(option, host, port)}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bound_port(option: str, host: str, port: int) -> int:
    """The port after binding it once and letting go."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the servers do: a port whose last connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            text = f"{option} is {host}:{port}: {error.strerror}; choose another port, 0 for any"
            raise UnusableSettings(text) from error
        return int(probe.getsockname()[1])
