"""Finds an automatic batch size: asks throw-away processes what sizes do. No torch here."""

import logging
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from trainer import batches, childproc
from trainer.batches import Bounds, Tried
from trainer.prepared import Prepared
from trainer.wire import WireError, read_message, write_message
from twofold.errors import InvalidField
from twofold.internal.v1 import child_pb2

#: Seconds that one size may take, torch's import included; a size that takes longer does not fit.
_LIMIT_S = 120.0
#: Seconds between two signs of life while a size is tried, and two looks at whether to stop.
_LOOK_GAP_S = 0.5
#: Seconds that a process whose socket has ended may take to end itself.
_EXIT_LIMIT_S = 10.0

logger = logging.getLogger(__name__)

Try = Callable[[int], Tried]


class CannotTry(Exception):
    """The process fails whatever the size: training itself will say why."""


class Prober:
    """Tries sizes in a process of its own, which is replaced when it dies. A context manager."""

    def __init__(
        self, request: child_pb2.ProbeRequest, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """`meanwhile` is called while a size is tried; it may raise to give up."""
        self._request = request
        self._meanwhile = meanwhile
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: socket.socket | None = None
        self._has_fitted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def __call__(self, size: int) -> Tried:
        """What becomes of batches of `size` rows; raises CannotTry before any has fitted."""
        request = child_pb2.ProbeRequest()
        request.CopyFrom(self._request)
        request.batch_size = request.spec.training.batch_size = size
        try:
            stream = self._started()
            write_message(stream, request)
            self._wait(stream)
            found = read_message(stream, child_pb2.Probed)
        except (OSError, WireError):
            found = None
        if found is None and self._failed() and not self._has_fitted:
            raise CannotTry
        if found is None or not found.fits:
            self._end()  # dead, or with its memory in pieces
        if found is None:
            return Tried(size, 0.0, 0, fits=False)
        self._has_fitted = self._has_fitted or found.fits
        return Tried(size, found.rows_per_second, found.peak_bytes, found.fits)

    def _started(self) -> socket.socket:
        if self._stream is None:
            self._stream, theirs = socket.socketpair()
            self._stream.settimeout(_LIMIT_S)
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    # As the process that starts it: nothing from the working directory.
                    [sys.executable, "-P", "-m", "trainer.probe", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=childproc.scrub(os.environ),
                )
        return self._stream

    def _wait(self, stream: socket.socket) -> None:
        """Until something comes; raises TimeoutError after _LIMIT_S."""
        end_s = time.monotonic() + _LIMIT_S
        while not select.select([stream], [], [], _LOOK_GAP_S)[0]:
            self._meanwhile()
            if time.monotonic() > end_s:
                raise TimeoutError

    def _failed(self) -> bool:
        """Whether it ended by an error; who finds no memory says so, or dies by a signal."""
        if self._process is None:
            return False
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_EXIT_LIMIT_S) > 0
        return False

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._stream = self._process = None


def find(try_size: Try, bounds: Bounds, between: Callable[[], None]) -> tuple[Tried, str]:
    """The size to take, and why, for people.

    Args:
        try_size: tells what becomes of a size.
        bounds: see trainer.batches.
        between: called before every try; may raise to give up.

    Raises InvalidField where not even one row fits.
    """
    tried: list[Tried] = []
    while (size := batches.next_size(tried, bounds)) is not None:
        between()
        tried.append(try_size(size))
        logger.info("batch size tried", extra={"rows": size, "fits": tried[-1].fits})
    chosen = batches.best(tried)
    if chosen is None:
        raise InvalidField.of("training.batch_size", "auto", "a network of which one row fits")
    reason = (
        f"the smallest of {len(tried)} tried sizes that is as fast as the fastest: "
        f"{chosen.rows_per_second:,.0f} rows/s with {chosen.peak_bytes / 2**20:,.0f} MiB"
    )
    return chosen, reason


def choose(
    request: child_pb2.TrainRequest,
    prepared: Prepared,
    memory_bytes: int,
    between: Callable[[], None],
) -> tuple[int, str]:
    """The batch size for a request, and why; see `find`.

    Columns of which a fifth is no more than the default batch need no trying: a larger batch of so
    few rows is always the faster one. A few images may be more than there is memory for.
    """
    rows = batches.largest(len(prepared.training_rows))
    if rows <= batches.BASE and not prepared.arrays:
        return rows, f"{batches.LARGEST_PART:.0%} of the training rows"
    probe = child_pb2.ProbeRequest(
        spec=request.spec,
        features=prepared.features,
        threads=request.threads,
        device=request.device,
    )
    # The rows themselves are not there yet, and the process that tries has a few made-up ones.
    bounds = Bounds(rows, max(0, memory_bytes - prepared.resident_bytes))
    with Prober(probe, between) as prober:
        try:
            chosen, reason = find(prober, bounds, between)
        except CannotTry:
            return batches.BASE, "the default: sizes cannot be tried, the trainer's log says why"
    return chosen.size, reason
