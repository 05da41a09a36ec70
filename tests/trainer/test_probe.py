"""Batch sizes are tried by real steps, in a process that may die."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.jobs import FakeReporter, request_for, truth_data, truth_spec
from tests.trainer.test_cuda_step import FakeRecorder
from tests.trainer.test_loop import plane_loop
from trainer import execution, memory, probe, probing, session
from trainer.batches import Bounds, Tried
from trainer.loop import Interrupted, Loop
from trainer.noise import NoiseScale
from trainer.probing import CannotTry, Prober
from trainer.recipe import Recipe
from trainer.rows import Rows
from trainer.session import Session
from twofold.internal.v1 import child_pb2
from twofold.manifest import sha256_hex
from twofold.toml_spec import Value
from twofold.v1 import graph_pb2, model_pb2, spec_pb2


def asked_for(**training: Value) -> spec_pb2.TrainingSpec:
    options = {"epochs": 8, "batch_size": "auto", **training}
    return truth_spec("xor", network={"family": "mlp"}, training=options)


def probe_request(size: int) -> child_pb2.ProbeRequest:
    spec = asked_for()
    spec.training.batch_size = size
    spec.training.learning_rate = 0.001
    features = truth_data("xor", spec).features
    return child_pb2.ProbeRequest(
        spec=spec, features=features, batch_size=size, threads=1, device="cpu"
    )


def test_a_size_has_a_speed_and_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MEASURED_S", 0.0)
    found = probe.measure(probe_request(300))

    assert found.fits
    assert found.batch_size == 300
    assert found.rows_per_second > 0
    assert found.peak_bytes > 1 << 20


def test_made_up_arrays_are_too_and_identifiers_are_of_any_vocabulary() -> None:
    spec = model_pb2.FeatureSpec(task=spec_pb2.TASK_REGRESSION)
    spec.array_columns.add(name="image", data_type=graph_pb2.DATA_TYPE_FP32, shape=[-1, 3, 2])
    spec.array_columns.add(name="ids", data_type=graph_pb2.DATA_TYPE_INT64, shape=[-1, 4])
    made = probe.made_up(spec, 5, scaling=True)

    assert made.x_ND is None
    assert made.is_scaled
    assert made.arrays["image"].shape == (5, 3, 2)
    assert made.arrays["image"].std() > 0.5
    assert made.arrays["ids"].tolist() == [[0] * 4] * 5


def test_made_up_rows_are_of_the_shape_of_the_data() -> None:
    spec = model_pb2.FeatureSpec(numeric_columns=["a", "b"], task=spec_pb2.TASK_REGRESSION)
    spec.category_columns.add(name="c", vocabulary=["x", "y", "z"])
    made = probe.made_up(spec, 50, scaling=True)

    assert made.x_ND is not None
    assert made.category_NK is not None
    assert made.mean_D is not None
    assert (made.x_ND.shape, made.category_NK.shape) == ((50, 2), (50, 1))
    assert set(made.category_NK[:, 0].tolist()) == {0, 1, 2}
    assert (made.target_N.shape, made.mean_D.shape) == ((50, 1), (2,))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate"),
    ],
)
def test_a_size_without_memory_does_not_fit(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss_of(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(Recipe, "loss_of", loss_of)

    assert not probe.answer(probe_request(8)).fits


@pytest.mark.slow
def test_a_process_that_dies_says_that_the_size_did_not_fit_and_is_replaced() -> None:
    with Prober(probe_request(1)) as prober:
        first = prober(64)
        process = prober._process
        assert process is not None
        spared = Path(f"/proc/{process.pid}/oom_score_adj").read_text("ascii").strip()
        os.kill(process.pid, signal.SIGKILL)
        died, again = prober(128), prober(128)

    assert first.fits
    assert spared == "1000"  # the machine's memory is taken from it first
    assert first.rows_per_second > 0
    assert (died.size, died.fits) == (128, False)
    assert again.fits
    assert process.poll() is not None


@pytest.mark.slow
def test_a_try_that_takes_long_shows_signs_of_life_and_can_be_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def give_up() -> None:
        calls.append(0)
        if len(calls) == 3:
            raise Interrupted

    monkeypatch.setattr(probing, "_LOOK_GAP_S", 0.01)  # to start alone takes longer
    with Prober(probe_request(1), give_up) as prober:
        with pytest.raises(Interrupted):
            prober(64)
        process = prober._process

    assert process is not None
    assert process.poll() == -signal.SIGKILL


@pytest.mark.slow
def test_a_spec_that_fails_at_every_size_is_not_tried_at_all_of_them() -> None:
    """What is wrong is then told by training itself, not as a lack of memory."""
    request = probe_request(1)
    request.spec.training.class_weights["no such label"] = 2.0
    with Prober(request) as prober, pytest.raises(CannotTry):
        prober(64)


def test_sizes_that_cannot_be_tried_leave_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CannotTry

    spec = asked_for()
    prepared = replace(truth_data("xor", spec), training_rows=np.arange(100_000))
    monkeypatch.setattr(Prober, "__call__", fail)
    size, reason = probing.choose(request_for(spec, tmp_path), prepared, 1 << 30, lambda: None)

    assert size == 1024
    assert "cannot be tried" in reason


def test_a_small_table_needs_no_trying_and_says_so(tmp_path: Path) -> None:
    reporter = FakeReporter()
    made = Session(request_for(asked_for(), tmp_path), reporter).run()

    choices = made.lineage.choices
    assert (choices.batch_size, choices.batch_size_reason) == (1, "20% of the training rows")
    assert made.lineage.spec_sha256 == request_spec_digest(asked_for())


def request_spec_digest(spec: spec_pb2.TrainingSpec) -> str:
    return sha256_hex(spec.SerializeToString(deterministic=True))


def test_what_was_found_is_frozen_for_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume trains with the same batches, though the machine would now say another size."""
    sizes = iter([3, 2])

    def choose(*_: object) -> tuple[int, str]:
        return next(sizes), "tried"

    monkeypatch.setattr(probing, "choose", choose)
    straight = Session(request_for(asked_for(), tmp_path, "straight"), FakeReporter()).run()
    sizes = iter([3, 2])
    first = FakeReporter(lambda seen: seen.looks == 5)
    with pytest.raises(Interrupted):
        Session(request_for(asked_for(), tmp_path, "first"), first).run()
    path, _ = first.checkpoints[-1]
    second = FakeReporter()
    resumed = Session(request_for(asked_for(), tmp_path, "second", str(path)), second).run()

    assert next(sizes) == 2
    choices = second.progress[-1].choices
    assert (choices.batch_size, choices.batch_size_reason) == (3, "as the attempt before it found")
    assert not second.progress[-1].resume_warning
    assert [file.sha256 for file in resumed.files] == [file.sha256 for file in straight.files]


