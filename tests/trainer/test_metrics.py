"""The figures and their page."""

import re
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from trainer.metrics import Metrics, serve
from twofold import __version__
from twofold.jobs import TERMINAL
from twofold.v1.training_pb2 import JobState


def test_the_page_shows_the_figures_and_ends_with_the_block() -> None:
    metrics = Metrics()
    metrics.attempts.inc()
    with (
        serve(metrics, "127.0.0.1:0") as page,
        urllib.request.urlopen(f"http://{page.address}/metrics", timeout=5) as answer,
    ):
        text = answer.read().decode()

    assert "twofold_trainer_attempts_total 1.0" in text
    assert f'version="{__version__}"' in text


def test_two_trainers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.attempts.inc()

    assert other.registry.get_sample_value("twofold_trainer_attempts_total") == 0


def test_what_has_not_happened_yet_is_there_as_zero() -> None:
    registry = Metrics().registry
    for state in (JobState.Name(ended).removeprefix("JOB_STATE_").lower() for ended in TERMINAL):
        assert registry.get_sample_value("twofold_trainer_jobs_total", {"state": state}) == 0
    for why in ("died", "tenant", "failure", "spent"):
        name = "twofold_trainer_child_restarts_total"
        assert registry.get_sample_value(name, {"why": why}) == 0


def test_names_follow_the_conventions() -> None:
    """Base units, and a meaning each; the page's own text is what Prometheus reads."""
    with (
        serve(Metrics(), "127.0.0.1:0") as page,
        urllib.request.urlopen(f"http://{page.address}/metrics", timeout=5) as answer,
    ):
        families = list(text_string_to_metric_families(answer.read().decode()))

    names = {family.name for family in families}
    assert {"twofold_trainer_process_cpu_seconds", "twofold_trainer_job_duration_seconds"} <= names
    for family in families:
        assert family.documentation
        assert family.name.startswith("twofold_trainer")
        assert not re.search(r"_(ms|us|ns|s|kb|mb)(_|$)", family.name), family.name
