"""Work that may take minutes, one piece after the other, on a thread that waits for nobody."""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable

#: How nice the thread is, and the compilers that it starts: what serves comes first.
_NICE = 10

_log = logging.getLogger(__name__)


class Aside:
    """A queue and the thread that works it off, which starts with the first piece.

    The thread is a daemon: a process that ends does not wait for a compiler.
    """

    def __init__(self, name: str, prepare: Callable[[], None] | None = None) -> None:
        """`prepare` is the first that the thread does."""
        self._name = name
        self._prepare = prepare
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(self, work: Callable[[], None]) -> None:
        """Does it later. From one thread."""
        if self._is_closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._queue.put(work)

    def close(self) -> None:
        """Does nothing more but what it is at."""
        self._is_closed = True
        self._queue.put(None)

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # Linux has a priority per thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        if self._prepare is not None:
            self._prepare()
        while (work := self._queue.get()) is not None and not self._is_closed:
            try:
                work()
            except Exception:  # noqa: BLE001 - the top of this thread
                _log.exception("work aside failed")
