"""torch.compile for a training's loss: opt-in, tried before it is used, its cache private.

Compiled code is loaded from the cache as it stands there, so the folder must be this user's alone.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import logging
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo
import torch._inductor.config
from torch import Tensor, nn

from trainer.rows import Rows

LossOf = Callable[[Rows], Tensor]
#: Longest text of a compiler's error that a user is shown.
_SHOWN = 200
_PATH = re.compile(r"(?<![\w.])~?/[^\s'\",:;()]+")

logger = logging.getLogger(__name__)


class CannotCompile(Exception):
    """The text says why, for people."""


def told(error: Exception) -> str:
    """The first line of what an error of torch says, without the machine's paths: users see it."""
    line = str(error).strip().partition("\n")[0]
    return _PATH.sub("...", line)[:_SHOWN]


def home() -> Path:
    """The user's home folder; raises CannotCompile for a user without one, as containers have."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise CannotCompile("there is no home folder for compiled code; set HOME") from error


def cache_folder(home: Path) -> Path:
    """The folder of compiled code below `home`, made if it is not there.

    Raises CannotCompile where somebody else could have written to it, or it cannot be made.
    """
    folder = home / ".cache" / "twofold" / "compiled"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        text = f"the folder for compiled code cannot be made: {error.strerror}"
        raise CannotCompile(text) from error
    is_private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    if not is_private or found.st_uid != os.getuid():
        raise CannotCompile("the folder for compiled code is not private; remove it or chmod 700")
    return folder


def compile_loss(loss_of: LossOf, net: nn.Module, rows: Rows, folder: Path) -> LossOf:
    """`loss_of` compiled for batches of the size of `rows`; others go through `loss_of` itself.

    Tried at once, forward and backward, so that a network which cannot be compiled is known before
    the first step; weights, buffers, gradients and random states are left as they were.

    Raises CannotCompile.
    """
    # One thread: a pool of compilers would be processes that outlive a killed trainer.
    torch._inductor.config.compile_threads = 1  # noqa: SLF001 - torch has no public name for it
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    torch._dynamo.reset()  # noqa: SLF001 - likewise; what jobs before this one left behind

    def of_tensors(inputs: tuple[Tensor, ...], target: Tensor, weight: Tensor | None) -> Tensor:
        return loss_of(Rows(inputs, target, weight))

    program = torch.compile(of_tensors, dynamic=False)
    count = len(rows)

    def compiled(piece: Rows) -> Tensor:
        if len(piece) != count:
            return loss_of(piece)
        return program(piece.inputs, piece.target, piece.weight)

    _try(compiled, net, rows)
    return compiled


def _try(compiled: LossOf, net: nn.Module, rows: Rows) -> None:
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    device = rows.target.device
    devices = [device.index or 0] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            compiled(rows).backward()
    except Exception as error:  # whatever a compiler may raise
        logger.warning("the network cannot be compiled", exc_info=True)
        text = f"torch.compile failed: {type(error).__name__}: {told(error)}"
        raise CannotCompile(text) from error
    finally:
        net.load_state_dict(state)
        for parameter in net.parameters():
            parameter.grad = None
