"""weights.safetensors to a plain state_dict in safetensors, byte for byte, without torch.

Weights hold a tied parameter once, and buffers that a state_dict leaves out; a state_dict has every
key of the net's `state_dict()`. Source of the format: github.com/huggingface/safetensors#format.
"""

import json
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import BinaryIO, TypeAlias, cast

from twofold.errors import Corrupt

Write: TypeAlias = Callable[[bytes], object]
#: Of a tensor: dtype and shape as the header has them, and where its bytes begin and end.
Entry: TypeAlias = tuple[object, object, int, int]

_PIECE_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")
#: safetensors' own limit of a header.
_HEADER_LIMIT = 100_000_000
#: A header is filled with blanks to a multiple of it.
_ALIGNMENT = 8
_METADATA = "__metadata__"


def convert(
    weights: BinaryIO, write: Write, ties: Mapping[str, str], left_out: Collection[str]
) -> None:
    """Writes the state_dict of `weights` in pieces; the same bytes where the keys are the same.

    Args:
        weights: weights.safetensors, at its beginning.
        write: appends to the new file.
        ties: keys to add, and whose numbers they have.
        left_out: keys that the state_dict does not have.

    Raises:
        Corrupt: `weights` is no safetensors file, or lacks the source of a tie.
    """
    if not ties and not left_out:
        _copy(weights, write, None)
        return
    begin, entries = _header(weights)
    for path, source in ties.items():
        if source not in entries:
            raise Corrupt(f"the weights lack {source}, which {path} is tied to")
        entries[path] = entries[source]
    kept = {path: entries[path] for path in sorted(entries) if path not in left_out}
    head = json.dumps(dict(_placed(kept)), separators=(",", ":")).encode()
    head += b" " * (-len(head) % _ALIGNMENT)
    write(_LENGTH.pack(len(head)) + head)
    for _, _, start, end in kept.values():
        weights.seek(begin + start)
        _copy(weights, write, end - start)


def _placed(entries: Mapping[str, Entry]) -> Iterator[tuple[str, object]]:
    """The header's entries, tensors one after another."""
    position = 0
    for path, (dtype, shape, start, end) in entries.items():
        offsets = [position, position + end - start]
        yield path, {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        position = offsets[1]


def _header(file: BinaryIO) -> tuple[int, dict[str, Entry]]:
    """Where the tensors' bytes begin, and the tensors by key; raises Corrupt."""
    try:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        fields: object = json.loads(file.read(length)) if length <= _HEADER_LIMIT else None
        tables = cast("dict[str, dict[str, object]]", fields)
        entries = {key: _entry(table) for key, table in tables.items() if key != _METADATA}
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Corrupt("the weights are not safetensors") from error
    return _LENGTH.size + length, entries


def _entry(table: Mapping[str, object]) -> Entry:
    start, end = cast("list[int]", table["data_offsets"])
    if not 0 <= start <= end:
        raise ValueError("offsets that are none")
    return table["dtype"], table["shape"], start, end


def _copy(file: BinaryIO, write: Write, size_bytes: int | None) -> None:
    """`size_bytes` of the file, or all there is; raises Corrupt where there are fewer."""
    left = size_bytes
    while left is None or left > 0:
        piece = file.read(_PIECE_BYTES if left is None else min(_PIECE_BYTES, left))
        if not piece:
            break
        write(piece)
        left = None if left is None else left - len(piece)
    if left:
        raise Corrupt("the weights end within a tensor")
