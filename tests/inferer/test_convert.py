import struct

import numpy as np
import pytest

from inferer import convert
from inferer.convert import Signature, Wanted
from twofold import tensors
from twofold.errors import InvalidField, InvalidTensor, TwofoldError, Unimplemented
from twofold.oip import inference_pb2 as pb
from twofold.signature import TensorSpec
from twofold.tensors import Array
from twofold.v1 import graph_pb2, model_pb2

SIGNATURE = Signature(
    resource="models/digits/versions/3",
    inputs={
        "x": TensorSpec("x", "FP32", (-1, 2)),
        "category": TensorSpec("category", "BYTES", (-1, 1)),
    },
    outputs={
        "probabilities": TensorSpec("probabilities", "FP32", (-1, 3)),
        "label": TensorSpec("label", "BYTES", (-1, 1)),
    },
    labels=("a", "b", "c"),
    max_batch_size=4,
)


def one_input(name: str, datatype: str, shape: tuple[int, ...] = (-1, 2)) -> Signature:
    return Signature("models/m/versions/1", {name: TensorSpec(name, datatype, shape)}, {}, (), 4)


def request(**inputs: Array) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest()
    for name, array in inputs.items():
        made.inputs.add(name=name, datatype=tensors.datatype_of(array), shape=array.shape)
        made.raw_input_contents.append(tensors.to_raw(array))
    return made


def good() -> pb.ModelInferRequest:
    return request(x=np.zeros((2, 2), np.float32), category=np.array([["u"], ["v"]]))


def test_raw_inputs_are_read() -> None:
    made = good()
    made.inputs[0].parameters["binary_data_size"].int64_param = 16

    inputs = convert.decode_inputs(made, SIGNATURE)

    assert inputs.rows == 2
    assert inputs.arrays["x"].shape == (2, 2)
    assert inputs.arrays["category"].tolist() == [[b"u"], [b"v"]]


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-5, 5]),
        ("INT32", "int_contents", [-5, 5]),
        ("INT64", "int64_contents", [-(2**62), 5]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 5]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -1.0]),
        ("FP64", "fp64_contents", [0.1, -1.0]),
        ("BYTES", "bytes_contents", [b"", b"\xff"]),
    ],
)
def test_typed_contents_are_read(datatype: str, field: str, values: list[object]) -> None:
    made = pb.ModelInferRequest()
    tensor = made.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    getattr(tensor.contents, field).extend(values)

    inputs = convert.decode_inputs(made, one_input("x", datatype))

    assert inputs.arrays["x"].dtype == tensors.DTYPES[datatype]
    assert inputs.arrays["x"].tolist() == [values]


def typed(datatype: str = "FP32", **contents: list[float]) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest()
    tensor = made.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    return made


@pytest.mark.parametrize(
    ("datatype", "made", "message"),
    [
        ("FP32", typed(), "has no data"),
        ("FP32", typed(fp32_contents=[1]), "has 1 fp32_contents and no other contents; expected 2"),
        ("FP32", typed(fp64_contents=[1, 2]), "has 0 fp32_contents and other contents"),
        ("FP32", typed(fp32_contents=[1, 2], int_contents=[1]), "and other contents"),
        ("INT8", typed("INT8", int_contents=[128, 0]), "a value is outside INT8"),
        ("UINT16", typed("UINT16", uint_contents=[65536, 0]), "a value is outside UINT16"),
    ],
)
def test_wrong_contents_are_refused(
    datatype: str, made: pb.ModelInferRequest, message: str
) -> None:
    with pytest.raises(InvalidTensor, match=message) as caught:
        convert.decode_inputs(made, one_input("x", datatype))

    assert caught.value.fields["input"] == "x"


def changed(index: int = 0, **changes: object) -> pb.ModelInferRequest:
    """A good request with one input changed."""
    made = good()
    tensor = made.inputs[index]
    for field, value in changes.items():
        tensor.ClearField(field)  # pyright: ignore[reportArgumentType] - any field's name
        tensor.MergeFrom(convert.InputTensor(**{field: value}))  # pyright: ignore[reportArgumentType] - likewise
    return made


def with_raw(raw: bytes) -> pb.ModelInferRequest:
    made = good()
    made.raw_input_contents[0] = raw
    return made


def without_input() -> pb.ModelInferRequest:
    made = good()
    del made.inputs[1], made.raw_input_contents[1]
    return made


def without_raw() -> pb.ModelInferRequest:
    made = good()
    del made.raw_input_contents[1]
    return made


