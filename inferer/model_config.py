"""What each model is served by: settings for all, and a TOML file with tables per model.

`[default]` stands over the TWOFOLD_* variables, `[models.NAME]` over both, key by key. Names and
meaning are those of Triton's `config.pbtxt`, sizes are rows. Explained in docs/serving.md.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inferer.batcher import Limits, QueuePolicy
from inferer.policies import Policies
from twofold.config import InfererSettings, UnusableSettings
from twofold.errors import InvalidField, shorten
from twofold.names import check_name

#: Longest file: a table for each of thousands of models.
_FILE_BYTES = 1 << 20
#: An admission may look at each.
_MAX_LEVELS = 64

_Rows = Annotated[int, Field(ge=1, le=1_000_000)]
#: Up to an hour.
_Microseconds = Annotated[int, Field(ge=0, le=3_600_000_000)]
# Trees of TOML.
_Tree = Mapping[str, Any]


class _Table(BaseModel):
    """Keys that may all be left out; none other."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Policy(_Table):
    """Triton's ModelQueuePolicy."""

    max_queue_size: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    default_timeout_microseconds: _Microseconds | None = None
    allow_timeout_override: bool | None = None
    timeout_action: Literal["REJECT", "DELAY"] | None = None


class _Model(_Table):
    """Triton's max_batch_size, and what it keeps in ModelDynamicBatching."""

    max_batch_size: _Rows | None = None
    preferred_batch_size: Annotated[list[_Rows], Field(max_length=64)] | None = None
    max_queue_delay_microseconds: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    priority_levels: Annotated[int, Field(ge=0, le=_MAX_LEVELS)] | None = None
    default_priority_level: Annotated[int, Field(ge=0, le=_MAX_LEVELS)] | None = None
    default_queue_policy: _Policy | None = None
    priority_queue_policy: dict[str, _Policy] | None = None
    #: Checked by inferer.policies.
    version_policy: Any = None


class _File(_Table):
    default: _Model = _Model()
    models: dict[str, _Model] = {}


class ModelConfig:
    """The limits of every model, and which of its versions stay loaded."""

    def __init__(
        self, default: Limits, models: Mapping[str, Limits], policies: Policies | None = None
    ) -> None:
        self._default = default
        self._models = models
        self.policies = policies or Policies()

    def limits(self, model: str) -> Limits:
        """Those of a model; of one that the file does not name, the defaults."""
        return self._models.get(model, self._default)

    @property
    def max_batch_size(self) -> int:
        """The largest of any model."""
        every = (self._default, *self._models.values())
        return max(limits.max_batch_size for limits in every)


def read(settings: InfererSettings) -> ModelConfig:
    """The configuration that the settings and their file give.

    Raises:
        UnusableSettings: the file cannot be read, or a key or a value in it is not allowed; each is
            named, with file, value and what is allowed.
    """
    base: _Tree = {
        "max_batch_size": settings.max_batch_size,
        "max_queue_delay_microseconds": settings.max_queue_delay_microseconds,
        "default_queue_policy": {"max_queue_size": settings.max_queue_size},
    }
    if not settings.models_file:
        return ModelConfig(_limits(base), {})
    file = Path(settings.models_file)
    tree = _tree(file)
    try:
        _File.model_validate(tree)
    except ValidationError as error:
        lines = (_explain(problem) for problem in error.errors())
        raise UnusableSettings("\n".join(f"{file}: {line}" for line in lines)) from error
    default = _merged(base, tree.get("default", {}))
    models = {name: _merged(default, table) for name, table in tree.get("models", {}).items()}
    tables = {"default": default} | {f"models.{name}": made for name, made in models.items()}
    problems = [*_name_problems(models)]
    problems += [f"{where}.{line}" for where, made in tables.items() for line in _problems(made)]
    if problems:
        raise UnusableSettings("\n".join(f"{file}: {line}" for line in problems))
    limits = {name: _limits(made) for name, made in models.items()}
    return ModelConfig(_limits(default), limits, _policies_of(file, tree))


def _policies_of(file: Path, tree: _Tree) -> Policies:
    try:
        return Policies.parse(tree)
    except InvalidField as error:
        raise UnusableSettings(f"{file}: {error.message}") from error


