"""Every query of the dashboard, run by a real Prometheus that scraped a real run.

Part of the long suite. It needs Debian's package `prometheus`, or TWOFOLD_PROMETHEUS with the
program's path.
"""

import asyncio
import http.client
import json
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NotRequired, TypedDict, cast
from urllib.parse import urlencode

import pytest
import yaml

from tests import dashboard
from tests.dashboard import Query
from tests.e2e import specs
from tests.e2e.conftest import ENVIRONMENT
from tests.waiting import until
from twofold.client import Client
from twofold.cluster.embedded import Embedded, running
from twofold.cluster.ports import Reserved
from twofold.config import split_address
from twofold.errors import TwofoldError

CONFIG = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"
MODEL = "watched"
#: What the dashboard's rates look back over: longer than the whole run.
WINDOW = "60s"
_STEP_S = 1

_Point = tuple[float, str]


class _Series(TypedDict):
    """As Prometheus answers it: "values" of a range, "value" of one point in time."""

    value: _Point
    values: NotRequired[list[_Point]]


def program() -> str:
    """The path of Prometheus; skips where there is none."""
    found = os.environ.get("TWOFOLD_PROMETHEUS") or shutil.which("prometheus")
    if not found:
        pytest.skip("no prometheus: apt-get install prometheus, or name it by TWOFOLD_PROMETHEUS")
    return found


class Prometheus:
    """A running server's HTTP API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection(*split_address(self.address), timeout=10)
        try:
            connection.request("GET", f"{path}?{urlencode(parameters)}")
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def data(self, path: str, **parameters: str) -> object:
        """What an API call answers; an AssertionError with what it says where it failed."""
        status, body = self.get(path, **parameters)
        answer = cast("dict[str, object]", json.loads(body))
        assert (status, answer["status"]) == (200, "success"), (parameters, answer)
        return answer["data"]

    def values(self, query: Query, begin_s: float) -> list[float]:
        """All figures that a panel draws of the time since then."""
        text = dashboard.filled(query.text, WINDOW)
        if query.is_instant:
            found = self.data("/api/v1/query", query=text)
        else:
            end_s = time.time()
            span = {"start": f"{begin_s}", "end": f"{end_s}", "step": f"{_STEP_S}"}
            found = self.data("/api/v1/query_range", query=text, **span)
        result = cast("dict[str, list[_Series]]", found)["result"]
        points = [point for each in result for point in each.get("values") or [each["value"]]]
        return [float(value) for _, value in points]

    async def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self.get("/-/ready")[0] == http.client.OK
        except OSError:
            return False

    def scalar(self, text: str) -> float:
        """The first figure of a query; NaN where there is none."""
        return next(iter(self.values(Query("", text, is_instant=True), 0.0)), math.nan)


@contextmanager
def prometheus(folder: Path, target: str) -> Generator[Prometheus]:
    """Prometheus with our configuration, but of this page, and every second."""
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    settings["global"]["scrape_interval"] = f"{_STEP_S}s"
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with Reserved() as ports:
        address = ports.free()
    command = [program(), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address={address}", "--log.level=warn"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own list
    try:
        server = Prometheus(address)
        asyncio.run(until(server.is_ready, 30))
        yield server
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def asking(cluster: Embedded) -> Generator[None]:
    """A client that predicts on and on."""
    done = threading.Event()

    def run() -> None:
        with Client(train=cluster.train, infer=cluster.infer) as client:
            while not done.wait(0.02):
                with suppress(TwofoldError):  # nothing serves yet
                    client.predict(MODEL, specs.ROWS)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, float]]:
    """A run that was scraped: two jobs, a swap, predictions all the while. And when it began."""
    program()  # before a cluster is started in vain
    folder, begin_s = tmp_path_factory.mktemp("watched"), time.time()
    with (
        running(folder / "cluster", ENVIRONMENT) as cluster,
        prometheus(folder / "prometheus", cluster.metrics) as server,
        asking(cluster),
        Client(train=cluster.train, infer=cluster.infer) as client,
    ):

        async def has_scraped() -> bool:
            return server.scalar("count_over_time(up[60s])") >= 2

        asyncio.run(until(has_scraped, 30))
        for number in (1, 2):
            client.train(specs.xor(MODEL)).wait(timeout_s=60)
            specs.until_served(client, MODEL, number)

            async def is_seen(number: int = number) -> bool:
                served = server.scalar(f'twofold_inferer_current_version{{model="{MODEL}"}}')
                asked = server.scalar(
                    f'nv_inference_request_success{{model="{MODEL}",version="{number}"}}'
                )
                return served == number and asked > 0

            asyncio.run(until(is_seen, 30))
        seen = server.scalar("count_over_time(up[60s])")

        async def has_gone_on() -> bool:
            return server.scalar("count_over_time(up[60s])") >= seen + 2

        asyncio.run(until(has_gone_on, 30))
        yield server, begin_s


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "query", dashboard.queries(), ids=lambda query: f"{query.panel}: {query.legend}"
)
def test_a_query_of_the_dashboard_has_figures(
    watched: tuple[Prometheus, float], query: Query
) -> None:
    server, begin_s = watched

    values = server.values(query, begin_s)

    assert any(math.isfinite(value) for value in values), (query.text, values[:10])


@pytest.mark.long
@pytest.mark.timeout(180)
def test_the_variables_offer_the_model_and_its_versions(
    watched: tuple[Prometheus, float],
) -> None:
    server, _ = watched
    offered = {
        name: server.data(
            f"/api/v1/label/{label}/values", **{"match[]": dashboard.filled(look.text, WINDOW)}
        )
        for name, look, label in dashboard.variables()
    }

    assert offered == {"model": [MODEL], "version": ["1", "2"]}


@pytest.mark.long
@pytest.mark.timeout(180)
def test_what_must_have_happened_is_seen(watched: tuple[Prometheus, float]) -> None:
    """The figures are the run's, not just any."""
    server, begin_s = watched
    drawn: dict[str, float] = {}
    for query in dashboard.queries():
        finite = filter(math.isfinite, server.values(query, begin_s))
        drawn[f"{query.panel}: {query.legend}"] = max(finite)

    for name in ("Requests: ", "Rows: ", "Rows trained on: rows", "Loads: loaded"):
        assert drawn[name] > 0, name
    assert drawn["Version served by default: {{model}} highest"] == 2
    assert drawn["Failures: "] == drawn["Loads: failed"] == drawn["Loads: refused"] == 0
    assert 0 < drawn["Latency by version: {{model}}@{{version}} p50"] < 1
    assert drawn["Batch size: {{model}}@{{version}} mean"] == len(specs.ROWS)
    assert drawn["Swaps: "] == 1
