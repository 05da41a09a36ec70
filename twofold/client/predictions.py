"""Rows to input tensors and answers to numpy, without I/O.

The server never casts; this client does: columns of numbers are always sent as float32, and so are
floats of any width, pixels of 8 bits and booleans; other whole numbers as int64, text as BYTES.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold import tensors
from twofold.errors import InvalidField, InvalidTensor, Unavailable
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

#: What `predict` takes: rows [rows, columns] or [rows, ...]; a mapping of tensors by input name, of
#: two dimensions or more; or a mapping of columns by column name, at least one of them [rows].
Rows: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
#: Columns by name, each [rows], and arrays, each [rows, ...].
Columns: TypeAlias = Mapping[str, ArrayLike]

#: How often columns are put in order anew because the served version changed meanwhile.
SIGNATURE_ATTEMPTS = 3
_TABLE_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer, and who gave it."""

    model: str
    version: int
    """The version that really ran."""
    outputs: dict[str, Array]
    """Every output tensor by name, raw ones as the module has them, [rows, ...]; BYTES as object
    arrays of bytes."""
    parameters: dict[str, str | int]
    """What else the server said, for example durations."""

    @property
    def labels(self) -> NDArray[np.str_]:
        """The label of each row, as text [rows]; raises KeyError where the model has none.

        So it does where a row may have several; see has_label.
        """
        if self.outputs["label"].dtype == np.bool_:
            raise KeyError("label: rows have any number of labels here; see has_label")
        found = cast("list[bytes]", self.outputs["label"].reshape(-1).tolist())
        return np.array([label.decode() for label in found], dtype=np.str_)

    @property
    def has_label(self) -> NDArray[np.bool_]:
        """Which labels rows have, bool [rows, labels]; raises KeyError for other models."""
        if self.outputs["label"].dtype != np.bool_:
            raise KeyError("label: a row has one label here; see labels")
        return self.outputs["label"].astype(np.bool_, copy=False)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """float32 [rows, classes] or [rows, labels]; raises KeyError where the model has none."""
        return self.outputs["probabilities"].astype(np.float32, copy=False)

    @property
    def value(self) -> NDArray[np.float32]:
        """float32 [rows, targets]; raises KeyError where the model is no regression."""
        return self.outputs["value"].astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """The columns and labels of a version, as ModelMetadata tells them."""

    model: str
    version: int | None
    """The version described; None where the server does not say."""
    numeric_columns: tuple[str, ...]
    """In the order of input x."""
    category_columns: tuple[str, ...]
    """In the order of input category."""
    labels: tuple[str, ...]
    """In the order of probabilities; empty for a regression."""
    target: str
    targets: tuple[str, ...] = ()
    """In the order of value or probabilities, where there are several."""
    task: str = ""
    """classification, regression or multilabel; empty where the server does not say."""
    arrays: tuple[tuple[str, str], ...] = ()
    """Inputs that are arrays, and their datatypes."""
    outputs: tuple[str, ...] = ()
    """Names of what it answers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All that a row is made of."""
        return (*self.numeric_columns, *self.category_columns, *(name for name, _ in self.arrays))

    def encode(self, columns: Columns) -> dict[str, Array]:
        """The input tensors of columns and arrays by name; those not asked for are ignored.

        Raises:
            InvalidTensor: a column is missing, is no list of values, or has no numbers in it.
        """
        numeric = [
            as_float32(f"column {name}", self._column(columns, name))
            for name in self.numeric_columns
        ]
        texts = [_as_bytes(self._column(columns, name)) for name in self.category_columns]
        arrays = {name: self._array(columns, name, datatype) for name, datatype in self.arrays}
        if len({len(column) for column in (*numeric, *texts, *arrays.values())}) > 1:
            raise InvalidTensor("columns have different numbers of rows", model=self.model)
        groups: dict[str, list[Array]] = {"x": [*numeric], "category": texts}
        return {name: np.stack(group, axis=1) for name, group in groups.items() if group} | arrays

    def describes(self, prediction: Prediction) -> bool:
        """Whether `prediction` came from the version that these columns belong to."""
        return self.version in (None, prediction.version)

    def _column(self, columns: Columns, name: str) -> Array:
        if name not in columns:
            raise InvalidTensor(
                f"column {name} is missing; {self.model} needs " + ", ".join(self.columns),
                model=self.model,
                input=name,
                expected="a column of that name",
                got=", ".join(columns),
            )
        return np.asarray(columns[name])

    def _array(self, columns: Columns, name: str, datatype: str) -> Array:
        """An array as the version takes it; the server sees to its shape."""
        array = self._column(columns, name)
        if array.ndim < _TABLE_DIMENSIONS:
            shown = f"column {name} has shape {array.shape}; expected an array [rows, ...]"
            raise InvalidTensor(shown, model=self.model, input=name)
        if datatype == "FP32":
            return as_float32(f"input {name}", array)
        is_whole = datatype == "INT64" and np.issubdtype(array.dtype, np.integer)
        return np.asarray(array, dtype=np.int64, order="C") if is_whole else array


