"""Models and their versions as readers see them, and what users change: aliases, withdrawals."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from google.protobuf import json_format

from twofold import keys, manifest, names
from twofold.errors import Conflict, Corrupt, InvalidField, NotFound
from twofold.internal.v1 import record_pb2
from twofold.principal import Principal
from twofold.seams import Clock
from twofold.store import Store
from twofold.v1 import model_pb2

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class VersionState:
    """A visible version."""

    number: int
    withdrawn: bool


def model_names(store: Store, tenant: str) -> list[str]:
    """Models with at least one visible version, by name."""
    found = (name for name in store.names(keys.models(tenant)) if _is_model(name))
    return [name for name in found if visible_versions(store, tenant, name)]


def visible_versions(store: Store, tenant: str, model: str) -> list[VersionState]:
    """The versions that have a manifest, ascending; none where the model is unknown."""
    return [
        VersionState(number, store.exists(keys.version_withdrawn(tenant, model, number)))
        for number in numbers(store.names(keys.model(tenant, model)))
        if store.exists(keys.version_manifest(tenant, model, number))
    ]


def current_version(versions: Sequence[VersionState]) -> int | None:
    """The version served by default: the highest that is not withdrawn."""
    return max((found.number for found in versions if not found.withdrawn), default=None)


def read_manifest(
    store: Store, tenant: str, model: str, number: int
) -> tuple[model_pb2.Manifest, str]:
    """A visible version's manifest and the SHA-256 of its bytes.

    Raises:
        NotFound: there is no such visible version.
        Corrupt: the manifest cannot be read, or is another version's.
    """
    data = store.read(keys.version_manifest(tenant, model, number), manifest.LIMIT_BYTES)
    resource = f"models/{model}/versions/{number}"
    if data is None:
        raise NotFound(f"{resource} does not exist", resource=resource)
    found = manifest.decode(data)
    if (found.model, found.version) != (model, number):
        raise Corrupt(f"{resource} has the manifest of another version", resource=resource)
    return found, manifest.sha256_hex(data)


def read_aliases(store: Store, tenant: str, model: str) -> dict[str, int]:
    """Each alias of a model and the version it stands for; raises Corrupt."""
    aliases: dict[str, int] = {}
    for name in store.names(keys.aliases(tenant, model)):
        sequence = _last_sequence(store, tenant, model, name) if _is_alias(name) else 0
        if sequence:
            data = store.read(keys.alias(tenant, model, name, sequence))
            aliases[name] = _record(data, f"models/{model}").version
    return aliases


def set_alias(
    store: Store, clock: Clock, principal: Principal, model: str, alias: str, version: int
) -> None:
    """Lets an alias stand for a visible version, durably.

    Raises:
        InvalidField: the alias is not a name.
        NotFound: there is no such visible version.
        Conflict: another moved the alias at the same time.
    """
    names.check_alias("alias", alias)
    _require_visible(store, principal.tenant, model, version)
    sequence = _last_sequence(store, principal.tenant, model, alias) + 1
    key = keys.alias(principal.tenant, model, alias, sequence)
    if not store.create(key, _stamp(clock, principal, version)):
        resource = f"models/{model}"
        raise Conflict(f"alias {alias} of {resource} was moved meanwhile", resource=resource)
    try:
        _require_visible(store, principal.tenant, model, version)
    except NotFound:
        # Removed a moment ago, by a collector that did not see this alias yet.
        store.remove(key)
        raise


def withdraw(store: Store, clock: Clock, principal: Principal, model: str, version: int) -> bool:
    """Takes a visible version out of default serving, durably; idempotent; raises NotFound.

    Returns whether it was this call that did it.
    """
    _require_visible(store, principal.tenant, model, version)
    key = keys.version_withdrawn(principal.tenant, model, version)
    return store.create(key, _stamp(clock, principal, version))


def read_withdrawal(
    store: Store, tenant: str, model: str, number: int
) -> record_pb2.AliasRecord | None:
    """Who withdrew a version and when; None where nobody did; raises Corrupt."""
    data = store.read(keys.version_withdrawn(tenant, model, number))
    return None if data is None else _record(data, f"models/{model}/versions/{number}")


def _is_model(name: str) -> bool:
    try:
        names.check_name("model", name)
    except InvalidField:
        return False
    return True


def _is_alias(name: str) -> bool:
    return _is_model(name) and not name.isdigit()


def numbers(found: Sequence[str]) -> list[int]:
    """Version or sequence numbers among names, ascending; "07" and huge ones are none of ours."""
    return sorted(
        int(name)
        for name in found
        if name.isascii() and name.isdigit() and name[0] != "0" and len(name) <= len(str(1 << 62))
    )


def _last_sequence(store: Store, tenant: str, model: str, alias: str) -> int:
    found = store.names(f"{keys.aliases(tenant, model)}/{alias}")
    return max(numbers([name.removesuffix(".json") for name in found]), default=0)


def _require_visible(store: Store, tenant: str, model: str, version: int) -> None:
    names.check_name("model", model)
    if version < 1 or not store.exists(keys.version_manifest(tenant, model, version)):
        resource = f"models/{model}/versions/{version}"
        raise NotFound(f"{resource} does not exist", resource=resource)


def _stamp(clock: Clock, principal: Principal, version: int) -> bytes:
    record = record_pb2.AliasRecord(
        format_version=FORMAT_VERSION, version=version, principal=principal.name
    )
    record.create_time.FromMilliseconds(clock.time_ms())
    fields = json_format.MessageToDict(record, preserving_proto_field_name=True)
    return json.dumps(fields, sort_keys=True).encode("ascii")


def _record(data: bytes | None, resource: str) -> record_pb2.AliasRecord:
    record = record_pb2.AliasRecord()
    try:
        fields = cast("object", json.loads(data or b""))
        if not isinstance(fields, dict):
            raise Corrupt(f"an alias of {resource} is not a JSON object", resource=resource)
        json_format.ParseDict(cast("dict[str, object]", fields), record, ignore_unknown_fields=True)
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise Corrupt(f"an alias of {resource} cannot be read", resource=resource) from error
    if record.format_version != FORMAT_VERSION:
        raise Corrupt(f"an alias of {resource} is of a newer format", resource=resource)
    return record
