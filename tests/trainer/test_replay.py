"""What is published answers what it promises, row by row."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.trainer.jobs import FakeReporter, request_for, truth_spec
from trainer import replay
from trainer.gates import NotBlessed
from trainer.session import Session
from twofold.nets import registry
from twofold.nets.net import Net
from twofold.tensors import Array
from twofold.v1 import model_pb2

#: As it was before a test replaced it.
REAL = registry.answers


def trained(tmp_path: Path) -> tuple[model_pb2.Manifest, Path]:
    request = request_for(truth_spec("xor", network={"family": "mlp"}), tmp_path)
    return Session(request, FakeReporter()).run(), Path(request.artifact_path)


def test_what_was_exported_passes(tmp_path: Path) -> None:
    replay.require(*trained(tmp_path))


@pytest.mark.parametrize("name", ["graph.pb", "weights.safetensors", "golden.safetensors"])
def test_a_file_that_the_disk_changed_is_not_published(tmp_path: Path, name: str) -> None:
    manifest, folder = trained(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).unlink()
    (folder / name).write_bytes(data)

    with pytest.raises(NotBlessed, match=rf"{name} differs from its manifest"):
        replay.require(manifest, folder)


def test_a_row_that_depends_on_the_rows_beside_it_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_batch(
        net: Net, spec: model_pb2.FeatureSpec, inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        answers = dict(REAL(net, spec, inputs))
        alone = len(next(iter(inputs.values()))) == 1
        answers["probabilities"] = answers["probabilities"] + (1e-3 if alone else 0)
        return answers

    manifest, folder = trained(tmp_path)
    monkeypatch.setattr(registry, "answers", by_batch)

    with pytest.raises(NotBlessed, match=r"depends on the rows beside it.*probabilities is off"):
        replay.require(manifest, folder)


def test_a_session_replays_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(manifest: model_pb2.Manifest, folder: Path) -> None:
        assert {file.name for file in manifest.files} == {file.name for file in folder.iterdir()}
        raise NotBlessed("not published: x")

    monkeypatch.setattr(replay, "require", refuse)

    with pytest.raises(NotBlessed):
        trained(tmp_path)
