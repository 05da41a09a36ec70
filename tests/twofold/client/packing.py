"""A tracer for tests: every module becomes one hand-made graph, its weights are its own."""
# pyright: reportUnknownMemberType=false

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

import pytest
from safetensors.torch import save
from torch import nn

from tests.twofold.modules import graph_of
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2


@dataclass(frozen=True)
class Packed:
    """What twofold.nets.packing answers with."""

    graph: graph_pb2.Graph
    weights: bytes


@dataclass
class FakePacking:
    """Stands in for twofold.nets.packing; remembers the columns that it was given."""

    columns: list[list[str]] = field(default_factory=list[list[str]])

    def pack(
        self, module: object, columns: Sequence[dataset_pb2.Column], data: spec_pb2.DataSpec
    ) -> Packed:
        del data
        assert isinstance(module, nn.Module)
        self.columns.append([column.name for column in columns])
        return Packed(graph_of(2, 1), save(module.state_dict()))


def stand_in(monkeypatch: pytest.MonkeyPatch) -> FakePacking:
    """Puts a FakePacking where the client imports the tracer from."""
    fake = FakePacking()
    module = ModuleType("twofold.nets.packing")
    vars(module)["pack"] = fake.pack
    monkeypatch.setitem(sys.modules, "twofold.nets.packing", module)
    return fake
