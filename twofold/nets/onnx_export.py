"""Versions as ONNX files that answer what the inferer answers: raw rows in, answers out.

torch exports the network and its head; what torch knows no tensors for is added around them: text
categories to indices (ai.onnx.ml.LabelEncoder) and scores to labels. Nothing is written that does
not give the golden rows' answers. Source of the operators: onnx.ai/onnx/operators.
"""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import contextlib
import logging
import os
import secrets
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from twofold import features, signature
from twofold.artifact import GOLDEN
from twofold.errors import Corrupt, InvalidField, Unimplemented
from twofold.golden import Golden, tolerance_for
from twofold.nets import registry
from twofold.nets.net import Net
from twofold.tensors import Array
from twofold.v1 import model_pb2, spec_pb2

#: protobuf's limit of a message, and so of an ONNX file with its weights inside.
_FILE_LIMIT = (2 << 30) - (64 << 20)
_ML = "ai.onnx.ml"
_ML_OPSET = 3
_INDEX = ".index"
_BATCH = "batch"
_CPU = ("CPUExecutionProvider",)


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX file and what was checked of it."""

    path: Path
    size_bytes: int
    opset: int
    golden_rows: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export(manifest: model_pb2.Manifest, files: Mapping[str, bytes], out: Path) -> Exported:
    """Writes a version as an ONNX file; dimension 0 of every input and output is any batch.

    Args:
        manifest: the version's.
        files: its verified files; see registry.fetch.
        out: a path where nothing is yet.

    Raises:
        InvalidField: there is something at `out`, or it cannot be written.
        Unimplemented: the network cannot be expressed in ONNX; says why.
        Corrupt: the version, or what was exported of it, does not answer its golden rows.
    """
    if out.exists():
        raise InvalidField.of("out", str(out), "a file that is not there yet")
    net = registry.build(manifest, files)
    examples = Golden.parse(files[GOLDEN], signature.of_manifest(manifest))
    arguments = features.Features(manifest.features, net.graph).inputs(examples.inputs)
    inputs = [spec.name for spec in net.graph.inputs]
    is_raw = bool(features.raw_outputs(net.graph))
    numeric = [name for name in examples.outputs if name != "label" or is_raw]
    model = to_proto(_Served(net), [np.array(array) for array in arguments], inputs, numeric)
    _strip(model)
    _add_categories(model.graph, manifest.features)
    if not is_raw and manifest.features.labels:
        add = _add_flags if manifest.features.task == spec_pb2.TASK_MULTILABEL else _add_labels
        add(model.graph, list(manifest.features.labels))
    model.opset_import.append(helper.make_opsetid(_ML, _ML_OPSET))
    helper.set_model_props(
        model, {"twofold.version": f"models/{manifest.model}/versions/{manifest.version}"}
    )
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    _replay(data, examples, tolerance_for(manifest, "cpu"))
    _write(out, data)
    return Exported(
        path=out,
        size_bytes=len(data),
        opset=max(found.version for found in model.opset_import if not found.domain),
        golden_rows=len(next(iter(examples.inputs.values()))),
        inputs=tuple(examples.inputs),
        outputs=tuple(examples.outputs),
    )


class _Served(torch.nn.Module):
    """What is served of a net: its head's answers."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The head's answers; see Net.head."""
        return self.net.head(self.net(*inputs))


def to_proto(
    module: torch.nn.Module,
    arguments: Sequence[Array],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Torch's export of a module in eval mode, with named inputs and outputs.

    Raises:
        Unimplemented: torch cannot; in its words.
    """
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    if size > _FILE_LIMIT:
        text = f"{size} bytes of weights do not fit an ONNX file; allowed: {_FILE_LIMIT}"
        raise Unimplemented(text)
    tensors = tuple(torch.from_numpy(array) for array in arguments)
    batch = torch.export.Dim(_BATCH)
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(),
                tensors,
                input_names=list(inputs),
                output_names=list(outputs),
                # One entry for forward()'s one variadic argument.
                dynamic_shapes=(tuple({0: batch} for _ in tensors),),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # whatever its many passes raise
        text = f"this network cannot be exported to ONNX: {reason(error)}"
        raise Unimplemented(text) from error
    if program is None:  # with a path alone; for the type checker
        raise Unimplemented("torch exported nothing")
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keeps torch's deprecations, and what it says of libraries that nobody asked for, to it."""
    exporter = logging.getLogger("torch.onnx")
    before = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(before)


def _strip(model: onnx.ModelProto) -> None:
    """Removes what torch noted of this machine: its files and lines."""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    for function in model.functions:
        for part in (function, *function.node):
            del part.metadata_props[:]
    del graph.metadata_props[:]


