"""The figures and their page."""

import urllib.request

from trainer.metrics import Metrics, serve
from twofold import __version__


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
