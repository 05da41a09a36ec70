"""Files that survive a crash: temporary name, fsync, link, fsync of the folder."""

import os
from collections.abc import Callable
from pathlib import Path


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Makes `path` from what `fill` writes to the temporary path it is given.

    The file appears whole or not at all, and is durable when this returns. Raises FileExistsError
    where it is there already, OSError where the disk fails; a temporary file is removed then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fill(temporary)
        sync(temporary)
        # A link never replaces anything, and a rename could.
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """`write` of bytes at hand."""
    write(path, lambda temporary: temporary.write_bytes(data))


def sync(path: Path) -> None:
    """Makes a file's content, or a folder's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