def test_the_noise_of_a_gradient_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(*_: object) -> tuple[int, str]:
        return 4, "tried"

    monkeypatch.setattr(probing, "choose", choose)
    reporter = FakeReporter()
    Session(request_for(asked_for(), tmp_path), reporter).run()

    assert reporter.progress[-1].HasField("gradient_noise_scale")
    assert reporter.progress[-1].gradient_noise_scale >= 0


def test_measuring_noise_disturbs_nothing() -> None:
    loop = plane_loop("mlp", {"batch_size": 40}, dropout=0.3)
    before = torch.get_rng_state()
    order = loop.order.get_state()
    noise = NoiseScale(loop.recipe)
    assert noise.rows is None
    noise.measure(40)

    assert noise.rows is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(loop.order.get_state(), order)
    assert all(parameter.grad is None for parameter in loop.recipe.net.parameters())


def test_rows_that_agree_have_no_noise_and_random_labels_much() -> None:
    """A plane far from the weights pulls every row's gradient the same way at first."""
    loop = plane_loop("linear", {"batch_size": 48, "learning_rate": 0.05, "epochs": 300})
    noise = NoiseScale(loop.recipe)
    noise.measure(40)
    early = noise.rows
    while not loop.is_done:
        loop.run_epoch(lambda: False)
    late = NoiseScale(loop.recipe)
    late.measure(48)

    assert early is not None
    assert late.rows is not None
    assert late.rows > early


def test_free_memory_is_the_machine_s_or_the_container_s(tmp_path: Path) -> None:
    assert memory.available_bytes(tmp_path) == 4 << 30
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert memory.available_bytes(tmp_path) == 2 << 20
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("5\n")
    assert memory.available_bytes(tmp_path) == 2 << 20
    (group / "memory.max").write_text("1048576\n")
    assert memory.available_bytes(tmp_path) == (1 << 20) - 5


