"""The Redis that all queues share: Valkey with every write synchronised, killed and started."""

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from twofold.cluster import valkey

_START_LIMIT_S = 10.0
_POLL_S = 0.02


class Server:
    """One server on a port of loopback that stays the same; its data under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> Self:
        self._folder.mkdir()
        self.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()  # nobody calls __exit__
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + _START_LIMIT_S
        while self.ask("PING") is None:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no answer in {_START_LIMIT_S} s; {self._folder}/valkey.log")
            time.sleep(_POLL_S)

    def start(self) -> None:
        """Starts it with the data it had; returns before it answers."""
        arguments = valkey.command(
            valkey.find_server_binary(), self._folder, self._folder / "valkey.sock"
        )
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [*arguments, "--bind", "127.0.0.1", "--port", str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, *arguments: str | int) -> object | None:
        """One command's reply; None while the server is away."""
        client = Redis.from_url(self.url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5)  # pyright: ignore[reportUnknownMemberType] - redis-py
        with client:
            try:
                return cast("object", client.execute_command(*arguments))  # pyright: ignore[reportUnknownMemberType] - redis-py
            except (RedisError, OSError):
                return None

    def count(self, *commands: tuple[str, str]) -> int | None:
        """The sum of several counting commands; None while the server is away."""
        found = [self.ask(*command) for command in commands]
        return sum(cast("list[int]", found)) if None not in found else None


def _free_port() -> int:
    """A port that is free now; the kernel gives out others meanwhile, since it counts on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
