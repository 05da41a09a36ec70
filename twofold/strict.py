"""What no message from outside may hold: unknown fields, unknown enum values, NaN or infinity."""

import math
from collections.abc import Iterable, Mapping
from typing import cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from twofold.errors import InvalidField


def check(message: Message, path: str = "") -> None:
    """Raises InvalidField for the first thing wrong in `message`, at any depth.

    Protobuf itself refuses to parse messages nested deeper than 100, which bounds the recursion.
    """
    unknown = UnknownFieldSet(message)
    if len(unknown):
        number = cast("int", unknown[0].field_number)  # the stub types elements as Any
        raise InvalidField.of(
            path or message.DESCRIPTOR.name, f"unknown field {number}", "fields of this release"
        )
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        for entry_name, entry in _entries(field, name, value):
            _check_entry(field, entry_name, entry)


def _entries(field: FieldDescriptor, name: str, value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        named = cast("Mapping[object, object]", value)  # a protobuf map
        return [(f"{name}.{key}", entry) for key, entry in named.items()]
    if field.is_repeated:
        return [
            (f"{name}[{index}]", entry)
            for index, entry in enumerate(cast("Iterable[object]", value))
        ]
    return [(name, value)]


def _check_entry(field: FieldDescriptor, name: str, value: object) -> None:
    if isinstance(value, Message):
        check(value, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidField.of(name, value, "a finite number")
    elif field.enum_type is not None:
        _check_enum(field.enum_type, name, value)


def _check_enum(enum: EnumDescriptor, name: str, value: object) -> None:
    if value not in enum.values_by_number:
        known = ", ".join(entry.name for entry in enum.values[1:])
        raise InvalidField.of(name, value, known)
