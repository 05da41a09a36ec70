"""Beginning from a published version: which of its tensors a new network takes.

Equal paths and shapes are not enough: if columns or vocabularies differ, the same weight would
stand for another thing. So the version's preprocessing must be the new one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from trainer import baseline
from twofold import reference, versions
from twofold.errors import Corrupt, InvalidData, InvalidField, NotFound, shorten
from twofold.nets import bounds
from twofold.nets.net import Net
from twofold.store import Store
from twofold.v1 import graph_pb2, model_pb2

_FIELD = "network.warm_start"


@dataclass(frozen=True, slots=True)
class Parent:
    """A version to begin from."""

    model: str
    version: int
    features: model_pb2.FeatureSpec
    #: By path, as weights.safetensors has them.
    weights: Mapping[str, Tensor]

    @property
    def resource(self) -> str:
        """Its resource name."""
        return f"models/{self.model}/versions/{self.version}"


def read(store: Store, tenant: str, name: str) -> Parent | None:
    """The version of a completed spec's network.warm_start; None for "".

    Raises:
        InvalidData: it is gone or cannot be read.
        StoreError: the store cannot be used.
    """
    if not name:
        return None
    asked = reference.checked(_FIELD, name)
    number = asked.version or 0
    try:
        made, _ = versions.read_manifest(store, tenant, asked.model, number)
        net: Net = baseline.read_net(store, tenant, made)
    except (Corrupt, NotFound) as error:
        raise InvalidData(f"{_FIELD} is {name}: {error.message}") from error
    return Parent(asked.model, number, made.features, net.weights())


def resource_of(name: str) -> str:
    """The resource name of a completed spec's network.warm_start; "" for ""."""
    if not name:
        return ""
    asked = reference.checked(_FIELD, name)
    return f"models/{asked.model}/versions/{asked.version}"


def take(parent: Parent, features: model_pb2.FeatureSpec, net: Net) -> str:
    """Copies what fits from `parent` into `net`; one sentence about it.

    Raises InvalidField where columns or vocabularies differ, or nothing fits.
    """
    _require_same_columns(parent, features)
    wanted, own = bounds.state_shapes(net.graph), net.weights()
    taken = fitting(parent.weights, own)
    # A label more or less leaves the output layer new; other labels in the same places do, too.
    if _answers_of(parent.features) != _answers_of(features):
        last = _last_module(net.graph)
        taken = [path for path in taken if not path.startswith(f"{last}.")]
    if not taken:
        allowed = "a version of a network with some tensors of the same path and shape"
        raise InvalidField.of(_FIELD, parent.resource, allowed)
    net.load_weights({**own, **{path: parent.weights[path] for path in taken}})
    new = [path for path in wanted if path not in taken]
    rest = f"; new: {shorten(', '.join(new))}" if new else ""
    return f"{len(taken)} of {len(wanted)} tensors of {parent.resource}{rest}"


def _answers_of(features: model_pb2.FeatureSpec) -> tuple[list[str], list[str]]:
    """What the columns of the last layer stand for."""
    return list(features.labels), list(features.targets)


def fitting(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
    """Paths that both have with one shape and type, in our order."""
    return [
        path
        for path, tensor in ours.items()
        if path in theirs
        and (theirs[path].shape, theirs[path].dtype) == (tensor.shape, tensor.dtype)
    ]


def frozen_paths(graph: graph_pb2.Graph, prefixes: Sequence[str]) -> list[str]:
    """The parameters of a checked graph that `prefixes` stand for.

    Raises InvalidField for one that stands for none, or where they leave nothing to train.
    """
    learned = [path for path, state in bounds.state_shapes(graph).items() if state.is_trainable]
    found: list[str] = []
    for index, prefix in enumerate(prefixes):
        meant = [path for path in learned if path == prefix or path.startswith(f"{prefix}.")]
        if not meant:
            allowed = "the beginning of one of " + shorten(", ".join(learned))
            raise InvalidField.of(f"network.frozen[{index}]", prefix, allowed)
        found.extend(path for path in meant if path not in found)
    if prefixes and set(learned) <= {*found, *graph.frozen}:
        raise InvalidField.of("network.frozen", list(prefixes), "some parameters left to train")
    return found


def _require_same_columns(parent: Parent, features: model_pb2.FeatureSpec) -> None:
    theirs, ours = parent.features, features
    if list(theirs.numeric_columns) != list(ours.numeric_columns):
        raise _differs(parent, "numeric columns", list(theirs.numeric_columns))
    names = [column.name for column in theirs.category_columns]
    if names != [column.name for column in ours.category_columns]:
        raise _differs(parent, "category columns", names)
    for one, other in zip(theirs.category_columns, ours.category_columns, strict=True):
        if list(one.vocabulary) != list(other.vocabulary):
            raise _differs(parent, f"values of {one.name}", list(one.vocabulary))
    if list(theirs.array_columns) != list(ours.array_columns):
        raise _differs(parent, "arrays", [bounds.spec_words(a) for a in theirs.array_columns])
    if theirs.task != ours.task:
        raise _differs(parent, "task", [theirs.task])


def _differs(parent: Parent, what: str, theirs: Sequence[object]) -> InvalidField:
    allowed = f"a version with the same {what} as this data; its are {shorten(theirs)}"
    return InvalidField.of(_FIELD, parent.resource, allowed)


def _last_module(graph: graph_pb2.Graph) -> str:
    """The module that computes the logits, as far as the graph ends in one."""
    return next((node.module for node in reversed(graph.nodes) if node.module), "")
