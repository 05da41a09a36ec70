"""Signs of life while one call takes minutes and no step can end: a compiler, above all."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def shown(tell: Callable[[], None], gap_s: float, limit_s: float) -> Generator[None]:
    """Calls `tell` from a thread every `gap_s` seconds while the block runs.

    For `limit_s` seconds at most: what takes longer hangs. Nothing else may be told meanwhile.
    """
    ended = threading.Event()

    def show() -> None:
        for _ in range(round(limit_s / gap_s)):
            if ended.wait(gap_s):
                return
            tell()

    thread = threading.Thread(target=show, name="signs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
