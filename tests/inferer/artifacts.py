"""Published versions for tests: small networks, made and published by the product's own code."""
# pyright: reportUnknownMemberType=false

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

from tests.twofold import arrays
from twofold import keys, names, tensors
from twofold.features import Features, signature
from twofold.manifest import sha256_hex
from twofold.nets import catalogue, values
from twofold.nets.net import Net, init, load
from twofold.nets.registry import arrays_of
from twofold.principal import LOCAL
from twofold.publish import Attempt, publish
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.tensors import Array
from twofold.v1 import graph_pb2, model_pb2, spec_pb2

CLASSES = model_pb2.FeatureSpec(
    numeric_columns=["width", "height"],
    category_columns=[
        model_pb2.CategoryColumn(name="colour", vocabulary=["blue", "red"]),
    ],
    target="kind",
    task=spec_pb2.TASK_CLASSIFICATION,
    labels=["cat", "dog", "owl"],
)
FLAGS = model_pb2.FeatureSpec(
    numeric_columns=["a", "b"],
    target="hot",
    targets=["hot", "wet", "dry"],
    task=spec_pb2.TASK_MULTILABEL,
    labels=["hot", "wet", "dry"],
)
_GOLDEN_ROWS = 4


def classifier(seed: int = 1) -> tuple[model_pb2.FeatureSpec, Net]:
    """Two numbers and a category to three classes."""
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=[8])
    graph = catalogue.build(network, CLASSES, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED)
    return CLASSES, init(graph, seed)


def labels(seed: int = 1) -> tuple[model_pb2.FeatureSpec, Net]:
    """Two numbers to three labels, any number of which a row may have."""
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_LOGISTIC)
    graph = catalogue.build(network, FLAGS, scaling=True, loss=spec_pb2.LOSS_UNSPECIFIED)
    return FLAGS, init(graph, seed)


def regression(columns: Sequence[str] = ("a", "b")) -> model_pb2.FeatureSpec:
    """Numbers to one number."""
    return model_pb2.FeatureSpec(numeric_columns=columns, target="y", task=spec_pb2.TASK_REGRESSION)


def constant(
    value: float, columns: Sequence[str] = ("a", "b")
) -> tuple[model_pb2.FeatureSpec, Net]:
    """Always answers `value`, and so tells which version it is."""
    spec = regression(columns)
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_LINEAR)
    graph = catalogue.build(network, spec, scaling=False, loss=spec_pb2.LOSS_UNSPECIFIED)
    net = init(graph, 0)
    state = {path: torch.zeros_like(tensor) for path, tensor in net.state_dict().items()}
    state = {
        path: tensor + value if path.endswith("bias") else tensor for path, tensor in state.items()
    }
    return spec, load(graph, state)


def slow(width: int = 2048, depth: int = 4) -> tuple[model_pb2.FeatureSpec, Net]:
    """A regression that takes a few milliseconds: too long for the event loop."""
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=[width] * depth)
    spec = regression()
    graph = catalogue.build(network, spec, scaling=False, loss=spec_pb2.LOSS_UNSPECIFIED)
    return spec, init(graph, 0)


def raw_inputs(spec: model_pb2.FeatureSpec, rows: int) -> dict[str, Array]:
    """Input tensors of the signature, the same ones each time."""
    random = np.random.default_rng(7)
    inputs: dict[str, Array] = {}
    if spec.numeric_columns:
        shape = (rows, len(spec.numeric_columns))
        inputs["x"] = random.standard_normal(shape).astype(np.float32)
    if spec.category_columns:
        texts = np.empty((rows, len(spec.category_columns)), dtype=object)
        for place, column in enumerate(spec.category_columns):
            known = [value.encode() for value in column.vocabulary]
            texts[:, place] = random.choice([*known, b"unheard of"], rows).astype(object)
        inputs["category"] = texts
    for column in spec.array_columns:
        shape = (rows, *column.shape[1:])
        inputs[column.name] = (
            random.integers(0, 10, shape)
            if column.data_type == graph_pb2.DATA_TYPE_INT64
            else random.standard_normal(shape).astype(np.float32)
        )
    return inputs


def module(
    graph: graph_pb2.Graph, *labels: str, seed: int = 1
) -> tuple[model_pb2.FeatureSpec, Net]:
    """A module of the user's: its inputs but x are arrays. Without a head its outputs are raw."""
    graph.head = graph.head or graph_pb2.HEAD_RAW
    task = spec_pb2.TASK_CLASSIFICATION if labels else spec_pb2.TASK_REGRESSION
    spec = model_pb2.FeatureSpec(target="y", task=task, labels=labels)
    for tensor in graph.inputs:
        if tensor.name == "x" and len(tensor.shape) == 2:
            spec.numeric_columns.extend(f"x{place}" for place in range(tensor.shape[1]))
        else:
            spec.array_columns.add().CopyFrom(tensor)
    return spec, init(graph, seed).eval()


