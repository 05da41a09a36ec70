"""A network that begins from a version takes what fits, and only where it means the same."""
# pyright: reportUnknownVariableType=false

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.jobs import BOUNDS, FakeReporter, request_for
from trainer import warm_start
from trainer.api.models import pinned
from trainer.loop import Interrupted
from trainer.session import Session
from trainer.warm_start import Parent
from twofold import keys, manifest, spec, toml_spec, versions
from twofold.errors import InvalidData, InvalidField, NotFound
from twofold.internal.v1 import child_pb2
from twofold.nets import catalogue
from twofold.nets.net import Net, init
from twofold.principal import Principal
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.v1 import model_pb2, spec_pb2

TENANT = "local"
FEATURES = model_pb2.FeatureSpec(
    numeric_columns=["a", "b"], task=spec_pb2.TASK_CLASSIFICATION, labels=["0", "1", "2"]
)


def net_of(features: model_pb2.FeatureSpec, hidden: int = 4, seed: int = 0) -> Net:
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=[hidden])
    return init(
        catalogue.build(network, features, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED), seed
    )


def parent_of(features: model_pb2.FeatureSpec = FEATURES, hidden: int = 4) -> Parent:
    return Parent("digits", 3, features, net_of(features, hidden, seed=9).weights())


def changed(**fields: object) -> model_pb2.FeatureSpec:
    features = model_pb2.FeatureSpec()
    features.CopyFrom(FEATURES)
    for name in fields:
        features.ClearField(name)
    features.MergeFrom(model_pb2.FeatureSpec(**fields))  # pyright: ignore[reportArgumentType]
    return features


def test_all_of_it_is_taken_where_nothing_differs() -> None:
    net, parent = net_of(FEATURES), parent_of()

    told = warm_start.take(parent, FEATURES, net)

    assert told == "6 of 6 tensors of models/digits/versions/3"
    for path, tensor in net.weights().items():
        torch.testing.assert_close(tensor, parent.weights[path], rtol=0, atol=0)


def test_another_size_stays_new() -> None:
    net = net_of(FEATURES, hidden=5)
    before = {path: tensor.clone() for path, tensor in net.weights().items()}

    told = warm_start.take(parent_of(), FEATURES, net)

    assert told.startswith("3 of 6 tensors of models/digits/versions/3; new: hidden.0.weight, ")
    assert torch.equal(net.weights()["hidden.0.weight"], before["hidden.0.weight"])
    assert torch.equal(net.weights()["output.bias"], parent_of().weights["output.bias"])


def test_other_labels_in_the_same_places_leave_the_output_new() -> None:
    told = warm_start.take(parent_of(), changed(labels=["1", "2", "3"]), net_of(FEATURES))

    assert told == "4 of 6 tensors of models/digits/versions/3; new: output.weight, output.bias"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"numeric_columns": ["b", "a"]}, "the same numeric columns"),
        (
            {"category_columns": [model_pb2.CategoryColumn(name="c", vocabulary=["u"])]},
            "the same category columns",
        ),
        ({"task": spec_pb2.TASK_REGRESSION}, "the same task"),
    ],
)
def test_other_columns_are_refused(fields: dict[str, object], what: str) -> None:
    with pytest.raises(InvalidField, match=what):
        warm_start.take(parent_of(changed(**fields)), FEATURES, net_of(FEATURES))


def test_other_values_of_a_category_are_refused() -> None:
    def with_values(*values: str) -> model_pb2.FeatureSpec:
        return changed(category_columns=[model_pb2.CategoryColumn(name="c", vocabulary=values)])

    ours = with_values("x", "y")
    with pytest.raises(InvalidField, match="the same values of c"):
        warm_start.take(parent_of(with_values("y", "x")), ours, net_of(ours))


def test_a_version_of_which_nothing_fits_is_refused() -> None:
    parent = Parent("digits", 3, FEATURES, {"other": torch.zeros(1)})

    with pytest.raises(InvalidField, match="some tensors of the same path and shape"):
        warm_start.take(parent, FEATURES, net_of(FEATURES))


def test_prefixes_stand_for_parameters() -> None:
    graph = net_of(FEATURES).graph

    assert warm_start.frozen_paths(graph, ["hidden.0"]) == ["hidden.0.weight", "hidden.0.bias"]
    assert warm_start.frozen_paths(graph, ["output.bias"]) == ["output.bias"]
    with pytest.raises(InvalidField, match=r"network\.frozen\[1\] is hid; allowed"):
        warm_start.frozen_paths(graph, ["hidden", "hid"])
    with pytest.raises(InvalidField, match="some parameters left to train"):
        warm_start.frozen_paths(graph, ["hidden", "output"])


