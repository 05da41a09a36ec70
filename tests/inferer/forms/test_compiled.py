"""A compiled network: batches are padded to its sizes; the real compiler is tried once."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import cpu_vec_isa

from inferer.forms.compiled import Compiled, CompiledForm, inductor
from inferer.forms.form import Inexpressible
from tests.inferer.forms.nets import assert_equal, columns, eager, net_of, scores
from twofold.errors import InvalidField
from twofold.nets.net import Net
from twofold.v1 import graph_pb2

X = torch.randn(2, 4)


def a_net() -> Net:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return net_of(module, X, head=graph_pb2.HEAD_SOFTMAX)


def test_batches_are_padded_to_what_was_compiled() -> None:
    net, seen = a_net(), list[int]()

    def compiler(given: Net, inputs: Sequence[Tensor]) -> Compiled:
        def run(*arguments: Tensor) -> tuple[Tensor, ...]:
            assert len(arguments[0]) == len(inputs[0])
            seen.append(len(arguments[0]))
            return (given.head(given(*arguments)),)

        return run

    form = CompiledForm(net, columns(X), (1, 4, 16), compiler)

    for rows in (1, 2, 4, 5, 16, 3):
        inputs = torch.randn(rows, 4)
        assert_equal(scores(form, inputs), eager(net, inputs))
    assert seen == [1, 4, 4, 16, 16, 4]
    assert form.most_rows == 16


def test_what_cannot_be_compiled_is_told() -> None:
    def compiler(given: Net, inputs: Sequence[Tensor]) -> Compiled:
        raise NotImplementedError(given, inputs)

    with pytest.raises(Inexpressible, match="torch cannot compile it: NotImplementedError"):
        CompiledForm(a_net(), columns(X), (1,), compiler)


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(InvalidField, match="may be written by others"):
        inductor(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, in what it imports to compile
def test_torch_compiles_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    # Looking for vector instructions is six more compilations.
    monkeypatch.setattr(cpu_vec_isa, "valid_vec_isa_list", list)
    net = a_net()

    form = CompiledForm(net, columns(X), (2,), inductor(tmp_path))

    assert_equal(scores(form, X), eager(net, X))
    assert oct((tmp_path / "compiled").stat().st_mode & 0o777) == "0o700"
    assert list((tmp_path / "compiled").rglob("*.so"))
