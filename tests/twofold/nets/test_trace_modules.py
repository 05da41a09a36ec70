"""Every permitted class is read back from a live module with all its arguments."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune, weight_norm

from tests.twofold.nets import test_modules as live
from tests.twofold.nets.test_modules import CASES, Case
from twofold.nets import InvalidModule, modules, tables, trace, values
from twofold.nets.net import load
from twofold.v1 import graph_pb2


class Holder(nn.Module):
    """Calls one module."""

    def __init__(self, module: nn.Module, entry: int | None = None) -> None:
        super().__init__()
        self.m, self.entry = module, entry

    def forward(self, x: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        found = self.m(*(each for each in (x, y, z) if each is not None))
        return found if self.entry is None else found[self.entry]


def expected(case: Case) -> dict[str, Any]:
    """The arguments that were given, torch's defaults for the rest."""
    table = tables.MODULES[case.kind].arguments
    return {name: case.given.get(name, argument.default) for name, argument in table.items()}


def alike(one: Any, other: Any) -> bool:
    """Some arguments say the same in two ways: 3 and (3, 3), none and the kernel's size."""
    flat_one = set(one) if isinstance(one, tuple) else {one}
    flat_other = set(other) if isinstance(other, tuple) else {other}
    return flat_one == flat_other


#: Where torch keeps what a default means: stride is the kernel's, kdim the attention's width.
_MEANT = ("stride", "kdim", "vdim")


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_live_module_gives_its_arguments_back(case: Case) -> None:
    torch.manual_seed(5)
    module = Holder(live._torch_module(case), case.entry)

    traced = trace(module, tuple(live._inputs(case)))

    (found,) = traced.graph.modules
    assert (found.path, found.kind) == ("m", case.kind)
    for name, wanted in expected(case).items():
        value: Any = values.to_literal(found.arguments[name])
        is_meant = wanted is None and name in _MEANT
        is_dead = name == "dropout" and case.given.get("num_layers", 1) == 1 and name in case.given
        is_meant |= name == "padding_idx" and wanted == -1  # counted from the end
        is_nested = name == "enable_nested_tensor"  # the case asks for what torch can
        assert alike(value, wanted) or is_meant or is_dead or is_nested, name
    assert load(traced.graph, traced.state).state_dict().keys() == module.state_dict().keys()


