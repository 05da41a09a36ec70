"""Specs as people write them: TOML or a dict to TrainingSpec and back, strictly.

Names are those of spec.proto; enums stand in lower case without their prefix ("adam"), durations as
seconds. The fields come from the message's own descriptor, so a new one needs nothing here.
"""

import copy
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from twofold.errors import InvalidField
from twofold.spec_fields import FIELDS
from twofold.v1 import graph_pb2, spec_pb2

#: A value of a spec's tree.
Value: TypeAlias = "bool | int | float | str | Sequence[Value] | Mapping[str, Value]"
#: A spec as nested tables, not checked yet.
Tree: TypeAlias = Mapping[str, object]

#: Longest accepted text: a spec names data, it does not hold them.
TEXT_LIMIT: Final = 1 << 20
#: The stubs know two classes of descriptor, one per implementation; they are used alike.
_SPEC: Final = cast("Descriptor", spec_pb2.TrainingSpec.DESCRIPTOR)
_DURATION: Final = "google.protobuf.Duration"
#: Largest duration of google.protobuf.Duration, in seconds: about 10,000 years.
_DURATION_LIMIT_S: Final = 315_576_000_000
_BARE_KEY: Final = re.compile("[A-Za-z0-9_-]+")
_INT_BITS: Final = {FieldDescriptor.TYPE_INT32: 32, FieldDescriptor.TYPE_INT64: 64}


def from_dict(tree: Tree) -> spec_pb2.TrainingSpec:
    """The spec of nested tables; what is left out stays unset.

    Raises:
        InvalidField: unknown key, wrong type, NaN, infinity or unknown choice; names the key.
    """
    message = _message(_SPEC, _replaced(tree, _numbers()), "")
    return json_format.ParseDict(message, spec_pb2.TrainingSpec())


def to_dict(spec: spec_pb2.TrainingSpec) -> dict[str, Value]:
    """The nested tables of what is set in `spec` but for graphs; `from_dict` gives it back."""
    plain = spec_pb2.TrainingSpec()
    plain.CopyFrom(spec)
    if plain.HasField("network"):
        plain.network.ClearField("graph")
    if plain.HasField("training"):
        plain.training.ClearField("loss_graph")
    tree = json_format.MessageToDict(plain, preserving_proto_field_name=True)
    return cast("dict[str, Value]", _replaced(_tables(_SPEC, tree), _words()))


def parse(text: str) -> dict[str, Value]:
    """The nested tables of a TOML text; raises InvalidField where it is no TOML."""
    if len(text) > TEXT_LIMIT:
        raise InvalidField.of("spec", f"{len(text)} long", f"at most {TEXT_LIMIT} characters")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also from numbers and lists without end
        raise InvalidField(f"the spec is no TOML: {error}", field="spec") from error


def from_toml(text: str) -> spec_pb2.TrainingSpec:
    """The spec of a TOML text; raises InvalidField, see `from_dict`."""
    return from_dict(parse(text))


def read(path: Path) -> dict[str, Value]:
    """The nested tables of a TOML file; raises InvalidField where it is none."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(TEXT_LIMIT + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidField(f"cannot read {path.name} as UTF-8 text", field="spec") from error
    return parse(text)


def to_toml(spec: spec_pb2.TrainingSpec) -> str:
    """`spec` as a TOML text that `from_toml` gives back."""
    return "\n".join(_lines(to_dict(spec), ""))


def apply_sets(tree: Tree, sets: Sequence[str]) -> dict[str, Value]:
    """`tree` with each "dotted.key=value" of `sets` put in; `tree` itself stays as it is.

    A value is TOML (200, true, [64, 64], "text"); what is no TOML, or belongs to a key that is
    text, is taken as bare text.

    Raises:
        InvalidField: no "=" in it, an empty key, or a key below something that is no table.
    """
    result = cast("dict[str, Value]", copy.deepcopy(dict(tree)))  # checked by `from_dict`
    for entry in sets:
        key, equals, text = entry.partition("=")
        path = [part.strip() for part in key.split(".")]
        if not equals or not all(path):
            raise InvalidField.of("--set", entry, "KEY=VALUE such as training.epochs=200")
        value = bare_value(text.strip())
        is_scalar = isinstance(value, bool | int | float)
        _put(result, path, text.strip() if is_scalar and _is_text(path) else value)
    return result


def _is_text(path: Sequence[str]) -> bool:
    """Whether a key is one text, which may look like a number, such as a version's."""
    field = FIELDS.get(".".join(path))
    return field is not None and field.kind == "text" and not field.entries


