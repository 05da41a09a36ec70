"""Every form answers what the network itself answers; of the architectures see test_trace."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from inferer.forms.arrays import ArraysForm
from inferer.forms.eager import EagerForm
from inferer.forms.form import Form, Inexpressible, Selected
from inferer.forms.fused import FusedForm
from tests.inferer import artifacts
from tests.inferer.forms.nets import CPU, assert_equal, eager, folded_of, net_of, scores
from twofold.features import Features
from twofold.nets import catalogue, pieces
from twofold.nets.net import init
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

ACTIVATIONS = [
    *(nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.Hardtanh(-0.5, 0.7), nn.ReLU6()),
    nn.LeakyReLU(0.2),
]
ONLY_FUSED = [nn.GELU(), nn.GELU("tanh"), nn.ELU(0.7), nn.Mish(), nn.Hardswish(), nn.Hardsigmoid()]


@pytest.mark.parametrize("activation", [*ACTIVATIONS, *ONLY_FUSED], ids=str)
def test_every_activation_is_the_networks(activation: nn.Module) -> None:
    """Behind a layer, which it writes over, and in front of one."""
    x = torch.randn(5, 4) * 3
    net = net_of(nn.Sequential(activation, nn.Linear(4, 3), activation), x)
    folded = folded_of(net, x)

    assert_equal(scores(FusedForm(net, folded), x), eager(net, x))
    if activation in ONLY_FUSED:
        with pytest.raises(Inexpressible, match="numpy has no"):
            ArraysForm(net, folded)
    else:
        assert_equal(scores(ArraysForm(net, folded), x), eager(net, x))


TASKS = [
    (spec_pb2.FAMILY_LINEAR, spec_pb2.TASK_REGRESSION, 0),
    (spec_pb2.FAMILY_MLP, spec_pb2.TASK_CLASSIFICATION, 3),
    (spec_pb2.FAMILY_MLP, spec_pb2.TASK_MULTILABEL, 3),
    (spec_pb2.FAMILY_LOGISTIC, spec_pb2.TASK_CLASSIFICATION, 2),
    (spec_pb2.FAMILY_PERCEPTRON, spec_pb2.TASK_CLASSIFICATION, 2),
    (spec_pb2.FAMILY_NEURON, spec_pb2.TASK_CLASSIFICATION, 2),
    (spec_pb2.FAMILY_RESIDUAL_MLP, spec_pb2.TASK_CLASSIFICATION, 3),
]


@pytest.mark.parametrize(("family", "task", "label_count"), TASKS)
def test_every_head_of_columns_is_the_networks_in_numpy(
    family: spec_pb2.Family, task: spec_pb2.Task, label_count: int
) -> None:
    """Numbers and categories, standardised, in batches of any size that it takes."""
    spec = model_pb2.FeatureSpec(numeric_columns=["a", "b"], task=task, target="y")
    spec.category_columns.add(name="c", vocabulary=["blue", "red"])
    labels = [f"label {place}" for place in range(label_count)]
    spec.labels.extend(labels)
    if task == spec_pb2.TASK_MULTILABEL:
        spec.targets.extend(labels)
    network = spec_pb2.NetworkSpec(family=family)
    net = init(catalogue.build(network, spec, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED), 1)
    features, rows = Features(spec, net.graph), artifacts.raw_inputs(spec, 9)
    columns = features.columns([rows])
    tensors = [torch.from_numpy(column[0]) for column in columns]

    try:
        form = ArraysForm(net.eval(), folded_of(net, *tensors))
    except Inexpressible:
        # Its layers are normalised over columns, which numpy has no call for.
        assert family == spec_pb2.FAMILY_RESIDUAL_MLP
        return

    for count in (9, 1, 2, 9):
        part = [tensor[:count] for tensor in tensors]
        assert_equal(scores(form, *part), eager(net, *part))


def a_form(name: str, head: graph_pb2.Head = graph_pb2.HEAD_SOFTMAX) -> tuple[Form, EagerForm]:
    """A form, and the eager one of the same net."""
    x = torch.randn(3, 4)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    net = net_of(module, x, head=head)
    make = {"fused": FusedForm, "arrays": ArraysForm}[name]
    return make(net, folded_of(net, x)), EagerForm(net, CPU)


@pytest.mark.parametrize("name", ["fused", "arrays"])
def test_what_is_no_number_stays_in_its_row(name: str) -> None:
    form, same = a_form(name)
    rows = torch.randn(4, 4)
    rows[1, 0], rows[2, 1], rows[3, 2] = torch.nan, torch.inf, -torch.inf

    assert_equal(scores(form, rows), scores(same, rows))
    rows = rows[:1]  # what a batch before left behind is not read
    assert_equal(scores(form, rows), scores(same, rows))


@pytest.mark.parametrize("name", ["fused", "arrays"])
@pytest.mark.parametrize(
    "head",
    [
        *(graph_pb2.HEAD_SOFTMAX, graph_pb2.HEAD_IDENTITY),
        *(graph_pb2.HEAD_MULTILABEL, graph_pb2.HEAD_RAW),
    ],
)
def test_answers_are_not_written_again(name: str, head: graph_pb2.Head) -> None:
    form, _ = a_form(name, head)
    (first,) = scores(form, torch.randn(2, 4))
    kept = first.copy()

    scores(form, torch.randn(2, 4))

    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("name", ["fused", "arrays"])
def test_the_requests_of_a_batch_are_joined_in_order(name: str) -> None:
    form, same = a_form(name)
    rows = torch.randn(6, 4)
    parts = [[rows[:1].numpy(), rows[1:4].numpy(), rows[4:].numpy()]]

    found = form.compute(form.put(parts, 6))

    assert isinstance(found, np.ndarray)
    assert_equal([found], scores(same, rows))


def largest_product(form: ArraysForm) -> int:
    """Multiplications of the largest product that is left to numpy's BLAS at once."""
    calls = [call for bound in form._bound.values() for call in bound.calls]
    products = [each.args for each in calls if isinstance(each, partial) and each.func is np.dot]
    assert all(len(rows) > 1 for rows, _, _ in products)
    return max(len(rows) * weight.size for rows, weight, _ in products)


