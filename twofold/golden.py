"""Golden replay: raw rows and the answers they must give, checked before a version serves."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse

from twofold import tensors
from twofold.artifact import GOLDEN as FILE
from twofold.errors import Corrupt
from twofold.signature import TensorSpec
from twofold.tensors import Array
from twofold.v1 import model_pb2

_INPUT, _OUTPUT = "input.", "output."
#: Outputs whose numbers are all smaller are taken to reach this far: rounding is not in proportion.
LEAST_RANGE = 1e-3


class Signed(Protocol):
    """Whatever has a signature."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs on the wire, by name."""
        ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs on the wire, by name."""
        ...


class Golden:
    """Raw inputs and expected outputs of one version."""

    def __init__(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        self.inputs = inputs
        self.outputs = outputs

    @classmethod
    def parse(cls, data: bytes, signature: Signed) -> "Golden":
        """What golden.safetensors holds; raises Corrupt where the signature differs."""
        try:
            found: dict[str, Array] = parse(data)
        except SafetensorError as error:
            raise Corrupt(f"{FILE} cannot be read", resource=FILE) from error
        specs = {_INPUT + name: spec for name, spec in signature.inputs.items()}
        specs |= {_OUTPUT + name: spec for name, spec in signature.outputs.items()}
        if found.keys() != specs.keys():
            raise Corrupt(f"{FILE} holds other tensors than the signature", resource=FILE)
        rows = _row_count(found, specs)
        decoded = {key: _decode(key, found[key], spec, rows) for key, spec in specs.items()}
        return cls(
            {name: decoded[_INPUT + name] for name in signature.inputs},
            {name: decoded[_OUTPUT + name] for name in signature.outputs},
        )

    def check(self, answers: Mapping[str, Array], tolerance: model_pb2.Tolerance) -> None:
        """Raises Corrupt, naming the output, where `answers` are not the expected ones.

        The tolerance's absolute part is for the output with the largest numbers; what it allows of
        another one is less, as its numbers are. What is no float has to be equal.
        """
        largest = {name: _largest(expected) for name, expected in self.outputs.items()}
        for name, expected in self.outputs.items():
            got = answers.get(name)
            if got is None or (got.shape, got.dtype) != (expected.shape, expected.dtype):
                raise Corrupt(f"golden replay: {name} has another shape or type", resource=name)
            if expected.dtype.kind == "O":
                _check_labels(name, got, expected, self._are_close_calls(tolerance))
            elif name == "label" and self._has_flags():
                _check_flags(name, got, expected, self._are_close_flags(tolerance))
            elif expected.dtype.kind != "f":
                _check_flags(name, got, expected, np.zeros(expected.shape, dtype=bool))
            else:
                part = largest[name] / max(largest.values())
                _check_numbers(name, got, expected, (tolerance.absolute * part, tolerance.relative))

    def _are_close_calls(self, tolerance: model_pb2.Tolerance) -> Array:
        """Per row whether the best two classes are as close as the tolerance; bool [rows]."""
        scores = self.outputs.get("probabilities")
        if scores is None or scores.shape[1] < 2:  # noqa: PLR2004 - no second best among fewer
            return np.zeros(len(next(iter(self.outputs.values()))), dtype=bool)
        best = np.sort(scores.astype(np.float64), axis=1)[:, -2:]
        allowed = tolerance.absolute + tolerance.relative * np.abs(best[:, 1])
        return best[:, 1] - best[:, 0] <= 2 * allowed  # each of the two may be off by that much

    def _has_flags(self) -> bool:
        """Whether there are labels as a multi-label has them; raw outputs may have any name."""
        label, scores = self.outputs["label"], self.outputs.get("probabilities")
        return label.dtype.kind == "b" and scores is not None and scores.shape == label.shape

    def _are_close_flags(self, tolerance: model_pb2.Tolerance) -> Array:
        """Per row and label of a multi-label whether one half lies within the tolerance."""
        scores = self.outputs["probabilities"].astype(np.float64)
        return np.abs(scores - 0.5) <= tolerance.absolute + tolerance.relative * np.abs(scores)


def tolerance_for(
    manifest: model_pb2.Manifest, device: str, precision: str = "fp32"
) -> model_pb2.Tolerance:
    """The manifest's tolerance for a device and precision; raises Corrupt where it has none."""
    for tolerance in manifest.tolerances:
        if (tolerance.device, tolerance.precision) == (device, precision):
            return tolerance
    raise Corrupt(f"the manifest has no tolerance for {precision} on {device}")


def _row_count(found: Mapping[str, Array], specs: Mapping[str, TensorSpec]) -> int:
    """Rows of the golden examples: those of the numeric tensors, all alike."""
    counts = {
        len(found[key]) if found[key].ndim else 0
        for key, spec in specs.items()
        if spec.datatype != "BYTES"
    }
    if len(counts) != 1 or 0 in counts:
        raise Corrupt(f"{FILE} has no rows, or not the same of each tensor", resource=FILE)
    return counts.pop()


def _decode(key: str, stored: Array, spec: TensorSpec, rows: int) -> Array:
    shape = (rows, *spec.shape[1:])
    if spec.datatype == "BYTES" and stored.dtype == np.uint8:
        try:
            return tensors.from_raw("BYTES", shape, stored.tobytes())
        except ValueError as error:
            raise Corrupt(f"{FILE}: {key} is not a BYTES tensor", resource=FILE) from error
    if stored.shape != shape or stored.dtype != tensors.DTYPES[spec.datatype]:
        raise Corrupt(f"{FILE}: {key} is not what the signature says", resource=FILE)
    return stored


def _check_labels(name: str, got: Array, expected: Array, close_calls: Array) -> None:
    differs = (got != expected).reshape(len(expected), -1).any(axis=1)
    if bool((differs & ~close_calls).any()):
        raise Corrupt(f"golden replay: {name} differs", resource=name)


def _check_flags(name: str, got: Array, expected: Array, close_calls: Array) -> None:
    if bool(((got != expected) & ~close_calls).any()):
        raise Corrupt(f"golden replay: {name} differs", resource=name)


def _largest(expected: Array) -> float:
    """The largest magnitude of a float output, but no less than what tolerances are made for."""
    if expected.dtype.kind != "f":
        return 0.0
    return max(float(np.abs(expected).max(initial=0.0)), LEAST_RANGE)


def _check_numbers(name: str, got: Array, expected: Array, tolerance: tuple[float, float]) -> None:
    """Raises Corrupt where `got` is off by more than (absolute, relative)."""
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        raise Corrupt(f"golden replay: {name} is not finite", resource=name)
    absolute, relative = tolerance
    allowed = absolute + relative * np.abs(expected.astype(np.float64))
    error = np.abs(got.astype(np.float64) - expected)
    if not bool((error <= allowed).all()):
        raise Corrupt(f"golden replay: {name} is off by {float(error.max()):.3g}", resource=name)