def with_both() -> pb.ModelInferRequest:
    made = good()
    made.inputs[0].contents.fp32_contents.extend([0.0] * 4)
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (changed(shape=[2, 3]), r"is FP32 \[2, 3\]; expected FP32 \[-1, 2\] with 1 to 4 rows"),
        (changed(shape=[2]), r"is FP32 \[2\]; expected FP32 \[-1, 2\]"),
        (changed(shape=[2, 2, 1]), r"is FP32 \[2, 2, \.\.\.\]"),
        (changed(shape=[]), r"is FP32 \[\]"),
        (changed(shape=[0, 2]), r"is FP32 \[0, 2\]"),
        (changed(shape=[-1, 2]), r"is FP32 \[-1, 2\]"),
        (changed(shape=[2, -1]), r"is FP32 \[2, -1\]"),
        (changed(shape=[2**62, 4]), "batch of 4611686018427387904 exceeds max_batch_size 4"),
        (changed(shape=[2**63 - 1, 2]), "exceeds max_batch_size 4"),
        (changed(shape=[5, 2]), "batch of 5 exceeds max_batch_size 4 of models/digits/versions/3"),
        (changed(datatype="FP64"), r"is FP64 \[2, 2\]"),
        (changed(datatype="FLOAT"), r"is FLOAT \[2, 2\]"),
        (changed(name="y"), "input 'y' of models/digits/versions/3 is unknown; inputs: x, cat"),
        (changed(name="category"), "input category of .* is FP32"),
        (changed(1, name="x"), "input 'x' of models/digits/versions/3 is given twice"),
        (changed(1, shape=[1, 1]), "bytes too many"),
        (with_raw(b"\0" * 15), "input x of .*: 15 bytes, but FP32"),
        (with_raw(b"\0" * 17), "17 bytes, but FP32"),
        (with_raw(b""), "0 bytes, but FP32"),
        (without_raw(), "1 raw_input_contents for 2 inputs"),
        (without_input(), "input category of models/digits/versions/3 is missing"),
        (with_both(), "has contents beside raw_input_contents"),
        (pb.ModelInferRequest(), "input x of models/digits/versions/3 is missing"),
    ],
)
def test_wrong_tensors_are_refused(made: pb.ModelInferRequest, message: str) -> None:
    with pytest.raises(InvalidTensor, match=message):
        convert.decode_inputs(made, SIGNATURE)


def test_inputs_of_different_row_counts_are_refused() -> None:
    made = request(x=np.zeros((2, 2), np.float32), category=np.array([["u"]]))

    with pytest.raises(InvalidTensor, match="differ in rows"):
        convert.decode_inputs(made, SIGNATURE)


def test_shared_memory_is_not_offered() -> None:
    made = good()
    made.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(Unimplemented):
        convert.decode_inputs(made, SIGNATURE)

    made = pb.ModelInferRequest()
    made.outputs.add(name="label").parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(Unimplemented):
        convert.wanted_outputs(made, SIGNATURE)


def test_no_outputs_means_all() -> None:
    assert convert.wanted_outputs(good(), SIGNATURE) == [Wanted("probabilities"), Wanted("label")]


def test_outputs_come_in_the_order_asked_for() -> None:
    made = good()
    made.outputs.add(name="label")
    made.outputs.add(name="probabilities").parameters["classification"].int64_param = 2

    assert convert.wanted_outputs(made, SIGNATURE) == [Wanted("label"), Wanted("probabilities", 2)]


def asking(name: str, times: int = 1, classes: int | None = None) -> pb.ModelInferRequest:
    made = good()
    for _ in range(times):
        output = made.outputs.add(name=name)
        if classes is not None:
            output.parameters["classification"].int64_param = classes
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (asking("scores"), "output 'scores' of .* is unknown; outputs: probabilities, label"),
        (asking("label", times=2), "asked for twice"),
        (asking("label", times=5), "asked for twice"),
        (asking("probabilities", classes=0), "classification is 0"),
        (asking("probabilities", classes=-1), "classification is -1"),
        (asking("label", classes=1), "on a numeric output"),
    ],
)
def test_wrong_outputs_are_refused(made: pb.ModelInferRequest, message: str) -> None:
    with pytest.raises(TwofoldError, match=message) as caught:
        convert.wanted_outputs(made, SIGNATURE)

    assert caught.value.code == "INVALID_ARGUMENT"


def answer() -> dict[str, Array]:
    label = np.empty((2, 1), dtype=object)
    label[:, 0] = [b"b", b"a"]
    return {
        "probabilities": np.array([[0.1, 0.7, 0.2], [0.5, 0.0, 0.5]], np.float32),
        "label": label,
    }


def test_answers_are_raw_and_aligned() -> None:
    response = pb.ModelInferResponse()

    wanted = [Wanted("label"), Wanted("probabilities")]
    convert.encode_outputs(response, answer(), wanted, SIGNATURE)

    assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [
        ("label", "BYTES", [2, 1]),
        ("probabilities", "FP32", [2, 3]),
    ]
    assert not any(output.HasField("contents") for output in response.outputs)
    assert response.raw_output_contents[0] == struct.pack("<I1sI1s", 1, b"b", 1, b"a")
    assert response.raw_output_contents[1] == answer()["probabilities"].tobytes()