def pair() -> tuple[model_pb2.FeatureSpec, Net]:
    """Two outputs that are served as they are: a row's numbers, and their sum, which is whole."""
    graph = arrays.empty()
    x = arrays.read(graph, "x", [2])
    row = (values.node(x), values.integers([1]))
    total = arrays.call(graph, "sum", graph_pb2.FUNCTION_SUM, *row)
    kind = graph_pb2.Value(data_type=arrays.INT64)
    whole = arrays.call(graph, "whole", graph_pb2.FUNCTION_TO_TYPE, values.node(total), kind)
    arrays.answer(graph, "numbers", x, [2])
    return module(arrays.answer(graph, "label", whole, [], arrays.INT64))


def answer(spec: model_pb2.FeatureSpec, net: Net, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What the network answers, computed apart from the inferer."""
    features = Features(spec, net.graph)
    with torch.inference_mode():
        net.eval()
        arguments = [torch.from_numpy(array.copy()) for array in features.inputs(inputs)]
        scores = arrays_of(net.head(net(*arguments)))
    return dict(features.answers(scores))


def files_of(spec: model_pb2.FeatureSpec, net: Net) -> dict[str, bytes]:
    """The artifact's files."""
    inputs = raw_inputs(spec, _GOLDEN_ROWS)
    outputs = answer(spec, net, inputs)
    golden = {f"input.{name}": _stored(array) for name, array in inputs.items()}
    golden |= {f"output.{name}": _stored(array) for name, array in outputs.items()}
    return {
        "graph.pb": net.graph.SerializeToString(),
        "weights.safetensors": safetensors.torch.save(
            {path: tensor.contiguous() for path, tensor in net.weights().items()}
        ),
        "golden.safetensors": safetensors.numpy.save(golden),
    }


def _stored(array: Array) -> Array:
    if array.dtype.kind == "O":
        return np.frombuffer(tensors.to_raw(array), dtype=np.uint8)
    return np.ascontiguousarray(array)


def manifest_of(
    model: str, spec: model_pb2.FeatureSpec, net: Net, files: Mapping[str, bytes]
) -> model_pb2.Manifest:
    """The manifest as training hands it to publishing."""
    scores = answer(spec, net, raw_inputs(spec, 1))
    first = next(iter(scores.values()))
    inputs, outputs = signature(spec, first.shape[1] if first.ndim > 1 else 0, net.graph)
    return model_pb2.Manifest(
        format_version=1,
        model=model,
        files=[
            model_pb2.File(name=name, size_bytes=len(data), sha256=sha256_hex(data))
            for name, data in files.items()
        ],
        inputs=inputs,
        outputs=outputs,
        features=spec,
        lineage=model_pb2.Lineage(dataset="builtin/xor", code_version="0.1.0"),
        tolerances=[
            model_pb2.Tolerance(device="cpu", precision="fp32", absolute=1e-4, relative=1e-4)
        ],
    )


def put(
    store: LocalStore,
    model: str,
    made: tuple[model_pb2.FeatureSpec, Net],
    files: Mapping[str, bytes] | None = None,
    change: Mapping[str, object] | None = None,
) -> int:
    """Publishes a version and returns its number.

    `files` replaces files of the artifact, `change` top-level fields of the manifest; both are
    published like any other, with right digests.
    """
    spec, net = made
    contents = {**files_of(spec, net), **(files or {})}
    manifest = manifest_of(model, spec, net, contents)
    for field, value in (change or {}).items():
        manifest.ClearField(field)  # pyright: ignore[reportArgumentType] - any field's name
        manifest.MergeFrom(model_pb2.Manifest(**{field: value}))  # pyright: ignore[reportArgumentType] - likewise
    attempt = Attempt(LOCAL.tenant, names.ulid(), names.ulid(), 1, 0)
    folder = keys.attempt_artifact(attempt.tenant, attempt.job, attempt.attempt)
    for name, data in contents.items():
        store.create(f"{folder}/{name}", data)
    outcome = publish(store, SystemClock(), attempt, manifest, may_decide=lambda: True)
    return outcome.version


def overwrite(store: LocalStore, model: str, number: int, name: str, data: bytes) -> None:
    """Damages a file of a published version, as a failing disk would."""
    path: Path = store.path(f"{keys.version(LOCAL.tenant, model, number)}/{name}")
    path.unlink()
    path.write_bytes(data)


def remake_manifest(
    store: LocalStore, model: str, number: int, change: Mapping[str, object]
) -> None:
    """Rewrites fields of a published manifest, which the product never does."""
    path = store.path(keys.version_manifest(LOCAL.tenant, model, number))
    fields: dict[str, object] = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**fields, **change}))
