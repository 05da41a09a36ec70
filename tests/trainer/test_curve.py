"""The series of an attempt: whole, bounded, taken over, and durable where a checkpoint needs it."""
# pyright: reportUnknownMemberType=false

import os
from pathlib import Path

import pytest

from tests.trainer.jobs import FakeReporter, loop_over, request_for, truth_data, truth_spec
from trainer import checkpoint
from trainer.curve import Curve
from trainer.loop import Interrupted, Loop
from trainer.session import Session
from twofold import series
from twofold.internal.v1 import child_pb2
from twofold.series import Series
from twofold.toml_spec import Value
from twofold.v1 import spec_pb2

NET = {"family": "mlp", "hidden": [4], "activation": "tanh"}


def xor(epochs: int, **options: Value) -> spec_pb2.TrainingSpec:
    return truth_spec("xor", network=NET, training={"epochs": epochs, **options})


def written(request: child_pb2.TrainRequest) -> Series:
    return series.parse((Path(request.checkpoint_path) / series.FILE_NAME).read_bytes())


def epochs(found: Series) -> list[int]:
    return [point.epoch for point in found.points]


@pytest.fixture
def loop() -> Loop:
    asked = xor(1_000_000)
    return loop_over(asked, truth_data("xor", asked))


def run(curve: Curve, loop: Loop, begin: int, end: int) -> None:
    """Lets the epochs from `begin` to `end` end, as if they had been trained."""
    for epoch in range(begin, end + 1):
        loop.position.epoch = loop.position.step_count = epoch
        loop.position.loss = 1 / epoch
        curve.epoch_ended(loop, 0.5)


def test_every_epoch_of_a_session_has_a_point_also_those_that_are_not_reported(
    tmp_path: Path,
) -> None:
    request = request_for(xor(50), tmp_path)
    reporter = FakeReporter()
    Session(request, reporter).run()

    found = written(request)
    assert epochs(found) == list(range(1, 51))
    assert [point.step for point in found.points] == list(range(1, 51))
    assert len(reporter.trained_epochs) < 50
    assert {point.attempt for point in found.points} == {"a"}
    assert {point.learning_rate for point in found.points} == {0.001}
    assert all((point.rows_per_second or 0) > 0 for point in found.points)
    measured = [point.epoch for point in found.points if "accuracy" in point.metrics]
    assert measured == sorted(set(reporter.trained_epochs))
    last = reporter.progress[-1]
    assert (found.points[-1].loss, found.points[-1].metrics) == (last.loss, dict(last.metrics))
    assert found.points[-1].validation_loss is None  # all four rows train


def test_a_resumed_attempt_has_each_epoch_once(tmp_path: Path) -> None:
    """The first one trained past its checkpoint before it was killed: epochs 21 to 30."""
    first = request_for(xor(60), tmp_path, "first")
    reporter = FakeReporter(lambda seen: seen.looks == 20)
    with pytest.raises(Interrupted):
        Session(first, reporter).run()
    path, _ = reporter.checkpoints[-1]
    beside = path.with_name(series.FILE_NAME)
    point = series.parse(beside.read_bytes()).points[-1]
    with beside.open("ab") as file:
        for epoch in range(21, 31):
            text = series.line(point).replace(b'"epoch":20', b'"epoch":%d' % epoch)
            file.write(text)
        file.write(b'{"epoch":31,"st')
    second = request_for(xor(60), tmp_path, "second", str(path))
    Session(second, FakeReporter()).run()

    found = written(second)
    assert epochs(found) == list(range(1, 61))
    assert [point.attempt for point in found.points] == ["first"] * 20 + ["second"] * 40


@pytest.mark.parametrize("beside", [None, b"junk"])
def test_without_its_predecessors_series_it_begins_where_training_resumes(
    tmp_path: Path, beside: bytes | None
) -> None:
    first = request_for(xor(60), tmp_path, "first")
    reporter = FakeReporter(lambda seen: seen.looks == 20)
    with pytest.raises(Interrupted):
        Session(first, reporter).run()
    path, _ = reporter.checkpoints[-1]
    path.with_name(series.FILE_NAME).unlink()
    if beside is not None:
        path.with_name(series.FILE_NAME).write_bytes(beside)
    second = request_for(xor(60), tmp_path, "second", str(path))
    Session(second, FakeReporter()).run()

    assert epochs(written(second)) == list(range(21, 61))