def _tree(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_FILE_BYTES + 1)
    except OSError as error:
        text = f"TWOFOLD_MODELS_FILE is {str(file)!r}, which cannot be read: {error.strerror}"
        raise UnusableSettings(text) from error
    if len(data) > _FILE_BYTES:
        raise UnusableSettings(f"{file}: longer than {_FILE_BYTES} bytes, the most allowed")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # also what is no UTF-8
        raise UnusableSettings(f"{file}: no TOML: {error}") from error


def _explain(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, whose input is Any
    """One of pydantic's complaints, in our words."""
    loc: Sequence[int | str] = problem["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)[1:]
    if problem["type"] == "extra_forbidden":
        return f"{where} is not known; allowed here: {', '.join(_keys(loc))}"
    message: str = problem["msg"]
    return f"{where} is {shorten(repr(problem['input']))}: {message[:1].lower()}{message[1:]}"


def _keys(loc: Sequence[int | str]) -> Sequence[str]:
    """What may stand beside the key at a place."""
    if len(loc) == 1:
        return list(_File.model_fields)
    is_policy = any(str(part).endswith("_queue_policy") for part in loc[:-1])
    return list((_Policy if is_policy else _Model).model_fields)


def _merged(base: _Tree, over: _Tree) -> _Tree:
    """`base` with the keys of `over` put over it, tables likewise."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        result[key] = _merged(cast("_Tree", below), cast("_Tree", value)) if both else value
    return result


def _name_problems(models: Mapping[str, _Tree]) -> Iterator[str]:
    for name in models:
        try:
            check_name("name", name)
        except InvalidField as error:
            yield f"models.{shorten(name)} cannot be a model: {error.message}"


def _problems(made: _Tree) -> Iterator[str]:
    """Values that do not go together."""
    largest, levels = made["max_batch_size"], made.get("priority_levels", 0)
    for size in made.get("preferred_batch_size", ()):
        if size > largest:
            yield f"preferred_batch_size holds {size}; allowed: 1 to max_batch_size ({largest})"
    level = made.get("default_priority_level", 0)
    if levels and not 1 <= level <= levels:
        yield f"default_priority_level is {level}; allowed: 1 to priority_levels ({levels})"
    if level and not levels:
        yield f"default_priority_level is {level}; allowed without priority_levels: 0"
    for key in made.get("priority_queue_policy", {}):
        if key not in map(str, range(1, levels + 1)):
            allowed = f"1 to priority_levels ({levels})" if levels else "none without levels"
            yield f"priority_queue_policy.{shorten(key)} is no level; allowed: {allowed}"
    yield from _timeout_problems(made)


def _timeout_problems(made: _Tree) -> Iterator[str]:
    """A lone request would always be refused before its batch is due."""
    delay_us = made["max_queue_delay_microseconds"]
    for policy in _policies(made):
        if policy.timeout_action == "REJECT" and policy.default_timeout_s * 1e6 <= delay_us:
            yield (
                f"default_timeout_microseconds is {round(policy.default_timeout_s * 1e6)}; "
                f"allowed: more than max_queue_delay_microseconds ({delay_us}), or 0 for none"
            )
            return


def _policies(made: _Tree) -> tuple[QueuePolicy, ...]:
    """The policy of each level; without levels that of all requests."""
    default: _Tree = made["default_queue_policy"]
    own: Mapping[str, _Tree] = made.get("priority_queue_policy", {})
    levels = range(1, max(made.get("priority_levels", 0), 1) + 1)
    return tuple(_policy(_merged(default, own.get(str(level), {}))) for level in levels)


def _policy(made: _Tree) -> QueuePolicy:
    return QueuePolicy(
        max_queue_size=made["max_queue_size"],
        default_timeout_s=made.get("default_timeout_microseconds", 0) / 1e6 or math.inf,
        allow_timeout_override=made.get("allow_timeout_override", True),
        timeout_action=made.get("timeout_action", "REJECT"),
    )


def _limits(made: _Tree) -> Limits:
    return Limits(
        max_batch_size=made["max_batch_size"],
        max_queue_size=made["default_queue_policy"]["max_queue_size"],
        max_queue_delay_s=made["max_queue_delay_microseconds"] / 1e6,
        preferred_batch_size=tuple(sorted(set(made.get("preferred_batch_size", ())))),
        queues=_policies(made),
        default_priority_level=made.get("default_priority_level", 0) or 1,
    )
