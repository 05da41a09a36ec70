import math
from pathlib import Path

import pytest

from inferer import model_config
from inferer.batcher import Limits, QueuePolicy
from inferer.model_config import ModelConfig
from tests.inferer.server import settings_for
from twofold.config import UnusableSettings

WHOLE = """
[default]
max_batch_size = 64
default_queue_policy = { max_queue_size = 500, default_timeout_microseconds = 100_000 }

[models.digits]
max_batch_size = 32
preferred_batch_size = [16, 8]
max_queue_delay_microseconds = 250
priority_levels = 3
default_priority_level = 2

[models.digits.default_queue_policy]
allow_timeout_override = false

[models.digits.priority_queue_policy]
1 = { max_queue_size = 50 }
3 = { timeout_action = "DELAY", default_timeout_microseconds = 0 }
"""


def read(tmp_path: Path, text: str, **settings: object) -> ModelConfig:
    file = tmp_path / "models.toml"
    file.write_text(text, encoding="utf-8")
    return model_config.read(settings_for(tmp_path, models_file=str(file), **settings))


def test_without_a_file_the_settings_are_for_all(tmp_path: Path) -> None:
    made = model_config.read(
        settings_for(
            tmp_path, max_batch_size=7, max_queue_size=9, max_queue_delay_microseconds=1500
        )
    )

    assert made.limits("any") == Limits(7, 9, 0.0015, queues=(QueuePolicy(9),))
    assert made.max_batch_size == 7


def test_a_model_stands_over_the_default_and_that_over_the_settings(tmp_path: Path) -> None:
    made = read(tmp_path, WHOLE, max_batch_size=128, max_queue_delay_microseconds=100)

    assert made.max_batch_size == 64
    assert made.limits("other") == Limits(64, 500, 0.0001, queues=(QueuePolicy(500, 0.1),))
    fixed = QueuePolicy(500, 0.1, allow_timeout_override=False)
    assert made.limits("digits") == Limits(
        max_batch_size=32,
        max_queue_size=500,
        max_queue_delay_s=0.00025,
        preferred_batch_size=(8, 16),
        queues=(
            QueuePolicy(50, 0.1, allow_timeout_override=False),
            fixed,
            QueuePolicy(500, math.inf, allow_timeout_override=False, timeout_action="DELAY"),
        ),
        default_priority_level=2,
    )


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "", max_batch_size=7).limits("any").max_batch_size == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "no TOML"),
        ("model.a.b = 1", "model is not known; allowed here: default, models"),
        ("models = 1", "models is 1: input should be a valid dictionary"),
        ("[models.a]\nmax_batch = 1", r"models\.a\.max_batch is not known; allowed here: max_b"),
        ("[models.a]\nmax_batch_size = 0", r"models\.a\.max_batch_size is 0: .* equal to 1"),
        ("[models.a]\nmax_batch_size = '8'", r"max_batch_size is '8': .* a valid integer"),
        ("[models.a]\nmax_batch_size = true", "max_batch_size is True: .* a valid integer"),
        ("[models.a]\npreferred_batch_size = [4, -1]", r"preferred_batch_size\[1\] is -1"),
        ("[models.a]\npreferred_batch_size = [4, 2000]", r"holds 2000; allowed: 1 to .*\(1024\)"),
        ("[default]\nmax_batch_size = 3\n[models.a]\npreferred_batch_size = [4]", "holds 4"),
        ("[default]\npriority_levels = 2", r"default\.default_priority_level is 0; .*\(2\)"),
        ("[default]\npriority_levels = 65", "less than or equal to 64"),
        (
            "[models.a]\npriority_levels = 2\ndefault_priority_level = 3",
            r"models\.a\.default_priority_level is 3; allowed: 1 to priority_levels \(2\)",
        ),
        ("[default]\ndefault_priority_level = 1", "is 1; allowed without priority_levels: 0"),
        (
            "[default.priority_queue_policy]\n1 = {max_queue_size = 1}",
            r"priority_queue_policy\.1 is no level; allowed: none without levels",
        ),
        (
            "default = {priority_levels=2, default_priority_level=1, priority_queue_policy.01={}}",
            r"priority_queue_policy\.01 is no level; allowed: 1 to priority_levels \(2\)",
        ),
        (
            "[models.a.default_queue_policy]\nmax_queue = 1",
            r"default_queue_policy\.max_queue is not known; allowed here: max_queue_size, default_",
        ),
        ("[default.default_queue_policy]\nmax_queue_size = 0", "is 0: .* equal to 1"),
        (
            "[default.default_queue_policy]\ntimeout_action = 'DROP'",
            "is 'DROP': .* 'REJECT' or 'DELAY'",
        ),
        (
            "default.default_queue_policy.default_timeout_microseconds = 100",
            r"default_timeout_microseconds is 100; allowed: more than .* \(100\), or 0",
        ),
        ("[models.'../a']\nmax_batch_size = 1", r"models\.\.\./a cannot be a model"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UnusableSettings, match=message) as caught:
        read(tmp_path, text, max_queue_delay_microseconds=100)

    for line in str(caught.value).splitlines():
        assert line.startswith(f"{tmp_path / 'models.toml'}: ")


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnusableSettings) as caught:
        read(tmp_path, "[models.a]\nmax_batch_size = 0\n[models.b]\nx = 1\n")

    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableSettings, match=r"TWOFOLD_MODELS_FILE is .*none\.toml.* No such"):
        model_config.read(settings_for(tmp_path, models_file=str(tmp_path / "none.toml")))


def test_what_is_no_text_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_bytes(b"x = '\xff'")

    with pytest.raises(UnusableSettings, match=r"models\.toml: no TOML"):
        model_config.read(settings_for(tmp_path, models_file=str(tmp_path / "models.toml")))


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableSettings, match="longer than 1048576 bytes"):
        read(tmp_path, "#" * (1 << 20) + "\n")
