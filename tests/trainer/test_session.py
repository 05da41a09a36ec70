# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.jobs import FakeReporter, request_for, truth_spec
from trainer import checkpoint, compiled, loop, machine, session
from trainer.loop import Interrupted, Loop
from trainer.recipe import Recipe
from trainer.rows import Rows
from trainer.session import Session
from twofold import manifest, series
from twofold.features import Features
from twofold.internal.v1 import child_pb2
from twofold.nets.losses import Results
from twofold.nets.net import load
from twofold.toml_spec import Value
from twofold.v1 import graph_pb2, spec_pb2, training_pb2


def xor(epochs: int = 300, **options: Value) -> spec_pb2.TrainingSpec:
    return truth_spec(
        "xor",
        network={"family": "mlp", "hidden": [8], "activation": "tanh"},
        training={"epochs": epochs, "learning_rate": 0.05, **options},
    )


def test_a_session_goes_through_the_phases_and_reports_the_last_epoch(tmp_path: Path) -> None:
    reporter = FakeReporter()
    Session(request_for(xor(50), tmp_path), reporter).run()

    phases = [phase for phase, _ in itertools.groupby(reporter.phases)]
    assert phases == [
        training_pb2.JOB_PHASE_PREPARING,
        training_pb2.JOB_PHASE_TRAINING,
        training_pb2.JOB_PHASE_EVALUATING,
    ]
    assert (reporter.trained_epochs[0], reporter.trained_epochs[-1]) == (1, 50)
    assert reporter.progress[-1].epoch_count == 50
    assert all("accuracy" in progress.metrics for progress in reporter.progress)
    assert reporter.progress[-1].rows_per_second > 0


def test_a_compiler_that_takes_long_is_not_taken_for_one_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = FakeReporter()

    def slow(*_: object) -> None:
        known, end_s = len(reporter.phases), time.monotonic() + 20
        while len(reporter.phases) < known + 3 and time.monotonic() < end_s:
            time.sleep(0.001)
        raise compiled.CannotCompile(f"{len(reporter.phases) - known} signs of life")

    monkeypatch.setattr(compiled, "compile_loss", slow)
    monkeypatch.setattr(session, "SIGN_GAP_S", 0.01)
    made = Session(request_for(xor(2, compile=True), tmp_path), reporter).run()

    signs = int(made.lineage.choices.execution_reason.partition(" ")[0])
    assert signs >= 3
    assert set(reporter.phases[:4]) == {training_pb2.JOB_PHASE_PREPARING}


def test_reports_are_bounded_by_time_not_by_epochs(tmp_path: Path) -> None:
    reporter = FakeReporter()
    seconds = itertools.count()
    clock = lambda: next(seconds) * 0.01  # noqa: E731 - a clock that a call moves by 10 ms
    Session(request_for(xor(100), tmp_path), reporter, clock).run()

    training = reporter.phases.count(training_pb2.JOB_PHASE_TRAINING)
    assert 2 < training < 20


def crowd(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """A clock that every look moves by a second, in which another process had one core.

    No step is too small for two threads.
    """
    monkeypatch.setattr(machine, "SMALL_STEP", 1)
    seconds = itertools.count()
    monkeypatch.setattr("trainer.cores.waited_s", lambda: float(next(seconds)))
    return lambda: float(next(seconds))


def test_a_training_gives_up_a_thread_where_others_want_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter, counts = FakeReporter(), list[int]()
    monkeypatch.setattr(machine, "use_threads", counts.append)
    monkeypatch.setattr("trainer.sharing.FIRST_PAUSE_S", 1e9)
    request = request_for(xor(20), tmp_path)
    request.threads = 2

    made = Session(request, reporter, crowd(monkeypatch)).run()

    assert counts[:2] == [2, 1]
    assert made.lineage.choices.threads == 1
    assert made.lineage.choices.threads_reason == "1 of 2: other processes want the cores"
    assert "training.threads fixes the number" in reporter.progress[-1].warnings[0]


@pytest.mark.parametrize("option", [{"threads": 2}, {"deterministic": True}])
def test_threads_that_were_asked_for_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: dict[str, Value]
) -> None:
    reporter, request = FakeReporter(), request_for(xor(20, **option), tmp_path)
    request.threads = 2

    made = Session(request, reporter, crowd(monkeypatch)).run()

    assert made.lineage.choices.threads == 2
    assert not reporter.progress[-1].warnings


def test_a_report_takes_the_answers_that_its_epoch_was_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []

    def counted(made: Recipe, rows: Rows) -> Results:
        passes.append(len(rows))
        return real(made, rows)

    real = loop.forward
    monkeypatch.setattr(loop, "forward", counted)
    monkeypatch.setattr(session, "forward", counted)
    monkeypatch.setattr(session, "REPORT_GAP_S", 0.0)
    reporter = FakeReporter()
    Session(request_for(xor(5), tmp_path), reporter).run()

    assert reporter.trained_epochs == [1, 2, 3, 4, 5]
    assert reporter.progress[-1].metrics["accuracy"] >= 0
    assert len(passes) == 5 + 1  # and once for what is published


