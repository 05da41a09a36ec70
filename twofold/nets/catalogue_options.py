"""The catalogue's families and their options as tables: what a spec may say, and what it is told.

`complete` refuses and fills in by them, `twofold.spec_fields` takes its rows from them, and
`twofold catalogue` shows them. No torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from google.protobuf.descriptor import Descriptor

from twofold.errors import InvalidField
from twofold.field import Field
from twofold.v1 import spec_pb2

_NEURON, _MLP = spec_pb2.FAMILY_NEURON, spec_pb2.FAMILY_MLP
_RESIDUAL, _EMBEDDING = spec_pb2.FAMILY_RESIDUAL_MLP, spec_pb2.FAMILY_EMBEDDING_MLP
_CNN, _RESNET = spec_pb2.FAMILY_CNN, spec_pb2.FAMILY_RESNET
_CNN1D, _GRU = spec_pb2.FAMILY_CNN1D, spec_pb2.FAMILY_GRU
_CONVOLUTIONS = (_CNN, _RESNET, _CNN1D)
_RELU, _SIGMOID = spec_pb2.ACTIVATION_RELU, spec_pb2.ACTIVATION_SIGMOID
_MEAN, _MAX, _LAST = spec_pb2.POOLING_MEAN, spec_pb2.POOLING_MAX, spec_pb2.POOLING_LAST
_NONE, _BATCH = spec_pb2.NORMALIZATION_NONE, spec_pb2.NORMALIZATION_BATCH
_LAYER, _GROUP = spec_pb2.NORMALIZATION_LAYER, spec_pb2.NORMALIZATION_GROUP

#: A value of an option; a list as a tuple, a choice as its number. None: it stays unset, and the
#: data decide.
Default = float | tuple[int, ...] | None
_Family = spec_pb2.Family
_WIDTH: Final = 65_536
#: The stubs know two classes of descriptor, one per implementation; they are used alike.
_NETWORK: Final = cast("Descriptor", spec_pb2.NetworkSpec.DESCRIPTOR)


@dataclass(frozen=True, slots=True)
class About:
    """A family, for people."""

    #: The data that it is given.
    takes: str
    doc: str


_COLUMNS: Final = "columns"
_IMAGES: Final = "one array [channels, height, width]"
_SEQUENCES: Final = "one array [time steps, features]"

#: Every family of the catalogue.
FAMILIES: Mapping[_Family, About] = {
    _NEURON: About(_COLUMNS, "One neuron: activation(w.x + b); two labels or a number."),
    spec_pb2.FAMILY_PERCEPTRON: About(
        _COLUMNS, "Rosenblatt's perceptron, by the perceptron rule; two labels."
    ),
    spec_pb2.FAMILY_LINEAR: About(_COLUMNS, "Linear regression."),
    spec_pb2.FAMILY_LOGISTIC: About(_COLUMNS, "Logistic regression; two labels, or several a row."),
    spec_pb2.FAMILY_SOFTMAX: About(
        _COLUMNS, "Softmax (multinomial logistic) regression; two labels or more."
    ),
    _MLP: About(_COLUMNS, "Multi-layer perceptron."),
    _RESIDUAL: About(
        _COLUMNS, "Residual MLP (Gorishniy et al. 2021): blocks that add to what they are given."
    ),
    _EMBEDDING: About(
        "columns, one a category at least",
        "MLP on an embedding of each category column beside the numeric columns.",
    ),
    _CNN: About(_IMAGES, "Convolutional network for small images."),
    _RESNET: About(_IMAGES, "Residual convolutional network (He et al. 2016), of basic blocks."),
    _CNN1D: About(_SEQUENCES, "Convolutional network for sequences."),
    _GRU: About(_SEQUENCES, "Gated recurrent units (Cho et al. 2014) for sequences."),
}

#: Families that need exactly one array input and no other feature.
ARRAY_FAMILIES: frozenset[_Family] = frozenset((_CNN, _RESNET, _CNN1D, _GRU))


@dataclass(frozen=True, slots=True)
class Option:
    """A field of NetworkSpec that belongs to some families."""

    kind: Literal["integer", "real", "boolean", "choice"]
    #: What it means, for all its families at once.
    doc: str
    #: Its families, and its default for each of them.
    defaults: Mapping[_Family, Default]
    low: float = 0
    high: float = 0
    #: Most entries, for a list.
    entries: int = 0
    #: What the default is, where the data decide.
    rule: str = ""
    #: The choices of a family that has not all of them.
    choices: Mapping[_Family, Sequence[int]] = field(default_factory=dict[_Family, Sequence[int]])
    #: What is said instead of the choices where another one is asked for.
    allowed: str = ""
    #: What it means for one family, where `doc` speaks of several.
    docs: Mapping[_Family, str] = field(default_factory=dict[_Family, str])


_SMOOTH: Final = [
    number
    for number in spec_pb2.Activation.values()
    if number not in (spec_pb2.ACTIVATION_UNSPECIFIED, spec_pb2.ACTIVATION_STEP)
]
_SMOOTH_FAMILIES: Final = (_MLP, _RESIDUAL, _EMBEDDING, *_CONVOLUTIONS)
_MAP_POOLING: Final = (_MEAN, _MAX)
_MAP_NORMS: Final = (_NONE, _BATCH, _GROUP)

#: Every option, in the order of NetworkSpec.
OPTIONS: Mapping[str, Option] = {
    "hidden": Option(
        "integer",
        "widths of the hidden layers.",
        {_MLP: (64,), _EMBEDDING: (64,)},
        low=1,
        high=_WIDTH,
        entries=64,
    ),
    "activation": Option(
        "choice",
        "the activation; STEP for NEURON only.",
        {_NEURON: _SIGMOID, **dict.fromkeys(_SMOOTH_FAMILIES, _RELU)},
        choices=dict.fromkeys(_SMOOTH_FAMILIES, _SMOOTH),
        allowed="a differentiable activation; step only for neuron",
        docs=dict.fromkeys((_NEURON, *_SMOOTH_FAMILIES), "the activation."),
    ),
    "dropout": Option(
        "real",
        "dropout after each hidden activation (MLP, EMBEDDING_MLP), twice in each block "
        "(RESIDUAL_MLP), else before the output layer, and between the layers of a GRU.",
        dict.fromkeys((*_SMOOTH_FAMILIES, _GRU), 0.0),
        low=0,
        high=0.95,
        docs={
            **dict.fromkeys((_MLP, _EMBEDDING), "dropout after each hidden activation."),
            _RESIDUAL: "dropout after each block's activation and at its end.",
            **dict.fromkeys(_CONVOLUTIONS, "dropout before the output layer."),
            _GRU: "dropout between the layers and before the output layer.",
        },
    ),
    "channels": Option(
        "integer",
        "channels of each block (CNN, CNN1D), all of which halve the sides of the map, or of each "
        "stage (RESNET), all of which but the first do.",
        {_CNN: (32, 64), _RESNET: (16, 32, 64), _CNN1D: (32, 64)},
        low=1,
        high=_WIDTH,
        entries=16,
        docs={
            _CNN: "channels of each block, which halves height and width.",
            _RESNET: "channels of each stage; all but the first halve height and width.",
            _CNN1D: "channels of each block, which halves the time steps.",
        },
    ),
    "kernel_size": Option(
        "integer",
        "side of the kernels, an odd number.",
        {_CNN: 3, _CNN1D: 5},
        low=1,
        high=63,
    ),
    "blocks": Option(
        "integer",
        "residual blocks; of RESNET in each stage.",
        {_RESIDUAL: 2, _RESNET: 2},
        low=1,
        high=64,
        docs={_RESIDUAL: "residual blocks.", _RESNET: "residual blocks in each stage."},
    ),
    "width": Option(
        "integer",
        "columns between the blocks, or of the hidden state (GRU).",
        {_RESIDUAL: 128, _GRU: 64},
        low=1,
        high=_WIDTH,
        docs={_RESIDUAL: "columns between the blocks.", _GRU: "columns of the hidden state."},
    ),
    "expansion": Option(
        "integer",
        "by how much a block's hidden layer is wider than width.",
        {_RESIDUAL: 2},
        low=1,
        high=16,
    ),
    "embedding_dim": Option(
        "integer",
        "columns of every category's embedding.",
        {_EMBEDDING: None},
        low=1,
        high=4096,
        rule="for a column of n values 1.6 n^0.56, at most 600",
    ),
    "layers": Option("integer", "layers, one over another.", {_GRU: 1}, low=1, high=16),
    "bidirectional": Option(
        "boolean", "whether a second GRU reads the sequence backwards.", {_GRU: False}
    ),
    "pooling": Option(
        "choice",
        "how all positions or time steps become one row; LAST for GRU only.",
        {_CNN: _MAX, _RESNET: _MEAN, _CNN1D: _MAX, _GRU: _LAST},
        choices=dict.fromkeys(_CONVOLUTIONS, _MAP_POOLING),
        docs={
            **dict.fromkeys((_CNN, _RESNET), "how all positions become one row."),
            **dict.fromkeys((_CNN1D, _GRU), "how all time steps become one row."),
        },
    ),
    "normalization": Option(
        "choice",
        "LAYER or NONE for RESIDUAL_MLP, BATCH, GROUP or NONE for the others.",
        {_RESIDUAL: _LAYER, **dict.fromkeys(_CONVOLUTIONS, _BATCH)},
        choices={_RESIDUAL: (_NONE, _LAYER), **dict.fromkeys(_CONVOLUTIONS, _MAP_NORMS)},
        docs={
            _RESIDUAL: "how each block's input is normalised.",
            **dict.fromkeys(_CONVOLUTIONS, "how what each convolution computes is normalised."),
        },
    ),
}


def check(network: spec_pb2.NetworkSpec) -> None:
    """Raises InvalidField for an option that the network's family does not have, or not so."""
    for name, option in OPTIONS.items():
        if not is_given(network, name):
            continue
        shown = _shown(name, value_of(network, name))
        if network.family not in option.defaults:
            owners = ", ".join(map(family_word, option.defaults))
            raise InvalidField.of(f"network.{name}", shown, f"nothing but for {owners}")
        choices = choices_of(name, network.family)
        if option.choices and shown not in choices:
            allowed = f"{' or '.join(choices)} for {family_word(network.family)}"
            raise InvalidField.of(f"network.{name}", shown, option.allowed or allowed)
    if network.kernel_size and not network.kernel_size % 2:
        raise InvalidField.of("network.kernel_size", network.kernel_size, "an odd number")


