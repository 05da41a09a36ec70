"""Preprocessing that travels with a model: rows to tensors, scores to answers. numpy only.

Used by both sides: training fits a FeatureSpec and encodes with it, the inferer encodes requests
and decodes answers with the same one. Every function treats rows independently.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold import spec_targets
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
#: Object arrays of bytes, as tensors of type BYTES are held.
Strings = NDArray[np.object_]

#: What a net computes, float32 [B, C]; where raw outputs are served each of them, [B, ...].
Scores = Floats | Sequence[NDArray[Any]]

#: The input of text columns, whose values become indices.
_CATEGORY = "category"
_ELEMENTS: Mapping[graph_pb2.DataType, type[np.generic]] = {
    graph_pb2.DATA_TYPE_FP32: np.float32,
    graph_pb2.DATA_TYPE_INT64: np.int64,
}
#: The index of a value that training did not see.
UNKNOWN = -1
_BYTES = graph_pb2.DATA_TYPE_BYTES


class Features:
    """A FeatureSpec made ready for many batches: its tables are built once.

    The graph says in which order its inputs stand, and whether its outputs are served as they are.
    Without one they stand in the order of the signature, and are not.
    """

    def __init__(self, spec: model_pb2.FeatureSpec, graph: graph_pb2.Graph | None = None) -> None:
        self.spec = spec
        names = [tensor.name for tensor in (graph.inputs if graph else inputs_of(spec))]
        arrays = {column.name: _ELEMENTS[column.data_type] for column in spec.array_columns}
        #: Name and element type of each argument of forward(); None: text.
        self._arguments = [
            (
                name,
                None
                if spec.category_columns and name == _CATEGORY
                else arrays.get(name, np.float32),
            )
            for name in names
        ]
        #: Of the net's inputs, which are those of the signature, in the net's order.
        self.names = tuple(names)
        self._has_text = any(element is None for _, element in self._arguments)
        #: Beside the message, which is slow to look into for each batch.
        self._task = spec.task
        #: Names of the outputs that are served as they are.
        self._raw = [tensor.name for tensor in raw_outputs(graph)]
        self._indices = [
            {value.encode(): index for index, value in enumerate(column.vocabulary)}
            for column in spec.category_columns
        ]
        #: The labels, and b"" for rows that have none; [labels + 1, 1].
        self._labels: Strings = np.empty((len(spec.labels) + 1, 1), dtype=np.object_)
        self._labels[:, 0] = [*(label.encode() for label in spec.labels), b""]

    def category_indices(self, category: Strings) -> Integers:
        """Indices int64 [B, k] of values [B, k] in their columns' vocabularies, or UNKNOWN."""
        indices = np.empty(category.shape, dtype=np.int64)
        for place, table in enumerate(self._indices):
            found = [table.get(value, UNKNOWN) for value in category[:, place]]
            indices[:, place] = found
        return indices

    def inputs(self, tensors: Mapping[str, NDArray[np.generic]]) -> list[NDArray[Any]]:
        """The arguments of the net's forward(), in order, from the tensors of the signature."""
        arguments: list[NDArray[Any]] = []
        for name, element in self._arguments:
            if element is None:
                category = tensors[name].astype(np.object_, copy=False)
                arguments.append(self.category_indices(category))
            else:
                arguments.append(tensors[name].astype(element, copy=False))
        return arguments

    def columns(self, parts: Sequence[Mapping[str, NDArray[Any]]]) -> list[list[NDArray[Any]]]:
        """Per argument of the net's forward() the rows of each request of a batch.

        Numbers are those of the requests, which have the signature's types; text becomes numbers
        for all requests together.
        """
        if not self._has_text:
            return [[part[name] for part in parts] for name in self.names]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in self.names}
        return [[rows] for rows in self.inputs(joined)]

    def answers(self, scores: Scores) -> dict[str, NDArray[np.generic]]:
        """The output tensors for the head's scores, raw ones by their own names.

        The label of a row is that of its highest score; of two classes with equal scores it is
        the second, as the heads define it. A row with a score that is not a number has no label:
        it gets b"". A row of a multi-label has every label with a score of at least 0.5.
        """
        if self._raw:
            outputs = scores if isinstance(scores, Sequence) else (scores,)
            return dict(zip(self._raw, outputs, strict=True))
        assert isinstance(scores, np.ndarray)  # noqa: S101 - only raw outputs are several
        if self._task == spec_pb2.TASK_REGRESSION:
            return {"value": scores}
        if self._task == spec_pb2.TASK_MULTILABEL:
            return {"probabilities": scores, "label": has_label(scores)}
        if scores.shape[1] == 2:  # noqa: PLR2004 - two classes
            best = (scores[:, 1] >= scores[:, 0]).astype(np.int64)
        else:
            best = scores.argmax(1)
        if has_nan(scores):
            best[np.isnan(scores).any(axis=1)] = len(self._labels) - 1
        return {"probabilities": scores, "label": self._labels[best]}


