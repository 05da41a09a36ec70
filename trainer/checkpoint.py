"""Checkpoints: everything from which training goes on as if it had never stopped.

A checkpoint is one safetensors file `<steps done>.safetensors`; its metadata holds one JSON text
with the format version, the position and the circumstances.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
import struct
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialize
from torch import Tensor

from trainer import durable, machine
from trainer.loop import Loop, Position
from trainer.schedules import Plateau
from trainer.steps import is_out_of_memory
from twofold.errors import Corrupt
from twofold.manifest import sha256_hex

FORMAT_VERSION = 2
#: A disk that lies may have lost the newest, or a part of it: then the one before it is taken.
KEPT = 2
_SUFFIX = ".safetensors"
_METADATA = "twofold"
_LENGTH = struct.Struct("<Q")
_NET, _BEST, _AVERAGE, _OPTIMIZER = "net:", "best:", "average:", "optimizer:"


def write(folder: Path, loop: Loop) -> Path:
    """Makes the checkpoint of where the loop stands durable, and removes old ones of `folder`.

    Raises OSError where the disk fails; nothing half-written is left.
    """
    path = folder / f"{loop.position.step_count}{_SUFFIX}"
    if not path.exists():
        state, tensors = loop.recipe.optimizer.state()
        tensors = {_OPTIMIZER + key: tensor for key, tensor in tensors.items()} | _tensors(loop)
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {"format_version": FORMAT_VERSION, **_circumstances(loop), "optimizer": state}
        durable.write_bytes(path, serialize(kept, {_METADATA: json.dumps(header)}))
    for old in sorted(folder.glob(f"*{_SUFFIX}"), key=_steps)[:-KEPT]:
        old.unlink()
    return path


def read(path: Path, loop: Loop) -> list[str]:
    """Puts the loop where the checkpoint was taken.

    What keeps the whole from being equal to the bit, also by resumes before it, as sentences for
    people; empty: nothing does.

    Raises:
        Corrupt: it cannot be read, is of another format, or was taken of another job's training.
    """
    data = path.read_bytes()
    try:
        tensors = parse(data)
        header = _header(data)
        _require_same(header, loop)
        _restore(loop, tensors, header)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise Corrupt("the checkpoint cannot be read") from error
    known = loop.differences
    for name, now in _surroundings(loop).items():
        told = f"{name.replace('_', ' ')} was {header.get(name)} and is {now}"
        if header.get(name, now) != now and told not in known:
            known.append(told)
    return known


def of_job(newest: Path) -> list[Path]:
    """The checkpoints of a job whose newest is known: that one, then those of ever fewer steps.

    An older one is for where a newer one cannot be read.
    """
    found = newest.parent.parent.glob(f"*/*{_SUFFIX}")
    others = [path for path in found if path.stem.isdecimal() and path != newest]
    return [newest, *sorted(others, key=lambda path: (_steps(path), path), reverse=True)]


def batch_size_of(path: Path) -> int:
    """Rows per step of the training that a checkpoint was taken of; see `read`'s Corrupt."""
    try:
        return int(str(_header(path.read_bytes())["batch_size"]))
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise Corrupt("the checkpoint cannot be read") from error


def _steps(path: Path) -> int:
    return int(path.stem)


def _spec_digest(loop: Loop) -> str:
    return sha256_hex(loop.recipe.spec.SerializeToString(deterministic=True))


def _surroundings(loop: Loop) -> dict[str, object]:
    """What must be the same for the resumed half to be equal to the bit."""
    recipe = loop.recipe
    return {
        "torch_version": torch.__version__,
        "device": str(recipe.device),
        "processor": machine.processor(recipe.device),
        "threads": recipe.choices.threads,
        "precision": recipe.choices.precision,
        "execution": recipe.choices.execution,
    }


def _circumstances(loop: Loop) -> dict[str, object]:
    return {
        "position": asdict(loop.position),
        "spec_sha256": _spec_digest(loop),
        "batch_size": loop.recipe.choices.batch_size,
        "micro_batch_size": loop.step.micro_batch_size,
        "warm_start": loop.recipe.choices.warm_start,
        "fewest_threads": loop.fewest_threads,
        "differences": loop.differences,
        **_surroundings(loop),
    }


def _tensors(loop: Loop) -> dict[str, Tensor]:
    recipe = loop.recipe
    tensors = {_NET + name: tensor for name, tensor in recipe.net.weights().items()}
    tensors |= {_BEST + name: tensor for name, tensor in loop.best.items()}
    if recipe.average is not None:
        average = recipe.average.net.weights()
        tensors |= {_AVERAGE + name: tensor for name, tensor in average.items()}
    tensors["rng:cpu"] = torch.get_rng_state()
    if recipe.device.type == "cuda":
        tensors["rng:cuda"] = torch.cuda.get_rng_state(recipe.device)
    tensors["rng:order"] = loop.order_before
    tensors["total"] = loop.total
    return tensors


def _header(data: bytes) -> dict[str, object]:
    (size,) = _LENGTH.unpack_from(data)
    metadata = json.loads(data[_LENGTH.size : _LENGTH.size + size])["__metadata__"]
    header: dict[str, object] = json.loads(metadata[_METADATA])
    if header["format_version"] != FORMAT_VERSION:
        raise Corrupt(
            f"the checkpoint is of format {header['format_version']}; this release reads "
            f"{FORMAT_VERSION}"
        )
    return header


def _require_same(header: dict[str, object], loop: Loop) -> None:
    if header["spec_sha256"] != _spec_digest(loop):
        raise Corrupt("the checkpoint was taken of another spec")


def _restore(loop: Loop, tensors: dict[str, Tensor], header: dict[str, object]) -> None:
    recipe = loop.recipe
    recipe.net.load_weights(_part(tensors, _NET))
    for name, kept in loop.best.items():
        kept.copy_(tensors[_BEST + name])
    if recipe.average is not None:
        recipe.average.net.load_weights(_part(tensors, _AVERAGE))
    state = header["optimizer"]
    if not isinstance(state, list):
        raise Corrupt("the checkpoint has no state of the optimizer")
    recipe.optimizer.restore(state, _part(tensors, _OPTIMIZER))
    torch.set_rng_state(tensors["rng:cpu"])
    if recipe.device.type == "cuda" and "rng:cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng:cuda"], recipe.device)
    loop.order_before = tensors["rng:order"]
    loop.order.set_state(loop.order_before)
    loop.total.copy_(tensors["total"])
    loop.step.shrink_to(int(str(header["micro_batch_size"])))
    recipe.choices.warm_start = str(header.get("warm_start", ""))
    loop.fewest_threads = int(str(header.get("fewest_threads", 0)))
    differences = header.get("differences", [])
    if not isinstance(differences, list):
        raise Corrupt("the checkpoint has no list of differences")
    loop.differences = [str(told) for told in differences]
    position = header["position"]
    if not isinstance(position, dict):
        raise Corrupt("the checkpoint has no position")
    plateau = Plateau(**position.pop("plateau"))
    loop.position = Position(**position, plateau=plateau)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
