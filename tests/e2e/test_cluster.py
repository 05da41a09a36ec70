"""The whole path, through the processes that users run."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
import json
import subprocess
import sys
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import load_file, save
from torch import nn
from typer.testing import CliRunner

from tests import dashboard
from tests.e2e import own_module, processes, specs
from tests.e2e.conftest import ENVIRONMENT
from tests.trainer.jobs import points
from tests.twofold import arrays
from tests.twofold.modules import graph_of
from twofold import errors, toml_spec
from twofold.cli.app import app
from twofold.client import Client, CreateOptions, JobFailed, pushing
from twofold.client.uploads import from_arrays, from_weights
from twofold.cluster import metrics
from twofold.cluster.embedded import Embedded, running
from twofold.features import label_of
from twofold.nets import registry
from twofold.nets.net import init, load
from twofold.toml_spec import Tree
from twofold.v1 import graph_pb2, spec_pb2
from twofold.v1 import training_pb2 as pb


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_submitted_job_ends_in_predictions_that_name_it(client: Client) -> None:
    handle = client.train(specs.xor("first"))
    job = handle.wait(timeout_s=60)
    specs.until_served(client, "first", 1)
    prediction = client.predict("first", specs.ROWS)

    assert job.model_version == "models/first/versions/1"
    assert prediction.labels.tolist() == specs.XOR
    assert (prediction.model, prediction.version) == ("first", 1)
    lineage = client.models.version("first", prediction.version).manifest.lineage
    assert lineage.job == f"jobs/{handle.id}"
    assert lineage.dataset == "builtin/xor"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_own_rows_are_uploaded_trained_and_predicted(client: Client) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5]) + 3
    spec = {
        "model": "plane",
        "data": {},
        "network": {"family": "linear"},
        "training": {"epochs": 300, "learning_rate": 0.05},
    }

    client.train(x, y, spec).wait(timeout_s=60)
    specs.until_served(client, "plane", 1)

    assert np.allclose(client.predict("plane", x).value[:, 0], y, atol=0.1)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_weights_are_published_as_they_came_and_judged_by_their_gates(client: Client) -> None:
    """The graph is hand-made, as the tracer makes them: the rows decide what it is worth."""
    graph = graph_of(2, 1)
    graph.head = graph_pb2.HEAD_RAW
    weights = init(graph, seed=1).weights()
    found = client.datasets.put(from_weights(save(weights)))
    spec = toml_spec.from_dict(pushing.spec_of("as-is", {"data": {"dataset": "xor"}}))
    spec.network.graph.CopyFrom(graph)
    spec.network.weights = found.name.removeprefix("datasets/")

    job = client.jobs.handle(client.jobs.create(spec)).wait(timeout_s=60)
    specs.until_served(client, "as-is", 1)
    spec.gates.min_metric = 1.0
    with pytest.raises(JobFailed, match="NOT_BLESSED"):
        client.jobs.handle(client.jobs.create(spec)).wait(timeout_s=60)

    manifest = client.models.version("as-is", 1).manifest
    assert (job.progress.epoch, job.progress.epoch_count, manifest.lineage.epoch) == (0, 0, 0)
    assert job.progress.metrics["accuracy"] == manifest.metrics["accuracy"] < 1
    with torch.inference_mode():
        logits = load(graph, weights)(torch.from_numpy(specs.ROWS))
    answered = client.predict("as-is", specs.ROWS).probabilities[:, 1]
    assert np.allclose(answered, torch.sigmoid(logits)[:, 0].numpy(), atol=1e-6)
    assert specs.versions(client, "as-is") == [1]


def test_images_train_a_module_whose_raw_outputs_are_served(client: Client, tmp_path: Path) -> None:
    """What is predicted is what torch's own layers compute from the published weights."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (80, 3, 6, 6), dtype=np.uint8)
    label = np.where(image[:, 0].mean((1, 2)) > image[:, 1].mean((1, 2)), "red", "green")
    graph = arrays.conv(maps=True)
    spec = spec_pb2.TrainingSpec(model="maps")
    spec.training.epochs = 3
    spec.data.dataset = client.datasets.put(from_arrays({"image": image}, label)).name[9:]
    spec.network.graph.CopyFrom(graph)
    graph.head = graph_pb2.HEAD_RAW
    weights = client.datasets.put(from_weights(save(init(graph, 1).weights())))
    spec.network.weights = weights.name.removeprefix("datasets/")

    client.jobs.handle(client.jobs.create(spec)).wait(timeout_s=60)
    specs.until_served(client, "maps", 1)
    prediction = client.predict("maps", {"image": image[:5]})

    assert list(prediction.outputs) == ["logits", "maps", "best"]
    client.models.pull("maps", 1, tmp_path / "maps")
    body = nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 3, padding=1), norm=nn.BatchNorm2d(4), active=nn.ReLU())
    )
    last = nn.Linear(144, 2)
    whole = nn.ModuleDict({**body._modules, "last": last})  # pyright: ignore[reportArgumentType] - all are there
    whole.load_state_dict(load_file(tmp_path / "maps" / "state_dict.safetensors"))
    whole.eval()
    with torch.inference_mode():
        maps = body(torch.from_numpy(image[:5].astype(np.float32)))
        logits = last(maps.flatten(1))
    np.testing.assert_allclose(prediction.outputs["maps"], maps.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(prediction.outputs["logits"], logits.numpy(), rtol=1e-4, atol=1e-3)
    assert prediction.outputs["best"].tolist() == logits.argmax(1).tolist()
    with pytest.raises(errors.InvalidTensor, match=r"image of .* is FP32 \[5, 3, 6\]; expected"):
        client.predict("maps", {"image": image[:5, :, :, 0]})


def test_a_spec_that_is_refused_leaves_nothing_behind(client: Client) -> None:
    before = len(client.jobs.list())

    with pytest.raises(errors.InvalidField) as caught:
        client.train(specs.xor("refused", learning_rate=-1.0))

    assert caught.value.fields["field"] == "training.learning_rate"
    assert len(client.jobs.list()) == before


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_one_page_shows_the_figures_of_all_parts(client: Client, cluster: Embedded) -> None:
    client.train(specs.xor("counted")).wait(timeout_s=60)
    page = asyncio.run(metrics.fetch(cluster.metrics))

    names = [family.name for family in text_string_to_metric_families(page)]
    assert len(names) == len(set(names))
    assert any(name.startswith("twofold_train") for name in names)
    assert any(name.startswith("twofold_infer") for name in names)
    up = [
        (sample.labels["part"], sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "twofold_cluster_part_up"
    ]
    assert up == [("valkey", 1), ("trainer", 1), ("inferer", 1)]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_dashboard_asks_for_what_the_page_has(client: Client, cluster: Embedded) -> None:
    client.train(specs.xor("shown", epochs=5)).wait(timeout_s=60)
    specs.until_served(client, "shown", 1)
    client.predict("shown", specs.ROWS)
    known = dashboard.labels_of(asyncio.run(metrics.fetch(cluster.metrics)))

    looks = [(query, label) for _, query, label in dashboard.variables()]
    assert dashboard.unknown(dashboard.queries(), known) == []
    assert not dashboard.TARGET_LABELS & set[str]().union(*known.values()), "it would be renamed"
    assert dashboard.unknown([query for query, _ in looks], known) == []
    assert all(label in known[query.selectors()[0][0]] for query, label in looks)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_job_is_cancelled_in_every_state(client: Client) -> None:
    running_job = client.train(specs.long("endless"))
    specs.until_epoch(running_job, 1)
    queued = client.train(specs.long("endless"))
    due = datetime.now(UTC) + timedelta(hours=1)
    delayed = client.train(specs.long("endless"), options=CreateOptions(not_before=due))

    assert (queued.refresh().state, queued.job.phase) == (pb.JOB_STATE_PENDING, pb.JOB_PHASE_QUEUED)
    assert delayed.refresh().phase == pb.JOB_PHASE_DELAYED
    for handle in (delayed, queued, running_job):
        started_s = time.monotonic()
        handle.cancel()
        with pytest.raises(JobFailed):
            handle.wait(timeout_s=10)
        assert handle.job.state == pb.JOB_STATE_CANCELLED
        assert handle.job.reason == pb.JOB_REASON_USER
        assert time.monotonic() - started_s < 2
        assert handle.cancel().state == pb.JOB_STATE_CANCELLED
    with pytest.raises(errors.NotFound):
        client.models.get("endless")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_cancelling_what_has_ended_changes_nothing(client: Client) -> None:
    handle = client.train(specs.xor("ended"))
    handle.wait(timeout_s=60)

    assert handle.cancel().state == pb.JOB_STATE_SUCCEEDED
    assert specs.versions(client, "ended") == [1]
    with pytest.raises(errors.NotFound):
        client.jobs.cancel("0" * 26)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_job_that_waits_for_its_repeat_is_cancelled(client: Client) -> None:
    spec: Tree = {
        "model": "doomed",
        "data": {"dataset": "xor", "task": "regression"},
        "network": {"family": "linear"},
        "training": {"epochs": 1_000, "optimizer": "sgd", "learning_rate": 1_000.0},
        "limits": {"max_retries": 100, "retry_user_errors": True},
    }
    handle = client.train(spec)
    waiting = specs.until_job(handle, lambda job: job.phase == pb.JOB_PHASE_RETRY_WAIT)
    handle.cancel()
    with pytest.raises(JobFailed):
        handle.wait(timeout_s=10)

    assert (waiting.state, waiting.attempt_count) == (pb.JOB_STATE_PENDING, 1)
    assert (handle.job.state, handle.job.attempt_count) == (pb.JOB_STATE_CANCELLED, 1)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_up_in_the_same_folder_is_refused(cluster: Embedded) -> None:
    folder = cluster.log.parent
    second = subprocess.run(  # noqa: S603 - this test's own command
        [sys.executable, "-m", "twofold.cluster.up", str(folder), *["127.0.0.1:0"] * 3],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert second.returncode == 2
    assert str(folder) in second.stderr
    assert f"pid {cluster.process.pid} " in second.stderr
    assert second.stdout == ""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_sigterm_drains_exits_0_and_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path / "cluster", ENVIRONMENT) as embedded:
        with Client(train=embedded.train, infer=embedded.infer) as client:
            specs.until_epoch(client.train(specs.long("interrupted")), 1)
        pids = processes.descendants(embedded.process.pid)
        assert len(pids) >= 4
        assert embedded.stop() == 0
        processes.assert_all_end(pids)

    with (
        running(tmp_path / "cluster", ENVIRONMENT) as embedded,
        Client(train=embedded.train, infer=embedded.infer) as client,
    ):
        (job,) = client.jobs.list()
        handle = client.jobs.handle(job)
        resumed = specs.until_job(handle, lambda job: job.progress.resumed_epoch > 0)
        handle.cancel()

    assert resumed.eviction_count == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_nothing_outlives_a_cluster_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "cluster", ENVIRONMENT) as embedded:
        pids = processes.descendants(embedded.process.pid)
        processes.kill(embedded.process.pid)
        processes.assert_all_end(pids)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The points of a plane with what follows from them."""
    path, columns = tmp_path / "points.csv", points(200)
    lines = [",".join(map(label_of, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_targets_are_trained_by_a_loss_of_the_users_and_answered_by_name(
    client: Client, cluster: Embedded, rows: Path
) -> None:
    spec = {
        "model": "pair",
        "data": {"features": ["a", "b"], "targets": ["sum", "difference"], "weight": "weight"},
        "network": {"family": "linear"},
        "training": {"epochs": 100, "learning_rate": 0.1},
    }

    def squared(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).square().mean(dim=1)

    handle = client.train(spec, data=rows, loss=squared)
    handle.wait(timeout_s=60)
    specs.until_served(client, "pair", 1)
    answer = client.predict("pair", {"b": [1.0, 0.0], "a": [2.0, -1.0]})
    command = ["--infer", cluster.infer, "predict", "pair", "--rows", str(rows)]
    lines = CliRunner().invoke(app, command, catch_exceptions=False).stdout.splitlines()

    assert np.allclose(answer.value, [[3, 0], [-1, -1]], atol=0.1)
    own = handle.refresh().spec.training.loss_graph
    assert [tensor.name for tensor in own.inputs] == ["output", "target"]
    metrics = client.models.version("pair", 1).manifest.metrics
    assert {"r2", "r2.sum", "r2.difference"} <= set(metrics)
    assert list(json.loads(lines[0])["value"]) == ["sum", "difference"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_row_may_have_every_label_or_none(client: Client, cluster: Embedded, rows: Path) -> None:
    spec = {
        "model": "signs",
        "data": {"features": ["a", "b"], "targets": ["up", "right"]},
        "network": {"family": "logistic"},
        "training": {"epochs": 200, "learning_rate": 0.1},
        "gates": {"metric": "hamming_loss", "max_metric": 0.2},
    }

    client.train(spec, data=rows).wait(timeout_s=60)
    specs.until_served(client, "signs", 1)
    answer = client.predict("signs", {"a": [3.0, -3.0, 1.0], "b": [0.1, 0.1, 2.0]})
    command = ["--infer", cluster.infer, "evaluate", "signs", "--data", str(rows), "--json"]
    report = CliRunner().invoke(app, command, catch_exceptions=False).stdout

    assert answer.has_label.tolist() == [[True, True], [False, False], [True, False]]
    assert answer.probabilities.shape == (3, 2)
    measured = json.loads(report)["multilabel"]
    assert measured["accuracy"] > 0.9
    assert [label["label"] for label in measured["labels"]] == ["up", "right"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_module_of_one_s_own_is_trained_and_served(
    cluster: Embedded, client: Client, root: Path, tmp_path: Path
) -> None:
    """The example, by the command line; what is served is what its version computes here."""
    marker = tmp_path / "imported"
    file = own_module.marked(root, tmp_path, marker)

    command = own_module.command(cluster, root, f"{file}:DigitsCnn")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    output, _ = process.communicate(timeout=90)

    assert process.returncode == 0
    assert output.splitlines()[1] == "digits_cnn@1"
    assert marker.read_text(encoding="utf-8").split() == [str(process.pid)]
    specs.until_served(client, "digits_cnn", 1)
    rows = np.random.default_rng(0).uniform(0, 16, (20, 64)).astype(np.float32)
    net = registry.load("digits_cnn@1", server=cluster.train, cache=tmp_path / "cache")
    assert net.manifest is not None
    wanted = registry.answers(net, net.manifest.features, {"x": rows})
    served = client.predict("digits_cnn", rows).probabilities
    assert np.allclose(served, wanted["probabilities"], atol=1e-6)
    assert "blocks.0.first_norm.running_mean" in net.state_dict()