def category_indices(spec: model_pb2.FeatureSpec, category: Strings) -> Integers:
    """See Features.category_indices; for one batch only."""
    return Features(spec).category_indices(category)


def answers(spec: model_pb2.FeatureSpec, scores: Floats) -> dict[str, NDArray[np.generic]]:
    """See Features.answers; for one batch only."""
    return Features(spec).answers(scores)


def raw_outputs(graph: graph_pb2.Graph | None) -> list[graph_pb2.TensorSpec]:
    """The outputs that a graph's answers are, where they are served as they are; else none."""
    if graph is None or graph.head != graph_pb2.HEAD_RAW:
        return []
    return list(graph.outputs)


def has_nan(scores: Floats) -> bool:
    """Whether any score is not a number: then the sum of squares is none, and only then."""
    flat = scores.ravel()
    return math.isnan(flat.dot(flat))


def has_label(probabilities: Floats) -> NDArray[np.bool_]:
    """Which labels rows have, of their probabilities [B, K]; one that is not a number says no."""
    return np.greater_equal(probabilities, 0.5)


def signature(
    spec: model_pb2.FeatureSpec, score_count: int, graph: graph_pb2.Graph | None = None
) -> tuple[list[graph_pb2.TensorSpec], list[graph_pb2.TensorSpec]]:
    """Inputs and outputs on the wire.

    Args:
        spec: gives the inputs and, by its task, the outputs.
        score_count: classes or targets of the head.
        graph: its own outputs are served instead, where its head says so.
    """
    if raw := raw_outputs(graph):
        return inputs_of(spec), raw
    if spec.task == spec_pb2.TASK_REGRESSION:
        return inputs_of(spec), [_tensor("value", graph_pb2.DATA_TYPE_FP32, score_count)]
    is_multilabel = spec.task == spec_pb2.TASK_MULTILABEL
    label = (graph_pb2.DATA_TYPE_BOOL, score_count) if is_multilabel else (_BYTES, 1)
    return inputs_of(spec), [
        _tensor("probabilities", graph_pb2.DATA_TYPE_FP32, score_count),
        _tensor("label", *label),
    ]


def inputs_of(spec: model_pb2.FeatureSpec) -> list[graph_pb2.TensorSpec]:
    """Inputs on the wire: numbers, text, then each array by its own name."""
    inputs: list[graph_pb2.TensorSpec] = []
    if spec.numeric_columns:
        inputs.append(_tensor("x", graph_pb2.DATA_TYPE_FP32, len(spec.numeric_columns)))
    if spec.category_columns:
        inputs.append(_tensor(_CATEGORY, _BYTES, len(spec.category_columns)))
    return [*inputs, *spec.array_columns]


def _tensor(name: str, data_type: graph_pb2.DataType, width: int) -> graph_pb2.TensorSpec:
    return graph_pb2.TensorSpec(name=name, data_type=data_type, shape=[-1, width])


def fit(
    data: spec_pb2.DataSpec,
    vocabularies: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> model_pb2.FeatureSpec:
    """What is learnt of the columns.

    Args:
        data: completed: target, features and task are set.
        vocabularies: of the features that are categories, sorted; all others are numeric or
            arrays. Values of the training rows alone: what only held-out rows have stays unknown,
            as it would be when serving.
        labels: of all rows of the target, in the order of the probabilities.
        arrays: features that are arrays, float32 or int64 [rows, ...]; for their types and shapes.
    """
    arrays = arrays or {}
    targets = spec_targets.of(data)
    spec = model_pb2.FeatureSpec(target=targets[0], task=data.task)
    if len(targets) > 1:
        spec.targets.extend(targets)
    for name in data.features:
        if name in vocabularies:
            spec.category_columns.add(name=name, vocabulary=vocabularies[name])
        elif name in arrays:
            is_real = arrays[name].dtype == np.float32
            data_type = graph_pb2.DATA_TYPE_FP32 if is_real else graph_pb2.DATA_TYPE_INT64
            shape = [-1, *arrays[name].shape[1:]]
            spec.array_columns.add(name=name, data_type=data_type, shape=shape)
        else:
            spec.numeric_columns.append(name)
    if data.task == spec_pb2.TASK_CLASSIFICATION:
        spec.labels.extend(labels)
    if data.task == spec_pb2.TASK_MULTILABEL:
        spec.labels.extend(targets)
    return spec


def label_of(value: object) -> str:
    """A cell as text: booleans as false and true, whole numbers in decimal, text as it is."""
    text = str(value)
    return text if isinstance(value, str) or text not in ("True", "False") else text.lower()
