"""The version that a gate compares with, judged on the very rows that judge the new model.

Two figures from two sets of rows say nothing: the published version is loaded from the store, runs
on this job's held-out rows, and its answers are scored as the new model's are.
"""
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import memory, scores
from trainer.compiled import told
from trainer.gates import Baseline, NotBlessed
from trainer.prepared import Prepared
from twofold import artifact, keys, manifest, spec_module, versions
from twofold.errors import Corrupt, NotFound
from twofold.features import Features
from twofold.nets import bounds, registry
from twofold.nets.net import Net, apply_head
from twofold.nets.pieces import rows_at_once
from twofold.store import Store
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

#: Rows of one forward pass, at most: bounds the memory of activations.
_ROWS = 65_536
Arrays = Mapping[str, NDArray[np.generic]]
_Head = graph_pb2.Head


def measure(
    store: Store, tenant: str, spec: spec_pb2.TrainingSpec, prepared: Prepared
) -> Baseline | None:
    """The metrics of the version that `spec.gates.not_worse_than` names; None where it names none.

    Raises:
        NotBlessed: there is such a version, and it cannot be compared: it lacks a column, does
            another task, cannot be read, or does not run on these rows.
        StoreError: the store cannot be used.
    """
    number = resolve(store, tenant, spec.model, spec.gates.not_worse_than)
    if number is None:
        return None
    who = f"version {number}, {spec.gates.not_worse_than}"
    try:
        made, _ = versions.read_manifest(store, tenant, spec.model, number)
        net = read_net(store, tenant, made)
    except (Corrupt, NotFound) as error:
        raise NotBlessed(f"not published: {who}, cannot be compared: {error.message}") from error
    if problem := _difference(made.features, prepared.features):
        raise NotBlessed(f"not published: {who}, cannot be compared: {problem}")
    rows = prepared.validation_rows if len(prepared.validation_rows) else prepared.training_rows
    places = _inputs(prepared, made.features, who)
    head = _head(net.graph, made.features, who)
    size = rows_at_once(_ROWS, net.row_elements)
    answers: list[Arrays] = []
    for start in range(0, len(rows), size):
        raw = prepared.raw_inputs(rows[start : start + size])
        wanted = {
            name: raw[name] if columns is None else raw[name][:, columns]
            for name, columns in places.items()
        }
        try:
            answers.append(_judged(net, made.features, wanted, head))
        except (RuntimeError, ValueError, IndexError, KeyError) as error:
            if memory.is_exhausted(error):
                raise
            problem = f"it does not run on these rows: {told(error)}"
            raise NotBlessed(f"not published: {who}, cannot be compared: {problem}") from error
    return Baseline(number, _metrics(prepared, rows, answers))


def _difference(theirs: model_pb2.FeatureSpec, ours: model_pb2.FeatureSpec) -> str:
    """Why the answers of a version do not stand beside ours; empty where they do."""
    if theirs.task != ours.task:
        return "it does another task"
    return "" if list(theirs.targets) == list(ours.targets) else "it predicts other columns"


def resolve(store: Store, tenant: str, model: str, name: str) -> int | None:
    """The version that an alias or a number names; None where there is no such alias.

    Raises NotBlessed for a number without a visible version, and where an alias cannot be read.
    """
    if not name.isdigit():
        try:
            return versions.read_aliases(store, tenant, model).get(name)
        except Corrupt as error:
            text = f"not published: gates.not_worse_than is {name}, and {error.message}"
            raise NotBlessed(text) from error
    visible = {found.number for found in versions.visible_versions(store, tenant, model)}
    if int(name) not in visible:
        raise NotBlessed(
            f"not published: gates.not_worse_than is {name}, and {model}@{name} is gone"
        )
    return int(name)


def read_net(store: Store, tenant: str, made: model_pb2.Manifest) -> Net:
    """The net of a version, its files verified; raises Corrupt, StoreError."""
    folder = keys.version(tenant, made.model, made.version)
    artifact.check_files(made)
    sizes = {file.name: file.size_bytes for file in made.files}
    read = {name: store.read(f"{folder}/{name}", size) for name, size in sizes.items()}
    files = {name: data for name, data in read.items() if data is not None}
    manifest.verify_files(made, files)
    return registry.parse(files)


def _head(graph: graph_pb2.Graph, features: model_pb2.FeatureSpec, who: str) -> _Head:
    """What the first output of a net means to metrics, also where it is served as it is.

    Raises NotBlessed where it is no scores of its labels or values of its targets.
    """
    head = spec_module.judging_head(graph, features)
    if head == graph_pb2.HEAD_UNSPECIFIED:
        text = f"its first output is {bounds.spec_words(graph.outputs[0])}, which are no scores"
        raise NotBlessed(f"not published: {who}, cannot be compared: {text}")
    return head


def _judged(net: Net, features: model_pb2.FeatureSpec, inputs: Arrays, head: _Head) -> Arrays:
    """What a version answers, by its head, also where raw outputs are served."""
    given = registry.answers(net, features, inputs)
    if net.graph.head != graph_pb2.HEAD_RAW:
        return given
    logits = torch.from_numpy(given[net.graph.outputs[0].name])
    return Features(features).answers(apply_head(head, logits).numpy())


def _inputs(
    prepared: Prepared, wanted: model_pb2.FeatureSpec, who: str
) -> dict[str, list[int] | None]:
    """Where the other version's columns stand in each raw input, in the order that it knows.

    None: it is an array, which is taken whole.
    """
    inputs: dict[str, list[int] | None] = {}
    ours = prepared.features
    if wanted.numeric_columns and prepared.x_ND is not None:
        inputs["x"] = _places(list(ours.numeric_columns), list(wanted.numeric_columns), who)
    if wanted.category_columns and prepared.categories:
        present = [column.name for column in ours.category_columns]
        categories = [column.name for column in wanted.category_columns]
        inputs["category"] = _places(present, categories, who)
    if len(inputs) != bool(wanted.numeric_columns) + bool(wanted.category_columns):
        raise NotBlessed(f"not published: {who}, cannot be compared: it takes other columns")
    for column in wanted.array_columns:
        if column not in ours.array_columns:
            shown = f"{column.name} {bounds.spec_words(column)}"
            text = f"not published: {who}, cannot be compared: this data has no array {shown}"
            raise NotBlessed(text)
        inputs[column.name] = None
    return inputs


def _places(present: list[str], wanted: list[str], who: str) -> list[int]:
    missing = [name for name in wanted if name not in present]
    if missing:
        text = f"not published: {who}, cannot be compared: this data has no column {missing[0]}"
        raise NotBlessed(text)
    return [present.index(name) for name in wanted]


def _metrics(
    prepared: Prepared, rows: NDArray[np.int64], answers: list[Arrays]
) -> dict[str, float]:
    target = prepared.target_N[rows]
    if prepared.features.task == spec_pb2.TASK_REGRESSION:
        values = np.concatenate([part["value"] for part in answers])
        return scores.regression(values.astype(np.float32), target.astype(np.float32))
    if prepared.features.task == spec_pb2.TASK_MULTILABEL:
        flags = np.concatenate([part["label"] for part in answers]).astype(np.bool_)
        return scores.multilabel(flags, target > 0)
    labels = [label.encode() for label in prepared.features.labels]
    index = {label: number for number, label in enumerate(labels)}
    given = np.concatenate([part["label"][:, 0] for part in answers]).tolist()
    # A label that this data does not have is one more class, which is never right.
    best = np.array([index.get(label, len(labels)) for label in given], dtype=np.int64)
    return scores.classification(best, target.astype(np.int64), len(labels) + 1)
