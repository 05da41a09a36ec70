"""What an inferer promises when versions are damaged, half there or wrong. Time is virtual."""

import asyncio
import contextlib
import functools
import json
import operator
from collections.abc import Awaitable, Callable, Generator, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

import numpy as np
import pytest
from safetensors.numpy import save

from tests.chaos.serving import doubles
from tests.chaos.serving.loop import LoopClock, VirtualLoop
from tests.chaos.serving.site import MODEL, Site
from twofold import keys
from twofold.artifact import FILES, GOLDEN
from twofold.errors import Corrupt, NotFound
from twofold.principal import LOCAL
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.tensors import Array
from twofold.versions import visible_versions

Found = TypeVar("Found")
FOLDER = keys.version(LOCAL.tenant, MODEL, 2)
#: Looks are 0.05 s apart and loads take milliseconds: all that could happen has happened.
LONG_S = 0.5
#: In the order of publishing; the manifest that makes a version visible is not among them.
STEPS = ("claim", *FILES, "manifest.staged.json")


def live(root: Path, body: Callable[[Site], Awaitable[Found]]) -> Found:
    """What `body` returns, beside an inferer of the store at `root`."""
    loop = VirtualLoop(Random(1), (0.001, 0.002))  # noqa: S311 - the same run each time

    def wrong(invariant: str, text: str) -> None:
        raise AssertionError(invariant, text)

    def ran(parts: Sequence[Array], row_s: float) -> None:
        """Nobody counts here."""

    async def run() -> Found:
        life = asyncio.create_task(site.run())
        try:
            return await body(site)
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    engine = doubles.FakeEngine(wrong, ran)
    with contextlib.closing(loop), contextlib.closing(engine):
        site = Site(root, engine, LoopClock(loop))
        return loop.run_until_complete(run())


def put(store: LocalStore, number: int, **files: bytes) -> None:
    """Publishes version `number`, which adds ten times as much, with other `files`."""
    changed = {name.replace("_", "."): data for name, data in files.items()}
    contents = {**doubles.files_of(10.0 * number), **changed}
    assert doubles.put(store, SystemClock(), MODEL, contents, number) == number


