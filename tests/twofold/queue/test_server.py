"""A server that forgets, evicts or is too old is refused, with the remedy."""

import logging

import pytest

from tests.valkey import Valkey
from twofold.config import UnusableSettings
from twofold.errors import Unavailable
from twofold.queue import RedisQueue
from twofold.queue.connection import Connection
from twofold.queue.server import (
    check_server,
    find_setting_problems,
    find_version_problem,
    parse_version,
)

GOOD = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


async def test_our_own_server_passes_without_a_word(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with RedisQueue(valkey.url) as queue:
        await queue.check_server()

    assert caplog.records == []


@pytest.mark.parametrize(
    ("setting", "value", "good"),
    [
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ],
)
async def test_unsafe_server_is_refused_unless_accepted(
    valkey: Valkey, caplog: pytest.LogCaptureFixture, setting: str, value: str, good: str
) -> None:
    valkey.command("CONFIG", "SET", setting, value)
    try:
        async with RedisQueue(valkey.url) as queue:
            with pytest.raises(UnusableSettings) as caught:
                await queue.check_server()
            with caplog.at_level(logging.WARNING):
                await queue.check_server(insecure=True)
    finally:
        valkey.command("CONFIG", "SET", setting, good)

    assert f"CONFIG SET {setting} {good}" in str(caught.value)
    assert "TWOFOLD_INSECURE" in str(caught.value)
    assert [record.getMessage() for record in caplog.records] == ["the queue's server is unsafe"]


async def test_server_that_hides_its_settings_is_refused(valkey: Valkey) -> None:
    valkey.command("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@all", "-config")
    url = valkey.url.replace("unix://", "unix://blind:secret@")
    try:
        async with Connection(url) as connection:
            with pytest.raises(UnusableSettings, match="unknown"):
                await check_server(connection, insecure=False)
    finally:
        valkey.command("ACL", "DELUSER", "blind")


async def test_server_out_of_reach_is_unavailable() -> None:
    async with RedisQueue("unix:///nowhere.sock", patience_s=0) as queue:
        with pytest.raises(Unavailable):
            await queue.check_server()


@pytest.mark.parametrize(
    ("about", "is_said", "is_fatal"),
    [
        ({"redis_version": "6.2.14"}, True, True),
        ({"redis_version": "7.0.0"}, True, False),
        ({"redis_version": "8.6.2"}, True, False),
        ({"redis_version": "8.6.3"}, False, False),
        ({"redis_version": "9.0.0"}, False, False),
        ({"redis_version": "7.2.4", "valkey_version": "9.0.2"}, True, False),
        ({"redis_version": "7.2.4", "valkey_version": "9.0.3"}, False, False),
        ({}, True, True),
    ],
)
def test_which_versions_are_refused_or_warned_of(
    about: dict[str, str], *, is_said: bool, is_fatal: bool
) -> None:
    problem, fatal = find_version_problem(about)

    assert (bool(problem), fatal) == (is_said, is_fatal)


async def test_version_below_the_floor_is_fatal_and_an_old_one_is_logged(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Connection(valkey.url) as connection:
        monkeypatch.setattr("twofold.queue.server.SECURITY_FLOORS", {"valkey": (99,)})
        with caplog.at_level(logging.WARNING):
            await check_server(connection, insecure=False)
        monkeypatch.setattr("twofold.queue.server.COMMAND_FLOOR", (99,))
        with pytest.raises(UnusableSettings, match="upgrade"):
            await check_server(connection, insecure=True)

    assert [record.getMessage() for record in caplog.records] == ["the queue's server is old"]


def test_versions_compare_as_numbers() -> None:
    assert parse_version("10.2") > parse_version("9.9.9")
    assert parse_version("8.0-rc1") == (8, 0)


def test_each_wrong_setting_is_one_sentence() -> None:
    assert find_setting_problems(GOOD) == []
    assert len(find_setting_problems({})) == 3
