"""Messages as text."""

import json

import pytest

from twofold.cli import render
from twofold.v1 import dataset_pb2, graph_pb2, model_pb2, training_pb2


def test_nothing_from_outside_can_forge_a_line_or_colour_a_terminal() -> None:
    assert render.one_line("a\nb\x1b[31m\u202ec grün") == r"a\nb\x1b[31m\u202ec grün"


def test_table_is_aligned() -> None:
    assert render.table(("id", "n"), [("long name", 1), ("x", 22)]) == (
        "ID         N\nlong name  1\nx          22"
    )


def test_pairs_leave_out_what_has_no_value() -> None:
    assert render.pairs({"a": 0, "long": "x", "none": None, "empty": ""}) == "a     0\nlong  x"
    assert render.pairs({}) == ""


def test_json_has_numbers_for_64_bit_integers_also_in_maps_and_lists() -> None:
    model = model_pb2.Model(name="models/m", current_version=3, aliases={"stable": 2})
    manifest = model_pb2.Manifest(files=[model_pb2.File(name="graph.pb", size_bytes=1 << 60)])

    assert json.loads(render.to_json(model))["aliases"] == {"stable": 2}
    assert json.loads(render.to_json([manifest]))[0]["files"][0]["size_bytes"] == 1 << 60
    assert render.to_json([]) == "[]"


def test_json_leaves_out_what_is_unset_but_not_what_is_zero() -> None:
    tree = render.plain(training_pb2.TrainingJob(name="jobs/1"))

    assert "progress" not in tree
    assert tree["attempt_count"] == 0


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 30, "5.0 GiB"),
        (7 << 50, "7168.0 TiB"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert render.size(size_bytes) == text


@pytest.mark.parametrize(
    ("name", "text"), [("models/m/versions/3", "m@3"), ("", ""), ("models/m", "")]
)
def test_version_names(name: str, text: str) -> None:
    assert render.version_of(name) == text


def test_an_array_is_told_with_its_type_and_shape() -> None:
    array = dataset_pb2.Column(
        kind=dataset_pb2.COLUMN_KIND_ARRAY, shape=[3, 6], data_type=graph_pb2.DATA_TYPE_FP32
    )

    assert render.column_kind(array) == "array FP32[3, 6]"
    assert render.column_kind(dataset_pb2.Column(kind=dataset_pb2.COLUMN_KIND_REAL)) == "real"