def reason(error: BaseException) -> str:
    """The first sentence of what began an exception's chain."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    sentence = lines[0].partition(". ")[0] if lines else type(error).__name__
    return sentence.rstrip(".")


def _add_categories(graph: onnx.GraphProto, spec: model_pb2.FeatureSpec) -> None:
    """Lets input category hold text, as the signature has it: each column by its vocabulary."""
    if not spec.category_columns:
        return
    for node in graph.node:
        node.input[:] = [name + _INDEX if name == "category" else name for name in node.input]
    nodes: list[onnx.NodeProto] = []
    columns: list[str] = []
    for place, column in enumerate(spec.category_columns):
        chosen, index = f"category.{place}", f"category.{place}{_INDEX}"
        graph.initializer.append(
            helper.make_tensor(f"{chosen}.at", TensorProto.INT64, [1], [place])
        )
        nodes.append(helper.make_node("Gather", ["category", f"{chosen}.at"], [chosen], axis=1))
        # An encoder must have an entry; without a vocabulary nothing is known.
        known = list(column.vocabulary) or [""]
        encoder = helper.make_node(
            "LabelEncoder",
            [chosen],
            [index],
            domain=_ML,
            keys_strings=known,
            values_int64s=list(range(len(known))) if column.vocabulary else [features.UNKNOWN],
            default_int64=features.UNKNOWN,
        )
        nodes.append(encoder)
        columns.append(index)
    nodes.append(helper.make_node("Concat", columns, ["category" + _INDEX], axis=1))
    others = [node for node in graph.node]  # noqa: C416 - protobuf's own list is about to change
    del graph.node[:]
    graph.node.extend([*nodes, *others])
    shape = [_BATCH, len(spec.category_columns)]
    text = helper.make_tensor_value_info("category", TensorProto.STRING, shape)
    inputs = [text if entry.name == "category" else entry for entry in graph.input]
    del graph.input[:]
    graph.input.extend(inputs)


def _add_labels(graph: onnx.GraphProto, labels: Sequence[str]) -> None:
    """Adds output label, as features.Features.answers defines it, beside probabilities."""
    count = len(labels)
    graph.initializer.extend(
        [
            helper.make_tensor(
                "label.names", TensorProto.STRING, [count + 1], _texts([*labels, ""])
            ),
            helper.make_tensor("label.none", TensorProto.INT64, [1], [count]),
            helper.make_tensor("label.axis", TensorProto.INT64, [1], [1]),
        ]
    )
    # Of two classes with equal scores the second, else the first.
    last = int(count == 2)  # noqa: PLR2004 - see above
    graph.node.extend(
        [
            helper.make_node(
                "ArgMax", ["probabilities"], ["label.best"], axis=1, select_last_index=last
            ),
            helper.make_node("IsNaN", ["probabilities"], ["label.nan"]),
            helper.make_node("Cast", ["label.nan"], ["label.nans"], to=TensorProto.INT32),
            helper.make_node("ReduceMax", ["label.nans", "label.axis"], ["label.any"]),
            helper.make_node("Cast", ["label.any"], ["label.lost"], to=TensorProto.BOOL),
            helper.make_node("Where", ["label.lost", "label.none", "label.best"], ["label.index"]),
            helper.make_node("Gather", ["label.names", "label.index"], ["label"], axis=0),
        ]
    )
    graph.output.append(helper.make_tensor_value_info("label", TensorProto.STRING, [_BATCH, 1]))


def _add_flags(graph: onnx.GraphProto, labels: Sequence[str]) -> None:
    """Adds output label of a multi-label: which probabilities are at least one half."""
    graph.initializer.append(helper.make_tensor("label.half", TensorProto.FLOAT, [], [0.5]))
    graph.node.append(
        helper.make_node("GreaterOrEqual", ["probabilities", "label.half"], ["label"])
    )
    shape = [_BATCH, len(labels)]
    graph.output.append(helper.make_tensor_value_info("label", TensorProto.BOOL, shape))


def _texts(values: Sequence[str]) -> Array:
    return np.array([value.encode() for value in values], dtype=np.object_)


def _replay(data: bytes, examples: Golden, tolerance: model_pb2.Tolerance) -> None:
    """Runs what was exported on the golden rows, together and one alone; raises Corrupt."""
    runtime: Any = onnxruntime  # it ships types of some names only
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors: what it says of optimisations is no news here
    session = runtime.InferenceSession(data, options, providers=list(_CPU))
    names = list(examples.outputs)
    for rows in (slice(None), slice(0, 1)):
        part = Golden(
            {name: array[rows] for name, array in examples.inputs.items()},
            {name: array[rows] for name, array in examples.outputs.items()},
        )
        feed = {name: _fed(array) for name, array in part.inputs.items()}
        try:
            found = cast("list[Array]", session.run(names, feed))
        except Exception as error:  # whatever its kernels raise
            raise Corrupt(f"what was exported does not run: {reason(error)}") from error
        answers = dict(zip(names, map(_answered, found), strict=True))
        part.check(answers, tolerance)


def _fed(array: Array) -> Array:
    """Text as the runtime takes it."""
    if array.dtype.kind != "O":
        return array
    texts = np.empty(array.shape, dtype=np.object_)
    texts.ravel()[:] = [value.decode() for value in array.ravel().tolist()]
    return texts


def _answered(array: Array) -> Array:
    """Text as Twofold has it: bytes."""
    if array.dtype.kind not in "OU":
        return array
    encoded = np.empty(array.shape, dtype=np.object_)
    encoded.ravel()[:] = [str(value).encode() for value in array.ravel().tolist()]
    return encoded


def _write(out: Path, data: bytes) -> None:
    """A file that is there whole or not at all, and replaces none; raises InvalidField."""
    staging = out.parent / f".{out.name}.{secrets.token_hex(8)}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with staging.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(staging, out)
    except OSError as error:
        text = f"{out} cannot be written: {error.strerror}"
        raise InvalidField(text, field="out", value=out) from error
    finally:
        with contextlib.suppress(OSError):
            staging.unlink()
