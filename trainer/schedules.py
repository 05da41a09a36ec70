"""Learning-rate schedules: factors as pure functions of the options and the steps done. No torch.

Only the plateau schedule remembers anything: plain numbers, part of a checkpoint's position.
"""

import math
from dataclasses import dataclass

from twofold.v1 import spec_pb2


@dataclass(frozen=True, slots=True)
class Extent:
    """How long training may last."""

    epochs: int
    steps_per_epoch: int

    @property
    def step_count(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.steps_per_epoch


@dataclass(slots=True)
class Plateau:
    """What a plateau schedule has seen."""

    best: float = math.inf
    #: Epochs since the loss was last better.
    stale_count: int = 0
    drop_count: int = 0


def factor(schedule: spec_pb2.Schedule, step: int, extent: Extent, drop_count: int = 0) -> float:
    """What multiplies the learning rate in a step, in [0, 1].

    Args:
        schedule: completed.
        step: steps done before it, from 0.
        extent: of the whole training.
        drop_count: PLATEAU only: drops so far.
    """
    warmup = warmup_steps(schedule, extent)
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    match schedule.kind:
        case spec_pb2.SCHEDULE_KIND_STEP:
            epoch = step // extent.steps_per_epoch
            return rising * schedule.drop ** (epoch // schedule.step_epochs)
        case spec_pb2.SCHEDULE_KIND_COSINE:
            if step < warmup:
                return rising
            # At most the last step: more steps are only asked about, not taken.
            done = min(1.0, (step - warmup) / max(1, extent.step_count - warmup))
            return _between(1.0, schedule.floor, done)
        case spec_pb2.SCHEDULE_KIND_ONE_CYCLE:
            return _one_cycle(schedule, step, extent.step_count)
        case spec_pb2.SCHEDULE_KIND_PLATEAU:
            return rising * max(schedule.floor, schedule.drop**drop_count)
        case _:
            return rising


def warmup_steps(schedule: spec_pb2.Schedule, extent: Extent) -> int:
    """Steps of the linear warm-up; the last of them has the full learning rate."""
    return round(schedule.warmup_epochs * extent.steps_per_epoch)


def watch(plateau: Plateau, schedule: spec_pb2.Schedule, loss: float) -> None:
    """Takes an epoch's loss into account; does nothing for other schedules.

    As torch.optim.lr_scheduler.ReduceLROnPlateau with a relative threshold.
    """
    if schedule.kind != spec_pb2.SCHEDULE_KIND_PLATEAU:
        return
    if loss < plateau.best * (1 - schedule.threshold):
        plateau.best, plateau.stale_count = loss, 0
        return
    plateau.stale_count += 1
    if plateau.stale_count > schedule.plateau_epochs:
        plateau.stale_count = 0
        plateau.drop_count += 1


def _one_cycle(schedule: spec_pb2.Schedule, step: int, step_count: int) -> float:
    """As torch.optim.lr_scheduler.OneCycleLR: the peak is at `rise` of the steps, less one."""
    peak, last = schedule.rise * step_count - 1, step_count - 1
    if step <= peak:
        return _between(schedule.start, 1.0, step / peak if peak > 0 else 1.0)
    return _between(1.0, schedule.floor, min(1.0, (step - peak) / (last - peak)))


def _between(begin: float, end: float, done: float) -> float:
    """From `begin` to `end` by half a cosine; `done` in [0, 1]."""
    return end + (begin - end) / 2 * (math.cos(math.pi * done) + 1)
