"""Folders that nobody else may write: caches of what we run."""

import os
import stat
from pathlib import Path

from twofold.errors import InvalidField

_PRIVATE = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_root() -> Path:
    """Where caches stand unless told: $TWOFOLD_CACHE, $XDG_CACHE_HOME/twofold, ~/.cache/twofold."""
    if own := os.environ.get("TWOFOLD_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "twofold"


def make(path: Path, field: str) -> Path:
    """Makes a folder of mode 0700, or checks the one that is there; its absolute path.

    Raises:
        InvalidField: naming `field`, where it is no folder, another user's, or others may write it.
    """
    whole = path.absolute()
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.mkdir(_PRIVATE, exist_ok=True)
        found = whole.lstat()
    except OSError as error:
        text = f"{field} {whole} cannot be made: {error.strerror}"
        raise InvalidField(text, field=field, value=whole) from error
    if problem := _problem(found):
        text = f"{field} {whole} {problem}; name a folder that only you can write"
        raise InvalidField(text, field=field, value=whole)
    return whole


def _problem(found: os.stat_result) -> str:
    if not stat.S_ISDIR(found.st_mode):  # of a link too: its target may change
        return "is no folder of its own"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}"
    if found.st_mode & _OTHERS_WRITE:
        return f"may be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""
