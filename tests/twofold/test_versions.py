"""What readers see of models, and what users change about them."""

import json

import pytest

from tests.twofold.samples import TENANT, sample_manifest
from twofold import faults, keys, manifest, versions
from twofold.errors import Conflict, Corrupt, InvalidField, NotFound
from twofold.principal import LOCAL
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.versions import VersionState

CLOCK = SystemClock()


def add(store: LocalStore, *numbers: int, model: str = "digits") -> None:
    for number in numbers:
        found = sample_manifest(number)
        found.model = model
        store.create(keys.version_manifest(TENANT, model, number), manifest.encode(found))


def test_only_versions_with_a_manifest_are_visible_in_numeric_order(store: LocalStore) -> None:
    add(store, 2, 10, 1)
    store.create(keys.version_claim(TENANT, "digits", 11), b"")
    store.create(keys.version_staged(TENANT, "digits", 12), b"")
    store.make_folder(f"{keys.model(TENANT, 'digits')}/007")

    found = versions.visible_versions(store, TENANT, "digits")

    assert [state.number for state in found] == [1, 2, 10]


def test_unknown_model_has_no_versions(store: LocalStore) -> None:
    assert versions.visible_versions(store, TENANT, "none") == []
    assert versions.read_aliases(store, TENANT, "none") == {}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        ([VersionState(1, withdrawn=False)], 1),
        ([VersionState(1, withdrawn=False), VersionState(2, withdrawn=True)], 1),
        ([VersionState(1, withdrawn=True)], None),
        ([VersionState(1, withdrawn=False), VersionState(3, withdrawn=False)], 3),
    ],
)
def test_current_version_is_the_highest_not_withdrawn(
    states: list[VersionState], expected: int | None
) -> None:
    assert versions.current_version(states) == expected


def test_models_without_a_visible_version_are_not_listed(store: LocalStore) -> None:
    add(store, 1, model="b")
    add(store, 1, model="a")
    store.create(keys.version_claim(TENANT, "c", 1), b"")
    store.make_folder(f"{keys.models(TENANT)}/Not-A-Name")

    assert versions.model_names(store, TENANT) == ["a", "b"]


def test_withdrawal_is_idempotent_and_seen(store: LocalStore) -> None:
    add(store, 1, 2)

    versions.withdraw(store, CLOCK, LOCAL, "digits", 2)
    versions.withdraw(store, CLOCK, LOCAL, "digits", 2)

    found = versions.visible_versions(store, TENANT, "digits")
    assert found == [VersionState(1, withdrawn=False), VersionState(2, withdrawn=True)]


def test_manifest_is_read_with_its_digest(store: LocalStore) -> None:
    add(store, 3)

    found, sha256 = versions.read_manifest(store, TENANT, "digits", 3)

    assert found == sample_manifest(3)
    assert sha256 == manifest.sha256_hex(manifest.encode(found))


def test_manifest_of_another_version_is_corrupt(store: LocalStore) -> None:
    store.create(keys.version_manifest(TENANT, "digits", 2), manifest.encode(sample_manifest(1)))

    with pytest.raises(Corrupt):
        versions.read_manifest(store, TENANT, "digits", 2)


def test_alias_moves_and_keeps_its_history(store: LocalStore) -> None:
    add(store, 1, 2)

    versions.set_alias(store, CLOCK, LOCAL, "digits", "stable", 1)
    versions.set_alias(store, CLOCK, LOCAL, "digits", "stable", 2)
    versions.set_alias(store, CLOCK, LOCAL, "digits", "canary", 2)

    assert versions.read_aliases(store, TENANT, "digits") == {"stable": 2, "canary": 2}
    history = [
        json.loads(store.read(keys.alias(TENANT, "digits", "stable", n)) or b"") for n in (1, 2)
    ]
    assert [record["version"] for record in history] == ["1", "2"]
    assert history[0]["principal"] == LOCAL.name


def test_alias_moved_by_another_at_the_same_time_is_a_conflict(store: LocalStore) -> None:
    add(store, 1, 2)

    def other() -> None:
        faults.disarm()
        versions.set_alias(store, CLOCK, LOCAL, "digits", "stable", 2)

    faults.arm("store.create.written", other)

    with pytest.raises(Conflict):
        versions.set_alias(store, CLOCK, LOCAL, "digits", "stable", 1)

    assert versions.read_aliases(store, TENANT, "digits") == {"stable": 2}


@pytest.mark.parametrize("alias", ["1", "latest", "../x", ""])
def test_alias_that_is_no_name_is_refused(store: LocalStore, alias: str) -> None:
    add(store, 1)

    with pytest.raises(InvalidField):
        versions.set_alias(store, CLOCK, LOCAL, "digits", alias, 1)


def test_invisible_version_is_not_found(store: LocalStore) -> None:
    store.create(keys.version_claim(TENANT, "digits", 1), b"")

    for number in (0, 1, 7):
        with pytest.raises(NotFound):
            versions.set_alias(store, CLOCK, LOCAL, "digits", "stable", number)
        with pytest.raises(NotFound):
            versions.withdraw(store, CLOCK, LOCAL, "digits", number)
    with pytest.raises(NotFound):
        versions.read_manifest(store, TENANT, "digits", 1)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"version": "x"}', b'{"format_version": 2}'])
def test_unreadable_alias_is_corrupt(store: LocalStore, data: bytes) -> None:
    store.create(keys.alias(TENANT, "digits", "stable", 1), data)

    with pytest.raises(Corrupt):
        versions.read_aliases(store, TENANT, "digits")


def test_folder_that_is_no_alias_is_ignored(store: LocalStore) -> None:
    store.make_folder(f"{keys.aliases(TENANT, 'digits')}/Junk")
    store.make_folder(f"{keys.aliases(TENANT, 'digits')}/empty")

    assert versions.read_aliases(store, TENANT, "digits") == {}
