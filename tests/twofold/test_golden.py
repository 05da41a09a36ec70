import numpy as np
import pytest
import safetensors.numpy

from twofold import tensors
from twofold.errors import Corrupt
from twofold.golden import Golden, tolerance_for
from twofold.signature import Tensors, TensorSpec
from twofold.tensors import Array
from twofold.v1 import model_pb2

SIGNATURE = Tensors(
    inputs={"category": TensorSpec("category", "BYTES", (-1, 1))},
    outputs={
        "probabilities": TensorSpec("probabilities", "FP32", (-1, 2)),
        "label": TensorSpec("label", "BYTES", (-1, 1)),
    },
)
TOLERANCE = model_pb2.Tolerance(device="cpu", precision="fp32", absolute=0.01, relative=0.0)


def texts(*values: str) -> Array:
    array = np.empty((len(values), 1), dtype=object)
    array[:, 0] = [value.encode() for value in values]
    return array


def numbers(*rows: tuple[float, float]) -> Array:
    return np.array(rows, np.float32)


def packed(array: Array) -> Array:
    return np.frombuffer(tensors.to_raw(array), np.uint8)


def stored(**changes: Array | None) -> bytes:
    """golden.safetensors of one close call and one clear case, with some tensors changed."""
    values: dict[str, Array | None] = {
        "input.category": packed(texts("x", "y")),
        "output.probabilities": numbers((0.495, 0.505), (0.9, 0.1)),
        "output.label": packed(texts("b", "a")),
        **{name.replace("_", "."): value for name, value in changes.items()},
    }
    return safetensors.numpy.save({k: v for k, v in values.items() if v is not None})


def answers(label: Array | None = None, probabilities: Array | None = None) -> dict[str, Array]:
    default = numbers((0.495, 0.505), (0.9, 0.1))
    return {
        "probabilities": default if probabilities is None else probabilities,
        "label": texts("b", "a") if label is None else label,
    }


def test_examples_are_raw_rows_and_expected_answers() -> None:
    examples = Golden.parse(stored(), SIGNATURE)

    assert examples.inputs["category"].tolist() == [[b"x"], [b"y"]]
    examples.check(answers(), TOLERANCE)


def test_numbers_may_be_off_by_the_tolerance() -> None:
    examples = Golden.parse(stored(), SIGNATURE)

    examples.check(answers(probabilities=numbers((0.504, 0.496), (0.9, 0.1))), TOLERANCE)
    with pytest.raises(Corrupt, match=r"probabilities is off by 0\.02"):
        examples.check(answers(probabilities=numbers((0.495, 0.505), (0.88, 0.12))), TOLERANCE)


def test_the_relative_part_of_the_tolerance_counts() -> None:
    relative = model_pb2.Tolerance(absolute=0.0, relative=0.1)
    off_by_five_percent = numbers((0.495, 0.505), (0.945, 0.1))

    Golden.parse(stored(), SIGNATURE).check(answers(probabilities=off_by_five_percent), relative)


