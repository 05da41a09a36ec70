import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from twofold.cluster import metrics
from twofold.cluster.metrics import PartFigures
from twofold.cluster.ports import Reserved
from twofold.config import split_address

PAGE = "# HELP twofold_rows_total Rows.\n# TYPE twofold_rows_total counter\ntwofold_rows_total 3\n"


@asynccontextmanager
async def answering(answer: bytes) -> AsyncGenerator[str]:
    """A server that gives every connection the same bytes; yields its address."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def get(address: str, request: bytes) -> tuple[bytes, str]:
    reader, writer = await asyncio.open_connection(*split_address(address))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], body.decode()


def figures() -> list[PartFigures]:
    return [PartFigures("trainer", is_running=True, restart_count=2)]


async def test_one_page_holds_the_pages_of_all_parts(ports: Reserved) -> None:
    ok = b"HTTP/1.0 200 OK\r\n\r\n" + PAGE.encode()
    address = ports.free()
    async with answering(ok) as trainer:
        pages = {"trainer": trainer, "inferer": ports.free()}
        server = await metrics.serve(address, pages, figures)
        async with server:
            status, body = await get(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    assert status == b"HTTP/1.1 200 OK"
    samples = {
        (sample.name, sample.labels.get("part")): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
    assert samples == {
        ("twofold_cluster_part_up", "trainer"): 1,
        ("twofold_cluster_part_restarts_total", "trainer"): 2,
        ("twofold_cluster_page_up", "trainer"): 1,
        ("twofold_cluster_page_up", "inferer"): 0,
        ("twofold_rows_total", None): 3,
    }


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /secret HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"GET /" + b"x" * 100_000 + b"\r\n\r\n", b""),
    ],
)
async def test_anything_but_the_page_is_refused(
    ports: Reserved, request_bytes: bytes, status: bytes
) -> None:
    address = ports.free()
    server = await metrics.serve(address, {}, figures)
    async with server:
        try:
            answered, _ = await get(address, request_bytes)
        except ConnectionError:
            answered = b""

    assert answered == status


@pytest.mark.parametrize("answer", [b"HTTP/1.0 500 Oh\r\n\r\nno", b"", b"junk"])
async def test_a_page_that_fails_counts_as_empty(answer: bytes) -> None:
    async with answering(answer) as address:
        assert await metrics.fetch(address) == ""


def test_pages_are_separated_by_line_ends() -> None:
    page = metrics.render([], {"trainer": "a 1", "inferer": "b 2\n"})

    assert page.endswith("\na 1\nb 2\n")
