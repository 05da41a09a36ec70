"""An automatic batch size: which sizes to try, which to take, what follows from it. Pure, no torch.

Sizes are doubled while that pays, then the gap to the first one that is too large is bisected. The
learning rate grows with the batch: in proportion, after a warm-up, for SGD (Goyal et al. 2017),
with its square root for optimizers that divide by the gradient's size (Krizhevsky 2014; Malladi et
al. 2022).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from twofold.v1 import spec_pb2

#: The batch size that default learning rates are for: the default of training.batch_size.
BASE = 1024
#: Part of the training rows that a batch has at most: an epoch of fewer than five steps learns
#: little from its rows.
LARGEST_PART = 0.2
#: Part of the memory that may be used: the rest is for what is not seen here.
MEMORY_PART = 0.9
#: A larger batch must be this much faster to be worth the fewer steps of its epochs; repeated
#: measurements differ by less.
GAIN = 1.05
#: Doublings without such a gain after which no larger size is tried.
_PATIENCE = 2
#: Bisections of the gap between what fits and what does not: an eighth is left of it.
_BISECTIONS = 3
#: Epochs of warm-up for a scaled rate of SGD (Goyal et al. 2017), at most a tenth of all.
_WARM_UP_EPOCHS = 5
#: The batch is told to be far above the noise scale beyond this: it has less than a tenth of the
#: progress per row of a small batch (McCandlish et al. 2018, equation 2.6).
FAR_ABOVE = 10.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a size."""

    size: int
    rows_per_second: float
    #: Memory at its peak.
    peak_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a size may not exceed."""

    rows: int
    memory_bytes: int


def largest(row_count: int) -> int:
    """The largest batch for this many training rows."""
    limit = 1 << 24  # of training.batch_size
    return max(1, min(limit, int(row_count * LARGEST_PART)))


def next_size(tried: Sequence[Tried], bounds: Bounds) -> int | None:
    """The size to try next; None: `best` knows enough."""
    if not tried:
        return min(BASE, bounds.rows)
    good = sorted((one for one in tried if one.fits), key=lambda one: one.size)
    bad = min((one.size for one in tried if not one.fits), default=None)
    if bad is None:
        top = good[-1]
        if top.size >= bounds.rows or not _still_pays(good):
            return None
        size = min(2 * top.size, bounds.rows)
        if _expected_bytes(good, size) <= bounds.memory_bytes * MEMORY_PART:
            return size
        bad = size  # not tried: the machine would not survive it, or not well
    low = good[-1].size if good else 0
    middle = (low + bad) // 2
    # Without one that fits the search goes down to 1, however long that takes.
    is_close = middle <= low or (bad - low) << _BISECTIONS <= bad
    too_large = _expected_bytes(good, middle) > bounds.memory_bytes * MEMORY_PART
    return None if is_close or too_large or not _still_pays(good) else middle


def best(tried: Sequence[Tried]) -> Tried | None:
    """The smallest size whose speed is as good as the best; None where nothing fits."""
    good = [one for one in tried if one.fits]
    fastest = max((one.rows_per_second for one in good), default=0.0)
    near = [one for one in good if one.rows_per_second * GAIN >= fastest]
    return min(near, key=lambda one: one.size, default=None)


def settle(spec: spec_pb2.TrainingSpec, size: int) -> spec_pb2.TrainingSpec:
    """A copy of a completed spec with this batch size, and the rate that goes with it.

    A learning rate that was given stays. Below BASE the default stays, too: it is what a batch of
    that size has when it is asked for by number.
    """
    done = spec_pb2.TrainingSpec()
    done.CopyFrom(spec)
    options = done.training
    options.batch_size = size
    if options.HasField("learning_rate"):
        return done
    is_sgd = options.optimizer == spec_pb2.OPTIMIZER_SGD
    scale = max(1.0, size / BASE)
    rate = 0.1 if is_sgd else 0.001
    options.learning_rate = rate * (scale if is_sgd else math.sqrt(scale))
    schedule = options.schedule
    has_own = schedule.kind == spec_pb2.SCHEDULE_KIND_ONE_CYCLE or schedule.warmup_epochs
    if is_sgd and scale > 1 and not has_own:
        schedule.warmup_epochs = min(_WARM_UP_EPOCHS, options.epochs / 10)
    return done


def noise_scale(small_square: float, big_square: float, small: int, big: int) -> float:
    """The simple noise scale (McCandlish et al. 2018, appendix A.1), in rows; infinite: all noise.

    Args:
        small_square: mean of the squared gradient norms of batches of `small` rows.
        big_square: squared gradient norm of a batch of `big` rows.
        small: rows; less than `big`.
        big: rows.
    """
    true_square = (big * big_square - small * small_square) / (big - small)
    noise = (small_square - big_square) / (1 / small - 1 / big)
    if noise <= 0:
        return 0.0
    return noise / true_square if true_square > 0 else math.inf


def warning(size: int, scale: float) -> str:
    """What to tell of a batch far above the noise scale; empty for others."""
    if size <= FAR_ABOVE * scale:
        return ""
    return (
        f"a batch of {size:,} rows is far above the gradient noise scale of about {scale:,.0f}: "
        "smaller batches would learn more from the same rows; set training.batch_size"
    )


def _still_pays(good: Sequence[Tried]) -> bool:
    """Whether one of the last sizes was clearly faster than all smaller ones."""
    before, last = good[:-_PATIENCE], good[-_PATIENCE:]
    if not before:
        return True
    fastest = max(one.rows_per_second for one in before)
    return any(one.rows_per_second > fastest * GAIN for one in last)


def _expected_bytes(good: Sequence[Tried], size: int) -> float:
    """Memory that a size would take, on the line through the last two; more than the last."""
    if len(good) < 2:  # noqa: PLR2004 - two points make a line
        return 0.0
    one, other = good[-2:]
    slope = max(0.0, (other.peak_bytes - one.peak_bytes) / (other.size - one.size))
    return other.peak_bytes + slope * (size - other.size)