IMAGES = Signature(
    "models/m/versions/1",
    {
        "image": TensorSpec("image", "FP32", (-1, 3, 2, 2)),
        "ids": TensorSpec("ids", "INT64", (-1, 4)),
    },
    {"maps": TensorSpec("maps", "FP32", (-1, 4, 2, 2)), "far": TensorSpec("far", "BOOL", (-1, 2))},
    (),
    4,
)


def images(*shape: int) -> pb.ModelInferRequest:
    return request(image=np.zeros(shape, np.float32), ids=np.zeros((2, 4), np.int64))


def test_inputs_of_any_rank_are_read_raw_and_typed() -> None:
    made = images(2, 3, 2, 2)
    assert convert.decode_inputs(made, IMAGES).arrays["image"].shape == (2, 3, 2, 2)

    typed = pb.ModelInferRequest()
    typed.inputs.add(name="image", datatype="FP32", shape=[1, 3, 2, 2])
    typed.inputs[0].contents.fp32_contents.extend(range(12))
    typed.inputs.add(name="ids", datatype="INT64", shape=[1, 4])
    typed.inputs[1].contents.int64_contents.extend([1, 2, 3, 2**40])
    found = convert.decode_inputs(typed, IMAGES).arrays

    assert found["image"].tolist() == np.arange(12.0).reshape(1, 3, 2, 2).tolist()
    assert found["ids"].tolist() == [[1, 2, 3, 2**40]]


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 2, 2, 3), (2, 3, 2, 2, 1), (2, 12), (5, 3, 2, 2)])
def test_other_shapes_of_arrays_are_refused(shape: tuple[int, ...]) -> None:
    expected = r"expected FP32 \[-1, 3, 2, 2\] with 1 to 4 rows|exceeds max_batch_size 4"
    with pytest.raises(InvalidTensor, match=expected):
        convert.decode_inputs(images(*shape), IMAGES)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("a", "b", "c"), [[b"0.700000:1:b", b"0.200000:2:c"], [b"0.500000:0:a", b"0.500000:2:c"]]),
        ((), [[b"0.700000:1", b"0.200000:2"], [b"0.500000:0", b"0.500000:2"]]),
    ],
)
def test_classification_gives_the_best_classes(
    labels: tuple[str, ...], expected: list[list[bytes]]
) -> None:
    signature = Signature("models/m/versions/1", {}, SIGNATURE.outputs, labels, 4)
    response = pb.ModelInferResponse()

    convert.encode_outputs(response, answer(), [Wanted("probabilities", 2)], signature)

    output = response.outputs[0]
    assert output.datatype == "BYTES"
    got = tensors.from_raw("BYTES", output.shape, response.raw_output_contents[0])
    assert got.tolist() == expected


def test_more_classes_than_there_are_gives_all() -> None:
    response = pb.ModelInferResponse()

    convert.encode_outputs(response, answer(), [Wanted("probabilities", 9)], SIGNATURE)

    assert list(response.outputs[0].shape) == [2, 3]


def with_parameters(**names: int) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest()
    for name, value in names.items():
        made.parameters[name].int64_param = value
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (pb.ModelInferRequest(id="x" * 257), "id is x"),
        (pb.ModelInferRequest(id="é" * 129), "at most 256 bytes"),
        (with_parameters(**{f"p{i}": i for i in range(65)}), "parameters is 65 entries"),
        (with_parameters(triton_other=1), "parameters is triton_other"),
    ],
)
def test_what_no_model_takes_is_refused(made: pb.ModelInferRequest, message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        convert.check_request(made)


def test_the_parameters_of_known_clients_are_taken() -> None:
    made = pb.ModelInferRequest(id="é" * 128)
    for name in ("sequence_id", "sequence_start", "priority", "triton_enable_empty_final_response"):
        made.parameters[name].int64_param = 1

    convert.check_request(made)


def test_a_type_of_a_later_release_makes_no_signature_that_fits() -> None:
    manifest = model_pb2.Manifest(
        model="m",
        version=1,
        inputs=[graph_pb2.TensorSpec(name="x", shape=[-1, 2])],
    )

    signature = convert.signature_of(manifest, 4)

    with pytest.raises(InvalidTensor):
        convert.decode_inputs(request(x=np.zeros((1, 2), np.float32)), signature)


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(InvalidField, match="not a ModelInferRequest"):
        convert.parse(pb.ModelInferRequest, b"\xff\xff\xff")


@pytest.mark.parametrize(("datatype", "shape"), [("BOOL", (-1, 2)), ("FP32", (-1, 2, 2))])
def test_there_are_no_best_classes_of_flags_or_images(
    datatype: str, shape: tuple[int, ...]
) -> None:
    outputs = {"label": TensorSpec("label", datatype, shape)}
    signature = Signature("models/m/versions/1", {}, outputs, ("a", "b"), 4)

    with pytest.raises(TwofoldError, match="on a numeric output"):
        convert.wanted_outputs(asking("label", classes=1), signature)