def test_layers_that_would_wake_threads_of_numpys_are_left_to_torch() -> None:
    x = torch.randn(2, 512)
    small = net_of(nn.Sequential(nn.Linear(512, 64)), x)
    large = net_of(nn.Sequential(nn.Linear(512, 512)), x)

    inputs = torch.randn(64, 512)
    form = ArraysForm(small, folded_of(small, x))
    for rows in (1, 8, 9, 15, 64):  # in pieces of 8
        assert_equal(scores(form, inputs[:rows]), eager(small, inputs[:rows]))
    assert largest_product(form) == 8 * 512 * 64
    with pytest.raises(Inexpressible, match="too large"):
        ArraysForm(large, folded_of(large, x))


def test_maps_may_have_their_channels_side_by_side() -> None:
    x = torch.randn(3, 2, 6, 6)
    net = net_of(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)), x)
    rows = net_of(nn.Sequential(nn.Linear(6, 2)), x)

    form = FusedForm(net, folded_of(net, x), is_channels_last=True)

    assert (form.name, FusedForm(net, folded_of(net, x)).name) == ("channels last", "fused")
    (found,) = scores(form, x)
    assert_equal([found], eager(net, x))
    assert np.transpose(found, (0, 2, 3, 1)).flags.c_contiguous
    with pytest.raises(Inexpressible, match="no convolution"):
        FusedForm(rows, folded_of(rows, x), is_channels_last=True)


def test_a_net_of_which_nothing_can_be_fused_stays_as_it_is() -> None:
    x = torch.randn(2, 4)
    net = net_of(nn.Sequential(nn.LayerNorm(4)), x)

    with pytest.raises(Inexpressible, match="nothing of it"):
        FusedForm(net, folded_of(net, x))


@pytest.mark.parametrize("name", ["eager", "fused"])
def test_a_large_batch_of_a_large_net_runs_in_pieces(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(6, 4)
    net = net_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), x)
    form = EagerForm(net, CPU) if name == "eager" else FusedForm(net, folded_of(net, x))
    wanted = eager(net, x)
    asked: list[int] = []
    rows_at_once = pieces.rows_at_once

    def counted(most: int, row_elements: int) -> int:
        asked.append(rows_at_once(most, row_elements))
        return asked[-1]

    monkeypatch.setattr(pieces, "rows_at_once", counted)
    monkeypatch.setattr(pieces, "PASS_NUMBERS", 4 * net.row_elements)

    assert_equal(scores(form, x), wanted)
    assert asked == [4]


def test_the_form_of_a_batch_is_that_of_its_size() -> None:
    small, same = a_form("arrays")
    large, _ = a_form("fused")
    selected = Selected((small, large, same), (4, 16))

    found = [selected.of(rows) for rows in (1, 4, 5, 16, 17, 1000)]

    assert found == [small, small, large, large, same, same]
