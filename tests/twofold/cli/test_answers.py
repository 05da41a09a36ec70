"""Answers that the protocol allows but our own models seldom give."""

import json
from dataclasses import replace

import numpy as np

from twofold.cli.answers import Format, writer
from twofold.client import Prediction, Signature
from twofold.tensors import Array

NONE = Signature(
    model="m", version=1, numeric_columns=(), category_columns=(), labels=(), target=""
)


def written(form: Format, outputs: dict[str, Array], signature: Signature = NONE) -> list[str]:
    lines: list[str] = []
    prediction = Prediction(model="m", version=1, outputs=outputs, parameters={})
    writer(form, lines.append).write(prediction, signature)
    return lines


def test_raw_outputs_are_lists_of_lists_and_numbered_columns() -> None:
    raw = {"raw": np.array([[[1, 2], [3, 4]]], dtype=np.int64)}

    assert json.loads(written(Format.JSONL, raw)[0]) == {
        "row": 1,
        "raw": [[1, 2], [3, 4]],
        "version": 1,
    }
    assert written(Format.CSV, raw) == ["raw.0.0,raw.0.1,raw.1.0,raw.1.1,version", "1,2,3,4,1"]


def test_floats_have_no_digits_of_no_meaning() -> None:
    outputs = {"value": np.array([[0.1]], dtype=np.float32)}

    assert json.loads(written(Format.JSONL, outputs)[0])["value"] == 0.1


def test_what_json_has_no_word_for_is_null() -> None:
    outputs = {"value": np.array([[np.inf, np.nan]], dtype=np.float64)}

    assert json.loads(written(Format.JSONL, outputs)[0])["value"] == [None, None]
    assert written(Format.CSV, outputs)[1] == ",,1"


def test_labels_may_hold_commas_and_other_alphabets() -> None:
    outputs = {"label": np.array([["grün, hell".encode()]], dtype=np.object_)}

    assert written(Format.CSV, outputs)[1] == '"grün, hell",1'
    assert json.loads(written(Format.JSONL, outputs)[0])["label"] == "grün, hell"


PAIR = replace(NONE, targets=("u", "v"))
FLAGS = replace(NONE, labels=("hot", "wet"), targets=("hot", "wet"), task="multilabel")


def test_several_targets_are_named() -> None:
    outputs = {"value": np.array([[1, 2.5]], dtype=np.float32)}

    assert written(Format.CSV, outputs, PAIR) == ["value.u,value.v,version", "1.0,2.5,1"]
    found = json.loads(written(Format.JSONL, outputs, PAIR)[0])
    assert found["value"] == {"u": 1.0, "v": 2.5}


def test_several_labels_are_true_or_false_by_their_names() -> None:
    outputs = {
        "probabilities": np.array([[0.75, 0.25]], dtype=np.float32),
        "label": np.array([[True, False]]),
    }

    assert written(Format.CSV, outputs, FLAGS) == [
        "label.hot,label.wet,probabilities.hot,probabilities.wet,version",
        "true,false,0.75,0.25,1",
    ]
    assert json.loads(written(Format.JSONL, outputs, FLAGS)[0]) == {
        "row": 1,
        "label": {"hot": True, "wet": False},
        "probabilities": {"hot": 0.75, "wet": 0.25},
        "version": 1,
    }