def refuse_all(network: spec_pb2.NetworkSpec) -> None:
    """Raises InvalidField for any option: a module of the user's has none."""
    for name in OPTIONS:
        if is_given(network, name):
            shown = _shown(name, value_of(network, name))
            raise InvalidField.of(f"network.{name}", shown, "nothing for a module")


def fill(network: spec_pb2.NetworkSpec) -> None:
    """Sets every option of the network's family that is left out and has a default."""
    for name, option in OPTIONS.items():
        default = option.defaults.get(network.family)
        if default is None or is_given(network, name):
            continue
        if isinstance(default, tuple):
            cast("list[int]", value_of(network, name)).extend(default)
        else:
            setattr(network, name, default)


def is_given(network: spec_pb2.NetworkSpec, name: str) -> bool:
    """Whether an option is set: none of them has a presence, and 0 means that it is not."""
    return bool(value_of(network, name))


def value_of(network: spec_pb2.NetworkSpec, name: str) -> object:
    """The value of an option."""
    return cast("object", getattr(network, name))  # a name of OPTIONS


def options_of(family: _Family) -> dict[str, Option]:
    """The options that a family has."""
    return {name: option for name, option in OPTIONS.items() if family in option.defaults}


def family_word(family: _Family) -> str:
    """A family as specs spell it."""
    return spec_pb2.Family.Name(family).removeprefix("FAMILY_").lower()


