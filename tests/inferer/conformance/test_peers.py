"""Other people's clients against each transport, from environments that `make` makes.

tritonclient's is there wherever tests run in full; the KServe SDK and Node's client are large, and
run in the long suite.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from tests.e2e.test_peers import environment
from tests.inferer.conformance.application import ODD_TEXT
from tests.inferer.conformance.certificates import Authority
from tests.inferer.conformance.transports import Inferring, Running, inferring
from tests.waiting import until

pytestmark = [pytest.mark.peers, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
PROGRAMS = Path(__file__).with_name("peers")
DOUBLED = [2.0 * number for number in range(12)]

Seen = Mapping[str, object]


async def seen_by(command: Sequence[str | Path], **variables: str) -> Seen:
    """What a program says that it sees."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | variables,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 90)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return cast("Seen", json.loads(output))


async def test_tritonclient_works(inferer: Inferring) -> None:
    python = environment(ROOT, ".venv-peers")

    check_triton(await seen_by([python, PROGRAMS / "triton.py", inferer.address]))


async def test_tritonclient_works_over_mutual_tls(transport: str, tmp_path: Path) -> None:
    python, authority = environment(ROOT, ".venv-peers"), Authority(tmp_path)
    files = [authority.file, *authority.issue("client", "client@example.org")]
    async with inferring(transport, authority.server(is_mutual=True)) as server:
        check_triton(await seen_by([python, PROGRAMS / "triton.py", server.address, *files]))


def check_triton(seen: Seen) -> None:
    """What triton.py must see of a server."""
    assert seen["blocking"] == {
        "ready": [True, True],
        "model_ready": [True, False],
        "metadata": "twofold",
        "config": "m",
        "index": 2,
        "one": 2.0,
        "packed": [4.0, 4.0],
        "headers": 6.0,
        "nobody": "StatusCode.NOT_FOUND",
        "late": "StatusCode.DEADLINE_EXCEEDED",
    }
    assert seen["overlapping"] == DOUBLED
    assert seen["streaming"] == [8.0, "error", 8.0]
    assert seen["asyncio"] == {"many": DOUBLED, "stream": [0.0, 2.0, 4.0]}


@pytest.mark.long
async def test_the_kserve_sdk_works(inferer: Inferring) -> None:
    python = environment(ROOT, ".venv-kserve")
    seen = await seen_by([python, PROGRAMS / "kserve_sdk.py", inferer.address])

    assert seen == {
        "ready": [True, True],
        "model_ready": [True, False],
        "many": DOUBLED,
        "typed": 2.0,
        "id": "7",
        "nobody": "NOT_FOUND",
    }


@pytest.mark.long
async def test_nodes_client_works(server: Running) -> None:
    modules = ROOT / ".venv-node" / "node_modules"
    if not modules.exists():
        pytest.skip("no .venv-node: run `make install-long`")
    command = ["node", PROGRAMS / "grpc_js.js", server.address]
    seen = await seen_by(command, NODE_PATH=str(modules))

    numbers = [str(number) for number in range(100)]
    metadata = cast("list[list[object]]", seen["metadata"])
    assert {**seen, "metadata": [pair for pair in metadata if pair[0] in ("plain", "raw-bin")]} == {
        "echo": "abc",
        "empty": 0,
        "many": numbers,
        "large": True,
        "huge": 3_000_000,
        "metadata": [["plain", "value"], ["raw-bin", {"hex": "00ff0a"}]],
        "stream": numbers,
        "listen": ["100"],
        "failing": {"code": 8, "answers": ["one"]},
        "failed": {"code": 5, "details": ODD_TEXT, "has_status": True},
        "unknown": 12,
        "late": 4,
        "cancelled": 1,
        "above": 8,
    }
    await until(lambda: server.application.has_cancelled(2))
    assert await server.application.is_idle()