def test_an_attempt_that_fails_leaves_its_epochs(tmp_path: Path, loop: Loop) -> None:
    request = request_for(xor(9), tmp_path)
    curve = Curve(request)

    def fail() -> None:
        with curve.begun(0):
            run(curve, loop, 1, 3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert epochs(written(request)) == [1, 2, 3]


def test_a_failing_disk_does_not_hide_why_training_failed(tmp_path: Path, loop: Loop) -> None:
    request = request_for(xor(9), tmp_path)
    curve = Curve(request, lambda: 0.0)  # nothing is flushed but at first and in the end

    def fail() -> None:
        with curve.begun(0):
            run(curve, loop, 1, 2)
            assert curve._file is not None
            curve._file.close()
            curve._file = Path("/dev/full").open("ab")  # noqa: SIM115 - the curve closes it
            run(curve, loop, 3, 4)
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_a_series_is_bounded_and_ends_with_the_last_epoch(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "LIMIT", 100)
    request = request_for(xor(9), tmp_path)
    curve = Curve(request)
    with curve.begun(0):
        run(curve, loop, 1, 1_002)

    found = written(request)
    assert found.stride == 16
    assert epochs(found) == [*range(1, 1_002, 16), 1_002]


def test_a_full_series_is_never_longer_than_the_limit(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "LIMIT", 10)
    seconds = iter(range(10**6))
    request = request_for(xor(9), tmp_path)
    curve = Curve(request, lambda: next(seconds))  # flushed at every epoch
    lengths: list[int] = []
    with curve.begun(0):
        for epoch in range(1, 200):
            run(curve, loop, epoch, epoch)
            lengths.append(len(written(request).points))

    assert max(lengths) == 10
    assert min(lengths[10:]) >= 5


def test_a_thinned_series_is_taken_over_with_its_stride(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "LIMIT", 10)
    first = request_for(xor(9), tmp_path, "first")
    curve = Curve(first)
    with curve.begun(0):
        run(curve, loop, 1, 24)
    second = request_for(xor(9), tmp_path, "second", f"{first.checkpoint_path}/22.safetensors")
    resumed = Curve(second)
    with resumed.begun(22):
        run(resumed, loop, 23, 30)

    assert epochs(written(first)) == [1, 5, 9, 13, 17, 21, 24]
    assert epochs(written(second)) == [1, 5, 9, 13, 17, 21, 25, 29, 30]


def test_what_a_checkpoint_needs_is_durable_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synced before the checkpoint has its name, or a power cut could leave one without it."""
    calls: list[str] = []
    request = request_for(xor(3, checkpoint_interval=0), tmp_path)
    path = Path(request.checkpoint_path) / series.FILE_NAME
    sync, write = os.fsync, checkpoint.write

    def noting(descriptor: int) -> None:
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            calls.append(f"series {len(written(request).points)}")
        sync(descriptor)

    def writing(folder: Path, loop: Loop) -> Path:
        calls.append(f"checkpoint {loop.position.epoch}")
        return write(folder, loop)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(checkpoint, "write", writing)
    Session(request, FakeReporter()).run()

    assert calls == ["series 1", "checkpoint 1", "series 2", "checkpoint 2"]


def test_epochs_are_seen_within_the_gap(tmp_path: Path, loop: Loop) -> None:
    now_s = [100.0]
    request = request_for(xor(9), tmp_path)
    curve = Curve(request, lambda: now_s[0])
    with curve.begun(0):
        run(curve, loop, 1, 1)
        curve.measured({"accuracy": 0.5})  # at once: a long epoch must not wait for the next one
        at_once = epochs(written(request))
        run(curve, loop, 2, 4)
        too_early = epochs(written(request))
        now_s[0] += 0.5
        run(curve, loop, 5, 5)
        in_time = epochs(written(request))

    assert (at_once, too_early, in_time) == ([1], [1], [1, 2, 3, 4])


def test_tensorboard_gets_the_points_of_all_attempts_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    folder.mkdir()
    first = request_for(xor(60), tmp_path, "first")
    first.tensorboard_path = str(folder)
    reporter = FakeReporter(lambda seen: seen.looks == 20)
    with pytest.raises(Interrupted):
        Session(first, reporter).run()
    second = request_for(xor(60), tmp_path, "second", str(reporter.checkpoints[-1][0]))
    second.tensorboard_path = str(folder)
    Session(second, FakeReporter()).run()

    names = sorted(path.name.rpartition(".")[2] for path in folder.iterdir())
    texts = {path.name.rpartition(".")[2]: path.read_bytes() for path in folder.iterdir()}
    assert names == ["first", "second"]
    assert [text.count(b"loss/training") for text in texts.values()] in ([20, 40], [40, 20])
    assert texts["first"].count(b"loss/training") == 20
