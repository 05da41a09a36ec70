"""Which versions of a model stay loaded, and which may serve by default: Triton's policies. Pure.

In a model configuration, under [default] and [models.NAME]:

    version_policy = { latest = 2 }         # the newest two; this is the default
    version_policy = "all"
    version_policy = { specific = [1, 4] }  # these, and no other may serve by default
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import cast

from twofold.errors import InvalidField, shorten
from twofold.names import check_name

_KEY = "version_policy"
_ALLOWED = '{ latest = 2 }, "all" or { specific = [1, 4] }'
#: Versions that a policy may name: a list, not a way to fill the memory.
_MOST = 1_000
#: Numbers are int64 on the wire.
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Of the versions that are there and not withdrawn: which count."""

    #: So many of the newest stay loaded; None: all. The second is what a rollback serves at once.
    count: int | None = 2
    #: Only these may serve by default, and stay loaded; None: any.
    only: frozenset[int] | None = None

    def eligible(self, numbers: AbstractSet[int]) -> AbstractSet[int]:
        """Those that may serve by default; the highest of them does."""
        return numbers if self.only is None else numbers & self.only

    def kept(self, numbers: AbstractSet[int]) -> list[int]:
        """Those that stay loaded though nobody asks for them, the newest first."""
        return sorted(self.eligible(numbers), reverse=True)[: self.count]


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy of every model."""

    default: VersionPolicy = VersionPolicy()
    models: Mapping[str, VersionPolicy] = field(default_factory=dict[str, VersionPolicy])

    def of(self, model: str) -> VersionPolicy:
        """One model's."""
        return self.models.get(model, self.default)

    @classmethod
    def parse(cls, tables: Mapping[str, object]) -> "Policies":
        """The policies of a model configuration, of which other keys are others' business.

        Raises:
            InvalidField: a policy is none, or a name is no model's.
        """
        default = _policy_of("default", _table("default", tables.get("default", {})))
        models = {
            check_name("models", name): _policy_of(
                f"models.{name}", _table(f"models.{name}", table), default
            )
            for name, table in _table("models", tables.get("models", {})).items()
        }
        return cls(default, models)


def _table(place: str, found: object) -> Mapping[str, object]:
    if not isinstance(found, Mapping):
        raise InvalidField.of(place, found, "a table")
    return cast("Mapping[str, object]", found)


def _policy_of(
    place: str, table: Mapping[str, object], default: VersionPolicy | None = None
) -> VersionPolicy:
    if _KEY not in table:
        return default or VersionPolicy()
    where, found = f"{place}.{_KEY}", table[_KEY]
    if found == "all":
        return VersionPolicy(count=None)
    if isinstance(found, Mapping):
        fields = cast("Mapping[str, object]", found)
        kinds = list(fields)
        if kinds == ["latest"]:
            return VersionPolicy(count=_number(f"{where}.latest", fields["latest"], _MOST))
        if kinds == ["specific"]:
            return VersionPolicy(None, _numbers(f"{where}.specific", fields["specific"]))
    raise InvalidField.of(where, _shown(table[_KEY]), _ALLOWED)


def _numbers(where: str, found: object) -> frozenset[int]:
    numbers: Sequence[object] = cast("list[object]", found) if isinstance(found, list) else ()
    if not 0 < len(numbers) <= _MOST:
        allowed = f"a list of 1 to {_MOST:,} version numbers, such as [1, 4]"
        raise InvalidField.of(where, _shown(numbers or cast("object", found)), allowed)
    return frozenset(_number(where, number, _LARGEST) for number in numbers)


def _number(where: str, found: object, most: int) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 0 < found <= most:
        raise InvalidField.of(where, _shown(found), f"a whole number from 1 to {most}")
    return found


def _shown(found: object) -> str:
    """Text in quotes, so that "2" and 2 look different."""
    return shorten(repr(found))