def xor_job(folder: Path, name: str, **network: toml_spec.Value) -> child_pb2.TrainRequest:
    table = spec.truth_table("xor")
    tree: dict[str, object] = {
        "model": "xor",
        "data": {"dataset": "xor"},
        "network": {"family": "mlp", "hidden": [8], **network},
        "training": {"epochs": 5, "learning_rate": 0.05, "seed": 1},
    }
    asked = spec.complete(toml_spec.from_dict(tree), table.columns, table.row_count, BOUNDS)
    request = request_for(asked, folder, name)
    request.store_path, request.tenant = str(folder / "store"), TENANT
    return request


def published(folder: Path) -> dict[str, torch.Tensor]:
    """Trains xor and puts it where version 1 stands; its weights."""
    request = xor_job(folder, "first")
    made = Session(request, FakeReporter()).run()
    made.version = 1
    store = LocalStore(folder / "store")
    place = keys.version(TENANT, "xor", 1)
    for file in made.files:
        store.create(f"{place}/{file.name}", (Path(request.artifact_path) / file.name).read_bytes())
    store.create(keys.version_manifest(TENANT, "xor", 1), manifest.encode(made))
    parent = warm_start.read(store, TENANT, "xor@1")
    assert parent is not None
    return dict(parent.weights)


def test_a_session_begins_from_a_version_and_leaves_what_is_frozen(tmp_path: Path) -> None:
    first = published(tmp_path)
    request = xor_job(tmp_path, "second", warm_start="xor@1", frozen=["hidden"])
    reporter = FakeReporter()

    made = Session(request, reporter).run()

    second = load_file(Path(request.artifact_path) / "weights.safetensors")
    assert torch.equal(second["hidden.0.weight"], first["hidden.0.weight"])
    assert not torch.equal(second["output.weight"], first["output.weight"])
    assert made.lineage.parent == "models/xor/versions/1"
    assert made.lineage.choices.warm_start == "4 of 4 tensors of models/xor/versions/1"


def test_a_version_that_is_gone_is_the_datas_fault(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"network\.warm_start is xor@7: .* does not exist"):
        Session(xor_job(tmp_path, "a", warm_start="xor@7"), FakeReporter()).run()


def test_names_are_pinned_when_a_job_is_made(tmp_path: Path) -> None:
    published(tmp_path)
    store = LocalStore(tmp_path / "store")
    versions.set_alias(store, SystemClock(), Principal(TENANT, "p"), "xor", "best", 1)

    assert [pinned(store, TENANT, name) for name in ("xor", "xor@1", "xor@best")] == ["xor@1"] * 3
    with pytest.raises(NotFound):
        pinned(store, TENANT, "xor@2")
    with pytest.raises(InvalidField):
        pinned(store, TENANT, "../xor")


def test_other_targets_in_the_same_places_leave_the_output_new() -> None:
    def of(*targets: str) -> model_pb2.FeatureSpec:
        return model_pb2.FeatureSpec(
            numeric_columns=["a", "b"], task=spec_pb2.TASK_REGRESSION, targets=targets
        )

    told = warm_start.take(parent_of(of("y", "z")), of("z", "y"), net_of(of("z", "y")))

    assert told.endswith("new: output.weight, output.bias")


def test_a_resume_does_not_need_the_version_that_training_began_from(tmp_path: Path) -> None:
    published(tmp_path)
    straight = Session(xor_job(tmp_path, "straight", warm_start="xor@1"), FakeReporter()).run()
    first = FakeReporter(lambda seen: seen.looks == 2)
    with pytest.raises(Interrupted):
        Session(xor_job(tmp_path, "stopped", warm_start="xor@1"), first).run()
    shutil.rmtree(LocalStore(tmp_path / "store").path(keys.version(TENANT, "xor", 1)))
    request = xor_job(tmp_path, "resumed", warm_start="xor@1")
    request.resume_path = str(first.checkpoints[-1][0])
    second = FakeReporter()

    resumed = Session(request, second).run()

    assert second.progress[-1].resumed_epoch == 2
    assert resumed.lineage == straight.lineage
    assert [file.sha256 for file in resumed.files] == [file.sha256 for file in straight.files]
    Path(request.resume_path).write_bytes(b"junk")
    request.checkpoint_path = str(tmp_path)
    with pytest.raises(InvalidData, match="does not exist"):  # then it begins anew
        Session(request, FakeReporter()).run()