def test_a_long_epoch_shows_that_its_steps_end(tmp_path: Path) -> None:
    """Or a progress_timeout shorter than an epoch would end a job that goes on well."""
    signs_before_an_epoch: list[int] = []
    reporter = FakeReporter(
        lambda seen: signs_before_an_epoch.append(len(seen.phases) - len(seen.progress)) or False
    )
    seconds = itertools.count()
    clock = lambda: next(seconds) * 1.0  # noqa: E731 - a clock that a call moves by 1 s
    Session(request_for(xor(2, batch_size=1), tmp_path), reporter, clock).run()

    preparing = 1
    assert signs_before_an_epoch[:3] == [preparing + 1, preparing + 2, preparing + 3]
    assert [progress.epoch for progress in reporter.progress[:4]] == [1, 1, 1, 1]


def test_the_artifact_is_what_the_manifest_says_and_answers_xor(tmp_path: Path) -> None:
    request = request_for(xor(400), tmp_path)
    made = Session(request, FakeReporter()).run()
    folder = Path(request.artifact_path)

    manifest.verify_files(
        made, {file.name: (folder / file.name).read_bytes() for file in made.files}
    )
    graph = graph_pb2.Graph.FromString((folder / "graph.pb").read_bytes())
    net = load(graph, load_file(folder / "weights.safetensors"))
    path = Features(made.features)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    with torch.inference_mode():
        arguments = [torch.from_numpy(array) for array in path.inputs({"x": x})]
        answers = path.answers(net.head(net(*arguments)).numpy())
    assert answers["label"][:, 0].tolist() == [b"0", b"1", b"1", b"0"]
    assert made.metrics["accuracy"] == 1.0
    assert made.lineage.dataset == "builtin/xor"
    assert made.lineage.training_row_count == 4
    golden = load_file(folder / "golden.safetensors")
    assert set(golden) == {"input.x", "output.probabilities", "output.label"}
    assert len(made.examples) == 3
    assert {(item.device, item.precision) for item in made.tolerances} >= {("cpu", "fp32")}


def test_a_stop_leaves_a_checkpoint_from_which_the_rest_is_equal(tmp_path: Path) -> None:
    straight = Session(request_for(xor(60), tmp_path, "straight"), FakeReporter()).run()

    reporter = FakeReporter(lambda seen: seen.looks == 20)
    with pytest.raises(Interrupted):
        Session(request_for(xor(60), tmp_path, "first"), reporter).run()
    path, epoch = reporter.checkpoints[-1]
    second = FakeReporter()
    resumed = Session(request_for(xor(60), tmp_path, "second", str(path)), second).run()

    assert epoch == 20
    assert second.progress[-1].resumed_epoch == 20
    assert not second.progress[-1].resume_warning
    digests = [
        [file.sha256 for file in made.files if file.name == "weights.safetensors"]
        for made in (straight, resumed)
    ]
    assert digests[0] == digests[1]


def test_an_interval_of_zero_checkpoints_every_epoch_but_the_last(tmp_path: Path) -> None:
    reporter = FakeReporter()
    Session(request_for(xor(6, checkpoint_interval=0), tmp_path), reporter).run()

    assert [epoch for _, epoch in reporter.checkpoints] == [1, 2, 3, 4, 5]


def test_a_damaged_checkpoint_means_beginning_anew(tmp_path: Path) -> None:
    damaged = tmp_path / "9.safetensors"
    damaged.write_bytes(b"junk")
    reporter = FakeReporter()
    made = Session(request_for(xor(5), tmp_path, resume=str(damaged)), reporter).run()
    assert "training began anew" in reporter.progress[-1].resume_warning

    assert reporter.progress[-1].resumed_epoch == 0
    assert made.lineage.epoch > 0


def test_a_checkpoint_at_the_last_epoch_is_only_exported(tmp_path: Path) -> None:
    first = FakeReporter(lambda seen: seen.looks == 59)
    with pytest.raises(Interrupted):
        Session(request_for(xor(60), tmp_path, "first"), first).run()
    path, _ = first.checkpoints[-1]
    straight = Session(request_for(xor(60), tmp_path, "second", str(path)), FakeReporter()).run()

    assert straight.metrics["loss"] > 0


def test_a_resume_elsewhere_is_reported_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FakeReporter(lambda seen: seen.looks == 20)
    with pytest.raises(Interrupted):
        Session(request_for(xor(30), tmp_path, "first"), first).run()
    path, _ = first.checkpoints[-1]
    monkeypatch.setattr(torch, "__version__", "9.9")
    second = FakeReporter()
    Session(request_for(xor(30), tmp_path, "second", str(path)), second).run()

    warning = second.progress[-1].resume_warning
    assert warning.startswith("resumed, but not equal to the bit: torch version was 2")


