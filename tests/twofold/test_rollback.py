"""Rolling back: once, whoever asks, and never to nothing."""

import pytest

from tests.twofold.samples import TENANT, sample_manifest
from twofold import faults, keys, manifest, versions
from twofold.errors import NotFound, WrongState
from twofold.principal import LOCAL
from twofold.rollback import RECENT_MS, Rollback, roll_back
from twofold.store import LocalStore
from twofold.versions import current_version, visible_versions


class Clock:
    """Stands still until it is moved."""

    now_ms = 1_700_000_000_000

    def time_ms(self) -> int:
        return self.now_ms

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    async def sleep(self, delay_s: float) -> None:
        self.now_ms += int(delay_s * 1000)


class Site:
    """A store with versions 1 to 4 of a model, and what serves."""

    def __init__(self, store: LocalStore) -> None:
        self.store, self.clock = store, Clock()
        self.publish(1, 2, 3, 4)

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            data = manifest.encode(sample_manifest(number))
            self.store.create(keys.version_manifest(TENANT, "digits", number), data)

    def roll_back(self, version: int = 0) -> Rollback:
        return roll_back(self.store, self.clock, LOCAL, "digits", version)

    def withdraw(self, *numbers: int) -> None:
        for number in numbers:
            versions.withdraw(self.store, self.clock, LOCAL, "digits", number)

    @property
    def current(self) -> int | None:
        return current_version(visible_versions(self.store, TENANT, "digits"))


@pytest.fixture
def site(store: LocalStore) -> Site:
    return Site(store)


@pytest.mark.parametrize("version", [0, 4])
def test_the_default_version_is_withdrawn_and_the_one_before_serves(
    site: Site, version: int
) -> None:
    done = site.roll_back(version)

    assert (done.number, done.is_new, site.current) == (4, True, 3)
    assert done.record.principal == LOCAL.name
    assert done.record.create_time.ToMilliseconds() == site.clock.now_ms


@pytest.mark.parametrize("version", [0, 4])
def test_who_asks_again_changes_nothing(site: Site, version: int) -> None:
    site.roll_back(version)
    site.clock.now_ms += RECENT_MS - 1
    again = site.roll_back(version)

    assert (again.number, again.is_new, site.current) == (4, False, 3)
    assert again.record.create_time.ToMilliseconds() == Clock.now_ms


def test_a_minute_later_the_next_one_is_meant(site: Site) -> None:
    site.roll_back()
    site.clock.now_ms += RECENT_MS

    assert (site.roll_back().number, site.current) == (3, 2)


def test_the_next_one_goes_at_once_where_it_is_named(site: Site) -> None:
    site.roll_back()

    assert (site.roll_back(3).number, site.current) == (3, 2)
    assert (site.roll_back().number, site.current) == (3, 2), "the latest of two is meant"


def test_a_version_published_since_is_rolled_back(site: Site) -> None:
    """What was withdrawn a moment ago is older: nobody meant the new one."""
    site.roll_back()
    site.publish(5)

    assert (site.roll_back().number, site.current) == (5, 3)


@pytest.mark.parametrize("version", [0, 4])
@pytest.mark.parametrize("point", ["store.read", "store.create.written"])
def test_of_two_at_once_one_rolls_back(site: Site, version: int, point: str) -> None:
    """The other one comes in the middle of it, before and after it has chosen."""
    others: list[Rollback] = []

    def other() -> None:
        faults.disarm()
        others.append(site.roll_back(version))

    faults.arm(point, other)
    own = site.roll_back(version)

    assert [(done.number, done.is_new) for done in others] == [(4, True)]
    assert (own.number, own.is_new, site.current) == (4, False, 3)


def test_to_nothing_is_refused(site: Site) -> None:
    site.withdraw(1, 2, 3)
    with pytest.raises(WrongState, match=r"no version before 4 can serve .* models rm digits@4"):
        site.roll_back()
    assert site.current == 4

    site.withdraw(4)
    site.clock.now_ms += RECENT_MS
    with pytest.raises(WrongState, match="no version of it is served by default: all are"):
        site.roll_back()


def test_another_than_the_default_is_refused(site: Site) -> None:
    """It would change nothing of what is served, and whoever asked thinks otherwise."""
    with pytest.raises(WrongState, match=r"version 4 is served by default, not 2: roll back 4"):
        site.roll_back(2)

    assert not any(state.withdrawn for state in visible_versions(site.store, TENANT, "digits"))


def test_what_is_not_there_is_not_found(site: Site) -> None:
    with pytest.raises(NotFound, match="models/digits/versions/9 does not exist"):
        site.roll_back(9)
    with pytest.raises(NotFound, match="there is no models/other"):
        roll_back(site.store, site.clock, LOCAL, "other", 0)
