"""The real training process, to which torch says once that the device's memory is full."""

import os
import sys
from pathlib import Path

import torch

from trainer import child
from twofold import faults

PROGRAM = "tests.chaos.rows.full_child"
#: A file in TMPDIR; as long as it is there, there is no memory. The first to see it removes it.
MARKER = "memory-is-full"


def run_out_of_memory() -> None:
    """Raises what torch raises, if the marker stands."""
    try:
        Path(os.environ["TMPDIR"], MARKER).unlink()
    except FileNotFoundError:
        return
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


if __name__ == "__main__":
    faults.arm("child.epoch", run_out_of_memory)
    child.main(sys.argv[1:])