@pytest.mark.parametrize("name", ["precision", "execution"])
def test_a_resume_that_computes_in_another_way_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The same kind of device may have no bf16, or no compiler."""
    first = FakeReporter(lambda seen: seen.looks == 20)
    with pytest.raises(Interrupted):
        Session(request_for(xor(30), tmp_path, "first"), first).run()
    path, _ = first.checkpoints[-1]
    resumed_in = checkpoint._surroundings

    def otherwise(loop: Loop) -> dict[str, object]:
        setattr(loop.recipe.choices, name, "other")
        return resumed_in(loop)

    monkeypatch.setattr(checkpoint, "_surroundings", otherwise)
    second = FakeReporter()
    Session(request_for(xor(30), tmp_path, "second", str(path)), second).run()

    assert f"{name} was " in second.progress[-1].resume_warning


def test_the_learning_rate_is_reported_as_its_schedule_has_it(tmp_path: Path) -> None:
    reporter = FakeReporter()
    schedule: Value = {"kind": "step", "step_epochs": 2, "drop": 0.5}
    Session(request_for(xor(6, schedule=schedule), tmp_path), reporter).run()

    assert reporter.progress[-1].learning_rate == pytest.approx(0.05 * 0.25)


def test_what_was_picked_is_told_in_progress_and_manifest(tmp_path: Path) -> None:
    reporter = FakeReporter()
    made = Session(request_for(xor(5, micro_batch_size=2), tmp_path), reporter).run()

    choices = reporter.progress[-1].choices
    assert choices == made.lineage.choices
    assert (choices.device, choices.threads, choices.precision) == ("cpu", 1, "fp32")
    assert (choices.execution, choices.optimizer) == ("eager", "adam, fused")
    assert (choices.batch_size, choices.micro_batch_size) == (4, 2)
    assert all((choices.threads_reason, choices.precision_reason, choices.execution_reason))


def test_threads_that_were_given_up_before_a_resume_are_told_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the checkpoint was taken on all of them again."""

    def asked(attempt: str, resume: str = "") -> child_pb2.TrainRequest:
        request = request_for(xor(200), tmp_path, attempt, resume)
        request.threads = 2
        return request

    def ignore(_: int) -> None:
        pass

    monkeypatch.setattr(machine, "use_threads", ignore)
    clock = crowd(monkeypatch)
    monkeypatch.setattr("trainer.cores.waited_s", lambda: min(clock(), 20.0))  # then they left
    first = FakeReporter(lambda seen: seen.looks == 150)
    with pytest.raises(Interrupted):
        Session(asked("first"), first, clock).run()
    second = FakeReporter()
    Session(asked("second", str(first.checkpoints[-1][0])), second, clock).run()

    assert not second.progress[-1].resume_warning  # threads are as many as at the checkpoint
    assert second.progress[-1].choices.threads == 2
    assert "trained on 1 to 2 CPU threads" in second.progress[-1].warnings[0]


def test_threads_stay_where_the_kernel_has_nothing_to_say_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = crowd(monkeypatch)
    told = itertools.chain([50.0, None], itertools.repeat(50.0))
    monkeypatch.setattr("trainer.cores.waited_s", lambda: next(told))
    request = request_for(xor(20), tmp_path)
    request.threads = 2
    reporter = FakeReporter()

    Session(request, reporter, clock).run()

    assert not reporter.progress[-1].warnings


def test_the_speed_of_an_epoch_that_another_attempt_began_is_that_of_its_own_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second a step of one row: three of the second epoch's four were done before."""
    asked = xor(3, batch_size=1)
    first = FakeReporter(lambda seen: seen.looks == 7)
    with pytest.raises(Interrupted):
        Session(request_for(asked, tmp_path, "first"), first).run()
    monkeypatch.setattr(session, "REPORT_GAP_S", 0.0)
    second = FakeReporter()
    request = request_for(asked, tmp_path, "second", str(first.checkpoints[-1][0]))
    Session(request, second, lambda: float(second.looks)).run()

    assert second.progress[0].resumed_epoch == 1
    assert second.progress[0].rows_per_second == pytest.approx(1)
    assert second.progress[0].remaining_duration.ToTimedelta().total_seconds() == pytest.approx(4)
    found = series.parse((Path(request.checkpoint_path) / series.FILE_NAME).read_bytes())
    assert [point.rows_per_second for point in found.points[1:2]] == [pytest.approx(1)]


def test_where_the_newest_checkpoint_is_damaged_the_one_before_is_taken(tmp_path: Path) -> None:
    straight = Session(request_for(xor(20), tmp_path, "straight"), FakeReporter()).run()
    first = FakeReporter(lambda seen: seen.looks == 9)
    asked = xor(20, checkpoint_interval=0)
    with pytest.raises(Interrupted):
        Session(request_for(asked, tmp_path, "first"), first).run()
    path, _ = first.checkpoints[-1]
    path.write_bytes(path.read_bytes()[:-1])
    second = FakeReporter()
    request = request_for(asked, tmp_path, "second", str(path))
    resumed = Session(request, second).run()

    assert second.progress[-1].resumed_epoch == 8
    assert not second.progress[-1].resume_warning
    digests = [
        [file.sha256 for file in made.files if file.name == "weights.safetensors"]
        for made in (straight, resumed)
    ]
    assert digests[0] == digests[1]
    found = series.parse((Path(request.checkpoint_path) / series.FILE_NAME).read_bytes())
    assert [point.epoch for point in found.points] == list(range(1, 21))
