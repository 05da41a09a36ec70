import os
from pathlib import Path

import pytest

from twofold.cluster import embedded, up
from twofold.cluster.embedded import NotStarted, running

#: Stands for Python: says it is ready, whatever it is asked to run, and waits for SIGTERM.
READY = """#!/bin/sh
echo started "$@" >&2
trap 'echo drained >&2; exit 0' TERM
echo "ready train=127.0.0.1:1 infer=127.0.0.1:2 metrics=127.0.0.1:3"
while :; do sleep 0.01; done
"""


def program(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(script, encoding="ascii")
    path.chmod(0o755)
    return str(path)


def test_a_cluster_is_known_by_its_ready_line_and_drained_at_the_end(tmp_path: Path) -> None:
    with running(tmp_path / "c", python=program(tmp_path, READY)) as cluster:
        assert (cluster.train, cluster.infer) == ("127.0.0.1:1", "127.0.0.1:2")
        assert cluster.metrics == "127.0.0.1:3"
        assert cluster.process.poll() is None

    assert cluster.process.poll() == 0
    log = embedded.tail(cluster.log)
    assert f"-m twofold.cluster.up {tmp_path / 'c'} 127.0.0.1:0 127.0.0.1:0" in log
    assert log.endswith("drained")


def test_a_cluster_that_was_stopped_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path / "c", python=program(tmp_path, READY)) as cluster:
        assert cluster.stop() == 0


def test_a_cluster_that_does_not_drain_is_said_to(tmp_path: Path) -> None:
    deaf = READY.replace("exit 0' TERM", "' TERM")
    with running(tmp_path / "c", python=program(tmp_path, deaf)) as cluster:
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            cluster.stop(timeout_s=0.1)
        cluster.process.kill()


def test_a_cluster_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    broken = program(tmp_path, "#!/bin/sh\necho the port is taken >&2\nexit 2\n")

    with (
        pytest.raises(NotStarted, match="ended before it was ready:\nthe port is taken"),
        running(tmp_path / "c", python=broken),
    ):
        pass


def test_a_cluster_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_S", 0.1)
    silent = program(tmp_path, "#!/bin/sh\nexec sleep 60\n")

    with (
        pytest.raises(NotStarted, match=r"not ready within 0\.1 s"),
        running(tmp_path / "c", python=silent),
    ):
        pass


def test_a_checkout_is_found_by_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).parents[3])

    assert up.checkout_path({}) == {"PYTHONPATH": root}
    assert up.checkout_path({"PYTHONPATH": "/x"}) == {"PYTHONPATH": f"{root}{os.pathsep}/x"}
    monkeypatch.setattr("twofold.__file__", "/site-packages/twofold/__init__.py")
    assert up.checkout_path({}) == {}
