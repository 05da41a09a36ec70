"""What a reader may rely on: a version that is visible is whole."""

from tests.twofold.samples import TENANT
from twofold import keys, versions
from twofold.store import Store


def whole_versions(store: Store, model: str = "digits") -> list[int]:
    """The visible versions' numbers; raises AssertionError for one that is not whole."""
    numbers = [state.number for state in versions.visible_versions(store, TENANT, model)]
    for number in numbers:
        found, _ = versions.read_manifest(store, TENANT, model, number)
        folder = keys.version(TENANT, model, number)
        for file in found.files:
            digest = store.digest(f"{folder}/{file.name}")
            assert digest == (file.size_bytes, file.sha256), f"{number}/{file.name}: {digest}"
    return numbers
