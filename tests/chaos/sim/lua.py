"""Scripts of Redis, run by the Lua that Redis has: values as bytes, replies to and fro."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from lupa.lua51 import LuaRuntime

from twofold.queue.connection import GroupExists, NoGroup, Reply, Script

# Its stubs miss the keyword that makes it speak bytes.
_lua = cast("Callable[..., Any]", LuaRuntime)(encoding=None)
#: Makes of a script's body a function of what it finds as globals.
_compile = cast(
    "Callable[[bytes], Callable[..., Any]]",
    _lua.eval(
        b"""function(body)
          return assert(loadstring(
            'return function(redis, count, ...) local all = {...} '
            .. 'local KEYS, ARGV = {unpack(all, 1, count)}, {unpack(all, count + 1)} '
            .. 'local reply = (function() ' .. body .. ' end)() '
            .. 'if type(reply) == "table" then return true, unpack(reply) end '
            .. 'return false, reply end'))()
        end"""
    ),
)
_table = cast("Callable[..., object]", _lua.eval(b"function(...) return {...} end"))
_compiled: dict[str, Callable[..., Any]] = {}


class Commands(Protocol):
    """What scripts call."""

    def command(self, name: bytes, *arguments: bytes) -> Reply:
        """A command's reply; raises what the server would refuse it with."""
        ...


#: Runs the commands of the scripts that run. What Lua holds of a server neither collector would
#: ever free, as the server would hold what Lua gave for it: so Lua holds functions of this module,
#: made once.
_running: list[Callable[..., Reply]] = []


def run(
    script: Script, keys: Iterable[bytes], arguments: Iterable[bytes], commands: Commands
) -> Reply:
    """A script's reply."""
    function = _compiled.get(script.sha1)
    if function is None:
        body = script.text.partition("\n")[2] if script.text[:2] == "#!" else script.text
        function = _compiled[script.sha1] = _compile(body.encode())
    _running.append(commands.command)
    try:
        names = tuple(keys)
        is_list, *values = function(_redis, len(names), *names, *arguments)
        found = [_to_reply(value) for value in values]
        return found if is_list else found[0]
    finally:
        _running.pop()


def _call(name: bytes, *arguments: bytes) -> object:
    reply = _running[-1](name, *arguments)
    return _from_reply(reply) if type(reply) is list or reply is None else reply


def _call_protected(name: bytes, *arguments: bytes) -> object:
    try:
        return _call(name, *arguments)
    except (NoGroup, GroupExists) as error:
        return _lua.table_from({b"err": type(error).__name__.encode()})


_redis = _lua.table_from({b"call": _call, b"pcall": _call_protected})


def _from_reply(reply: Reply) -> object:
    """A reply as scripts see it: nothing is false."""
    if reply is None:
        return False
    if isinstance(reply, list):
        return _table(*map(_from_reply, reply))
    return reply


def _to_reply(value: Any) -> Reply:  # noqa: ANN401 - whatever Lua has
    if value is None or value is False:
        return None
    if isinstance(value, bool | float):
        return int(value)
    if isinstance(value, bytes | int):
        return value
    return [_to_reply(one) for one in value.values()]
