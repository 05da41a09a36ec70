"""Schedules are pure functions, and give torch's values where torch has the same schedule."""
# pyright: reportUnknownMemberType=false

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from trainer import schedules
from trainer.schedules import Extent, Plateau
from twofold.v1 import spec_pb2

EXTENT = Extent(epochs=6, steps_per_epoch=5)
STEP = spec_pb2.Schedule(kind=spec_pb2.SCHEDULE_KIND_STEP, step_epochs=2, drop=0.3)
COSINE = spec_pb2.Schedule(kind=spec_pb2.SCHEDULE_KIND_COSINE, floor=0.1)
ONE_CYCLE = spec_pb2.Schedule(
    kind=spec_pb2.SCHEDULE_KIND_ONE_CYCLE, rise=0.3, start=0.04, floor=4e-6
)
PLATEAU = spec_pb2.Schedule(
    kind=spec_pb2.SCHEDULE_KIND_PLATEAU, drop=0.5, plateau_epochs=1, threshold=0.01, floor=0.2
)


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def values_of(
    make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], count: int, every: int = 1
) -> list[float]:
    """Torch's learning rates of `count` steps, its scheduler moved on every `every` steps."""
    stepped = optimizer()
    scheduler = make(stepped)
    found: list[float] = []
    for step in range(count):
        found.append(float(stepped.param_groups[0]["lr"]))
        stepped.step()
        if (step + 1) % every == 0 and step + 1 < count:
            scheduler.step()
    return found


def factors(schedule: spec_pb2.Schedule) -> list[float]:
    return [schedules.factor(schedule, step, EXTENT) for step in range(EXTENT.step_count)]


def test_a_step_schedule_is_torch_s() -> None:
    expected = values_of(
        lambda made: lr_scheduler.StepLR(made, 2, 0.3), EXTENT.step_count, EXTENT.steps_per_epoch
    )

    assert factors(STEP) == pytest.approx(expected)


def test_a_cosine_is_torch_s_over_all_steps() -> None:
    expected = values_of(
        lambda made: lr_scheduler.CosineAnnealingLR(made, EXTENT.step_count, eta_min=0.1),
        EXTENT.step_count,
    )

    assert factors(COSINE) == pytest.approx(expected)


def test_one_cycle_is_torch_s() -> None:
    expected = values_of(
        lambda made: lr_scheduler.OneCycleLR(made, max_lr=1.0, total_steps=EXTENT.step_count),
        EXTENT.step_count,
    )

    assert factors(ONE_CYCLE) == pytest.approx(expected)


def test_a_warm_up_before_a_cosine_is_torch_s_in_sequence() -> None:
    warm = 8  # of 5 steps per epoch: 1.6 epochs

    def make(made: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        rising = lr_scheduler.LinearLR(made, 1 / warm, 1.0, total_iters=warm - 1)
        rest = EXTENT.step_count - warm
        falling = lr_scheduler.CosineAnnealingLR(made, rest, eta_min=0.1)
        return lr_scheduler.SequentialLR(made, [rising, falling], [warm])

    schedule = spec_pb2.Schedule(kind=spec_pb2.SCHEDULE_KIND_COSINE, floor=0.1, warmup_epochs=1.6)

    assert factors(schedule) == pytest.approx(values_of(make, EXTENT.step_count))


def test_a_constant_rate_warms_up_linearly_and_stays() -> None:
    schedule = spec_pb2.Schedule(kind=spec_pb2.SCHEDULE_KIND_CONSTANT, warmup_epochs=0.8)

    assert factors(schedule)[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@given(
    losses=st.lists(
        st.sampled_from([0.0, 0.5, 0.994, 0.996, 1.0, 1.5, math.inf]), min_size=1, max_size=40
    )
)
def test_a_plateau_is_torch_s(losses: list[float]) -> None:
    stepped = optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        stepped, factor=0.5, patience=1, threshold=0.01, min_lr=0.2, eps=0
    )
    plateau = Plateau()

    for loss in losses:
        scheduler.step(loss)
        schedules.watch(plateau, PLATEAU, loss)
        found = schedules.factor(PLATEAU, 0, EXTENT, plateau.drop_count)
        assert found == pytest.approx(stepped.param_groups[0]["lr"])


def test_other_schedules_watch_no_loss() -> None:
    plateau = Plateau()
    for _ in range(100):
        schedules.watch(plateau, COSINE, 1.0)

    assert plateau == Plateau()


@given(
    schedule=st.builds(
        spec_pb2.Schedule,
        kind=st.sampled_from(spec_pb2.ScheduleKind.values()[1:]),
        warmup_epochs=st.floats(0, 20),
        step_epochs=st.integers(1, 5),
        drop=st.floats(0.01, 0.99),
        floor=st.floats(0, 1),
        rise=st.floats(0.01, 0.99),
        start=st.floats(0, 1),
    ),
    epochs=st.integers(1, 12),
    steps=st.integers(1, 7),
)
def test_every_factor_lies_between_0_and_1(
    schedule: spec_pb2.Schedule, epochs: int, steps: int
) -> None:
    extent = Extent(epochs, steps)

    for step in range(extent.step_count):
        assert 0 <= schedules.factor(schedule, step, extent, 3) <= 1 + 1e-12
