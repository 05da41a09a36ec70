"""Which batch sizes are tried, and which one is taken: as data."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.jobs import truth_spec
from trainer import batches
from trainer.batches import Bounds, Tried
from trainer.probing import find
from twofold.errors import InvalidField
from twofold.toml_spec import Value
from twofold.v1 import spec_pb2

MANY = 10**9


class Machine:
    """Has memory for batches up to `fits`; speed by size, for ever the same."""

    def __init__(self, fits: int, saturation: float = 1e5) -> None:
        self.sizes: list[int] = []
        self._fits = fits
        self._saturation = saturation

    def __call__(self, size: int) -> Tried:
        self.sizes.append(size)
        if size > self._fits:
            return Tried(size, 0, 0, fits=False)
        # A fixed cost per step: the larger the batch, the less it counts.
        return Tried(size, size / (1 + size / self._saturation), 1000 + 10 * size, fits=True)


def nothing() -> None:
    pass


def test_sizes_are_doubled_until_it_does_not_pay_any_more() -> None:
    machine = Machine(MANY, saturation=4096)
    chosen, reason = find(machine, Bounds(MANY, MANY * 100), nothing)

    assert machine.sizes == [1024 << power for power in range(len(machine.sizes))]
    # The speed's limit is 4096: the smallest size within 5 % of the fastest that was tried.
    fastest = max(size / (1 + size / 4096) for size in machine.sizes)
    assert chosen.size / (1 + chosen.size / 4096) >= fastest / batches.GAIN
    assert chosen.size < machine.sizes[-1]
    assert "rows/s" in reason


def test_what_does_not_fit_is_bisected() -> None:
    machine = Machine(fits=6000)
    chosen, _ = find(machine, Bounds(MANY, MANY * 100), nothing)

    assert machine.sizes == [1024, 2048, 4096, 8192, 6144, 5120, 5632]
    assert chosen.size == 5632


def test_a_machine_with_little_memory_gets_less_than_the_default() -> None:
    chosen, _ = find(Machine(fits=100), Bounds(MANY, MANY * 100), nothing)

    assert 50 <= chosen.size <= 100


def test_where_not_even_a_row_fits_the_spec_is_refused() -> None:
    with pytest.raises(InvalidField, match="one row"):
        find(Machine(fits=0), Bounds(MANY, MANY), nothing)


def test_sizes_that_the_machine_would_not_survive_are_not_tried() -> None:
    machine = Machine(MANY)
    bounds = Bounds(MANY, memory_bytes=200_000)
    chosen, _ = find(machine, bounds, nothing)

    assert 1000 + 10 * max(machine.sizes) <= 0.9 * bounds.memory_bytes
    assert chosen.size > 8192


def test_a_search_can_be_given_up_between_two_tries() -> None:
    def give_up() -> None:
        raise KeyboardInterrupt

    machine = Machine(MANY)
    with pytest.raises(KeyboardInterrupt):
        find(machine, Bounds(MANY, MANY), give_up)

    assert machine.sizes == []


@given(
    rows=st.integers(1, 10**7),
    fits=st.integers(1, 10**8),
    memory=st.integers(10_000, 10**10),
    saturation=st.floats(1, 1e8),
)
def test_a_search_ends_within_its_bounds(
    rows: int, fits: int, memory: int, saturation: float
) -> None:
    machine = Machine(fits, saturation)
    chosen, _ = find(machine, Bounds(rows, memory), nothing)

    assert len(machine.sizes) == len(set(machine.sizes)) < 60
    assert 1 <= max(machine.sizes) <= rows
    assert chosen.fits


def auto(**training: Value) -> spec_pb2.TrainingSpec:
    options = {"batch_size": "auto", **training}
    return truth_spec("xor", network={"family": "mlp"}, training=options)


@pytest.mark.parametrize(
    ("optimizer", "size", "rate"),
    [
        ("adam", 1024, 0.001),
        ("adam", 4096, 0.002),
        ("adamw", 9216, 0.003),
        ("sgd", 4096, 0.4),
        ("sgd", 100, 0.1),
        ("adam", 10, 0.001),
    ],
)
def test_the_rate_grows_with_the_batch(optimizer: str, size: int, rate: float) -> None:
    done = batches.settle(auto(optimizer=optimizer), size).training

    assert done.batch_size == size
    assert done.learning_rate == pytest.approx(rate)


def test_a_rate_that_was_given_stays() -> None:
    done = batches.settle(auto(optimizer="sgd", learning_rate=0.5), 1 << 20).training

    assert done.learning_rate == 0.5
    assert done.schedule.warmup_epochs == 0


def test_a_scaled_rate_of_sgd_is_warmed_up_to() -> None:
    long, short = auto(optimizer="sgd", epochs=200), auto(optimizer="sgd", epochs=20)
    own = auto(optimizer="sgd", schedule={"kind": "cosine", "warmup_epochs": 1})

    warm_ups = [
        batches.settle(spec, 4096).training.schedule.warmup_epochs for spec in (long, short, own)
    ]
    assert warm_ups == [5, 2, 1]
    assert batches.settle(auto(), 4096).training.schedule.warmup_epochs == 0


def test_a_fifth_of_the_rows_is_the_most() -> None:
    assert [batches.largest(count) for count in (1, 9, 10, 10_000, 10**9)] == [
        1,
        1,
        2,
        2000,
        1 << 24,
    ]


def test_the_noise_scale_is_that_of_the_paper() -> None:
    """E|G_B|^2 = |G|^2 + tr(S) / B, equation A.1: put in, got out."""
    square, noise = 3.0, 60.0
    small, big = square + noise / 8, square + noise / 64

    assert batches.noise_scale(small, big, 8, 64) == pytest.approx(noise / square)
    assert batches.noise_scale(noise / 8, noise / 64, 8, 64) == math.inf
    assert batches.noise_scale(2.0, 2.0, 8, 64) == 0


@pytest.mark.parametrize(("size", "scale", "is_told"), [(1000, 100, False), (1001, 100, True)])
def test_a_batch_far_above_the_noise_is_told(size: int, scale: float, *, is_told: bool) -> None:
    assert bool(batches.warning(size, scale)) == is_told
    assert not batches.warning(size, math.inf)
