"""Weights from a file into a module of the user's: all of them or none."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from twofold.errors import InvalidField, shorten

_FIELD = "weights"
_FILE = (
    "a safetensors file, such as safetensors.torch.save_file(module.state_dict(), ...) writes; "
    "what torch.save writes is never read"
)
_THERE = "a safetensors file that exists"


def load_into(module: object, path: Path) -> None:
    """Sets every parameter and buffer of `module` to what a safetensors file has by its key.

    The keys are those of `module.state_dict()`, and each must be there, in its shape; of tensors
    that share their memory one is enough. A number may come in a smaller type of its kind.

    Raises:
        InvalidField: `module` is no torch.nn.Module, the file cannot be read, or keys are missing,
            unknown or of another shape or type; names them. The module is as it was.
    """
    if not isinstance(module, nn.Module):
        shown = type(module).__name__
        raise InvalidField.of("module", shown, "a torch.nn.Module, to give it weights of a file")
    found = _read(path)
    wanted = {key: value for key, value in module.state_dict().items() if _is_tensor(value)}
    tied = _tied(wanted, found)
    _require_all(wanted, found, tied)
    _require_same(wanted, found)
    given = {**found, **{key: found[source] for key, source in tied.items()}}
    before = {key: tensor.clone() for key, tensor in wanted.items()}
    try:
        module.load_state_dict(given, strict=False)  # the keys were compared; no file has others
    except RuntimeError as error:  # a module may have ways of its own to load
        for key, tensor in wanted.items():
            tensor.copy_(before[key])
        raise InvalidField(f"{_FIELD}: {shorten(str(error))}", field=_FIELD) from error


def _is_tensor(value: object) -> bool:
    """Not extra state, which may be anything and which no safetensors file has."""
    return isinstance(value, Tensor)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InvalidField.of(_FIELD, path.name, _THERE)
    try:
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidField.of(_FIELD, path.name, _FILE) from error


def _tied(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, str]:
    """Keys that the file lacks -> a key it has of the same memory; savers write that once."""
    sources = {_place(wanted[key]): key for key in wanted if key in found}
    return {
        key: sources[_place(tensor)]
        for key, tensor in wanted.items()
        if key not in found and tensor.numel() and _place(tensor) in sources
    }


def _place(tensor: Tensor) -> tuple[object, ...]:
    return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _require_all(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], tied: Mapping[str, str]
) -> None:
    missing = [key for key in wanted if key not in found and key not in tied]
    unknown = [key for key in found if key not in wanted]
    if not missing and not unknown:
        return
    parts = [
        *([f"lacks {_count(missing)}"] if missing else []),
        *([f"has {_count(unknown)}, which the module has not"] if unknown else []),
    ]
    text = f"{_FIELD}: the file {' and '.join(parts)}; its keys must be those of the state_dict()"
    raise InvalidField(text, field=_FIELD)


def _count(keys: Sequence[str]) -> str:
    listed = shorten(", ".join(keys))
    return f"{listed} ({len(keys)} keys)" if len(keys) > 1 else listed


def _require_same(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for key, tensor in found.items():
        own = wanted[key]
        if tensor.shape != own.shape or not _fits(tensor.dtype, own.dtype):
            allowed = f"{_words(own)}, as the module has it"
            raise InvalidField.of(f"{_FIELD}[{key}]", _words(tensor), allowed)


def _fits(given: torch.dtype, own: torch.dtype) -> bool:
    """Whether every number of a type is one of the other."""
    if given.is_floating_point != own.is_floating_point:
        return False
    return torch.promote_types(given, own) == own


def _words(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
