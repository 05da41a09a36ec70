"""All networks of the tests of tracing, with a few rows for each."""
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.twofold.nets import architectures_sequence as sequence
from tests.twofold.nets import architectures_table as table
from tests.twofold.nets import architectures_vision as vision

#: Rows of the examples.
ROWS = 3


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and what it takes: shapes of floats, or of integers below a number."""

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    #: 0: floats.
    below: tuple[int, ...] = (0, 0)

    @property
    def name(self) -> str:
        """For pytest."""
        return self.make.__name__

    def made(self) -> nn.Module:
        """The network, by a fixed seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            return self.make()

    def inputs(self, rows: int = ROWS, seed: int = 3) -> tuple[Tensor, ...]:
        """Some rows."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.randint(below, (rows, *shape), generator=generator)
            if below
            else torch.randn((rows, *shape), generator=generator)
            for shape, below in zip(self.shapes, self.below, strict=False)
        )


_IMAGE = ((3, 16, 16),)
_TOKENS = (sequence.VOCABULARY, sequence.VOCABULARY)
_SERIES = ((12, 3),)

ARCHITECTURES = (
    Architecture(vision.ResNet18, ((3, 32, 32),)),
    Architecture(vision.MobileNetV2, _IMAGE),
    Architecture(vision.UNet, ((1, 12, 12),)),
    Architecture(vision.ViT, _IMAGE),
    Architecture(vision.Mixer, _IMAGE),
    Architecture(vision.DenseNet, _IMAGE),
    Architecture(vision.SqueezeNet, _IMAGE),
    Architecture(vision.ConvNeXt, _IMAGE),
    Architecture(vision.SqueezeExcitation, _IMAGE),
    Architecture(vision.Inception, _IMAGE),
    Architecture(vision.Autoencoder, _IMAGE),
    Architecture(vision.VAE, ((12,),)),
    Architecture(vision.Video, ((1, 4, 6, 6),)),
    Architecture(vision.Capsules, _IMAGE),
    Architecture(sequence.TransformerClassifier, ((7,),), _TOKENS),
    Architecture(sequence.Seq2Seq, ((5,), (4,)), _TOKENS),
    Architecture(sequence.LSTMClassifier, ((7,),), _TOKENS),
    Architecture(sequence.GRUForecast, _SERIES),
    Architecture(sequence.Conv1dNet, _SERIES),
    Architecture(sequence.WaveNet, _SERIES),
    Architecture(sequence.TCN, _SERIES),
    Architecture(sequence.GPT, ((6,),), _TOKENS),
    Architecture(sequence.MaskedFusion, _SERIES),
    Architecture(sequence.AttentionPooling, _SERIES),
    Architecture(table.DLRM, ((3,), (3,)), (0, 5)),
    Architecture(table.MatrixFactorisation, ((2,),), (8,)),
    Architecture(table.WideDeep, ((4,), (2,)), (0, 5)),
    Architecture(table.Siamese, ((4,), (4,))),
    Architecture(table.Highway, ((6,),)),
    Architecture(table.BilinearNet, ((6,),)),
    Architecture(table.FiLM, ((4,), (2,))),
    Architecture(table.Experts, ((5,),)),
    Architecture(table.GraphConvolution, ((4, 3), (4, 4))),
    Architecture(table.DeepCross, ((5,),)),
    Architecture(table.Standardised, ((3,),)),
)