@pytest.mark.parametrize(
    "make",
    [
        *(nn.ReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.Mish, nn.ReLU6, nn.Hardsigmoid),
        *(nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.RReLU, nn.Dropout, nn.AlphaDropout),
    ],
)
def test_what_writes_over_its_operand_is_a_data_flow(make: Any) -> None:
    """What it wrote over is read again later, as forward() says."""

    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.act = nn.Linear(3, 4), make(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.linear(x)
            y = self.act(x)
            return x + 2 * y

    graph = trace(Again(), torch.randn(4, 3)).graph

    assert not graph.modules[1].arguments["inplace"].boolean


class Initialised(nn.Linear):
    """As its base, but for its first numbers."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return 2 * super().forward(input)


def test_a_class_derived_from_a_permitted_one_is_that_or_gone_through() -> None:
    graph = trace(nn.Sequential(Initialised(3, 4), Doubled(4, 2)), torch.randn(3, 3)).graph

    assert [module.path for module in graph.modules] == ["0"]
    assert {state.path for state in graph.states} == {"1.weight", "1.bias"}


def _nothing(*given: object) -> None:
    del given


def _hooked() -> nn.Module:
    module = nn.Linear(3, 3)
    module.register_forward_hook(_nothing)
    return module


def _parametrized() -> nn.Module:
    module = nn.Linear(3, 3)
    parametrize.register_parametrization(module, "weight", nn.Tanh())
    return module


def _deep_hook() -> nn.Module:
    module = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
    module.linear1.register_forward_pre_hook(_nothing)
    return module


def _uneven() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 4, dropout=0.1, batch_first=True)
    stack = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    stack.layers[1].dropout1.p = 0.5  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return stack


def _widened() -> nn.Module:
    module = nn.Linear(3, 3)
    module.weight = nn.Parameter(torch.zeros(5, 3))
    return module


def _pruned() -> nn.Module:
    module = nn.Linear(3, 3)
    prune.l1_unstructured(module, "weight", amount=0.3)
    return module


REFUSED = [
    (_hooked, "0 has forward hooks; remove them"),
    (_parametrized, "ParametrizedLinear|0 has parametrizations; .*remove_parametrizations"),
    (_deep_hook, "0.linear1 has forward pre hooks"),
    (_uneven, "the layers of 0 differ from each other, or were changed; keep them in a ModuleList"),
    (_widened, r"0.weight is \[5, 3\] where its class has \[3, 3\]"),
    (_pruned, "0 has forward pre hooks"),
    (lambda: weight_norm(nn.Linear(3, 3)), "0 has (forward pre hooks|parametrizations)"),
    (lambda: nn.LazyLinear(3), "0.weight has no shape yet; run the module once"),
    (nn.MSELoss, "MSELoss at 0 is not permitted in a graph; a loss, not a part of a network"),
    (lambda: nn.SyncBatchNorm(3), "SyncBatchNorm at 0 .* it needs a process group; use Batch"),
    (lambda: nn.MaxPool1d(2, return_indices=True), r"return_indices of 0 \(MAX_POOL1D\) is True"),
    (lambda: nn.Embedding(3, 3, sparse=True), r"sparse of 0 \(EMBEDDING\) is True; allowed: false"),
    (lambda: nn.Linear(3, 3).double(), r"0.weight is float64, not float32; call module.float\(\)"),
    (lambda: nn.Linear(3, 3).half(), "0.weight is float16, .*; call .float()"),
    (lambda: nn.Linear(3, 3, device="meta"), r"0.weight is on meta; call module.cpu\(\) first"),
    (lambda: torch.compile(nn.Linear(3, 3)), "0 is compiled; give it before torch.compile"),
    (lambda: nn.DataParallel(nn.Linear(3, 3)), "which the services do themselves; give its module"),
    (lambda: nn.AdaptiveAvgPool2d((None, 1)), "output_size of 0 .* allowed: integer"),
]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_a_graph_cannot_hold_of_a_module_is_told(make: Any, message: str) -> None:
    x = torch.randint(2, (2, 3)) if "sparse" in message else torch.randn(2, 3, 4)
    x = x if "sparse" in message or "layers of" in message or "linear1" in message else x[..., :3]

    with pytest.raises(InvalidModule, match=message):
        trace(nn.Sequential(make()), x)


def test_a_refused_class_has_its_reason_from_the_table() -> None:
    """All that can be made without arguments, called or not."""
    called = 0
    for name, reason in tables.REFUSED.items():
        of = getattr(nn, name, None)
        if of is None or name.startswith("Lazy") or reason.startswith("a base class"):
            continue
        module = nn.Sequential(nn.Linear(3, 3))
        module.add_module("odd", object.__new__(of))
        nn.Module.__init__(module[1])
        with pytest.raises(InvalidModule) as caught:
            trace(module, torch.randn(2, 3))
        assert reason in caught.value.message
        called += 1
    assert called > 30


def test_what_is_left_alone_in_another_mode_is_refused() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def train(self, mode: bool = True) -> "Frozen":  # noqa: FBT001, FBT002 - torch's
            super().train(mode)
            self.norm.eval()
            return self

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x)

    with pytest.raises(InvalidModule, match="norm is in eval mode while the module is in training"):
        trace(Frozen(), torch.randn(4, 3))


def test_ties_frozen_parts_and_unsaved_buffers_are_shipped() -> None:
    class Tied(nn.Module):
        mask: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.first, self.out = nn.Linear(3, 3), nn.Linear(3, 5, bias=False)
            self.again = self.first
            self.out.weight = self.embed.weight
            self.first.bias.requires_grad = False
            self.register_buffer("mask", torch.tensor([True, False, True]), persistent=False)
            self.never_read = nn.Parameter(torch.ones(2))

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.again(self.first(self.embed(tokens).mean(1)))
            return self.out(functional.relu(x) * self.mask)

    module = Tied()
    traced = trace(module, torch.randint(5, (3, 4)))
    net = load(traced.graph, traced.state)

    assert {(tie.path, tie.source) for tie in traced.graph.ties} == {
        ("out.weight", "embed.weight"),
        ("again.weight", "first.weight"),
        ("again.bias", "first.bias"),
    }
    assert list(traced.graph.frozen) == ["first.bias"]
    assert [each.path for each in traced.graph.states if each.non_persistent] == ["mask"]
    assert net.state_dict().keys() == module.state_dict().keys()
    assert len(list(net.parameters())) == len(list(module.parameters()))


def test_every_kind_has_its_class_for_the_way_back() -> None:
    from twofold.nets import trace_modules  # noqa: PLC0415 - its table alone

    assert set(trace_modules._KINDS.values()) == set(modules.CLASSES)
    assert graph_pb2.MODULE_KIND_LINEAR in trace_modules._KINDS.values()
