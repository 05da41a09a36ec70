"""Which store a queue belongs to: the two keep one identity between them.

A trainer whose store is not the queue's (a mistyped path, a file system that is not mounted) would
find no record of any job in it, and would give every one of them up.
"""

from twofold import keys
from twofold.config import UnusableSettings
from twofold.errors import Corrupt, InvalidField
from twofold.names import check_ulid
from twofold.store import Store


def read(store: Store) -> str | None:
    """The store's identity; None where it has none yet. Raises Corrupt."""
    data = store.read_durable(keys.identity())
    if data is None:
        return None
    try:
        return check_ulid("identity", data.decode("ascii"))
    except (UnicodeDecodeError, InvalidField) as error:
        raise Corrupt("the store's identity cannot be read") from error


def make(store: Store, fresh: str) -> str:
    """The store's identity; `fresh` where it had none. Blocks."""
    found = read(store)
    if found is None:
        store.create(keys.identity(), fresh.encode("ascii"))
        found = read(store)
    if found is None:
        raise Corrupt("the store's identity is gone as soon as it is written")
    return found


def check(of_store: str, of_queue: str) -> None:
    """Raises UnusableSettings where the queue belongs to another store."""
    if of_store != of_queue:
        raise UnusableSettings(
            f"the queue belongs to store {of_queue}, but TWOFOLD_STORE is store {of_store}: its "
            "jobs are not here. Give the trainer the queue's own store; is it mounted? If those "
            "jobs may be forgotten, empty the queue's server (FLUSHALL)"
        )
