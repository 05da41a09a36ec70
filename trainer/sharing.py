"""How many threads a training takes while other processes want the same cores.

The threads of a step wait for the slowest of them, so a core that others hold slows down all: with
one busy neighbour two threads of two train a quarter of what one does (docs/decisions.md 43). How
much the others take is what the kernel says of this process's threads: the time that they could
have run and did not. It tells nothing of cores that are not used; so they are tried again now and
then, less and less often while that fails.
"""

import math

#: Seconds that one look covers, at least: some switches of the scheduler, at every niceness.
WINDOW_S = 1.0
#: Cores that others may take before a thread is given up.
TOLERATED = 0.25
#: Seconds until more threads are tried again, and the longest such pause.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 4.0, 600.0


class Sharing:
    """Decides by the clock and the time waited alone; raises nothing."""

    def __init__(self, most: int, now_s: float, waited_s: float, fewest: int = 0) -> None:
        """`most` threads are wanted; `waited_s` is the sum over the process's threads so far.

        `fewest` is what attempts before this one came down to; 0: they gave none up.
        """
        self.most = self.threads = most
        self.fewest = min(most, fewest or most)
        self._pause_s = FIRST_PAUSE_S
        self._try_s = -math.inf
        self._restart(now_s, waited_s)

    def is_due(self, now_s: float) -> bool:
        """Whether a look is worth its price."""
        return now_s - self._since_s >= WINDOW_S

    def look(self, now_s: float, waited_s: float) -> int:
        """Threads from now on, in [1, most]."""
        taken = (waited_s - self._waited_s) / (now_s - self._since_s)
        self._restart(now_s, waited_s)
        if taken > TOLERATED and self.threads > 1:
            self._give_up(now_s, taken)
        elif self.threads < self.most and now_s >= self._try_s:
            self.threads = self.most
        return self.threads

    def _give_up(self, now_s: float, taken: float) -> None:
        if self.threads == self.most:
            # Soon after a try, the neighbours are there to stay; long after it they are others.
            is_soon = now_s - self._try_s < LONGEST_PAUSE_S
            longer_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._pause_s = longer_s if is_soon else FIRST_PAUSE_S
        self.threads = max(1, self.threads - max(1, round(taken)))
        self.fewest = min(self.fewest, self.threads)
        self._try_s = now_s + self._pause_s

    @property
    def reason(self) -> str:
        """Why that many, for people."""
        if self.threads < self.most:
            return f"{self.threads} of {self.most}: other processes want the cores"
        return "all of the worker's"

    @property
    def warning(self) -> str:
        """What follows for the result; "" where nothing does."""
        if self.fewest == self.most:
            return ""
        return (
            f"trained on {self.fewest} to {self.most} CPU threads, as other processes wanted the "
            "cores: the last bits may differ from those of another run; training.threads fixes "
            "the number"
        )

    def _restart(self, now_s: float, waited_s: float) -> None:
        self._since_s, self._waited_s = now_s, waited_s
