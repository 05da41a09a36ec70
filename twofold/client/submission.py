"""What `train` is asked to do: which spec, and what must be uploaded first."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeGuard, cast

from numpy.typing import ArrayLike

from twofold import errors, names, toml_spec
from twofold.client import uploads
from twofold.client.uploads import Upload
from twofold.v1 import spec_pb2

#: Rows: [rows, columns], an array of a higher rank, or several arrays by name.
Arrays: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
#: A spec: the message, or nested tables as in TOML.
Spec: TypeAlias = spec_pb2.TrainingSpec | toml_spec.Tree
_ALLOWED_DATA = "a file that exists, a data set's identifier, and, or, xor"


@dataclass(frozen=True, slots=True)
class Submission:
    """A spec and, where its rows are not at the server yet, what to upload."""

    spec: spec_pb2.TrainingSpec
    upload: Upload | None

    def completed(self, dataset: str) -> spec_pb2.TrainingSpec:
        """The spec over the data set "datasets/{sha256}"."""
        spec = spec_pb2.TrainingSpec()
        spec.CopyFrom(self.spec)
        spec.data.dataset = dataset.removeprefix("datasets/")
        return spec


def of_call(
    x: Arrays | Spec,
    y: ArrayLike | None,
    spec: Spec | None,
    data: str | Path | None,
    weight: ArrayLike | None = None,
) -> Submission:
    """What `train(x, y, spec)` or `train(spec, data=data)` asks for.

    Raises:
        TypeError: neither of the two.
    """
    if _is_spec(x):
        if spec is None and y is None and weight is None:
            return of_data(x, data)
    elif spec is not None and y is not None and data is None:
        return of_arrays(spec, cast("Arrays", x), y, weight)  # a guard says nothing where it fails
    raise TypeError("train takes (x, y, spec) or (spec, data=...)")


def _is_spec(x: Arrays | Spec) -> TypeGuard[Spec]:
    """Whether it is a spec, and not rows: also a mapping of arrays has neither tables nor text."""
    if isinstance(x, Mapping):
        return any(isinstance(value, Mapping | str) for value in x.values())
    return isinstance(x, spec_pb2.TrainingSpec)


def of_arrays(spec: Spec, x: Arrays, y: ArrayLike, weight: ArrayLike | None = None) -> Submission:
    """Training on rows in memory; the spec's data.dataset is replaced.

    So are its targets where it names none and `y` has several, and its weight where it names none
    and `weight` is given.

    Raises:
        InvalidField: the spec is none.
        InvalidData: arrays that cannot be sent.
    """
    message = spec_pb2.TrainingSpec()
    message.CopyFrom(spec_of(spec))
    targets = uploads.target_names(y)
    if len(targets) > 1 and not message.data.target and not message.data.targets:
        message.data.targets.extend(targets)
    if weight is not None and not message.data.weight:
        message.data.weight = uploads.WEIGHT
    return Submission(message, uploads.from_arrays(x, y, f"{message.model} arrays", weight))


def of_data(spec: Spec, data: str | Path | None) -> Submission:
    """Training on a data set's identifier, a truth table or a file; None: what the spec names.

    Reads a file for its digest.

    Raises:
        InvalidField: the spec is none, names no data and none is given, or there is no such file.
        InvalidData: the file cannot be read.
    """
    message = spec_of(spec)
    if data is None:
        if not message.data.dataset:
            raise errors.InvalidField.of("data.dataset", "", _ALLOWED_DATA)
        return Submission(message, None)
    if is_dataset(data):
        return Submission(Submission(message, None).completed(data), None)
    path = Path(data)
    if not path.is_file():
        raise errors.InvalidField.of("data", data, _ALLOWED_DATA)
    return Submission(message, uploads.from_file(path))


def is_dataset(data: str | Path) -> TypeGuard[str]:
    """Whether `data` names a data set at the server, and no file."""
    if isinstance(data, Path):
        return False
    if data in names.TRUTH_TABLES:
        return True
    try:
        names.check_sha256("data", data.removeprefix("datasets/"))
    except errors.InvalidField:
        return False
    return True


def spec_of(spec: Spec) -> spec_pb2.TrainingSpec:
    """The message of a spec; raises InvalidField where the tables are none."""
    if isinstance(spec, Mapping):
        return toml_spec.from_dict(spec)
    return spec
