"""What docs/serving.md shows is what the inferer does."""

import re
from pathlib import Path

import pytest

from inferer import model_config
from inferer.batcher import Limits, QueuePolicy
from tests.inferer import artifacts
from tests.inferer.server import running, settings_for
from twofold.config import UnusableSettings
from twofold.oip import config_pb2
from twofold.oip import inference_pb2 as pb
from twofold.store import LocalStore

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def example(kind: str) -> str:
    """The first block of a language."""
    return TEXT.partition(f"\n```{kind}\n")[2].partition("\n```\n")[0]


async def test_the_example_is_what_a_client_sees(store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(example("toml"), encoding="utf-8")
    artifacts.put(store, "digits", artifacts.constant(1))
    artifacts.put(store, "other", artifacts.constant(1))
    configs: dict[str, config_pb2.ModelConfig] = {}
    async with running(settings_for(tmp_path / "store", models_file=str(file))) as server:
        for name in ("digits", "other"):
            request = pb.ModelConfigRequest(name=name)
            answer = await server.call("ModelConfig", request, pb.ModelConfigResponse)
            configs[name] = answer.config

    assert [configs[name].max_batch_size for name in ("digits", "other")] == [64, 256]
    assert configs["other"].dynamic_batching.priority_levels == 0
    batching = configs["digits"].dynamic_batching
    assert list(batching.preferred_batch_size) == [32, 64]
    assert batching.max_queue_delay_microseconds == 500
    assert (batching.priority_levels, batching.default_priority_level) == (2, 2)
    assert {
        level: (policy.max_queue_size, policy.default_timeout_microseconds, policy.timeout_action)
        for level, policy in batching.priority_queue_policy.items()
    } == {1: (64, 50_000, 0), 2: (4096, 200_000, 1)}


def test_the_example_of_a_refusal_is_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = example("toml").replace("max_batch_size = 64", "max_batch = 64")
    policy = "[models.digits.default_queue_policy]"
    broken = text.replace(policy, f"{policy}\ntimeout_action = 'DROP'")
    Path("models.toml").write_text(broken, encoding="utf-8")

    with pytest.raises(UnusableSettings) as caught:
        model_config.read(settings_for(tmp_path, models_file="models.toml"))

    assert str(caught.value) == example("text")


def test_the_tables_tell_keys_and_defaults(tmp_path: Path) -> None:
    keys = re.findall(r"^\| `([a-z_]+)", TEXT, re.MULTILINE)
    file = tmp_path / "models.toml"
    for table in ("[default]", "[default.default_queue_policy]"):
        file.write_text(f"{table}\nunknown = 1", encoding="utf-8")
        with pytest.raises(UnusableSettings) as caught:
            model_config.read(settings_for(tmp_path, models_file=str(file)))
        allowed = str(caught.value).partition("allowed here: ")[2].split(", ")
        assert [key for key in keys if key in allowed] == allowed

    default = model_config.read(settings_for(tmp_path)).limits("any")
    assert default == Limits(1024, 16_384, queues=(QueuePolicy(16_384),))
