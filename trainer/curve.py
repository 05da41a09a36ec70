"""The metric series of one attempt, written as it trains: see `twofold.series` for the format."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import logging
import math
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from trainer import durable
from trainer.events import EventFile
from trainer.loop import Loop
from twofold import series
from twofold.errors import Corrupt
from twofold.internal.v1 import child_pb2
from twofold.series import MetricPoint, Series

#: Seconds between two writes: who watches sees a curve that is no older, and an epoch of a small
#: network takes less than a write.
FLUSH_GAP_S = 0.5

logger = logging.getLogger(__name__)


class Curve:
    """The series of the attempt of one request. Owned by the thread that trains.

    Nothing is synced but at checkpoints: an attempt that resumes begins at one, and the supervisor
    copies the series when the job ends.
    """

    def __init__(
        self,
        request: child_pb2.TrainRequest,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._request = request
        self._clock = clock
        self._wall_clock = wall_clock
        self._path = Path(request.checkpoint_path) / series.FILE_NAME
        #: The series of the attempt that is resumed.
        self._before = Path(request.resume_path).parent / series.FILE_NAME
        self._stride = 1
        #: What the file has, or will have at the next flush.
        self._lines: list[bytes] = []
        self._epochs: list[int] = []
        self._unwritten: list[bytes] = []
        #: The newest epoch, for as long as its metrics may come; None: it is among the lines.
        self._newest: MetricPoint | None = None
        self._last: MetricPoint | None = None
        #: Epochs that were taken or, in an attempt that resumes, need not be.
        self._epoch = 0
        self._file: BinaryIO | None = None
        self._events: EventFile | None = None
        self._flush_s = -math.inf

    def take_over(self, folder: Path) -> None:
        """Goes on, once begun, with the series of the attempt whose checkpoints are in `folder`."""
        self._before = folder / series.FILE_NAME

    @contextmanager
    def begun(self, resumed_epoch: int) -> Generator[None]:
        """Writes the series while the block runs, which goes on after `resumed_epoch`.

        Raises:
            OSError: the disk failed; the block's own exception goes before it.
        """
        self._open(resumed_epoch)
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self._close()
            raise
        self._close()

    def epoch_ended(self, loop: Loop, taken_s: float) -> None:
        """Takes the figures of the epoch that the loop ended last, which took `taken_s` seconds.

        Again is fine, and so is a loop that has not ended another one.
        """
        position, recipe = loop.position, loop.recipe
        if position.epoch <= self._epoch:
            return
        self._commit()
        self._epoch = position.epoch
        is_held_out = recipe.evaluation is not recipe.training
        self._last = self._newest = MetricPoint(
            epoch=position.epoch,
            step=position.step_count,
            time_s=round(self._wall_clock(), 3),
            loss=position.loss,
            validation_loss=position.validation_loss if is_held_out else None,
            learning_rate=loop.learning_rate,
            rows_per_second=round(len(recipe.training) / taken_s, 1) if taken_s > 0 else None,
            attempt=self._request.attempt,
        )

    def measured(self, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of the newest epoch, if they come before a later one ends."""
        if self._newest is not None:
            self._last = self._newest = replace(self._newest, metrics=dict(metrics))
            self._commit()

    def sync(self) -> None:
        """Makes the series durable up to the newest epoch: before the checkpoint that needs it.

        The name becomes durable with the checkpoint's, in the same folder. Raises OSError.
        """
        self._commit()
        self._flush()
        if self._file is not None:
            os.fsync(self._file.fileno())

    def _open(self, resumed_epoch: int) -> None:
        self._epoch = resumed_epoch
        taken_over = self._taken_over(resumed_epoch)
        self._stride = taken_over.stride
        self._lines = [series.line(point) for point in taken_over.points]
        self._epochs = [point.epoch for point in taken_over.points]
        if self._request.tensorboard_path:
            folder = Path(self._request.tensorboard_path)
            attempt, now_s = self._request.attempt, self._wall_clock()
            self._events = EventFile(folder, attempt, resumed_epoch + 1, now_s)
        self._rewrite()

    def _taken_over(self, resumed_epoch: int) -> Series:
        """What the attempt whose checkpoint is resumed has recorded up to it."""
        if not resumed_epoch:
            return Series()
        try:
            return series.until(series.parse(self._before.read_bytes()), resumed_epoch)
        except (OSError, Corrupt) as error:
            logger.warning("the metric series begins where training resumes", exc_info=error)
            return Series()

    def _commit(self) -> None:
        """Puts the newest epoch among the lines, where its turn has come."""
        point, self._newest = self._newest, None
        if point is None:
            return
        if series.is_kept(point.epoch, self._stride) and len(self._lines) >= series.LIMIT:
            self._thin_out()
        if series.is_kept(point.epoch, self._stride):
            self._add(point)
        if self._clock() - self._flush_s >= FLUSH_GAP_S:
            self._flush()

    def _add(self, point: MetricPoint) -> None:
        line = series.line(point)
        self._lines.append(line)
        self._epochs.append(point.epoch)
        self._unwritten.append(line)
        if self._events is not None:
            self._events.add(point)

    def _thin_out(self) -> None:
        self._stride *= 2
        pairs = zip(self._epochs, self._lines, strict=True)
        kept = [(epoch, line) for epoch, line in pairs if series.is_kept(epoch, self._stride)]
        self._epochs = [epoch for epoch, _ in kept]
        self._lines = [line for _, line in kept]
        self._rewrite()

    def _rewrite(self) -> None:
        """Puts a new file in the place of the old one, whole or not at all."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(series.header(self._stride) + b"".join(self._lines))
        if self._file is not None:
            # What it replaces may be durable already, and must not give way to less.
            durable.sync(temporary)
            self._file.close()
        temporary.replace(self._path)
        self._file = self._path.open("ab")
        self._unwritten.clear()

    def _flush(self) -> None:
        self._flush_s = self._clock()
        if self._file is not None and self._unwritten:
            self._file.write(b"".join(self._unwritten))
            self._unwritten.clear()
            self._file.flush()
        if self._events is not None:
            self._events.flush()

    def _close(self) -> None:
        """Ends the series with the last epoch, whatever the stride."""
        self._commit()
        last = self._last
        if last is not None and (not self._epochs or self._epochs[-1] < last.epoch):
            self._add(last)
        with ExitStack() as stack:
            for file in (self._file, self._events):
                if file is not None:
                    stack.callback(file.close)
            self._flush()
