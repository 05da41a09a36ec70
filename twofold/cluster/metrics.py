"""The cluster's one metrics page: its own figures, then the pages of its parts."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twofold.config import split_address

_TIMEOUT_S = 2.0
_REQUEST_BYTES = 8_192
_PAGE_BYTES = 16 << 20
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class PartFigures:
    """What the supervisor knows of a part."""

    name: str
    is_running: bool
    restart_count: int


def render(figures: Sequence[PartFigures], pages: Mapping[str, str]) -> str:
    """The page; the families of different parts have different names, so pages just follow."""
    lines = [
        "# HELP twofold_cluster_part_up Whether the part's process runs.",
        "# TYPE twofold_cluster_part_up gauge",
        *(f'twofold_cluster_part_up{{part="{f.name}"}} {int(f.is_running)}' for f in figures),
        "# HELP twofold_cluster_part_restarts_total Restarts of the part.",
        "# TYPE twofold_cluster_part_restarts_total counter",
        *(
            f'twofold_cluster_part_restarts_total{{part="{f.name}"}} {f.restart_count}'
            for f in figures
        ),
        "# HELP twofold_cluster_page_up Whether the part's own metrics page answered.",
        "# TYPE twofold_cluster_page_up gauge",
        *(f'twofold_cluster_page_up{{part="{name}"}} {int(bool(p))}' for name, p in pages.items()),
    ]
    own = "\n".join(lines) + "\n"
    return own + "".join(
        page if page.endswith("\n") else page + "\n" for page in pages.values() if page
    )


async def fetch(address: str) -> str:
    """The body of http://ADDRESS/metrics; empty where it does not answer in time."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await _get(*split_address(address))
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return ""


async def _get(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    with contextlib.closing(writer):
        # HTTP/1.0: the answer ends with the connection, so that no chunks have to be parsed.
        writer.write(f"GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = await reader.read(_PAGE_BYTES)
        while len(answer) < _PAGE_BYTES and (more := await reader.read(_PAGE_BYTES)):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode("utf-8", "replace") if b" 200 " in head.split(b"\r\n", 1)[0] else ""


async def serve(
    address: str, pages: Mapping[str, str], figures: Callable[[], Sequence[PartFigures]]
) -> asyncio.Server:
    """Listens on HOST:PORT; `pages` maps parts to the addresses of their own pages."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(2 * _TIMEOUT_S):
                writer.write(await _respond(reader, pages, figures))
                await writer.drain()

    host, port = split_address(address)
    return await asyncio.start_server(answer, host, port, limit=_REQUEST_BYTES)


async def _respond(
    reader: asyncio.StreamReader,
    pages: Mapping[str, str],
    figures: Callable[[], Sequence[PartFigures]],
) -> bytes:
    """The answer to one request; a line past the reader's limit raises ValueError."""
    method, _, rest = (await reader.readline()).decode("latin-1").partition(" ")
    while (await reader.readline()).strip():
        pass  # headers mean nothing here
    path = rest.partition(" ")[0].partition("?")[0]
    if method != "GET" or path not in {"/", "/metrics"}:
        return _message("404 Not Found", "only GET /metrics is here\n")
    bodies = await asyncio.gather(*(fetch(address) for address in pages.values()))
    return _message("200 OK", render(figures(), dict(zip(pages, bodies, strict=True))))


def _message(status: str, body: str) -> bytes:
    data = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + data
