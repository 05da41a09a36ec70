"""Who sends when: users who wait for their answers, and users who do not.

A closed loop keeps a number of requests under way: it shows how fast a server can be. An open loop
sends at times that were fixed before: it shows what a server's users feel, since a server that
stalls does not get less to do, and each request that waits because of it counts from when it was
meant to be sent (the other way round is known as coordinated omission).
"""

from collections.abc import Iterator

from twofold.loadgen.link import Link, Work
from twofold.loadgen.network import Network
from twofold.loadgen.pool import SWEEP_NS, Pool

#: Requests that are sent before answers are looked at again.
_BURST = 32


class Loop:
    """What both have in common."""

    def __init__(self, network: Network[Link], pool: Pool) -> None:
        self._network = network
        self._pool = pool
        self._sweep_ns = network.now_ns()

    def run_until(self, end_ns: int) -> None:
        """Sends and receives until that time."""
        while (now_ns := self._network.now_ns()) < end_ns:
            if now_ns >= self._sweep_ns:
                self._pool.sweep(now_ns)
                self._sweep_ns = now_ns + SWEEP_NS
                self._swept()
            self._turn(now_ns, min(self._sweep_ns, end_ns))

    def drain(self, end_ns: int) -> None:
        """Receives what is under way; begins nothing that is due after `end_ns`.

        It ends, since what is too old is given up.
        """
        while not self._is_done(end_ns):
            self.run_until(self._network.now_ns() + SWEEP_NS)

    def _is_done(self, end_ns: int) -> bool:
        raise NotImplementedError

    def _swept(self) -> None:
        """Connections may be new."""

    def _turn(self, now_ns: int, next_ns: int) -> None:
        """Sends what is due, and waits for answers until `next_ns` at most."""
        raise NotImplementedError


class Closed(Loop):
    """Keeps as many requests under way as the connections' shares say."""

    def drain(self, end_ns: int) -> None:
        """See Loop."""
        self._pool.stop()
        super().drain(end_ns)

    def _is_done(self, end_ns: int) -> bool:
        del end_ns
        return self._pool.is_idle()

    def _swept(self) -> None:
        for link in self._pool.links:
            _fill(link)

    def _turn(self, now_ns: int, next_ns: int) -> None:
        for link in self._network.wait(next_ns - now_ns):
            link.receive()
            _fill(link)


def _fill(link: Link) -> None:
    """One write, whatever there is to say."""
    if link.is_open:
        for _ in range(link.share - len(link.calls)):
            link.start()
    link.flush()


class Open(Loop):
    """Sends at given times, on one connection after the other."""

    def __init__(
        self, network: Network[Link], pool: Pool, work: Work, times_ns: Iterator[int]
    ) -> None:
        super().__init__(network, pool)
        self._work = work
        self._times_ns = times_ns
        self._due_ns = next(times_ns)
        self._end_ns: int | None = None
        self._place = 0
        #: Whether what is due has found every connection full.
        self._is_held = False

    def drain(self, end_ns: int) -> None:
        """See Loop."""
        self._end_ns = end_ns
        super().drain(end_ns)

    def _is_done(self, end_ns: int) -> bool:
        return self._due_ns >= end_ns and self._pool.is_idle()

    def _turn(self, now_ns: int, next_ns: int) -> None:
        if self._is_due(now_ns):
            self._send(now_ns)
        if not self._is_held and not self._is_over():
            next_ns = min(next_ns, self._due_ns)
        for link in self._network.wait(max(0, next_ns - self._network.now_ns())):
            link.receive()
            link.flush()

    def _is_over(self) -> bool:
        return self._end_ns is not None and self._due_ns >= self._end_ns

    def _is_due(self, now_ns: int) -> bool:
        return self._due_ns <= now_ns and not self._is_over()

    def _send(self, now_ns: int) -> None:
        """Up to _BURST of what is due, as far as connections have room."""
        touched: set[Link] = set()
        on_time: list[int] = []
        for _ in range(_BURST):
            if not self._is_due(now_ns):
                self._is_held = False
                break
            if (link := self._next()) is not None:
                link.start(self._due_ns)
                touched.add(link)
                self._note(on_time)
            elif not self._refuse(now_ns):
                self._is_held = True
                break
            self._due_ns = next(self._times_ns)
        for link in touched:
            link.flush()
        if on_time:
            self._work.tally.sent(on_time, self._network.now_ns())

    def _note(self, on_time: list[int]) -> None:
        if self._is_held:
            self._work.tally.held(self._due_ns)
        else:
            on_time.append(self._due_ns)

    def _next(self) -> Link | None:
        """The next connection with room for a request."""
        links = self._pool.links
        for step in range(len(links)):
            link = links[(self._place + step) % len(links)]
            if link.is_open and len(link.calls) < link.room:
                self._place += step + 1
                return link
        return None

    def _refuse(self, now_ns: int) -> bool:
        """Fails a request that waits too long for room, or for a server that is not there."""
        if now_ns - self._due_ns >= self._work.timeout_ns:
            self._work.tally.failed(*self._work.late, self._due_ns)
            return True
        if all(link.lost for link in self._pool.links):
            self._work.tally.failed("UNAVAILABLE", self._pool.lost(), self._due_ns)
            return True
        return False
