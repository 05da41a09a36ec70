"""What a comparison of jobs shows, marks and refuses to mark."""

import pytest

from tests.twofold import losses
from tests.twofold.client.service import EVENT_TIME
from tests.twofold.modules import graph_of
from twofold import toml_spec
from twofold.cli.comparing import Comparison, Subject, compare, facts_of, leaves
from twofold.series import MetricPoint
from twofold.toml_spec import Tree
from twofold.v1 import model_pb2, spec_pb2, training_pb2

DIGEST = "ab" * 32
BASE: Tree = {
    "model": "m",
    "data": {"dataset": DIGEST, "target": "y", "validation_fraction": 0.2},
    "network": {"family": "mlp", "hidden": [8]},
    "training": {"epochs": 10, "loss": "cross_entropy"},
}


def job(*sets: str, **metrics: float) -> training_pb2.TrainingJob:
    spec = toml_spec.from_dict(toml_spec.apply_sets(BASE, sets))
    made = training_pb2.TrainingJob(
        name="jobs/J", spec=spec, state=training_pb2.JOB_STATE_SUCCEEDED
    )
    made.progress.MergeFrom(
        training_pb2.Progress(epoch=10, epoch_count=10, loss=0.5, metrics=metrics)
    )
    return made


def version(epoch: int = 7, **metrics: float) -> model_pb2.ModelVersion:
    made = model_pb2.ModelVersion(name="models/m/versions/3")
    made.manifest.metrics.update(metrics)
    made.manifest.lineage.MergeFrom(
        model_pb2.Lineage(
            job="jobs/J",
            dataset=f"datasets/{DIGEST}",
            epoch=epoch,
            training_row_count=80,
            validation_row_count=20,
            choices=spec_pb2.Choices(device="cpu", precision="bf16", optimizer="adam, fused"),
        )
    )
    return made


def of_jobs(*jobs: training_pb2.TrainingJob) -> Comparison:
    return compare([Subject(one, None) for one in jobs])


def test_only_keys_that_differ_are_shown_by_their_toml_names() -> None:
    found = of_jobs(
        job("training.epochs=20", "network.hidden=[8,8]"), job("training.patience=3"), job()
    )

    assert found.differences == {
        "network.hidden": ([8, 8], [8], [8]),
        "training.epochs": (20, 10, 10),
        "training.patience": (None, 3, None),
    }


def test_the_data_set_is_a_fact_and_no_difference() -> None:
    found = of_jobs(job(f"data.dataset={'cd' * 32}"), job())

    assert found.differences == {}
    assert [one.dataset for one in found.subjects] == ["cd" * 32, DIGEST]


def test_graphs_are_compared_by_their_digest() -> None:
    spec, other = (
        spec_pb2.TrainingSpec(network=spec_pb2.NetworkSpec(graph=graph_of(2, outputs)))
        for outputs in (1, 2)
    )

    assert len(str(leaves(spec)["network.graph"])) == 64
    assert leaves(spec)["network.graph"] != leaves(other)["network.graph"]
    assert "network.graph" not in leaves(spec_pb2.TrainingSpec())


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("accuracy", (0.5, 0.75, 0.75), (1, 2)),
        ("rmse", (0.5, 0.75, 0.25), (2,)),
        ("r2.price", (0.5, 0.75, 0.25), (1,)),
        ("accuracy", (0.5, 0.5, 0.5), ()),
        ("of_the_users", (0.5, 0.75, 0.25), ()),
    ],
)
def test_the_best_is_the_largest_or_the_least(
    metric: str, values: tuple[float, ...], best: tuple[int, ...]
) -> None:
    found = of_jobs(*(job(**{metric: value}) for value in values))

    assert found.best.get(metric, ()) == best
    assert not found.note


def test_who_lacks_a_metric_is_not_the_best() -> None:
    assert of_jobs(job(rmse=0.5), job(), job(rmse=0.25)).best["rmse"] == (2,)


