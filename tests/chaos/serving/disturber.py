"""What happens to the store in a scenario: versions of every kind come, and the store goes."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from safetensors.numpy import save

from tests.chaos.serving import doubles
from tests.chaos.serving.book import Book
from tests.chaos.serving.site import MODEL, Site
from twofold import faults, keys
from twofold.artifact import FILES, GOLDEN, WEIGHTS
from twofold.principal import LOCAL
from twofold.seams import Clock
from twofold.store import LocalStore
from twofold.versions import set_alias, withdraw

_ALIASES = ("stable", "canary")
#: Seconds for a row: on the loop's thread, on the engine's, and so slow that queues build up.
_ROW_S = (0.0, 0.0002, 0.002, 0.02)
#: That wait or run at a time, of six clients that now and then leave a request behind.
_MOST_ROWS = 40


class Disturber:
    """Changes the store, and keeps the account of it in the book."""

    def __init__(self, random: Random, book: Book, site: Site, clock: Clock, root: Path) -> None:
        self._random = random
        self._book = book
        self._site = site
        self._clock = clock
        self._store = LocalStore(root)
        self._job_count = 0
        # Whose weights are exchanged during a load: what is read first, and what stands there then.
        self._exchanged: dict[int, tuple[bytes, bytes]] = {}
        faults.arm("inferer.read", lambda: self._exchange(1))
        faults.arm("inferer.warm", lambda: self._exchange(0))

    async def run(self, horizon_s: float) -> None:
        """Disturbs for so many seconds."""
        kinds = self._kinds()
        until_s = self._clock.monotonic_s() + horizon_s
        while self._clock.monotonic_s() < until_s:
            await self._clock.sleep(self._random.choice((0.01, 0.1, 0.5)))
            self._random.choice(kinds)()
        self._site.store.is_away = False

    def _kinds(self) -> list[Callable[[], None]]:
        good = [self.publish_good] * 6
        bad = [self._publish_flipped, self._publish_wrong_golden, self._publish_cut]
        return [
            *good,
            *bad,
            self._publish_exchanged,
            self._leave_half,
            self._withdraw,
            self._set_alias,
            self._set_alias,
            self._go_away,
        ]

    def publish_good(self) -> None:
        """A version that is as it should be."""
        self._publish("good")

    def _publish(self, what: str, golden: bytes | None = None) -> int:
        """Publishes by the real protocol; the version's number."""
        self._job_count += 1
        value = 10.0 * self._job_count
        row_s = self._random.choice(_ROW_S)
        self._book.early_s = max(self._book.early_s, row_s * _MOST_ROWS)
        files = doubles.files_of(value, row_s)
        if golden is not None:
            files[GOLDEN] = golden
        number = doubles.put(self._store, self._clock, MODEL, files, self._job_count)
        self._book.account.values[number] = value
        self._tell(f"version {number} published: {what}")
        self._book.counts["versions"] += 1
        return number

    def _tell(self, text: str) -> None:
        self._book.tell(self._clock.monotonic_s(), text)

    def _path(self, number: int, name: str) -> Path:
        return self._store.path(f"{keys.version(LOCAL.tenant, MODEL, number)}/{name}")

    def _publish_flipped(self) -> None:
        """One bit of one file is another one, or a file is gone."""
        number = self._publish("a bit flipped")
        self._book.account.damaged.add(number)
        path = self._path(number, self._random.choice(FILES))
        data = bytearray(path.read_bytes())
        data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        if self._random.random() < 0.2:
            path.unlink()
        else:
            doubles.replace(self._store, MODEL, number, path.name, bytes(data))

    def _publish_cut(self) -> None:
        """A file, maybe the manifest, ends too early."""
        number = self._publish("a file cut")
        self._book.account.damaged.add(number)
        path = self._path(number, self._random.choice((*FILES, "manifest.json")))
        data = path.read_bytes()
        doubles.replace(
            self._store, MODEL, number, path.name, data[: self._random.randrange(len(data))]
        )

    def _publish_wrong_golden(self) -> None:
        """Everything is whole, but the network gives other answers than it should."""
        x = np.ones((2, 1), np.float32)
        wrong = self._random.choice((x, x * np.nan, x * np.inf))
        golden = save({"input.x": x, "output.value": wrong})
        self._book.account.damaged.add(self._publish("wrong golden answers", golden))

    def _publish_exchanged(self) -> None:
        """The weights are others before the load has read them, or after."""
        number = self._publish("exchanged")
        good = self._path(number, WEIGHTS).read_bytes()
        other = good.replace(b'"seconds": 0.0', b'"seconds": 0.1')
        other = other if other != good else good[:-1] + b" "
        if self._random.random() < 0.7:
            self._book.account.damaged.add(number)
            self._exchanged[number] = (other, good)
            doubles.replace(self._store, MODEL, number, WEIGHTS, other)
        else:
            self._exchanged[number] = (good, other)

    def _exchange(self, place: int) -> None:
        """Puts the first or second of the two where the load that goes on now would find it."""
        _, number = self._site.models._loading or ("", 0)
        if number in self._exchanged:
            doubles.replace(self._store, MODEL, number, WEIGHTS, self._exchanged[number][place])
            self._tell(f"version {number} exchanged")

    def _leave_half(self) -> None:
        """A publisher died between two steps."""
        self._job_count += 1
        number = max(self._book.account.values, default=0) + 1
        folder = keys.version(LOCAL.tenant, MODEL, number)
        files = doubles.files_of(-1.0)
        steps = ["claim", *FILES, "manifest.staged.json"]
        for name in steps[: self._random.randint(1, len(steps))]:
            self._store.create(f"{folder}/{name}", files.get(name, b"{}"))
        self._tell(f"version {number} half-written")

    def _withdraw(self) -> None:
        """A version is withdrawn, unless it is the last one that can serve."""
        account = self._book.account
        good = sorted(account.values.keys() - account.damaged - account.withdrawn)
        if len(good) > 1:
            number = self._random.choice(good[-2:])
            withdraw(self._store, self._clock, LOCAL, MODEL, number)
            account.withdrawn.add(number)
            self._tell(f"version {number} withdrawn")

    def _set_alias(self) -> None:
        account = self._book.account
        alias = self._random.choice(_ALIASES)
        number = self._random.choice([*account.values])
        if self._store.exists(keys.version_manifest(LOCAL.tenant, MODEL, number)):
            set_alias(self._store, self._clock, LOCAL, MODEL, alias, number)
            account.aliases.setdefault(alias, []).append(number)
            self._tell(f"alias {alias} is {number}")

    def _go_away(self) -> None:
        """The store cannot be read for a while, or can again."""
        self._site.store.is_away = not self._site.store.is_away
        self._tell(f"store away: {self._site.store.is_away}")
