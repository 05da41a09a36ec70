"""A push is a training job of 0 epochs, over the module's own weights or a file's."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from tests.twofold.client.packing import FakePacking, stand_in
from tests.twofold.client.serving import Servers
from twofold import AsyncClient, Client, toml_spec
from twofold.client import pushing
from twofold.errors import InvalidField
from twofold.v1 import dataset_pb2, spec_pb2


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> FakePacking:
    return stand_in(monkeypatch)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text("a,label\n1,x\n2,y\n", encoding="utf-8")
    return file


def created(servers: Servers) -> spec_pb2.TrainingSpec:
    (request,) = servers.training.requests
    return request.spec


def sent_weights(servers: Servers) -> dict[str, torch.Tensor]:
    """What was uploaded as the spec's network.weights."""
    digest = created(servers).network.weights
    found = servers.datasets.datasets[f"datasets/{digest}"]
    assert found.format == dataset_pb2.DATASET_FORMAT_SAFETENSORS
    return load(servers.datasets.contents[digest])


def test_a_module_is_pushed_as_it_is(
    client: Client, servers: Servers, packing: FakePacking, rows: Path
) -> None:
    module = nn.Linear(2, 1)

    handle = client.models.push("own", module, data=rows)

    spec = created(servers)
    assert (spec.model, spec.training.epochs) == ("own", 0)
    assert spec.training.HasField("epochs")
    assert spec.data.dataset in servers.datasets.contents
    assert spec.network.HasField("graph")
    assert packing.columns == [["a", "label"]]
    assert torch.equal(sent_weights(servers)["weight"], module.weight)
    assert UUID(handle.job.request_id).version == 4
    assert handle.wait(20).model_version == "models/digits/versions/7"


@pytest.mark.usefixtures("packing")
def test_weights_of_a_file_are_loaded_before_the_module_is_sent(
    client: Client, servers: Servers, tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([5.0])}, file)

    client.models.push("own", nn.Linear(2, 1), data="xor", weights=file)

    sent = sent_weights(servers)
    assert sent["weight"].tolist() == [[3.0, 4.0]]
    assert sent["bias"].tolist() == [5.0]
    assert created(servers).data.dataset == "xor"


@pytest.mark.usefixtures("packing")
def test_the_rest_of_the_spec_goes_with_it(client: Client, servers: Servers) -> None:
    spec: toml_spec.Tree = {"gates": {"min_metric": 0.9}, "training": {"threads": 2}}

    client.models.push("own", nn.Linear(2, 1), data="xor", spec=spec)

    assert created(servers).gates.min_metric == 0.9
    assert (created(servers).training.threads, created(servers).training.epochs) == (2, 0)
    assert spec == {"gates": {"min_metric": 0.9}, "training": {"threads": 2}}


@pytest.mark.usefixtures("packing")
def test_rows_may_be_arrays(client: Client, servers: Servers) -> None:
    x = np.zeros((3, 2), dtype=np.float32)

    client.models.push("own", nn.Linear(2, 1), data=(x, ["a", "b", "a"]))

    dataset = f"datasets/{created(servers).data.dataset}"
    assert servers.datasets.datasets[dataset].format == dataset_pb2.DATASET_FORMAT_NPZ


async def test_the_asyncio_client_pushes_the_same(
    servers: Servers, packing: FakePacking, rows: Path, tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([5.0])}, file)

    async with AsyncClient(connection=servers.connection()) as client:
        handle = await client.models.push("own", nn.Linear(2, 1), data=rows, weights=file)
        job = await handle.wait(20)

    assert created(servers).training.HasField("epochs")
    assert sent_weights(servers)["bias"].tolist() == [5.0]
    assert packing.columns == [["a", "label"]]
    assert job.model_version == "models/digits/versions/7"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"training": {"epochs": 3}}, "training.epochs is 3; allowed: 0, or nothing: a push"),
        ({"model": "other"}, "model is other; allowed: own, or nothing"),
        ({"training": 3}, "training is 3; allowed: a table"),
    ],
)
def test_what_is_no_push_is_refused(spec: toml_spec.Tree, message: str) -> None:
    with pytest.raises(InvalidField) as caught:
        pushing.spec_of("own", spec)

    assert message in caught.value.message


def test_nothing_is_sent_where_the_weights_are_not_the_modules(
    client: Client, servers: Servers, tmp_path: Path, packing: FakePacking
) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(1, 2)}, file)

    with pytest.raises(InvalidField, match="weights: the file lacks bias"):
        client.models.push("own", nn.Linear(2, 1), data="xor", weights=file)

    assert servers.script.calls == []
    assert packing.columns == []
