"""A net compiled by torch's inductor for a few batch sizes: `compiled`; others are padded to them.

Opt-in. Compiling takes seconds to minutes, so that it is done aside while other forms serve. What
is compiled has no guards and is never compiled again: it is traced for exactly these sizes.
Compiled code is loaded from the cache as it stands there: the folder must be this user's alone.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from inferer.forms.buckets import bucket_of
from inferer.forms.form import Columns, Inexpressible
from twofold.features import Scores
from twofold.nets import registry
from twofold.nets.net import Net
from twofold.private_folder import make
from twofold.tensors import Array

Compiled = Callable[..., Any]
Compiler = Callable[[Net, Sequence[Tensor]], Compiled]


class CompiledForm:
    """See Form. Raises Inexpressible where a net cannot be compiled."""

    name = "compiled"

    def __init__(
        self, net: Net, examples: Columns, buckets: Sequence[int], compiler: Compiler
    ) -> None:
        self._buckets = buckets
        self.most_rows = buckets[-1]
        self._is_single = len(net.graph.outputs) <= 1
        self._made: dict[int, tuple[list[Array], list[Tensor], Compiled]] = {}
        for rows in buckets:
            arrays = [np.resize(np.concatenate(c), (rows, *c[0].shape[1:])) for c in examples]
            inputs = [torch.from_numpy(array) for array in arrays]
            try:
                self._made[rows] = (arrays, inputs, compiler(net, inputs))
            except Exception as error:  # whatever a compiler may raise
                raise Inexpressible(f"torch cannot compile it: {type(error).__name__}") from error

    def put(self, columns: Columns, rows: int) -> tuple[int, int]:
        """See Form. What is beyond `rows` is of an earlier batch; nobody sees its answers."""
        bucket = bucket_of(rows, self._buckets)
        arrays, _, _ = self._made[bucket]
        for column, array in zip(columns, arrays, strict=True):
            np.concatenate(column, out=array[:rows])
        return bucket, rows

    @torch.inference_mode()
    def compute(self, batch: tuple[int, int]) -> Scores:
        """See Form."""
        bucket, rows = batch
        _, inputs, run = self._made[bucket]
        results = tuple(each[:rows] for each in run(*inputs))
        return registry.arrays_of(results[0] if self._is_single else results)


def inductor(root: Path) -> Compiler:
    """Torch's inductor with a folder below `root` as its cache; raises InvalidField."""
    folder = make(make(root, "cache") / "compiled", "cache")

    def compiler(net: Net, inputs: Sequence[Tensor]) -> Compiled:
        # Here, since it takes seconds to import.
        import torch._inductor as torch_inductor  # noqa: PLC0415 - likewise
        import torch._inductor.config as inductor_config  # noqa: PLC0415 - likewise
        from torch.fx.experimental.proxy_tensor import make_fx  # noqa: PLC0415 - likewise

        # One thread: a pool of compilers would be processes that outlive a killed inferer.
        inductor_config.compile_threads = 1
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)

        def answers(*arguments: Tensor) -> tuple[Tensor, ...]:
            found = net.head(net(*arguments))
            return found if isinstance(found, tuple) else (found,)

        with torch.no_grad():
            traced = make_fx(answers)(*inputs)
            compiled = cast("Compiled", torch_inductor.compile(traced, list(inputs)))
            compiled(*inputs)  # what is built at the first call is built now
        return compiled

    return compiler
