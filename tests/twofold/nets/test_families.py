"""The catalogue's deep families: no batch and no size breaks them."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.twofold.nets import families
from twofold import toml_spec
from twofold.errors import InvalidField
from twofold.nets import bounds, catalogue, catalogue_options, meta
from twofold.nets.net import init
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

_ARRAYS = sorted(catalogue.ARRAY_FAMILIES)


def _name(family: spec_pb2.Family) -> str:
    return spec_pb2.Family.Name(family)


def _variants() -> Iterator[spec_pb2.NetworkSpec]:
    """Every family by every pooling and normalisation of its own, with dropout."""
    for family, small in families.NETWORKS.items():
        options = catalogue_options.options_of(family)
        kinds = [
            catalogue_options.choices_of(name, family) if name in options else [""]
            for name in ("pooling", "normalization")
        ]
        for pooling, normalization in itertools.product(*kinds):
            said = {"pooling": pooling, "normalization": normalization}
            tree = {"network": {name: word for name, word in said.items() if word}}
            network = toml_spec.from_dict(tree).network
            network.MergeFrom(small)
            network.dropout = 0.5
            yield network


VARIANTS = list(_variants())


def _words(network: spec_pb2.NetworkSpec) -> str:
    return " ".join(str(network).split())


@pytest.mark.parametrize("network", VARIANTS, ids=_words)
def test_a_batch_of_one_row_trains(network: spec_pb2.NetworkSpec) -> None:
    """The last batch of an epoch may be one; norms over rows alone would raise."""
    graph = families.built(network).graph
    net = init(graph, 0)

    logits = net(*families.rows(graph, 1))
    assert isinstance(logits, Tensor)
    logits.sum().backward()

    assert logits.shape == (1, 3)
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert all(bool(tensor.isfinite().all()) for tensor in net.state_dict().values())


@pytest.mark.parametrize("family", families.NETWORKS, ids=_name)
def test_a_row_is_answered_alike_alone_and_among_others(family: spec_pb2.Family) -> None:
    """Within the tolerance of a CPU's golden replay, which the trainer and the inferer do."""
    graph = families.built(families.NETWORKS[family]).graph
    net = init(graph, 0)
    with torch.no_grad():
        net(*families.rows(graph, 16))  # moves what batch normalisation keeps
        net.eval()
        inputs = families.rows(graph, 9, seed=1)
        together = net(*inputs)
        alone = [net(*[tensor[row : row + 1] for tensor in inputs]) for row in range(9)]

    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-5, atol=1e-6)  # pyright: ignore[reportArgumentType] - one output


@pytest.mark.parametrize("network", VARIANTS, ids=_words)
def test_memory_is_estimated_as_torch_allocates(network: spec_pb2.NetworkSpec) -> None:
    plain = spec_pb2.NetworkSpec()
    plain.CopyFrom(network)
    plain.dropout = 0  # its masks are not counted
    built = families.built(plain)

    assert built.row_elements == pytest.approx(meta.measure(built.graph).row_elements, rel=0.25)


@pytest.mark.parametrize("family", families.NETWORKS, ids=_name)
def test_defaults_are_filled_in_where_nothing_is_said(family: spec_pb2.Family) -> None:
    said = spec_pb2.NetworkSpec(family=family)
    catalogue_options.fill(said)

    bare = families.built(spec_pb2.NetworkSpec(family=family)).graph

    assert bare == families.built(said).graph
    bounds.check(bare)


@pytest.mark.parametrize("family", _ARRAYS, ids=_name)
def test_arrays_are_scaled_by_channel_or_feature(family: spec_pb2.Family) -> None:
    sizes, network = families.SIZES[family], families.NETWORKS[family]
    scaled = families.built(network).graph
    plain = families.built(network, scaling=False).graph
    shape = (2, 1, 1) if len(sizes.array_shape) == 3 else (1, 2)
    net, raw = init(scaled, 3), init(plain, 3)
    mean, deviation = torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5])
    state = net.state_dict()
    state["scale.mean"].copy_(mean.view(shape))
    state["scale.deviation"].copy_(deviation.view(shape))
    (x,) = families.rows(scaled, 5)

    assert {tuple(state.shape) for state in scaled.states} == {shape}
    assert [spec.name for spec in scaled.inputs] == [sizes.array_name]
    torch.testing.assert_close(net(x), raw((x - mean.view(shape)) / deviation.view(shape)))


