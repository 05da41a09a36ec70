"""A primary and its replica behind one address, which moves when the replica is promoted."""

import os
import socket
from pathlib import Path
from typing import cast

from tests.chaos.real.site import Site, made
from tests.valkey import Valkey


class Pair(Valkey):
    """What clients take for one server. `start` before use."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.primary = Valkey(made(folder / "primary"))
        self.replica = Valkey(made(folder / "replica"))
        self._serving = self.primary

    @property
    def pid(self) -> int:
        return self._serving.pid

    def is_running(self) -> bool:
        return self._serving.is_running()

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        port = _free_port()
        self.primary.command("CONFIG", "SET", "port", port)
        self.replica.command("REPLICAOF", "127.0.0.1", port)
        self._point_to(self.primary)

    def kill(self) -> None:
        self.primary.kill()
        self.replica.kill()

    def has_link(self) -> bool:
        return _replication(self.replica)["master_link_status"] == "up"

    def is_caught_up(self) -> bool:
        """Whether the replica has all that the primary has written so far."""
        written = int(_replication(self.primary)["master_repl_offset"])
        return int(_replication(self.replica)["slave_repl_offset"]) >= written

    def cut_link(self) -> None:
        """The replica hears nothing more from its primary, and cannot come back."""
        self.primary.command("CONFIG", "SET", "port", 0)
        self.primary.command("CLIENT", "KILL", "TYPE", "REPLICA")

    def switch(self) -> None:
        """The primary dies, and clients are sent to the replica, which is still one."""
        self.primary.kill()
        self._point_to(self.replica)

    def promote(self) -> None:
        self.replica.command("REPLICAOF", "NO", "ONE")

    def _point_to(self, server: Valkey) -> None:
        fresh = self.folder / "next.sock"
        fresh.symlink_to(server.socket)
        os.replace(fresh, self.socket)  # noqa: PTH105 - atomic, where clients may connect meanwhile
        self._serving = server


async def caught_up(site: Site, pair: Pair) -> None:
    """Returns once the replica has all that the primary has."""
    await site.until(pair.has_link)
    await site.until(pair.is_caught_up)


def _replication(server: Valkey) -> dict[str, str]:
    about = cast("bytes", server.command("INFO", "replication")).decode()
    return dict(line.split(":", 1) for line in about.splitlines() if ":" in line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast("int", probe.getsockname()[1])