@pytest.mark.parametrize(
    "other",
    [
        f"data.dataset={'cd' * 32}",
        "data.target=z",
        'data.targets=["y", "z"]',
        "data.validation_fraction=0.5",
        "training.seed=9",
    ],
)
def test_figures_of_other_rows_are_not_compared(other: str) -> None:
    found = of_jobs(job(accuracy=0.5), job(other, accuracy=0.75))

    assert found.best == {}
    key = other.partition("=")[0]
    what = "targets" if key.startswith("data.target") else "rows"
    assert f"{key} differs, so they are of other {what}" in found.note


def test_a_seed_changes_no_rows_where_none_are_held_out() -> None:
    whole = "data.validation_fraction=0.0"

    found = of_jobs(job(whole, accuracy=0.5), job(whole, "training.seed=9", accuracy=0.75))

    assert found.best["accuracy"] == (1,)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("training.loss", "training.loss=focal"),
        ("training.class_weights", "training.class_weights.cat=2.0"),
        ("data.weight", "data.weight=w"),
    ],
)
def test_losses_of_different_kinds_are_not_compared(key: str, other: str) -> None:
    found = of_jobs(job(accuracy=0.5, loss=0.5), job(other, accuracy=0.75, loss=0.25))

    assert found.best == {"accuracy": (1,)}
    assert found.note == f"no loss is marked as the best: {key} differs"


def test_losses_of_the_users_are_compared_by_their_digest() -> None:
    one, other, same = job(loss=0.5), job(loss=0.25), job(loss=0.125)
    for made, columns in ((one, 1), (other, 2), (same, 1)):
        made.spec.training.loss_graph.CopyFrom(losses.squared(columns))

    assert of_jobs(one, other).note == (
        "no loss is marked as the best: training.loss_graph differs"
    )
    assert of_jobs(one, same).best == {"loss": (1,)}


def test_a_versions_own_figures_go_before_those_of_the_jobs_last_epoch() -> None:
    points = [
        MetricPoint(epoch=epoch, step=epoch, time_s=0, loss=1 / epoch, rows_per_second=speed)
        for epoch, speed in ((1, 10.0), (2, 100.0), (3, 300.0))
    ]

    found = facts_of(Subject(job(accuracy=0.5), version(accuracy=0.75, loss=0.25), points))

    assert found.metrics == {"accuracy": 0.75, "loss": 0.25}
    assert (found.version, found.job) == ("m@3", "J")
    assert (found.epochs, found.published_epoch) == (10, 7)
    assert (found.training_rows, found.held_out_rows) == (80, 20)
    assert found.choices["precision"] == "bf16"
    assert (found.training_loss, found.rows_per_second) == (1 / 3, 100.0)


def test_a_job_without_a_version_shows_its_last_figures() -> None:
    made = job(accuracy=0.5)
    made.state, made.reason = training_pb2.JOB_STATE_FAILED, training_pb2.JOB_REASON_NOT_BLESSED
    made.start_time.FromDatetime(EVENT_TIME)
    made.end_time.FromMilliseconds(made.start_time.ToMilliseconds() + 1500)
    made.progress.validation_loss = 0.125

    found = facts_of(Subject(made, None))

    assert found.metrics == {"accuracy": 0.5, "loss": 0.125}
    assert found.state == "FAILED (NOT_BLESSED)"
    assert found.duration_s == 1.5
    assert found.training_rows is None


def test_what_trained_nothing_shows_no_way_of_training() -> None:
    pushed = job("training.epochs=0")
    pushed.progress.choices.MergeFrom(version().manifest.lineage.choices)

    assert facts_of(Subject(None, version(epoch=0))).choices.keys() == {"device", "precision"}
    assert facts_of(Subject(pushed, None)).choices.keys() == {"device", "precision"}
    assert "optimizer" in facts_of(Subject(None, version(epoch=1))).choices


def test_a_version_whose_job_is_gone_shows_its_manifest() -> None:
    withdrawn = version(accuracy=0.75)
    withdrawn.withdrawn = True

    found = compare([Subject(None, withdrawn), Subject(job(), version(accuracy=0.5))])

    assert (found.subjects[0].job, found.subjects[0].state) == ("J", "WITHDRAWN")
    assert found.subjects[0].epochs is None
    assert found.differences == {}
    assert found.best == {}
    assert "a job is gone" in found.note