REFUSED: dict[str, tuple[spec_pb2.NetworkSpec, catalogue.Sizes, str]] = {
    "an image of one row": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN),
        catalogue.Sizes(0, (), 2, (1, 1, 9), "a"),
        r"data\.features is .*arrays of 1 x 9.*sides of at least 2 for cnn",
    ),
    "more blocks than halvings": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN, channels=[2] * 4),
        catalogue.Sizes(0, (), 2, (1, 8, 9), "a"),
        r"network\.channels is .2, 2, 2, 2.*at most 3 entries for arrays of 8 x 9",
    ),
    "more stages than halvings": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESNET, channels=[2] * 5),
        catalogue.Sizes(0, (), 2, (1, 9, 9), "a"),
        r"network\.channels is .*at most 4 entries for arrays of 9 x 9",
    ),
    "batch norm of one position": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESNET, channels=[2] * 4),
        catalogue.Sizes(0, (), 2, (1, 8, 8), "a"),
        r"network\.channels is .*a map of 1 x 1.*or network\.normalization group",
    ),
    "group norm of one number": (
        spec_pb2.NetworkSpec(
            family=spec_pb2.FAMILY_RESNET,
            channels=[2, 1],
            normalization=spec_pb2.NORMALIZATION_GROUP,
        ),
        catalogue.Sizes(0, (), 2, (1, 2, 2), "a"),
        r"network\.channels is .*or 2 channels or more",
    ),
    "a sequence of one step": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN1D),
        catalogue.Sizes(0, (), 2, (1, 4), "a"),
        r"data\.features is .*arrays of 1.*at least 2 for cnn1d",
    ),
    "a sequence for an image": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESNET),
        families.SEQUENCES,
        r"data\.features is .*\[7, 2\].*one array \[channels, height, width\] for resnet",
    ),
    "columns for an image": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN),
        families.MIXED,
        r"data\.features is .*5 numeric or category columns.*one array column alone for cnn",
    ),
    "nothing for a sequence": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_GRU),
        catalogue.Sizes(0),
        r"data\.features is .*no array",
    ),
    "an image for an MLP": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP),
        families.IMAGES,
        r"data\.features is .*the array column output.*category columns for mlp",
    ),
    "numbers alone to embed": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_EMBEDDING_MLP),
        catalogue.Sizes(3, (), 2),
        r"data\.features is .*0 category columns.*1 to 4,000",
    ),
    "one column to normalise": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_RESIDUAL_MLP, width=1),
        families.MIXED,
        r"network\.width is 1.*at least 2",
    ),
    "a giant map": (
        spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_CNN, channels=[65_536]),
        catalogue.Sizes(0, (), 2, (1, 100, 100), "a"),
        r"network\.channels is .*655,360,000 numbers of a row at once.*at most 16,777,216",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_a_family_cannot_take_are_refused(name: str) -> None:
    network, sizes, message = REFUSED[name]

    with pytest.raises(InvalidField, match=message):
        families.built(network, sizes)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_longest_sequence_is_the_longest_that_can_be_checked(
    layers: int,
    bidirectional: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Or a job would end in a process that trains, where a spec can be refused at once."""
    network = spec_pb2.NetworkSpec(
        family=spec_pb2.FAMILY_GRU, width=2, layers=layers, bidirectional=bidirectional
    )
    passes = layers * (2 if bidirectional else 1)
    most = 65_520 // (18 * passes + 6)

    graph = families.built(network, catalogue.Sizes(0, (), 2, (most, 1), "a")).graph
    meta.measure(graph)
    with pytest.raises(InvalidField, match=f"at most {most:,} time steps"):
        families.built(network, catalogue.Sizes(0, (), 2, (most + 1, 1), "a"))


def test_whole_numbers_are_no_image_yet() -> None:
    features = _array_features(graph_pb2.DATA_TYPE_INT64)
    network = families.NETWORKS[spec_pb2.FAMILY_CNN]

    with pytest.raises(InvalidField, match=r"data\.features is .*image of INT64.*allowed: FP32"):
        catalogue.build(network, features, scaling=False, loss=spec_pb2.LOSS_UNSPECIFIED)


def test_an_array_column_is_an_input_of_its_name() -> None:
    features = _array_features(graph_pb2.DATA_TYPE_FP32)
    network = families.NETWORKS[spec_pb2.FAMILY_CNN]

    graph = catalogue.build(network, features, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED)

    assert [(spec.name, list(spec.shape)) for spec in graph.inputs] == [("image", [-1, 2, 8, 8])]


def _array_features(data_type: graph_pb2.DataType) -> model_pb2.FeatureSpec:
    features = model_pb2.FeatureSpec(target="y", task=families.CLASSIFICATION, labels=["a", "b"])
    features.array_columns.add(name="image", data_type=data_type, shape=[-1, 2, 8, 8])
    return features
