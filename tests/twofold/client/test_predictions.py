"""Rows to tensors, answers to numpy."""

import numpy as np
import pytest

from twofold import errors
from twofold.client import predictions
from twofold.client.predictions import Rows, Signature
from twofold.oip import inference_pb2 as pb

SIGNATURE = Signature(
    model="m",
    version=3,
    numeric_columns=("a", "b"),
    category_columns=("c",),
    labels=("no", "yes"),
    target="y",
)


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], dtype=np.float64),
        np.array([[1, 2], [3, 4]], dtype=np.uint8),
        np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]),
        {"x": [[1, 2], [3, 4]]},
    ],
)
def test_rows_of_any_number_type_are_sent_as_float32(rows: Rows) -> None:
    x = predictions.inputs_of(rows)["x"]

    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert x.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1.0, 2.0], r"shape \(2,\); expected \[rows, columns\]"),
        (5.0, r"shape \(\)"),
        ([["a"]], "cannot be sent as float32"),
        ([[1e300]], "overflow"),
        ([[1.0], [1.0, 2.0]], "cannot be sent as float32"),
    ],
)
def test_rows_that_are_no_table_of_numbers_are_refused(rows: Rows, message: str) -> None:
    with pytest.raises(errors.InvalidTensor, match=message) as caught:
        predictions.inputs_of(rows)

    assert caught.value.fields["input"] == "x"


def test_other_inputs_keep_their_kind() -> None:
    inputs = predictions.inputs_of(
        {
            "category": [["red", "grün"]],
            "half": np.array([[1.5]], dtype=np.float16),
            "pixel": np.array([[3]], dtype=np.uint8),
            "index": np.array([[3]], dtype=np.int16),
            "mask": [[True]],
            "raw": np.array([[b"\xff"]], dtype=np.object_),
        }
    )

    assert inputs["category"].tolist() == [[b"red", "grün".encode()]]
    assert inputs["half"].dtype == np.float32
    assert inputs["pixel"].dtype == np.float32
    assert inputs["index"].dtype == np.int64
    assert inputs["mask"].dtype == np.float32
    assert inputs["raw"].tolist() == [[b"\xff"]]


def test_columns_by_name_are_told_from_tensors_by_name() -> None:
    assert predictions.is_by_column({"a": [1, 2], "b": ["x", "y"]})
    assert not predictions.is_by_column({"x": [[1, 2]]})
    assert not predictions.is_by_column([[1, 2]])


def test_columns_are_stacked_in_the_signatures_order() -> None:
    inputs = SIGNATURE.encode({"c": ["r", 5], "b": [1, 2], "a": [3, True], "z": ["?", "?"]})

    assert inputs["x"].tolist() == [[3, 1], [1, 2]]
    assert inputs["category"].tolist() == [[b"r"], [b"5"]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "c": ["x"]}, "column b is missing; m needs a, b, c"),
        ({"a": [1], "b": [1, 2], "c": ["x"]}, "columns have different numbers of rows"),
        ({"a": [1], "b": ["x"], "c": ["x"]}, "column b cannot be sent as float32"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: predictions.Columns, message: str) -> None:
    with pytest.raises(errors.InvalidTensor, match=message):
        SIGNATURE.encode(columns)


def test_signature_is_read_from_metadata() -> None:
    metadata = pb.ModelMetadataResponse(
        name="m",
        properties={
            "version": "3",
            "numeric_columns": '["a", "b"]',
            "category_columns": '["c"]',
            "labels": '["no", "yes"]',
            "target": "y",
        },
    )

    assert predictions.signature_of(metadata) == SIGNATURE


@pytest.mark.parametrize("text", ["", "no JSON", '"text"', "{}"])
def test_metadata_of_other_servers_has_no_columns(text: str) -> None:
    metadata = pb.ModelMetadataResponse(name="m", properties={"labels": text})

    signature = predictions.signature_of(metadata)

    assert signature.labels == ()
    assert signature.version is None


def test_version_text() -> None:
    assert predictions.version_text(None, None) == ""
    assert predictions.version_text(3, None) == "3"
    assert predictions.version_text(None, "stable") == ":stable"


def answer(datatype: str, raw: list[bytes]) -> pb.ModelInferResponse:
    tensor = pb.ModelInferResponse.InferOutputTensor(name="value", datatype=datatype, shape=[1, 1])
    return pb.ModelInferResponse(
        model_name="m", model_version="x", outputs=[tensor], raw_output_contents=raw
    )


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (answer("FP32", []), "1 outputs with 0 raw contents"),
        (answer("FP32", [b"123"]), "output value cannot be read"),
        (answer("BF16", [b"12"]), "output value cannot be read"),
    ],
)
def test_invalid_answers_are_refused(response: pb.ModelInferResponse, message: str) -> None:
    with pytest.raises(errors.InvalidTensor, match=message):
        predictions.prediction_of(response)


def test_version_of_other_servers_may_be_no_number() -> None:
    prediction = predictions.prediction_of(answer("FP32", [bytes(4)]))

    assert prediction.version == 0
    with pytest.raises(KeyError):
        _ = prediction.labels


def test_labels_of_a_row_are_flags_where_there_are_several() -> None:
    flags = np.array([[True, False], [False, False]])
    several = predictions.Prediction(model="m", version=1, outputs={"label": flags}, parameters={})
    one = np.array([[b"yes"]], dtype=np.object_)
    single = predictions.Prediction(model="m", version=1, outputs={"label": one}, parameters={})

    assert several.has_label is flags
    assert single.labels.tolist() == ["yes"]
    with pytest.raises(KeyError, match="has_label"):
        _ = several.labels
    with pytest.raises(KeyError, match="see labels"):
        _ = single.has_label


def test_a_signature_names_its_targets_and_its_task() -> None:
    properties = {"targets": '["u", "v"]', "task": "multilabel", "labels": '["u", "v"]'}

    found = predictions.signature_of(pb.ModelMetadataResponse(name="m", properties=properties))

    assert (found.targets, found.task) == (("u", "v"), "multilabel")
    bare = predictions.signature_of(pb.ModelMetadataResponse(name="m"))
    assert (bare.targets, bare.task) == ((), "")
