"""What `push` asks for: a training job of 0 epochs, so that a module is published as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, cast

from numpy.typing import ArrayLike

from twofold.client import modules
from twofold.client.submission import Submission, of_arrays, of_data
from twofold.errors import InvalidField
from twofold.toml_spec import Tree

#: Labelled rows: a file, a data set's identifier, and, or, xor; or (x, y) in memory.
Labelled: TypeAlias = str | Path | tuple[ArrayLike, ArrayLike]


def prepared(
    model: str, module: object, data: Labelled, weights: str | Path | None, spec: Tree | None
) -> Submission:
    """What `push(model, module, data=..., weights=..., spec=...)` asks for, but for the module.

    Loads the weights, if any, into the module.

    Raises:
        InvalidField: the spec asks for epochs or another model, there is no such file, or the
            weights are not the module's.
        InvalidData: the rows cannot be read.
        NoTorch: torch is not installed.
    """
    tree = spec_of(model, spec)
    submission = of_arrays(tree, *data) if isinstance(data, tuple) else of_data(tree, data)
    if weights is not None:
        modules.load_weights(module, Path(weights))
    return submission


def spec_of(model: str, spec: Tree | None) -> Tree:
    """`spec` with the model's name and 0 epochs; raises InvalidField where it says otherwise."""
    tree = dict(spec or {})
    if tree.setdefault("model", model) != model:
        raise InvalidField.of("model", tree["model"], f"{model}, or nothing")
    table = tree.get("training", {})
    if not isinstance(table, Mapping):
        raise InvalidField.of("training", table, "a table")
    training = {"epochs": 0, **cast("Mapping[str, object]", table)}
    if training["epochs"] != 0:
        allowed = "0, or nothing: a push trains nothing, `train` does"
        raise InvalidField.of("training.epochs", training["epochs"], allowed)
    return {**tree, "training": training}