def signature_of(metadata: pb.ModelMetadataResponse) -> Signature:
    """The signature that a server's metadata describe."""
    properties = metadata.properties
    version = properties.get("version", "")
    arrays = _names(properties, "array_columns")
    return Signature(
        model=metadata.name,
        version=int(version) if version.isdecimal() else None,
        numeric_columns=_names(properties, "numeric_columns"),
        category_columns=_names(properties, "category_columns"),
        labels=_names(properties, "labels"),
        target=properties.get("target", ""),
        targets=_names(properties, "targets"),
        task=properties.get("task", ""),
        arrays=tuple(
            (tensor.name, tensor.datatype) for tensor in metadata.inputs if tensor.name in arrays
        ),
        outputs=tuple(tensor.name for tensor in metadata.outputs),
    )


def _names(properties: Mapping[str, str], key: str) -> tuple[str, ...]:
    """A JSON list of texts; empty where it is absent or something else, as on other servers."""
    try:
        names: object = json.loads(properties.get(key, "[]"))
    except json.JSONDecodeError:
        return ()
    return tuple(str(name) for name in cast("list[object]", names)) if _is_list(names) else ()


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def version_text(version: int | None, alias: str | None) -> str:
    """model_version as the protocol carries it; raises InvalidField where both are given."""
    if version is not None and alias is not None:
        raise InvalidField.of("alias", alias, "version or alias, not both")
    if alias is not None:
        return f":{alias}"
    return "" if version is None else str(version)


def changed_too_often(model: str) -> Unavailable:
    """What is raised when the version changed in each of SIGNATURE_ATTEMPTS."""
    return Unavailable(f"the version of {model} changes too fast to order columns; give a version")


def is_by_column(rows: Rows) -> TypeGuard[Columns]:
    """Whether `rows` are columns by name, which need the model's signature to be put in order.

    A tensor has two dimensions at least: one of fewer is a column, and what is beside it an array.
    """
    if not isinstance(rows, Mapping):
        return False
    return any(np.ndim(column) == 1 for column in rows.values())


def inputs_of(rows: Rows) -> dict[str, Array]:
    """The tensors that `rows`, which are not by column, are sent as.

    Raises:
        InvalidTensor: fewer than two dimensions, or something that is no number where one must be.
    """
    if not isinstance(rows, Mapping):
        return {"x": _at_least_a_table("x", _input("x", rows))}
    return {name: _input(name, array) for name, array in rows.items()}


def _input(name: str, given: ArrayLike) -> Array:
    """A tensor as it is sent; that of columns, x [rows, columns], as float32 whatever it holds."""
    if name == "x" and _rank(given) <= _TABLE_DIMENSIONS:
        return as_float32("input x", given)
    return _as_sent(name, np.asarray(given))


def _rank(array: ArrayLike) -> int:
    """Dimensions; 0 for what is no array, which `as_float32` refuses in words."""
    try:
        return np.ndim(array)
    except ValueError:  # rows of different lengths
        return 0


def as_float32(what: str, array: ArrayLike) -> NDArray[np.float32]:
    """`array` as float32, C-contiguous; raises InvalidTensor, naming `what`, where it cannot be."""
    try:
        # What a float64 holds beyond float32's range must not become infinite in silence.
        with np.errstate(over="raise"):
            return np.asarray(array, dtype=np.float32, order="C")
    except (TypeError, ValueError, OverflowError, FloatingPointError) as error:
        raise InvalidTensor(
            f"{what} cannot be sent as float32: {error}",
            input=what.rpartition(" ")[2],
            expected="numbers within float32's range",
            got=type(array).__name__,
        ) from error


def _as_sent(name: str, array: Array) -> Array:
    if array.dtype == np.uint8 or array.dtype.kind in "bf":
        return as_float32(f"input {name}", array)
    if np.issubdtype(array.dtype, np.integer):
        return np.asarray(array, dtype=np.int64, order="C")
    return _as_bytes(array)


def _as_bytes(array: Array) -> Array:
    """`array` as an object array of bytes; text is encoded as UTF-8."""
    values = cast("Sequence[object]", array.reshape(-1).tolist())
    encoded = np.empty(len(values), dtype=np.object_)
    encoded[:] = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return encoded.reshape(array.shape)


def _at_least_a_table(name: str, array: Array) -> Array:
    if array.ndim < _TABLE_DIMENSIONS:
        raise InvalidTensor(
            f"input {name} has shape {array.shape}; expected [rows, columns]",
            input=name,
            expected="[rows, columns]",
            got=array.shape,
        )
    return array


def prediction_of(answer: pb.ModelInferResponse) -> Prediction:
    """What a server answered, as numpy arrays.

    Raises:
        InvalidTensor: the answer is no valid one: no raw contents, wrong sizes or an unknown type.
    """
    if len(answer.outputs) != len(answer.raw_output_contents):
        raise InvalidTensor(
            f"the server answered {len(answer.outputs)} outputs with "
            f"{len(answer.raw_output_contents)} raw contents",
            model=answer.model_name,
        )
    return Prediction(
        model=answer.model_name,
        version=int(answer.model_version) if answer.model_version.isdecimal() else 0,
        outputs={
            output.name: _output(output, raw)
            for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        },
        parameters={
            name: parameter.string_param or parameter.int64_param
            for name, parameter in answer.parameters.items()
        },
    )


def _output(output: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> Array:
    try:
        return tensors.from_raw(output.datatype, output.shape, raw)
    except ValueError as error:
        raise InvalidTensor(
            f"the server's output {output.name} cannot be read: {error}", input=output.name
        ) from error
