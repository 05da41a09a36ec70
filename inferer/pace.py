"""How long a batch takes: fixed + per_row * rows, learnt at warm-up and from every batch. Pure."""

from collections.abc import Sequence

#: How far one batch may move what was learnt: many batches agree before it is believed, and one
#: that a busy core made ten times as long counts no more than one that was a little late.
_STEP = 0.02
#: How far what was learnt may go from what warm-up measured, as factors.
_LEAST, _MOST = 0.25, 16.0


class Pace:
    """A line through durations. One thread observes; any may ask."""

    def __init__(self, fixed_s: float, row_s: float) -> None:
        self._first = (fixed_s, row_s)
        self._fixed_s, self._row_s = fixed_s, row_s

    def __repr__(self) -> str:
        return f"<Pace {self._fixed_s * 1e6:.1f} us + {self._row_s * 1e6:.2f} us a row>"

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> "Pace":
        """The line through (rows, seconds), both parts at least 0; errors count in proportion."""
        weights = [1 / (seconds * seconds) for _, seconds in points]
        total = sum(weights)
        rows = sum(w * r for w, (r, _) in zip(weights, points, strict=True)) / total
        seconds = sum(w * s for w, (_, s) in zip(weights, points, strict=True)) / total
        spread = sum(w * (r - rows) ** 2 for w, (r, _) in zip(weights, points, strict=True))
        joint = sum(
            w * (r - rows) * (s - seconds) for w, (r, s) in zip(weights, points, strict=True)
        )
        row_s = max(joint / spread, 0.0) if spread else 0.0
        fixed_s = seconds - row_s * rows
        if fixed_s < 0:  # through the origin, then
            squares = sum(w * r * r for w, (r, _) in zip(weights, points, strict=True))
            products = sum(w * r * s for w, (r, s) in zip(weights, points, strict=True))
            return cls(0.0, products / squares)
        return cls(fixed_s, row_s)

    def again(self) -> "Pace":
        """One of its own for another version of the same graph, which begins where this one is."""
        found = Pace(*self._first)
        found._fixed_s, found._row_s = self._fixed_s, self._row_s
        return found

    @property
    def line(self) -> tuple[float, float]:
        """Seconds of any batch, and of each row."""
        return self._fixed_s, self._row_s

    def expected_s(self, rows: int) -> float:
        """How long a batch of so many rows takes."""
        return self._fixed_s + self._row_s * rows

    def observe(self, rows: int, seconds: float) -> None:
        """Learns from a batch: half of them take longer than expected, half less.

        The part that most of its time is made of moves most: batches of one row say little of what
        a row costs.
        """
        of_rows_s = self._row_s * rows
        expected_s = self._fixed_s + of_rows_s
        if not expected_s:
            return
        step = _STEP if seconds > expected_s else -_STEP
        share = of_rows_s / expected_s
        first_fixed_s, first_row_s = self._first
        self._fixed_s = _within(self._fixed_s * (1 + step * (1 - share)), first_fixed_s)
        self._row_s = _within(self._row_s * (1 + step * share), first_row_s)


def _within(value: float, first: float) -> float:
    return min(max(value, first * _LEAST), first * _MOST)