async def later(site: Site) -> tuple[int, float]:
    """What serves in the end."""
    await asyncio.sleep(LONG_S)
    return await site.value()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store stands."""
    return tmp_path / "store"


@pytest.mark.parametrize("count", range(len(STEPS) + 1))
def test_s_half_a_version_without_a_manifest_is_neither_listed_nor_loaded(
    store: LocalStore, root: Path, count: int
) -> None:
    """Whichever step its publisher died after; the next version is not disturbed by it."""
    put(store, 1)
    store.make_folder(FOLDER)
    files = doubles.files_of(20.0)
    for name in STEPS[:count]:
        assert store.create(f"{FOLDER}/{name}", files.get(name, b"{}"))

    async def body(site: Site) -> None:
        assert await later(site) == (1, 10.0)
        with pytest.raises(NotFound):
            await site.value("2")
        assert site.engine.load_count == 1
        number = doubles.put(store, SystemClock(), MODEL, doubles.files_of(30.0), 3)
        assert number == (3 if count else 2)  # a folder without a claim is nobody's
        assert await later(site) == (number, 30.0)
        numbers = [found.number for found in visible_versions(store, LOCAL.tenant, MODEL)]
        assert numbers == [1, number]

    live(root, body)


@contextlib.contextmanager
def damaged(store: LocalStore, name: str, change: Callable[[bytes], bytes]) -> Generator[None]:
    """A file of version 2 with other bytes, for a while."""
    whole = store.path(f"{FOLDER}/{name}").read_bytes()
    doubles.replace(store, MODEL, 2, name, change(whole))
    yield
    doubles.replace(store, MODEL, 2, name, whole)


def flip(random: Random, data: bytes) -> bytes:
    """`data` with one other bit."""
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_s_corrupt_one_flipped_bit_is_refused_and_the_old_version_kept(
    store: LocalStore, root: Path, caplog: pytest.LogCaptureFixture, first_seed: int
) -> None:
    """A bit of a manifest may also be one that changes no answer: then the answer is right."""
    put(store, 1)
    put(store, 2)

    async def body(site: Site) -> tuple[tuple[int, float], int]:
        return await later(site), site.models.load_statistics.failures

    for seed in range(first_seed, first_seed + 50):
        random = Random(seed)  # noqa: S311 - the same bits each time
        name = random.choice((*FILES, "manifest.json"))
        caplog.clear()
        with damaged(store, name, functools.partial(flip, random)):
            served, failures = live(root, body)

        if name == "manifest.json" and served[0] == 2:
            assert served == (2, 20.0)
            continue
        assert (served, failures) == ((1, 10.0), 1), (seed, name)
        refusals = [line for line in caplog.records if line.message == "version refused"]
        assert [line.__dict__["version"] for line in refusals] == [2]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("is_missing", [False, True], ids=["flipped", "missing"])
def test_s_corrupt_data_loss_is_told_only_where_no_good_version_is(
    store: LocalStore, root: Path, name: str, *, is_missing: bool
) -> None:
    put(store, 1)
    path = store.path(f"{keys.version(LOCAL.tenant, MODEL, 1)}/{name}")
    whole = path.read_bytes()
    path.unlink()
    if not is_missing:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    async def body(site: Site) -> None:
        with pytest.raises(Corrupt):
            await site.value()
        put(store, 2)
        assert await later(site) == (2, 20.0)
        with pytest.raises(Corrupt):
            await site.value("1")

    live(root, body)


def test_s_trunc_a_file_cut_at_any_size_is_never_part_of_a_model(
    store: LocalStore, root: Path
) -> None:
    put(store, 1)
    put(store, 2)
    for name in (*FILES, "manifest.json"):
        size = store.path(f"{FOLDER}/{name}").stat().st_size
        for place in range(0, size, max(1, size // 15)):
            with damaged(store, name, operator.itemgetter(slice(place))):
                assert live(root, later) == (1, 10.0), (name, place)
    assert live(root, later) == (2, 20.0)


def test_s_trunc_a_read_that_breaks_off_is_repeated(store: LocalStore, root: Path) -> None:
    """Also S-DOWN: what is loaded goes on serving while the store is away."""
    put(store, 1)

    async def body(site: Site) -> None:
        assert await site.value() == (1, 10.0)
        put(store, 2)
        await site.watcher.look()  # it is known, and its load begins
        site.store.is_away = True
        for _ in range(50):
            assert await later(site) == (1, 10.0)
        site.store.is_away = False
        await asyncio.sleep(2 * 60)  # the longest pause after many failures, and some
        assert await site.value() == (2, 20.0)

    live(root, body)


def golden(value: float, rows: int = 2, name: str = "output.value") -> bytes:
    """Golden examples that expect x + value."""
    x = np.ones((rows, 1), np.float32)
    return save({"input.x": x, name: x + np.float32(value)})


@pytest.mark.parametrize(
    "examples",
    [
        golden(21.0),
        golden(np.nan),
        golden(np.inf),
        golden(20.0, rows=0),
        golden(20.0, name="output.other"),
        save({"input.x": np.ones((2, 1), np.float32), "output.value": np.ones((2, 2), np.float32)}),
        save({"input.x": np.ones((2, 1), np.float64), "output.value": np.ones((2, 1), np.float32)}),
        b"",
    ],
    ids=["other", "nan", "inf", "none", "names", "shapes", "types", "junk"],
)
def test_i_bad_a_version_that_fails_its_examples_is_refused_once(
    store: LocalStore, root: Path, examples: bytes
) -> None:
    put(store, 1)
    put(store, 2, golden_safetensors=examples)

    async def body(site: Site) -> tuple[list[tuple[int, str]], int]:
        for _ in range(10):
            assert await later(site) == (1, 10.0)
        states = [(status.number, status.state) for status in site.models.index()]
        return states, site.models.load_statistics.failures

    assert live(root, body) == ([(1, "READY"), (2, "UNAVAILABLE")], 1)


def test_i_bad_a_network_that_answers_nan_is_refused(store: LocalStore, root: Path) -> None:
    """Its own examples say the same, and still it must not serve."""
    put(store, 1)
    weights = json.dumps({"value": float("nan"), "seconds": 0.0}).encode()
    put(store, 2, weights_safetensors=weights, **{GOLDEN.replace(".", "_"): golden(float("nan"))})

    assert live(root, later) == (1, 10.0)