def choices_of(name: str, family: _Family) -> list[str]:
    """What a choice may be for a family, as specs spell it; empty for what is no choice."""
    numbers = OPTIONS[name].choices.get(family)
    words = _words(name)
    return [word for number, word in words.items() if numbers is None or number in numbers]


def default_words(name: str, family: _Family) -> str:
    """An option's default for one of its families."""
    option = OPTIONS[name]
    default = option.defaults[family]
    if isinstance(default, float):
        return f"{default:g}"
    return option.rule if default is None else str(_shown(name, default)).lower()


def meaning_words(name: str, family: _Family) -> str:
    """What an option means for one of its families."""
    option = OPTIONS[name]
    doc = option.docs.get(family, option.doc)
    return doc[0].upper() + doc[1:]


def allowed_words(name: str, family: _Family) -> str:
    """Type and range of an option for one of its families; the choices of one that has some."""
    row = field_of(name)
    text = ", ".join(choices_of(name, family)) or row.allowed() or row.kind
    return f"list of {text}, at most {row.entries:,}" if row.entries else text


def field_of(name: str) -> Field:
    """The row of an option in the table of a spec's fields."""
    option = OPTIONS[name]
    owners = _listed([family_word(family).upper() for family in option.defaults])
    return Field(
        option.kind,
        f"{owners} only: {option.doc}",
        option.low,
        option.high,
        default_rule=_defaults(name),
        entries=option.entries,
    )


def _defaults(name: str) -> str:
    """The default in words: the value alone where all families share it."""
    by_words: dict[str, list[str]] = {}
    for family in OPTIONS[name].defaults:
        by_words.setdefault(default_words(name, family), []).append(family_word(family))
    if len(by_words) == 1:
        return next(iter(by_words))
    return "; ".join(f"{words} for {_listed(owners)}" for words, owners in by_words.items())


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _words(name: str) -> dict[int, str]:
    """The choices of a field by their numbers; empty for what is no choice."""
    enum = _NETWORK.fields_by_name[name].enum_type
    if enum is None:
        return {}
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {
        value.number: value.name.removeprefix(prefix).lower()
        for value in enum.values
        if value.number
    }


def _shown(name: str, value: object) -> object:
    """A value as specs spell it."""
    words = _words(name)
    if words:
        return words.get(cast("int", value), value)
    return list(cast("Sequence[int]", value)) if OPTIONS[name].entries else value
