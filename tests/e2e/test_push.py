"""What was trained and pulled is pushed back: the tracer, the gates and the inferer agree on it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.e2e import specs
from twofold.client import Client, JobFailed
from twofold.errors import InvalidField, NotFound
from twofold.toml_spec import Tree


class Small(nn.Module):
    """An MLP on two columns; `norm` has buffers, one of them a whole number."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 16)
        self.norm = nn.BatchNorm1d(16)
        self.last = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(x))))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_trained_modules_weights_go_out_and_in_again(client: Client, tmp_path: Path) -> None:
    gates: Tree = {"min_metric": 1.0}
    training = {"epochs": 300, "learning_rate": 0.05, "seed": 1}
    spec: Tree = {"model": "out", "data": {"dataset": "xor"}, "training": training}
    client.train(spec, module=Small()).wait(timeout_s=60)
    pulled = client.models.pull("out", 1, tmp_path / "out")
    weights = pulled.folder / "state_dict.safetensors"

    job = client.models.push(
        "in", Small(), data="xor", weights=weights, spec={"gates": gates}
    ).wait(timeout_s=60)
    specs.until_served(client, "out", 1)
    specs.until_served(client, "in", 1)

    manifest = client.models.version("in", 1).manifest
    assert (job.model_version, manifest.lineage.epoch) == ("models/in/versions/1", 0)
    assert manifest.gates[0].value == 1.0
    before, after = client.predict("out", specs.ROWS), client.predict("in", specs.ROWS)
    assert after.labels.tolist() == specs.XOR
    assert np.allclose(after.probabilities, before.probabilities, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_module_that_is_no_good_is_not_published(client: Client, tmp_path: Path) -> None:
    spec: Tree = {"gates": {"min_metric": 1.0}}
    module = Small()
    file = tmp_path / "w.safetensors"
    save_file({**module.state_dict(), "last.weight": torch.zeros(1, 16)}, file)

    with pytest.raises(JobFailed, match="NOT_BLESSED"):
        client.models.push("bad", module, data="xor", weights=file, spec=spec).wait(60)

    with pytest.raises(NotFound):
        client.models.get("bad")


def test_weights_of_another_module_are_refused_here(client: Client, tmp_path: Path) -> None:
    before = len(client.jobs.list())
    file = tmp_path / "w.safetensors"
    save_file(nn.Linear(2, 1).state_dict(), file)

    with pytest.raises(InvalidField, match=r"the file lacks first\.weight"):
        client.models.push("other", Small(), data="xor", weights=file)

    assert len(client.jobs.list()) == before
