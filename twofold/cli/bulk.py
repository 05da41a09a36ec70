"""Many batches through the inferer: several requests at once, answers in order, bounded memory."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from twofold.cli.reference import Reference
from twofold.client import Client
from twofold.client.predictions import (
    SIGNATURE_ATTEMPTS,
    Prediction,
    Rows,
    Signature,
    changed_too_often,
    version_text,
)
from twofold.errors import QueueFull

T = TypeVar("T")
A = TypeVar("A")

#: Requests under way at once: enough to hide the way there and back, too few to crowd others out.
IN_FLIGHT = 4
#: Rows of a request where the server does not say how many it takes.
BATCH_ROWS = 256
#: Seconds that a batch waits in all for room in the model's queue.
PATIENCE_S = 60.0
#: What works through a file is not what the queue is for: it comes back later than it is told.
_LEAST_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """A batch's answer, with the signature of the version that gave it."""

    prediction: Prediction
    signature: Signature


class Asking:
    """Asks one model for answers to batches; safe to share by threads.

    `is_pinned`: all batches go to the version that is served now, whatever is published meanwhile.
    """

    def __init__(
        self,
        client: Client,
        asked: Reference,
        *,
        is_pinned: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._asked = asked
        self._sleep = sleep
        #: Of the version seen last. Replaced as a whole, by any thread.
        self.signature = client.inference.signature(
            asked.model, version_text(asked.version, asked.alias)
        )
        if is_pinned and self.signature.version is not None:
            self._asked = Reference(asked.model, self.signature.version, None)

    def batch_rows(self) -> int:
        """Most rows of a request."""
        text = version_text(self._asked.version, self._asked.alias)
        found = self._client.inference.config(self._asked.model, text)
        return found.config.max_batch_size or BATCH_ROWS

    def __call__(self, rows: Rows) -> Answer:
        """The answer to a batch: columns and arrays by name, or numbers [rows, columns].

        Raises:
            QueueFull: the model's queue had no room for PATIENCE_S.
            Unavailable: the served version changes again and again.
        """
        for _ in range(SIGNATURE_ATTEMPTS):
            signature = self.signature
            prediction = self._patiently(_encoded(signature, rows))
            if signature.describes(prediction):
                return Answer(prediction, signature)
            # Published meanwhile: its columns may stand in another order.
            current = str(prediction.version)
            self.signature = self._client.inference.signature(self._asked.model, current)
        raise changed_too_often(self._asked.model)

    def _patiently(self, rows: Rows) -> Prediction:
        waited_s = 0.0
        while True:
            try:
                return self._client.predict(
                    self._asked.model, rows, version=self._asked.version, alias=self._asked.alias
                )
            except QueueFull as error:
                pause_s = max(error.retry_after_s, _LEAST_PAUSE_S)
                if waited_s + pause_s > PATIENCE_S:
                    raise
                self._sleep(pause_s)
                waited_s += pause_s


def _encoded(signature: Signature, rows: Rows) -> Rows:
    """The tensors of rows; a mapping is of columns and arrays, whatever their dimensions."""
    return signature.encode(rows) if isinstance(rows, Mapping) else rows


def row_count(rows: Rows) -> int:
    """Rows of a batch."""
    if isinstance(rows, Mapping):
        return len(np.asarray(next(iter(rows.values()))))
    return len(np.asarray(rows))


def in_order(
    ask: Callable[[T], A], batches: Iterable[T], limit: int = IN_FLIGHT
) -> Generator[tuple[T, A]]:
    """Each batch with its answer, in the order of the batches, `limit` under way at once.

    No batch is read before there is room for it. The first failure, in that order, is raised.
    """
    waiting: deque[tuple[T, Future[A]]] = deque()
    with ThreadPoolExecutor(limit, "ask") as pool:
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(ask, batch)))
                if len(waiting) == limit:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()
