"""Every public class of torch.nn that no graph may hold, and why. No torch."""

from collections.abc import Mapping

_LAZY = "its shapes are not known before its first input; run it once, so that it becomes {}"
_LOSS = "a loss, not a part of a network; name a loss in the training options, or trace one"
_BASE = "a base class without a computation of its own"
_CONTAINER = "a container; it is traced through"
_UNPOOL = "it writes where its indices point, which no check before a run can bound; use Upsample"
_RANDOM_POOL = "it pools at random also in eval mode, so that no answer repeats; use MaxPool"
_PARALLEL = "it spreads a network over devices, which the services do themselves; give its module"

#: Classes that are not modules, but stand in the same namespace.
NOT_MODULES = (
    "Buffer",
    "LinearCrossEntropyOptions",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
)

#: Containers that a trace goes through: they have no node of their own.
CONTAINERS = ("ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential")

_LAZY_CLASSES = (
    *(f"{kind}{rank}d" for kind in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)),
    *(f"{kind}{rank}d" for kind in ("Conv", "ConvTranspose") for rank in (1, 2, 3)),
    "Linear",
)

_LOSSES = (
    "AdaptiveLogSoftmaxWithLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "NLLLoss2d",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
)

#: Why a class of torch.nn is refused, by its name.
REFUSED: Mapping[str, str] = {
    **{f"Lazy{name}": _LAZY.format(name) for name in _LAZY_CLASSES},
    **dict.fromkeys(_LOSSES, _LOSS),
    **dict.fromkeys(("Module", "RNNBase", "RNNCellBase"), _BASE),
    "Container": _CONTAINER + " as a Sequential, of which it is the old name",
    **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"), _UNPOOL),
    **dict.fromkeys(("FractionalMaxPool2d", "FractionalMaxPool3d"), _RANDOM_POOL),
    "CrossMapLRN2d": "an old form of a layer that torch has rewritten; use LocalResponseNorm",
    "DataParallel": _PARALLEL,
    "SyncBatchNorm": "it needs a process group; use BatchNorm1d, BatchNorm2d or BatchNorm3d",
}
