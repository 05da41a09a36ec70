"""Scripts of Redis, run by the Lua that Redis has: values as bytes, replies to and fro."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from lupa.lua51 import LuaRuntime

from twofold.queue.connection import Reply, Script

# Its stubs miss the keyword that makes it speak bytes.
_lua = cast("Callable[..., Any]", LuaRuntime)(encoding=None)
#: Makes of a script's body a function of what it finds as globals.
_compile = cast(
    "Callable[[bytes], Callable[..., Any]]",
    _lua.eval(
        b"""function(body)
          return assert(loadstring(
            'return function(redis, count, ...) local all = {...} local KEYS, ARGV = {}, {} '
            .. 'for i = 1, count do KEYS[i] = all[i] end '
            .. 'for i = count + 1, #all do ARGV[i - count] = all[i] end '
            .. 'return (function() ' .. body .. ' end)() end'))()
        end"""
    ),
)
_compiled: dict[str, Callable[..., Any]] = {}


def table(values: Mapping[bytes, object] | Sequence[object]) -> object:
    """A table of Lua."""
    return _lua.table_from(values)


def run(script: Script, keys: Sequence[bytes], arguments: Sequence[bytes], redis: object) -> Reply:
    """A script's reply; `redis` is the table by which it calls the server."""
    function = _compiled.get(script.sha1)
    if function is None:
        body = script.text.partition("\n")[2] if script.text[:2] == "#!" else script.text
        function = _compiled[script.sha1] = _compile(body.encode())
    return _to_reply(function(redis, len(keys), *keys, *arguments))


def from_reply(reply: Reply) -> object:
    """A reply as scripts see it: nothing is false."""
    if reply is None:
        return False
    return table([from_reply(one) for one in reply]) if isinstance(reply, list) else reply


def _to_reply(value: Any) -> Reply:  # noqa: ANN401 - whatever Lua has
    if value is None or value is False:
        return None
    if isinstance(value, bool | float):
        return int(value)
    if isinstance(value, bytes | int):
        return value
    return [_to_reply(one) for one in value.values()]
