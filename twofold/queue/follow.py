"""News of versions for inferers."""

import logging
from collections.abc import AsyncIterator
from typing import cast

from twofold.errors import Unavailable
from twofold.queue import schema
from twofold.queue.connection import BLOCK_LIMIT_S, Connection, Reply
from twofold.seams import Clock, SystemClock

#: Between two looks at a server that is away.
_PAUSE_S = 0.5
_log = logging.getLogger(__name__)


async def follow_versions(
    redis_url: str, tenant: str, clock: Clock | None = None
) -> AsyncIterator[None]:
    """Yields when a version, alias or withdrawal of the tenant changed, and once on (re)connect.

    Never ends and never raises for a server that is away: it goes on when the server is back.
    """
    waiter = clock or SystemClock()
    async with Connection(redis_url, patience_s=0) as connection:
        cursor = ""
        while True:
            try:
                if not cursor:
                    cursor = await _last(connection, tenant)
                    yield
                    continue
                found = await _next(connection, tenant, cursor)
            except Unavailable:
                cursor = ""
                await waiter.sleep(_PAUSE_S)
                continue
            if found:
                cursor = found
                yield


async def _last(connection: Connection, tenant: str) -> str:
    key = schema.versions(tenant)
    reply = await connection.call("XREVRANGE", key, "+", "-", "COUNT", 1)
    return _id_of_last(reply) or "0-0"


async def _next(connection: Connection, tenant: str, cursor: str) -> str:
    """The newest entry after `cursor`, as soon as there is one; "" after a while."""
    reply = await connection.block(
        BLOCK_LIMIT_S,
        *("XREAD", "BLOCK", int(BLOCK_LIMIT_S * 1000), "STREAMS", schema.versions(tenant), cursor),
    )
    if not reply:
        return ""
    return _id_of_last(cast("list[Reply]", cast("list[Reply]", reply)[0])[1])


def _id_of_last(entries: Reply) -> str:
    found = cast("list[Reply]", entries)
    return cast("bytes", cast("list[Reply]", found[-1])[0]).decode() if found else ""
