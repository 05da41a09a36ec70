"""The connections of one point: opened together, replaced when they are lost or drained."""

from collections.abc import Iterator

from twofold.loadgen.link import Link, Work
from twofold.loadgen.network import Network

#: Between two looks at lost connections and late requests.
SWEEP_NS = 10_000_000
#: Before a connection that could not be had is tried again: at first, and at most.
_FIRST_PAUSE_NS, _LONGEST_PAUSE_NS = 50_000_000, 1_000_000_000


class Pool:
    """Owned by one thread."""

    def __init__(self, network: Network[Link], work: Work, count: int) -> None:
        self._network = network
        self._work = work
        #: One for each place; a lost one stands there until its successor is opened.
        self.links = [Link(work) for _ in range(count)]
        self._pauses_ns = [0] * count
        self._again_ns = [0] * count
        #: Connections that the server drains, with requests still under way.
        self._leaving: list[Link] = []

    def open(self) -> None:
        """Begins to open all of them."""
        for link in self.links:
            link.begin(self._network.open(link))

    def share(self, concurrency: int) -> None:
        """Divides requests that are to be kept under way among the connections."""
        count = len(self.links)
        for place, link in enumerate(self.links):
            link.share = concurrency // count + (place < concurrency % count)

    def stop(self) -> None:
        """No more requests are to be kept under way."""
        for link in self.links:
            link.share = 0

    def is_open(self) -> bool:
        """Whether requests can be sent on all of them."""
        return all(link.is_open for link in self.links)

    def lost(self) -> str:
        """Why one of them could not be had; "" where none was lost."""
        return next((link.lost for link in self.links if link.lost), "")

    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return not any(link.calls for link in self._all())

    def sweep(self, now_ns: int) -> None:
        """Gives up late requests; sees to lost and drained connections."""
        for link in self._all():
            link.expire(now_ns)
            link.flush()
        for place, link in enumerate(self.links):
            if link.is_open:
                self._pauses_ns[place] = 0
            elif link.is_leaving or link.lost:
                self._replace(place, link, now_ns)
        for link in [link for link in self._leaving if not link.calls]:
            self._leaving.remove(link)
            link.close()

    def _replace(self, place: int, link: Link, now_ns: int) -> None:
        if now_ns < self._again_ns[place]:
            return
        if not link.lost:
            self._leaving.append(link)
        pause_ns = self._pauses_ns[place]
        self._again_ns[place] = now_ns + pause_ns
        self._pauses_ns[place] = min(_LONGEST_PAUSE_NS, 2 * pause_ns or _FIRST_PAUSE_NS)
        new = self.links[place] = Link(self._work)
        new.share, link.share = link.share, 0
        new.begin(self._network.open(new))

    def close(self) -> None:
        """Ends all of them."""
        for link in self._all():
            link.close()

    def _all(self) -> Iterator[Link]:
        yield from self.links
        yield from self._leaving
