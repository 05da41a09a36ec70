"""Ports of this machine: free ones, and whether an address can be taken."""

import socket
from contextlib import ExitStack
from typing import Self

from twofold.config import UnusableSettings, is_insecure_accepted, is_loopback, split_address

_LOOPBACK = "127.0.0.1"


class Reserved:
    """Ports that stay this process's own, also while nothing listens on them.

    A part takes seconds to start and may restart; meanwhile the kernel could give a port that was
    only looked at to any outgoing connection of this machine. A bound socket that does not listen
    keeps it, and with SO_REUSEADDR on both sides (every server here sets it) a part can still
    listen on it (socket(7), SO_REUSEADDR).
    """

    def __init__(self) -> None:
        self._sockets = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._sockets.close()

    def free(self) -> str:
        """HOST:PORT on loopback that nothing else can take."""
        return f"{_LOOPBACK}:{self._hold('an address', _LOOPBACK, 0)}"

    def resolve(self, option: str, address: str) -> str:
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
                f"{option} is {address!r}: other machines could reach it without TLS and tokens; "
                "use 127.0.0.1, or set TWOFOLD_INSECURE=i-know where the network itself is closed"
            )
        return f"{_bracketed(host)}:{self._hold(option, host, port)}"

    def _hold(self, option: str, host: str, port: int) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        held = self._sockets.enter_context(socket.socket(family))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((host, port))
        except OSError as error:
            text = f"{option} is {host}:{port}: {error.strerror}; choose another port, 0 for any"
            raise UnusableSettings(text) from error
        return int(held.getsockname()[1])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
