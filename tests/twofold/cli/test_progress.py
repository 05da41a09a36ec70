"""Progress on a terminal and elsewhere."""

from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from tests.twofold.client.service import EVENT_TIME, progress
from twofold.cli.progress import Bar, Lines, display_on, duration, figures
from twofold.client import JobEvent
from twofold.v1 import training_pb2


def event(**fields: object) -> JobEvent:
    job = training_pb2.TrainingJob(**fields)  # pyright: ignore[reportArgumentType] - any of them
    return JobEvent(job, "1", EVENT_TIME)


def job(made: training_pb2.Progress, **fields: object) -> training_pb2.TrainingJob:
    return event(progress=made, **fields).job


def test_figures_of_a_job_with_held_out_rows() -> None:
    made = progress(2)
    made.validation_loss = 0.25

    assert figures(job(made, phase=training_pb2.JOB_PHASE_TRAINING)) == (
        "epoch 2/3  loss 0.5  validation 0.25  accuracy 0.6667  1,234 rows/s  ETA 0:01"
    )


def test_speed_and_remaining_time_are_shown_only_while_it_trains() -> None:
    for phase in (training_pb2.JOB_PHASE_QUEUED, training_pb2.JOB_PHASE_PUBLISHING):
        assert figures(job(progress(2), phase=phase)) == "epoch 2/3  loss 0.5  accuracy 0.6667"


def test_a_takeover_is_visible() -> None:
    made = training_pb2.Progress(epoch=5, epoch_count=9, loss=2, resumed_epoch=4)

    assert figures(job(made, attempt_count=2)) == "attempt 2  resumed from 4  epoch 5/9  loss 2"
    assert figures(training_pb2.TrainingJob(attempt_count=3)) == "attempt 3"
    assert not figures(training_pb2.TrainingJob(attempt_count=1))


def test_figures_of_a_job_that_knows_little() -> None:
    made = training_pb2.Progress(epoch=1, epoch_count=9, loss=2)

    assert figures(job(made)) == "epoch 1/9  loss 2"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3600, "1 h 00 min"), (-5, "0:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()

    for made in (
        event(state=training_pb2.JOB_STATE_PENDING, phase=training_pb2.JOB_PHASE_RETRY_WAIT),
        event(state=training_pb2.JOB_STATE_PENDING, phase=training_pb2.JOB_PHASE_RETRY_WAIT),
        event(
            state=training_pb2.JOB_STATE_FAILED,
            reason=training_pb2.JOB_REASON_OOM,
            message="out of memory",
        ),
    ):
        lines.show(made)

    assert capsys.readouterr().err.splitlines() == ["retry wait", "failed OOM out of memory"]


def test_bar_shows_phase_and_figures_on_a_terminal() -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    with Progress(
        "{task.description}", "{task.percentage:.0f}%", "{task.fields[figures]}", console=console
    ) as shown:
        bar = Bar(shown)
        bar.show(event(state=training_pb2.JOB_STATE_PENDING, phase=training_pb2.JOB_PHASE_QUEUED))
        (task,) = shown.tasks
        assert (task.description, task.total) == ("queued", None)
        bar.show(
            event(
                state=training_pb2.JOB_STATE_RUNNING,
                phase=training_pb2.JOB_PHASE_TRAINING,
                progress=progress(2),
            )
        )

    assert (task.description, task.completed, task.total) == ("training", 2, 3)
    assert "epoch 2/3" in screen.getvalue()


def test_display_is_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    with display_on(Console(file=StringIO(), force_terminal=True)) as display:
        assert isinstance(display, Bar)
    with display_on(Console(file=StringIO())) as display:
        assert isinstance(display, Lines)


def test_weights_that_are_published_as_they_came_have_no_epochs() -> None:
    """Nor a loss before they were measured."""
    made = training_pb2.Progress(choices={"device": "cpu"})
    measured = training_pb2.Progress(loss=0.25, metrics={"accuracy": 0.75})
    phase = training_pb2.JOB_PHASE_EVALUATING

    assert not figures(job(made, phase=phase))
    assert figures(job(made, phase=phase, attempt_count=2)) == "attempt 2"
    assert figures(job(measured, phase=phase)) == "loss 0.25  accuracy 0.75"


def test_a_bar_without_epochs_says_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    made = training_pb2.Progress(loss=0.25, metrics={"accuracy": 0.75})

    with display_on(console) as display:
        display.show(event(phase=training_pb2.JOB_PHASE_EVALUATING, progress=made))

    assert "evaluating" in screen.getvalue()
    assert "loss 0.25" in screen.getvalue()
    assert "0/0" not in screen.getvalue()
    assert not capsys.readouterr().err
