"""`twofold bench` against the fake inferer, over grpcio."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.twofold.cli.conftest import CommandLine
from tests.twofold.client.serving import Servers

SHORT = ("--duration", "0.2", "--warmup", "0")


@pytest.fixture
def arrays(servers: Servers) -> Servers:
    """A model with an input that is an array, as other servers' all are."""
    servers.inferer.arrays = {"image": ("FP32", [2, -1])}
    servers.inferer.numeric_columns = []
    servers.inferer.properties = {"array_columns": "[]"}
    return servers


def test_text_has_a_line_a_point(twofold: CommandLine, arrays: Servers) -> None:
    result = twofold("bench", "digits", "--concurrency", "1,3", "--shape", "image:2,5", *SHORT)

    assert result.exit_code == 0, result.output
    title, legend, blank, header, *lines = result.stdout.splitlines()
    assert title == f"model digits at {arrays.infer}, 1 row a request, 0.2 s a line"
    assert legend.startswith("latencies in ms")
    assert not blank
    assert header.split()[:4] == ["load", "connections", "requests/s", "p50"]
    assert [line.split()[:2] for line in lines[:2]] == [["1", "1"], ["3", "1"]]
    assert all(float(line.split()[2].replace(",", "")) > 0 for line in lines[:2])
    assert {inputs["image"].shape for inputs in arrays.inferer.inputs} == {(1, 2, 5)}


def test_json_has_everything(twofold: CommandLine, arrays: Servers) -> None:
    options = ["--shape", "image:2,2", "--rate", "100", "--arrivals", "constant", "--rows", "2"]

    result = twofold("bench", "digits", *options, "--json", *SHORT)

    tree = json.loads(result.stdout)
    assert (tree["model"], tree["rows"], tree["address"]) == ("digits", 2, arrays.infer)
    (point,) = tree["points"]
    assert (point["loop"], point["offered_per_second"], point["connections"]) == ("open", 100, 8)
    assert point["latency_ms"]["count"] == point["lateness_ms"]["count"] == 20
    assert point["latency_ms"]["p50"] > 0
    assert point["errors"] == {}
    assert point["sampled_versions"] == {"3": 1}
    assert point["generator_cpu_us"] > 0
    assert point["server_cpu_us"] is None
    assert {inputs["image"].shape for inputs in arrays.inferer.inputs} == {(2, 2, 2)}


def test_errors_are_counted_told_and_fail(twofold: CommandLine, arrays: Servers) -> None:
    def refuse() -> None:
        raise ValueError("broken")

    arrays.inferer.on_infer = refuse

    result = twofold("bench", "digits", "--concurrency", "2", "--shape", "image:2,1", *SHORT)

    assert result.exit_code == 1
    assert "concurrency 2: UNKNOWN " in result.stdout
    assert "broken" in result.stdout


def test_deadline_is_that_of_predictions_alone(twofold: CommandLine, arrays: Servers) -> None:
    """However short it is, the model's description is waited for."""
    options = ["--concurrency", "1", "--shape", "image:2,1", "--timeout", "0.001", "--json"]
    released = threading.Event()
    arrays.inferer.on_infer = lambda: released.wait(30)

    result = twofold("bench", "digits", *options, *SHORT)
    released.set()

    (point,) = json.loads(result.stdout)["points"]
    assert result.exit_code == 1
    assert set(point["errors"]) == {"DEADLINE_EXCEEDED"}
    assert point["answered_count"] == 0


def test_server_that_dies_meanwhile(twofold: CommandLine, servers: Servers) -> None:
    servers.inferer.arrays = {"x": ("FP32", [2])}
    servers.inferer.on_infer = lambda: len(servers.inferer.requests) == 20 and servers.stop_infer()

    result = twofold("bench", "digits", "--concurrency", "4", "--json", *SHORT)

    (point,) = json.loads(result.stdout)["points"]
    assert result.exit_code == 1
    assert point["answered_count"] >= 10
    # grpcio ends what is under way with either, then closes; nobody listens any more.
    assert {"UNAVAILABLE"} <= set(point["errors"]) <= {"UNAVAILABLE", "CANCELLED"}


def test_rows_of_a_table_are_sent_in_turn(
    twofold: CommandLine, servers: Servers, tmp_path: Path
) -> None:
    """A model of this project tells its columns; the last row makes no whole request."""
    file = tmp_path / "rows.csv"
    file.write_text("b,other,a\n" + "".join(f"{n},?,{10 * n}\n" for n in range(5)))
    options = ["--data", str(file), "--rows", "2", "--concurrency", "1"]

    result = twofold("bench", "digits", *options, *SHORT)

    assert result.exit_code == 0, result.output
    found = [inputs["x"].tolist() for inputs in servers.inferer.inputs[:3]]
    assert found == [[[0, 0], [10, 1]], [[20, 2], [30, 3]], [[0, 0], [10, 1]]]


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_arrays_of_a_file_are_sent_in_the_models_type(
    twofold: CommandLine, arrays: Servers, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"rows{suffix}"
    images = np.arange(12, dtype=np.float64).reshape(2, 2, 3)
    if suffix == ".npz":
        np.savez(file, image=images, ignored=images)
    else:
        np.save(file, images)

    result = twofold("bench", "digits", "--data", str(file), "--concurrency", "1", *SHORT)

    assert result.exit_code == 0, result.output
    first, second = (inputs["image"] for inputs in arrays.inferer.inputs[:2])
    assert first.dtype == np.float32
    assert first.tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert second.tolist() == [[[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--concurrency", "0"], "concurrency is 0; allowed: numbers above 0, at most 10,000"),
        (["--concurrency", "1,x"], "concurrency is 1,x; allowed: numbers"),
        (["--rate", "-1"], "rate is -1; allowed: numbers above 0, at most 1,000,000"),
        (["--rate", "nan"], "rate is nan; allowed"),
        (["--rate", "5", "--concurrency", "5"], "allowed: either concurrency"),
        (["--shape", "image"], "shape is image; allowed: NAME:N,N"),
        (["--shape", "image:2,0"], "with sizes of 1 or more"),
        (["--infer", "nowhere"], "infer is nowhere; allowed: HOST:PORT or unix:PATH"),
        (["--server-pid", "99999999"], "there is no process 99999999"),
        ([], "shape is image:-1,2,-1; allowed: no open dimension but the rows"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(
    twofold: CommandLine, arrays: Servers, options: list[str], message: str
) -> None:
    result = twofold("bench", "digits", *options, *SHORT)

    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert message in line
    assert arrays.inferer.requests == []


def test_unknown_model_is_told_in_the_servers_words(twofold: CommandLine) -> None:
    result = twofold("bench", "iris", *SHORT)

    assert result.exit_code == 1
    assert result.stderr == ("error: NOT_FOUND: models/iris does not exist; available: digits\n")


def test_command_line_needs_no_libnghttp2() -> None:
    """Whoever has installed the client alone has the other commands."""
    code = "import sys; import twofold.cli.app; sys.exit('ngh2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - a test's own code


def test_what_to_install_is_told(twofold: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ngh2", None)

    result = twofold("bench", "digits", *SHORT)

    assert result.exit_code == 2
    assert "ngh2 is not installed: pip install 'twofold[bench]'" in result.stderr
