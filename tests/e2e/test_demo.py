"""`twofold demo`, as a newcomer runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_demo_keeps_every_promise_within_a_minute(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twofold.cli", "demo"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[:5] for line in done.stdout.splitlines() if line.startswith("[")] == [
        f"[{number}/7]" for number in range(1, 8)
    ]
    accuracy = re.search(r"accuracy (0\.\d+) on \d+ rows", done.stdout)
    assert accuracy is not None
    assert float(accuracy.group(1)) >= 0.95
    assert re.search(r"p50 \d+\.\d+ ms, p99 \d+\.\d+ ms", done.stdout)
    assert "failures=0, versions seen: 1 -> 2" in done.stdout
    assert "from jobs/" in done.stdout
    took = re.search(r"All of it took (\d+) s", done.stdout)
    assert took is not None
    assert int(took.group(1)) < 60
    assert list(tmp_path.iterdir()) == []
