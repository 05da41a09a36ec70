"""Families and their options in a spec: what is filled in, what is refused and how it is told."""

import pytest

from tests.twofold.specs import COLUMNS, completed, make_spec
from twofold import toml_spec
from twofold.errors import InvalidField
from twofold.nets import catalogue_options
from twofold.spec import Bounds
from twofold.v1 import spec_pb2

_TABLES = ("residual_mlp", "embedding_mlp")


def network(family: str, **options: object) -> spec_pb2.NetworkSpec:
    """A network as TOML says it."""
    tree = {"network": {"family": family, **options}}
    return toml_spec.from_dict(tree).network  # pyright: ignore[reportArgumentType] - options of any kind


DEFAULTS: dict[str, dict[str, object]] = {
    "residual_mlp": {
        "activation": "relu",
        "blocks": 2,
        "width": 128,
        "expansion": 2,
        "normalization": "layer",
    },
    "embedding_mlp": {"hidden": [64], "activation": "relu"},
    "cnn": {
        "activation": "relu",
        "channels": [32, 64],
        "kernel_size": 3,
        "pooling": "max",
        "normalization": "batch",
    },
    "resnet": {
        "activation": "relu",
        "channels": [16, 32, 64],
        "blocks": 2,
        "pooling": "mean",
        "normalization": "batch",
    },
    "cnn1d": {
        "activation": "relu",
        "channels": [32, 64],
        "kernel_size": 5,
        "pooling": "max",
        "normalization": "batch",
    },
    "gru": {"width": 64, "layers": 1, "pooling": "last"},
}


@pytest.mark.parametrize("family", DEFAULTS)
def test_every_default_of_a_family(family: str) -> None:
    bare = network(family)

    catalogue_options.fill(bare)

    assert bare == network(family, **DEFAULTS[family])


@pytest.mark.parametrize("family", _TABLES)
def test_a_family_for_tables_is_completed_with_its_defaults(family: str) -> None:
    spec = make_spec()
    spec.network.CopyFrom(network(family))

    done = completed(spec)

    assert done.network == network(family, **DEFAULTS[family])
    assert done.training.loss == spec_pb2.LOSS_CROSS_ENTROPY
    assert completed(done) == done


REFUSED: list[tuple[str, dict[str, object], str]] = [
    ("linear", {"hidden": [8]}, r"network\.hidden is .8.*nothing but for mlp, embedding_mlp"),
    ("cnn", {"hidden": [8]}, r"network\.hidden is .*nothing but for mlp, embedding_mlp"),
    ("mlp", {"channels": [8]}, r"network\.channels is .*nothing but for cnn, resnet, cnn1d"),
    ("resnet", {"kernel_size": 5}, r"network\.kernel_size is 5.*nothing but for cnn, cnn1d"),
    ("mlp", {"blocks": 2}, r"network\.blocks is 2.*nothing but for residual_mlp, resnet"),
    ("cnn", {"width": 2}, r"network\.width is 2.*nothing but for residual_mlp, gru"),
    ("gru", {"expansion": 2}, r"network\.expansion is 2.*nothing but for residual_mlp"),
    ("mlp", {"embedding_dim": 2}, r"network\.embedding_dim is 2.*nothing but for embedding_mlp"),
    ("cnn1d", {"layers": 2}, r"network\.layers is 2.*nothing but for gru"),
    ("cnn1d", {"bidirectional": True}, r"network\.bidirectional is True.*nothing but for gru"),
    ("mlp", {"pooling": "max"}, r"network\.pooling is .*max.*for cnn, resnet, cnn1d, gru"),
    ("cnn", {"pooling": "last"}, r"network\.pooling is .*last.*mean or max for cnn"),
    ("gru", {"normalization": "batch"}, r"network\.normalization is .*nothing but for residual_"),
    ("cnn", {"normalization": "layer"}, r"network\.normalization is .*none or batch or group"),
    ("residual_mlp", {"normalization": "batch"}, r"network\.normalization is .*none or layer for"),
    ("gru", {"activation": "tanh"}, r"network\.activation is .*tanh.*nothing but for neuron, mlp"),
    ("cnn", {"activation": "step"}, r"network\.activation is .*step only for neuron"),
    ("logistic", {"dropout": 0.5}, r"network\.dropout is 0\.5.*nothing but for mlp, residual_mlp"),
    ("cnn", {"kernel_size": 4}, r"network\.kernel_size is 4.*an odd number"),
]


def test_without_a_family_the_families_and_the_way_to_a_module_are_told() -> None:
    with pytest.raises(InvalidField) as caught:
        completed(make_spec(network__family=0))

    assert caught.value.message == (
        "network.family is unset; allowed: neuron, perceptron, linear, logistic, softmax, mlp, "
        "residual_mlp, embedding_mlp, cnn, resnet, cnn1d, gru; or a module of yours: twofold train "
        "SPEC --module FILE.py:NAME"
    )


@pytest.mark.parametrize(("family", "options", "message"), REFUSED)
def test_options_of_other_families_are_refused(
    family: str, options: dict[str, object], message: str
) -> None:
    spec = make_spec()
    spec.network.CopyFrom(network(family, **options))

    with pytest.raises(InvalidField, match=message) as caught:
        completed(spec)
    assert caught.value.fields["field"] == f"network.{next(iter(options))}"


def test_every_option_is_refused_for_some_family() -> None:
    """And a module has none of them."""
    refused = {next(iter(options)) for _, options, _ in REFUSED}

    assert refused == set(catalogue_options.OPTIONS)
    for name, options in ((next(iter(options)), options) for _, options, _ in REFUSED):
        with pytest.raises(InvalidField, match=rf"network\.{name} is .*nothing for a module"):
            catalogue_options.refuse_all(network("module", **options))


@pytest.mark.parametrize("family", ["cnn", "resnet", "cnn1d", "gru"])
def test_columns_are_refused_where_an_array_is_wanted(family: str) -> None:
    spec = make_spec()
    spec.network.CopyFrom(network(family))

    with pytest.raises(
        InvalidField, match=rf"data\.features is real, colour; .*one array of floats.* for {family}"
    ):
        completed(spec)


@pytest.mark.parametrize(
    ("family", "features", "field"),
    [
        ("residual_mlp", ["real"], "network.width"),
        ("embedding_mlp", ["colour"], "network.hidden"),
    ],
)
def test_too_many_parameters_name_the_field_that_makes_them(
    family: str, features: list[str], field: str
) -> None:
    spec = make_spec(data__features=features)
    spec.network.CopyFrom(network(family))

    with pytest.raises(InvalidField) as caught:
        completed(spec, COLUMNS, bounds=Bounds(max_parameters=100, max_memory_bytes=1 << 30))

    assert caught.value.fields["field"] == field
