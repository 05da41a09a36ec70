"""The example of a torch module of one's own, as its user trains it."""

import sys
from pathlib import Path

from twofold.cluster.embedded import Embedded

#: Writes down every process that imports the file.
_MARKED = """
import os, pathlib
with pathlib.Path({marker!r}).open("a") as file:
    print(os.getpid(), file=file)
"""


def marked(root: Path, folder: Path, marker: Path) -> Path:
    """A copy of the example's file in `folder` that writes its importers into `marker`."""
    source = (root / "examples" / "modules" / "digits_cnn.py").read_text(encoding="utf-8")
    file = folder / "digits_cnn.py"
    file.write_text(source + _MARKED.format(marker=str(marker)), encoding="utf-8")
    return file


def command(cluster: Embedded, root: Path, module: str) -> list[str]:
    """`twofold train` of the example, smaller and shorter."""
    examples = root / "examples"
    found = [sys.executable, "-m", "twofold.cli", "--train", cluster.train]
    found += ["train", str(examples / "modules" / "digits_cnn.toml"), "--module", module]
    found += ["--data", str(examples / "data" / "digits_train.parquet")]
    found += ["--module-arg", "width=4", "--module-arg", "depth=1"]
    return [*found, "--set", "training.epochs=2", "--set", "gates.min_metric=0.01"]