def bare_value(text: str) -> Value:
    """`text` as a TOML value, or as it is where it is none."""
    try:
        tree = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value: object = tree["value"]
    is_plain = len(tree) == 1 and isinstance(value, bool | int | float | str | list)
    return cast("Value", value) if is_plain else text  # tomllib's values are Any


def _put(tree: dict[str, Value], path: Sequence[str], value: Value) -> None:
    *parents, last = path
    for depth, name in enumerate(parents, start=1):
        below = tree.setdefault(name, {})
        if not isinstance(below, dict):
            raise InvalidField.of(".".join(path[:depth]), below, "a table")
        tree = below
    tree[last] = value


# Words for numbers, such as "auto".


def _numbers() -> dict[str, tuple[object, object]]:
    return {path: field.word for path, field in FIELDS.items() if field.word}


def choices_of(path: str) -> Sequence[str]:
    """What the choice at a dotted path may be, as specs spell it."""
    descriptor, *names = _SPEC, *path.split(".")
    for name in names[:-1]:
        descriptor = cast("Descriptor", descriptor.fields_by_name[name].message_type)
    return list(_choices(cast("EnumDescriptor", descriptor.fields_by_name[names[-1]].enum_type)))


def _words() -> dict[str, tuple[object, object]]:
    return {path: (number, word) for path, (word, number) in _numbers().items()}


