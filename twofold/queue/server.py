"""Start-up checks: a server that forgets, evicts or lacks commands is refused, with the remedy."""

import logging
from typing import cast

from twofold.config import INSECURE_VALUE, INSECURE_VARIABLE, UnusableSettings
from twofold.errors import Internal
from twofold.queue.connection import Commands, Reply

#: Commands of this release are used: script flags, XAUTOCLAIM's list of deleted entries.
COMMAND_FLOOR = (7, 0, 0)
#: Older ones have known holes in Lua and in the protocol, unless a distribution patched them.
SECURITY_FLOORS = {"redis": (8, 6, 3), "valkey": (9, 0, 3)}
#: Setting, value it must have, what happens otherwise.
REQUIRED = (
    ("appendonly", "yes", "a restart would forget jobs"),
    ("appendfsync", "always", "a power cut would forget jobs that were acknowledged"),
    ("maxmemory-policy", "noeviction", "a full memory would delete jobs"),
)

_log = logging.getLogger(__name__)


def parse_info(reply: Reply) -> dict[str, str]:
    """The fields of a reply of INFO."""
    lines = cast("bytes", reply).decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version such as "7.2.4"; a part that is none counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in text.split(".")[:3])


def find_version_problem(about: dict[str, str]) -> tuple[str, bool]:
    """What is wrong with the server's version, and whether it must not be used; "" if nothing."""
    valkey = about.get("valkey_version")
    kind = "valkey" if valkey else "redis"
    compatible = about.get("redis_version", "0")
    if parse_version(compatible) < COMMAND_FLOOR:
        return f"the queue's server is Redis {compatible}: at least 7.0 is needed; upgrade it", True
    version = valkey or compatible
    floor = SECURITY_FLOORS[kind]
    if parse_version(version) < floor:
        wanted = ".".join(map(str, floor))
        return f"the queue's server is {kind} {version}: {wanted} closes known holes", False
    return "", False


def find_setting_problems(settings: dict[str, str]) -> list[str]:
    """One sentence for each required setting that is not so."""
    return [
        f"the queue's server has {name} {settings.get(name, 'unknown')!r}, but must have "
        f"{value!r}: {harm}; CONFIG SET {name} {value}, and in its configuration file"
        for name, value, harm in REQUIRED
        if settings.get(name) != value
    ]


async def check_server(connection: Commands, *, insecure: bool) -> None:
    """Refuses a server that is unfit; with `insecure` unsafe settings are only logged.

    Raises:
        UnusableSettings: the version is below 7.0, or a setting is unsafe or cannot be read.
        Unavailable: the server is out of reach.
    """
    about = parse_info(await connection.call("INFO", "server"))
    problem, is_fatal = find_version_problem(about)
    if is_fatal:
        raise UnusableSettings(problem)
    if problem:
        _log.warning("the queue's server is old", extra={"problem": problem})
    problems = find_setting_problems(await _read_settings(connection))
    if problems and not insecure:
        accept = f"or set {INSECURE_VARIABLE}={INSECURE_VALUE} to accept it"
        raise UnusableSettings("\n".join([*problems, accept]))
    for unsafe in problems:
        _log.warning("the queue's server is unsafe", extra={"problem": unsafe})


async def _read_settings(connection: Commands) -> dict[str, str]:
    """The required settings as they are; empty where the server does not let us read them."""
    try:
        reply = await connection.call("CONFIG", "GET", *[name for name, _, _ in REQUIRED])
    except Internal:
        return {}
    flat = [value.decode() for value in cast("list[bytes]", reply)]
    return dict(zip(flat[::2], flat[1::2], strict=True))
