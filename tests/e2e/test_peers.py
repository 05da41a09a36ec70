"""Clients and libraries that are not ours; `make install-peers` makes their environments."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from tests.e2e import specs
from tests.e2e.conftest import ENVIRONMENT
from twofold.client import Client
from twofold.cluster.embedded import Embedded, running

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(120)]

Seen = Mapping[str, object]


def environment(root: Path, name: str) -> Path:
    """The Python of an environment; skips on a laptop without it, fails where CI is set."""
    python = root / name / "bin" / "python"
    if not python.exists():
        reason = f"no {name}: run `make install-peers`"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return python


@pytest.fixture(scope="module")
def seen(root: Path, client: Client, cluster: Embedded) -> Seen:
    """What tritonclient sees of a model that learned XOR."""
    python = environment(root, ".venv-peers")
    client.train(specs.xor("xor")).wait(timeout_s=60)
    specs.until_served(client, "xor", 1)
    script = Path(__file__).with_name("peer.py")
    done = subprocess.run(  # noqa: S603 - this test's own command
        [str(python), str(script), cluster.infer, "xor"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return cast("Seen", json.loads(done.stdout))


def test_tritonclient_sees_a_ready_server_and_model(seen: Seen) -> None:
    assert [seen[key] for key in ("live", "ready", "model_ready")] == [True, True, True]
    assert seen["unknown_ready"] is False
    assert seen["config"] == "xor"


def test_tritonclient_reads_the_signature(seen: Seen) -> None:
    metadata = cast("Mapping[str, object]", seen["metadata"])

    assert metadata["name"] == "xor"
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "2"]}]
    assert metadata["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": ["-1", "2"]},
        {"name": "label", "datatype": "BYTES", "shape": ["-1", "1"]},
    ]


def test_tritonclient_predicts_one_row_32_rows_and_a_stream(seen: Seen) -> None:
    assert seen["one"] == ["1"]
    assert (seen["one_id"], seen["one_version"]) == ("7", "1")
    assert seen["many"] == specs.XOR * 8
    assert seen["stream"] == [["0"], ["1"], ["1"]]


@pytest.mark.parametrize(
    ("request_kind", "code", "words"),
    [
        ("unknown", "NOT_FOUND", ["nobody"]),
        ("shape", "INVALID_ARGUMENT", ["x", "3", "2"]),
        ("dtype", "INVALID_ARGUMENT", ["x", "INT64", "FP32"]),
    ],
)
def test_tritonclient_is_refused_with_the_documented_answer(
    seen: Seen, request_kind: str, code: str, words: list[str]
) -> None:
    refusal = cast("Mapping[str, str]", seen[request_kind])

    assert code in refusal["status"]
    assert all(word in refusal["message"] for word in words)
    assert "Traceback" not in refusal["message"]


def test_tritonclient_and_twofold_live_in_one_process(seen: Seen) -> None:
    assert seen["ours"] == specs.XOR * 8
    assert seen["messages"] == "twofold.oip.ModelInferRequest"


def test_the_pair_trains_and_serves_under_protobuf_6(root: Path, tmp_path: Path) -> None:
    python = environment(root, ".venv-pb6")
    version = subprocess.check_output(  # noqa: S603 - this test's own command
        [str(python), "-c", "import google.protobuf as p; print(p.__version__)"], text=True
    )
    assert version.startswith("6.")

    with (
        running(tmp_path / "cluster", ENVIRONMENT, python=str(python)) as embedded,
        Client(train=embedded.train, infer=embedded.infer) as client,
    ):
        client.train(specs.xor("older")).wait(timeout_s=60)
        specs.until_served(client, "older", 1)

        assert client.predict("older", specs.ROWS).labels.tolist() == specs.XOR
