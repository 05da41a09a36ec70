"""What stands beside a version's files where it was pulled."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.twofold.nets.graphs import FP32, raw
from twofold import artifact
from twofold.errors import Corrupt
from twofold.nets import tables, values
from twofold.nets.net import Net, init
from twofold.v1 import graph_pb2, model_pb2


def tied() -> Net:
    """Two layers of one weight, and a buffer that no state_dict has."""
    graph = raw([3])
    for name, source in (("one", "x"), ("two", "one")):
        given = tables.arguments(graph_pb2.MODULE_KIND_LINEAR, in_features=3, out_features=3)
        graph.modules.add(path=name, kind=graph_pb2.MODULE_KIND_LINEAR, arguments=given)
        graph.nodes.add(name=name, module=name, arguments=[values.node(source)])
    graph.ties.add(path="two.weight", source="one.weight")
    graph.states.add(path="mask", data_type=FP32, shape=[3], non_persistent=True)
    graph.outputs.add(name="out", data_type=FP32, shape=[-1, 3])
    return init(graph, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    net = tied()
    (tmp_path / "graph.pb").write_bytes(net.graph.SerializeToString())
    save_file(net.weights(), tmp_path / "weights.safetensors")
    return tmp_path


def test_a_plain_state_dict_has_the_keys_of_the_module(folder: Path) -> None:
    written = artifact.write_state_dict(folder)
    found, wanted = load_file(folder / "state_dict.safetensors"), tied().state_dict()

    assert written.size_bytes == (folder / "state_dict.safetensors").stat().st_size
    assert found.keys() == wanted.keys()
    assert "two.weight" in found
    assert "mask" not in found
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.items())


def test_verifying_finds_the_same_state_dict(folder: Path) -> None:
    (folder / "golden.safetensors").write_bytes(b"")
    listed = model_pb2.Manifest()
    for name in artifact.FILES:
        size_bytes, sha256 = artifact._digest(folder / name) or (0, "")
        listed.files.add(name=name, size_bytes=size_bytes, sha256=sha256)

    assert artifact.write_state_dict(folder) == artifact.verify(folder, listed)


def test_a_graph_that_is_none_is_corrupt(folder: Path) -> None:
    (folder / "graph.pb").write_bytes(b"\xff")
    with pytest.raises(Corrupt, match=r"graph\.pb cannot be read"):
        artifact.write_state_dict(folder)
