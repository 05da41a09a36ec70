"""The dashboard's file, as far as no server is needed; tests/e2e holds it against real pages."""

import itertools
from typing import cast

import pytest

from tests import dashboard
from tests.dashboard import Node, Query

KNOWN = {"a_total": {"model"}, "b_bucket": {"model", "le"}}


@pytest.mark.parametrize(
    ("text", "selectors", "grouped"),
    [
        ("a", [("a", set[str]())], set[str]()),
        ('sum(rate(a_total{model=~"$m", x!="y"}[5m]))', [("a_total", {"model", "x"})], set[str]()),
        (
            "histogram_quantile(0.9, sum by (le, model) (rate(b_bucket[$__rate_interval])))",
            [("b_bucket", set[str]())],
            {"le", "model"},
        ),
        (
            "a / on (x) group_left(y) clamp_min(b, 1e-9) > bool 0 and c offset 5m",
            [("a", set[str]()), ("b", set[str]()), ("c", set[str]())],
            {"x", "y"},
        ),
    ],
)
def test_queries_are_taken_apart(
    text: str, selectors: list[tuple[str, set[str]]], grouped: set[str]
) -> None:
    query = Query("p", text)

    assert query.selectors() == selectors
    assert query.grouped() == grouped


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        (Query("p", 'sum by (model) (a_total{model="x", job="y"})'), []),
        (Query("p", "c_total"), ["p: no c_total"]),
        (Query("p", 'a_total{version="1"}'), ["p: a_total has no version"]),
        (Query("p", "sum by (le) (a_total)"), ["p: no le in sum by (le) (a_total)"]),
        (Query("p", "a_total", "{{instance}} {{why}}"), ["p: no why in a_total"]),
        (Query("p", "1"), ["p: no metric in 1"]),
    ],
)
def test_what_a_page_lacks_is_found(query: Query, wrong: list[str]) -> None:
    assert dashboard.unknown([query], KNOWN) == wrong


def test_panels_have_their_own_place_and_number() -> None:
    found = dashboard.panels()
    places = [cast("dict[str, int]", panel["gridPos"]) for panel in found]

    assert len({panel["id"] for panel in found}) == len(found) > 20
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_panels_say_what_they_show_of_the_chosen_source() -> None:
    for panel in dashboard.panels():
        if panel["type"] == "row":
            continue
        targets = dashboard.nodes(panel, "targets")
        defaults = cast("Node", cast("Node", panel["fieldConfig"])["defaults"])
        assert panel["description"]
        assert panel["type"] in {"heatmap", "table"} or defaults["unit"]
        assert len({target["refId"] for target in targets}) == len(targets) > 0
        for node in (panel, *targets):
            assert node["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_models_and_versions_can_be_chosen() -> None:
    board = dashboard.load()
    listed = dashboard.nodes(cast("Node", board["templating"]), "list")

    assert [(each["name"], each["type"]) for each in listed] == [
        ("datasource", "datasource"),
        ("model", "query"),
        ("version", "query"),
    ]
    assert board["uid"] == "twofold"
    assert board["id"] is None
