"""What a network may be instead of eager, by device."""
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence

import torch

from inferer.forms.arrays import ArraysForm
from inferer.forms.choice import BUCKETS
from inferer.forms.compiled import CompiledForm, Compiler
from inferer.forms.cuda_graphs import CudaDevice, CudaGraphsForm
from inferer.forms.folding import Folded, fold
from inferer.forms.form import Columns, Form, Inexpressible
from inferer.forms.fused import CHANNELS_LAST, FUSED, FusedForm
from twofold.nets.net import Net


class CpuOffers:
    """See preparation.Offers. Compiled ones are made aside, where there is a compiler."""

    names: Sequence[str] = (FUSED, CHANNELS_LAST, ArraysForm.name)

    def __init__(self, net: Net, compiler: Compiler | None = None) -> None:
        self._net = net
        self._compiler = compiler
        self._folded: Folded | None = None
        self.names_aside: Sequence[str] = (CompiledForm.name,) if compiler else ()

    def make(self, name: str, examples: Columns) -> Form:
        """See preparation.Offers."""
        if name in (FUSED, CHANNELS_LAST):
            is_last = name == CHANNELS_LAST
            return FusedForm(self._net, self._fold(examples), is_channels_last=is_last)
        if name == ArraysForm.name:
            return ArraysForm(self._net, self._fold(examples))
        if self._compiler is None:
            raise Inexpressible(f"there is no {name}")
        return CompiledForm(self._net, examples, BUCKETS, self._compiler)

    @torch.inference_mode()
    def _fold(self, examples: Columns) -> Folded:
        if self._folded is None:
            inputs = [torch.from_numpy(column[0].copy()) for column in examples]
            self._folded = fold(self._net.plan, inputs)
        return self._folded


class CudaOffers:
    """See preparation.Offers."""

    names: Sequence[str] = (CudaGraphsForm.name,)
    names_aside: Sequence[str] = ()

    def __init__(self, net: Net, device: torch.device) -> None:
        self._net = net
        self._device = device

    def make(self, name: str, examples: Columns) -> Form:
        """See preparation.Offers."""
        if name != CudaGraphsForm.name:
            raise Inexpressible(f"there is no {name}")
        return CudaGraphsForm(self._net, examples, CudaDevice(self._device))
