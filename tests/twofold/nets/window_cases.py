"""Calls of functions over images, of factories and of losses; see function_cases."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import math

import torch
from torch.nn import functional as F  # noqa: N812 - as everyone writes it

from tests.twofold.nets.function_cases import (
    ALGEBRA,
    BOOL,
    BY_RANK,
    ELEMENTWISE,
    FP64,
    IMAGE,
    INT64,
    REDUCTIONS,
    RESHAPING,
    SEQUENCE,
    Case,
    Node,
    Type,
    X,
    Y,
    index,
    of,
    of_row,
)

WINDOWS = [
    *(
        Case(
            f"{name}{rank}D",
            [X, *rest],
            of(f"{name.lower()}{rank}d", *rest),
            BY_RANK[rank],
        )
        for rank in (1, 2, 3)
        for name, *rest in (
            ("MAX_POOL", 2),
            ("MAX_POOL", 3, 2, 1),
            ("AVG_POOL", 2),
            ("AVG_POOL", 3, 1, 1, True, False),
            ("LP_POOL", 2.0, 2),
            ("ADAPTIVE_AVG_POOL", 2),
            ("ADAPTIVE_MAX_POOL", 3),
        )
    ),
    *(
        Case(
            f"{name}{rank}D",
            [X, Y, *rest],
            of_row(f"{name.lower()}{rank}d", *rest),
            (BY_RANK[rank][0], (4, 4, *[3] * rank)),
        )
        for rank in (1, 2, 3)
        for name, *rest in (
            ("CONV", None, 2, 1),
            ("CONV", None, 1, "same", 2),
            ("CONV_TRANSPOSE", None, 2, 1, 1),
        )
    ),
    Case("INTERPOLATE", [X, None, 2.0], lambda x: F.interpolate(x, scale_factor=2.0), IMAGE),
    Case(
        "INTERPOLATE",
        [X, [7, 8], None, "bilinear", False],
        lambda x: F.interpolate(x, (7, 8), mode="bilinear", align_corners=False),
        IMAGE,
    ),
    Case(
        "GRID_SAMPLE",
        [X, Y],
        lambda x, y: F.grid_sample(x, y, align_corners=False),
        ((4, 6, 6), (3, 3, 2)),
    ),
    Case(
        "AFFINE_GRID",
        [X, [Node("rows"), 1, 3, 4]],
        lambda x: F.affine_grid(x, [len(x), 1, 3, 4], align_corners=False),
        ((2, 3),),
    ),
    Case("PAD", [X, [1, 2]], lambda x: F.pad(x, (1, 2)), SEQUENCE),
    Case("PAD", [X, [1, 2], "reflect"], lambda x: F.pad(x, (1, 2), "reflect"), SEQUENCE),
    Case(
        "PAD",
        [X, [1, 2], "constant", -math.inf],
        lambda x: F.pad(x, (1, 2), value=-math.inf),
        SEQUENCE,
    ),
    Case("PIXEL_SHUFFLE", [X, 2], lambda x: F.pixel_shuffle(x, 2), IMAGE),
    Case("PIXEL_UNSHUFFLE", [X, 2], lambda x: F.pixel_unshuffle(x, 2), IMAGE),
    Case("CHANNEL_SHUFFLE", [X, 2], lambda x: F.channel_shuffle(x, 2), IMAGE),
    Case("FOLD", [X, [3, 3], 2], lambda x: F.fold(x, (3, 3), 2), ((8, 4),)),
    Case("UNFOLD", [X, 2, 1, 1, 2], lambda x: F.unfold(x, 2, 1, 1, 2), IMAGE),
]
FACTORIES = [
    Case("ARANGE", [0, Node("three")], lambda *_: torch.arange(0, 3)),
    Case(
        "ARANGE", [1, 2, 0.25, Type(FP64)], lambda *_: torch.arange(1, 2, 0.25, dtype=torch.float64)
    ),
    Case("LINSPACE", [0, 1, 5], lambda *_: torch.linspace(0, 1, 5)),
    Case("EYE", [3], lambda *_: torch.eye(3)),
    Case("EYE", [2, 3, Type(BOOL)], lambda *_: torch.eye(2, 3, dtype=torch.bool)),
    Case("ZEROS", [[Node("rows"), 2]], lambda x, *_: torch.zeros(len(x), 2)),
    Case("ONES", [3, Type(INT64)], lambda *_: torch.ones(3, dtype=torch.int64)),
    Case("FULL", [[2, 2], 1.5], lambda *_: torch.full((2, 2), 1.5)),
    Case("FULL", [[], -math.inf], lambda *_: torch.full((), -math.inf)),
    Case("RAND", [[Node("rows"), 2]], lambda x, *_: torch.rand(len(x), 2)),
    Case("RANDN", [[Node("rows"), 2]], lambda x, *_: torch.randn(len(x), 2)),
    Case("ZEROS_LIKE", [X], torch.zeros_like),
    Case("ONES_LIKE", [X, Type(INT64)], lambda x, *_: torch.ones_like(x, dtype=torch.int64)),
    Case("FULL_LIKE", [X, 2], lambda x, *_: torch.full_like(x, 2)),
    Case("RAND_LIKE", [X], torch.rand_like),
    Case("RANDN_LIKE", [X], torch.randn_like),
]
LOSSES = [
    Case("MSE_LOSS", [X, Y], F.mse_loss),
    Case("MSE_LOSS", [X, Y, "none"], lambda x, y: F.mse_loss(x, y, reduction="none")),
    Case("L1_LOSS", [X, Y, "sum"], lambda x, y: F.l1_loss(x, y, reduction="sum")),
    Case("SMOOTH_L1_LOSS", [X, Y, "mean", 0.5], lambda x, y: F.smooth_l1_loss(x, y, beta=0.5)),
    Case("HUBER_LOSS", [X, Y, "mean", 0.5], lambda x, y: F.huber_loss(x, y, delta=0.5)),
    Case(
        "CROSS_ENTROPY",
        [X, Node("label"), None, -100, "mean", 0.1],
        lambda x, *_: F.cross_entropy(x, index(x)[:, 0], label_smoothing=0.1),
    ),
    Case("NLL_LOSS", [X, Node("label")], lambda x, *_: F.nll_loss(x, index(x)[:, 0])),
    Case(
        "BINARY_CROSS_ENTROPY",
        [Node("share"), Node("share")],
        lambda x, *_: F.binary_cross_entropy(x.sigmoid(), x.sigmoid()),
    ),
    Case(
        "BINARY_CROSS_ENTROPY_WITH_LOGITS",
        [X, Node("share"), None, "mean", Y],
        lambda x, y, *_: F.binary_cross_entropy_with_logits(x, x.sigmoid(), pos_weight=y),
    ),
    Case(
        "KL_DIV",
        [X, Node("share"), "batchmean"],
        lambda x, *_: F.kl_div(x, x.sigmoid(), reduction="batchmean"),
    ),
]
CASES = [*ELEMENTWISE, *ALGEBRA, *RESHAPING, *REDUCTIONS, *WINDOWS, *FACTORIES, *LOSSES]
#: Functions of numbers have tests of their own.
OF_NUMBERS = {"SIZE", "NUMEL", "DIM", "INT", "FLOAT"}
