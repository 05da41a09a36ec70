"""What /proc says of a process."""

from pathlib import Path


def status(pid: int) -> tuple[str, int]:
    """A process' state and its parent, as in proc(5); ("", 0) of one that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    # The name of the program stands in parentheses, and may have some itself.
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def is_running(pid: int) -> bool:
    """Whether a process runs under `pid`; a zombie that nobody reaps does not."""
    return status(pid)[0] not in {"", "Z"}


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds it."""
    return status(pid)[0] == "T"