def test_a_label_may_differ_only_in_a_close_call() -> None:
    examples = Golden.parse(stored(), SIGNATURE)

    examples.check(answers(label=texts("a", "a")), TOLERANCE)
    with pytest.raises(Corrupt, match="label differs"):
        examples.check(answers(label=texts("b", "b")), TOLERANCE)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        answers(probabilities=numbers((0.495, 0.505))),
        answers(probabilities=np.array([[0.495, 0.505], [0.9, 0.1]])),
        answers(label=texts("b")),
    ],
    ids=["missing", "rows", "type", "labels"],
)
def test_answers_of_another_shape_or_type_are_refused(bad: dict[str, Array]) -> None:
    with pytest.raises(Corrupt, match="another shape or type"):
        Golden.parse(stored(), SIGNATURE).check(bad, TOLERANCE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_are_refused(value: float) -> None:
    rows = numbers((value, 0.505), (0.9, 0.1))

    with pytest.raises(Corrupt, match="not finite"):
        Golden.parse(stored(), SIGNATURE).check(answers(probabilities=rows), TOLERANCE)
    with pytest.raises(Corrupt, match="not finite"):
        Golden.parse(stored(output_probabilities=rows), SIGNATURE).check(answers(), TOLERANCE)


@pytest.mark.parametrize(
    "data",
    [
        b"junk",
        stored(output_label=None),
        stored(output_other=numbers((1, 2))),
        stored(output_probabilities=np.zeros((0, 2), np.float32)),
        stored(output_probabilities=np.zeros((), np.float32)),
        stored(output_probabilities=np.zeros((2, 3), np.float32)),
        stored(output_probabilities=np.zeros((2, 2), np.float64)),
        stored(output_label=np.zeros(3, np.uint8)),
        stored(output_label=numbers((1, 2))),
    ],
    ids=["junk", "missing", "unknown", "empty", "scalar", "shape", "type", "bytes", "not bytes"],
)
def test_examples_that_do_not_fit_the_signature_are_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Golden.parse(data, SIGNATURE)


def test_without_a_tolerance_nothing_can_be_checked() -> None:
    manifest = model_pb2.Manifest(tolerances=[TOLERANCE])

    assert tolerance_for(manifest, "cpu") == TOLERANCE
    with pytest.raises(Corrupt, match="no tolerance for fp32 on cuda"):
        tolerance_for(manifest, "cuda")


def test_without_probabilities_every_label_must_agree() -> None:
    signature = Tensors(
        {"x": TensorSpec("x", "FP32", (-1, 1))}, {"label": TensorSpec("label", "BYTES", (-1, 1))}
    )
    data = safetensors.numpy.save(
        {"input.x": np.zeros((1, 1), np.float32), "output.label": packed(texts("a"))}
    )

    examples = Golden.parse(data, signature)

    examples.check({"label": texts("a")}, TOLERANCE)
    with pytest.raises(Corrupt, match="label differs"):
        examples.check({"label": texts("b")}, TOLERANCE)


RAW = Tensors(
    inputs={"x": TensorSpec("x", "FP32", (-1, 1))},
    outputs={
        "large": TensorSpec("large", "FP32", (-1, 2, 1)),
        "small": TensorSpec("small", "FP32", (-1,)),
        "best": TensorSpec("best", "INT64", (-1,)),
        "far": TensorSpec("far", "BOOL", (-1, 1)),
    },
)


def raw_examples() -> Golden:
    values: dict[str, Array] = {
        "input.x": np.zeros((2, 1), np.float32),
        "output.large": np.full((2, 2, 1), 1000, np.float32),
        "output.small": np.array([1, -1], np.float32),
        "output.best": np.array([3, 4]),
        "output.far": np.array([[True], [False]]),
    }
    return Golden.parse(safetensors.numpy.save(values), RAW)


def test_raw_outputs_of_any_shape_are_compared() -> None:
    examples = raw_examples()
    assert examples.outputs["large"].shape == (2, 2, 1)

    examples.check(examples.outputs, TOLERANCE)


def test_each_output_has_the_part_of_the_tolerance_that_its_numbers_have() -> None:
    """The tolerance is for numbers of 1,000: a number of 1 may be off by a thousandth of it."""
    examples = raw_examples()
    wide = model_pb2.Tolerance(device="cpu", precision="fp32", absolute=1.0)

    def with_error(name: str, error: float) -> dict[str, Array]:
        return {**examples.outputs, name: examples.outputs[name] + np.float32(error)}

    examples.check(with_error("large", 0.9), wide)
    examples.check(with_error("small", 0.0009), wide)
    with pytest.raises(Corrupt, match="small is off"):
        examples.check(with_error("small", 0.002), wide)


@pytest.mark.parametrize("name", ["best", "far"])
def test_what_is_no_float_has_to_be_equal(name: str) -> None:
    examples = raw_examples()
    other = {**examples.outputs, name: examples.outputs[name][::-1].copy()}

    with pytest.raises(Corrupt, match=f"{name} differs"):
        examples.check(other, TOLERANCE)


FLAGS = Tensors(
    {"x": TensorSpec("x", "FP32", (-1, 1))},
    {
        "probabilities": TensorSpec("probabilities", "FP32", (-1, 2)),
        "label": TensorSpec("label", "BOOL", (-1, 2)),
    },
)


def test_one_of_several_labels_may_differ_only_where_it_is_close() -> None:
    scores = numbers((0.495, 0.9), (0.505, 0.1))
    data = safetensors.numpy.save(
        {
            "input.x": np.zeros((2, 1), np.float32),
            "output.probabilities": scores,
            "output.label": scores >= 0.5,
        }
    )
    examples = Golden.parse(data, FLAGS)

    def check(*label: tuple[bool, bool]) -> None:
        examples.check({"probabilities": scores, "label": np.array(label)}, TOLERANCE)

    check((False, True), (True, False))
    check((True, True), (False, False))
    with pytest.raises(Corrupt, match="label differs"):
        check((False, False), (True, False))