def _replaced(tree: Tree, pairs: Mapping[str, tuple[object, object]]) -> Tree:
    """`tree` with the first of a pair replaced by the second where it stands at the pair's path."""
    if not isinstance(tree, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - from users
        return tree
    result = dict(tree)
    for path, (old, new) in pairs.items():
        name, _, rest = path.partition(".")
        if name not in result:
            continue
        value = result[name]
        if rest:
            result[name] = _replaced(cast("Tree", value), {rest: (old, new)})
        elif type(value) is type(old) and value == old:
            result[name] = new
    return result


# Tables to protobuf's JSON form.


def _message(descriptor: Descriptor, value: object, path: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise _refused(path or "spec", value, "a table")
    table = cast("Mapping[object, object]", value)
    fields = {name: one for name, one in descriptor.fields_by_name.items() if not _is_graph(one)}
    return {
        field.name: _field(field, item, _join(path, field.name))
        for field, item in ((_known(fields, key, path), item) for key, item in table.items())
    }


def _is_graph(field: FieldDescriptor) -> bool:
    """Graphs are made of modules by a program, never written by people."""
    kind = field.message_type
    return kind is not None and kind.full_name == graph_pb2.Graph.DESCRIPTOR.full_name


def _known(fields: Mapping[str, FieldDescriptor], key: object, path: str) -> FieldDescriptor:
    if not isinstance(key, str) or key not in fields:
        where = _join(path, str(key))
        allowed = ", ".join(sorted(fields))
        raise InvalidField(
            f"{where} is not known; allowed here: {allowed}",
            field=where,
            value=key,
            allowed=allowed,
        )
    return fields[key]


def _refused(path: str, value: object, allowed: str) -> InvalidField:
    try:
        return InvalidField.of(path, value, allowed)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        return InvalidField.of(path, f"a {type(value).__name__} too long to show", allowed)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _field(field: FieldDescriptor, value: object, path: str) -> object:
    if (item := _map_item(field)) is not None:
        return _map(item, value, path)
    if not field.is_repeated:
        return _single(field, value, path)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _refused(path, value, "a list")
    items = cast("Sequence[object]", value)
    return [_single(field, item, f"{path}[{index}]") for index, item in enumerate(items)]


def _map_item(field: FieldDescriptor) -> FieldDescriptor | None:
    """What a map holds; None for every other field."""
    kind = field.message_type
    if kind is None or not kind.GetOptions().map_entry:
        return None
    return kind.fields_by_name["value"]


def _map(item: FieldDescriptor, value: object, path: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise _refused(path, value, "a table")
    return {
        _text(key, path): _single(item, entry, _join(path, str(key)))
        for key, entry in cast("Mapping[object, object]", value).items()
    }


def _single(field: FieldDescriptor, value: object, path: str) -> object:
    if field.message_type is not None:
        if field.message_type.full_name == _DURATION:
            return _duration(value, path)
        return _message(field.message_type, value, path)
    if field.enum_type is not None:
        return _choice(field.enum_type, value, path)
    return _SCALARS[field.type](value, path)


def _duration(value: object, path: str) -> str:
    seconds = _real(value, path)
    if abs(seconds) > _DURATION_LIMIT_S:
        raise _refused(path, value, "seconds")
    return f"{seconds:.9f}s"


def _choice(enum: EnumDescriptor, value: object, path: str) -> str:
    choices = _choices(enum)
    if not isinstance(value, str) or value not in choices:
        raise _refused(path, value, ", ".join(choices))
    return choices[value]


def _choices(enum: EnumDescriptor) -> dict[str, str]:
    # The value 0 is "unspecified": leaving the key out says the same.
    unspecified = enum.values_by_number[0].name
    prefix = unspecified.removesuffix("UNSPECIFIED")
    return {
        value.name.removeprefix(prefix).lower(): value.name for value in enum.values if value.number
    }


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise _refused(path, value, "text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refused(path, value, "text without lone surrogates") from error
    return value


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise _refused(path, value, "true or false")
    return value


def _real(value: object, path: str) -> float:
    allowed = "a finite number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(path, value, allowed)
    try:
        number = float(value)
    except OverflowError as error:
        raise _refused(path, value, allowed) from error
    if not math.isfinite(number):
        raise _refused(path, value, allowed)
    return number


def _integer(bits: int) -> Callable[[object, str], int]:
    bound = 1 << (bits - 1)

    def convert(value: object, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _refused(path, value, "a whole number")
        if not -bound <= value < bound:
            raise _refused(path, value, f"a whole number of {bits} bits")
        return value

    return convert


_SCALARS: Final[Mapping[int, Callable[[object, str], object]]] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BOOL: _boolean,
    FieldDescriptor.TYPE_DOUBLE: _real,
    **{kind: _integer(bits) for kind, bits in _INT_BITS.items()},
}


# Protobuf's JSON form to tables.


def _tables(descriptor: Descriptor, tree: Mapping[str, object]) -> dict[str, Value]:
    return {name: _plain(descriptor.fields_by_name[name], value) for name, value in tree.items()}


def _plain(field: FieldDescriptor, value: object) -> Value:
    if (item := _map_item(field)) is not None:
        table = cast("dict[str, object]", value)
        return {key: _plain_single(item, entry) for key, entry in sorted(table.items())}
    if field.is_repeated:
        return [_plain_single(field, item) for item in cast("list[object]", value)]
    return _plain_single(field, value)


def _plain_single(field: FieldDescriptor, value: object) -> Value:
    if field.message_type is not None:
        if field.message_type.full_name == _DURATION:
            return _seconds(str(value))
        return _tables(field.message_type, cast("dict[str, object]", value))
    if field.enum_type is not None:
        names = {full: short for short, full in _choices(field.enum_type).items()}
        return names.get(str(value), str(value))
    # JSON holds 64-bit integers as text.
    return int(str(value)) if field.type in _INT_BITS else cast("Value", value)


def _seconds(text: str) -> int | float:
    seconds = float(text.removesuffix("s"))
    return int(seconds) if seconds.is_integer() else seconds


def _lines(tree: Mapping[str, Value], path: str) -> list[str]:
    plain = {name: value for name, value in tree.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(name)} = {literal(value)}" for name, value in plain.items()]
    for name, value in tree.items():
        if isinstance(value, Mapping):
            below = _join(path, _key(name))
            lines += ["", f"[{below}]", *_lines(value, below)]
    return lines if path else [*lines, ""]


def _key(name: str) -> str:
    """Names of fields are bare keys; those of a map may be any text."""
    return name if _BARE_KEY.fullmatch(name) else literal(name)


def literal(value: Value) -> str:
    """A value, but for tables, as TOML writes it."""
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but for DEL and the surrogate pairs of ASCII output.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