def test_made_up_targets_are_those_of_the_task() -> None:
    names = ["u", "v", "w"]
    spec = model_pb2.FeatureSpec(numeric_columns=["a"], targets=names)
    spec.task = spec_pb2.TASK_REGRESSION
    assert probe.made_up(spec, 9, scaling=False).target_N.shape == (9, 3)

    spec.task = spec_pb2.TASK_MULTILABEL
    spec.labels.extend(names)
    made = probe.made_up(spec, 50, scaling=False)
    assert (made.target_N.shape, made.target_N.dtype) == ((50, 3), np.float32)
    assert set(made.target_N.ravel().tolist()) == {0.0, 1.0}


def test_noise_takes_no_more_rows_at_once_than_a_step_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = plane_loop("mlp", {"batch_size": 40})
    whole = NoiseScale(loop.recipe)
    whole.measure(40)
    seen: list[int] = []

    def loss_of(recipe: Recipe, rows: Rows) -> torch.Tensor:
        seen.append(len(rows))
        return real(recipe, rows)

    real = Recipe.loss_of
    monkeypatch.setattr(Recipe, "loss_of", loss_of)
    pieces = NoiseScale(loop.recipe)
    pieces.measure(2)

    assert max(seen) == 2
    assert pieces.rows == pytest.approx(whole.rows, rel=1e-4)


def test_noise_is_known_again_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epochs, 6 to 8, have none of those in which an undisturbed training measures first."""

    def choose(*_: object) -> tuple[int, str]:
        return 4, "tried"

    monkeypatch.setattr(probing, "choose", choose)
    monkeypatch.setattr(session, "REPORT_GAP_S", 0.0)
    first = FakeReporter(lambda seen: seen.looks == 5)
    with pytest.raises(Interrupted):
        Session(request_for(asked_for(), tmp_path, "first"), first).run()
    second = FakeReporter()
    path, _ = first.checkpoints[-1]
    Session(request_for(asked_for(), tmp_path, "second", str(path)), second).run()

    assert second.progress[0].epoch == 6
    assert second.progress[0].HasField("gradient_noise_scale")


def test_the_memory_that_the_rows_will_take_is_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Bounds] = []

    def find(_try: object, bounds: Bounds, _between: object) -> tuple[Tried, str]:
        seen.append(bounds)
        return Tried(1024, 1.0, 1, fits=True), ""

    monkeypatch.setattr(probing, "find", find)
    spec, count = asked_for(), 100_000
    prepared = replace(
        truth_data("xor", spec),
        x_ND=np.zeros((count, 2), np.float32),
        target_N=np.zeros(count, np.int64),
        training_rows=np.arange(count),
    )
    for memory_bytes in (1 << 30, 1 << 10):
        probing.choose(
            request_for(spec, tmp_path / str(memory_bytes)), prepared, memory_bytes, lambda: None
        )

    assert [bounds.memory_bytes for bounds in seen] == [(1 << 30) - count * 16, 0]


def test_what_recording_a_step_takes_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = FakeRecorder()
    make_step = partial(execution.make_step, recorder_on=lambda _: recorder)

    def nothing(*_: object) -> str:
        return ""

    monkeypatch.setattr(execution, "obstacle", nothing)
    monkeypatch.setattr("trainer.loop.make_step", make_step)
    monkeypatch.setattr(probe, "_MEASURED_S", 0.0)
    before: list[list[str]] = []
    now_s = probe._now_s

    def looked(loop: Loop) -> float:
        before.append(recorder.seen.copy())
        return now_s(loop)

    monkeypatch.setattr(probe, "_now_s", looked)
    probe.measure(probe_request(4))

    assert "recorded" in before[0]


def test_few_images_are_tried_for_one_takes_as_much_memory_as_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Bounds] = []

    def find(_try: object, bounds: Bounds, _between: object) -> tuple[Tried, str]:
        seen.append(bounds)
        return Tried(7, 1.0, 1, fits=True), ""

    monkeypatch.setattr(probing, "find", find)
    spec, image = asked_for(), np.zeros((100, 3, 8, 8), np.float32)
    prepared = replace(
        truth_data("xor", spec), training_rows=np.arange(100), arrays={"image": image}
    )
    size, _ = probing.choose(request_for(spec, tmp_path), prepared, 1 << 30, lambda: None)

    assert (size, [bounds.rows for bounds in seen]) == (7, [20])
