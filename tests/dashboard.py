"""What deploy/grafana/twofold.json asks for: its queries, and what they name."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from prometheus_client.parser import text_string_to_metric_families

FILE = Path(__file__).parents[1] / "deploy" / "grafana" / "twofold.json"
#: Added by Prometheus to whatever it scrapes.
TARGET_LABELS = frozenset({"job", "instance"})

Node = Mapping[str, object]

_STRING = re.compile(r'"[^"]*"')
_RANGE = re.compile(r"\[[^\]]*\]")
_GROUP = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w.])([a-zA-Z_:][\w:]*)\b(?!\s*\()\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
_KEYWORDS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True, slots=True)
class Query:
    """A query and where it stands. Variables are as the file has them."""

    panel: str
    text: str
    #: What the panel shows of each series' labels.
    legend: str = ""
    #: Of one point in time, for a table.
    is_instant: bool = False

    def selectors(self) -> list[tuple[str, frozenset[str]]]:
        """The metrics, each with the labels that it is selected by."""
        bare = _GROUP.sub(" ", _RANGE.sub("", _STRING.sub('""', self.text)))
        return [
            (name, frozenset(_MATCHER.findall(matchers)))
            for name, matchers in _SELECTOR.findall(bare)
            if name not in _KEYWORDS
        ]

    def grouped(self) -> frozenset[str]:
        """Labels that the result keeps, or that the legend shows."""
        groups = _GROUP.findall(_STRING.sub('""', self.text))
        named = {label.strip() for group in groups for label in group.split(",")}
        return frozenset(named | set(_LEGEND.findall(self.legend))) - {""}


def load() -> Node:
    """The file."""
    return cast("Node", json.loads(FILE.read_text(encoding="utf-8")))


def nodes(node: Node, key: str) -> list[Node]:
    """The list of objects under a key."""
    return cast("list[Node]", node.get(key, []))


def panels() -> list[Node]:
    """All of them, rows too."""
    return nodes(load(), "panels")


def queries() -> list[Query]:
    """Those of the panels and of the annotations."""
    found = [
        Query(
            str(panel["title"]),
            str(target["expr"]),
            str(target["legendFormat"]),
            is_instant=bool(target.get("instant")),
        )
        for panel in panels()
        for target in nodes(panel, "targets")
    ]
    marks = nodes(cast("Node", load()["annotations"]), "list")
    return found + [Query(str(mark["name"]), str(mark["expr"])) for mark in marks if "expr" in mark]


def variables() -> Iterator[tuple[str, Query, str]]:
    """The name of each variable of the queries, the series it looks at, and the label."""
    for variable in nodes(cast("Node", load()["templating"]), "list"):
        if variable["type"] == "query":
            parts = _LABEL_VALUES.fullmatch(str(variable["definition"]))
            assert parts, variable
            name = str(variable["name"])
            yield name, Query(f"${name}", parts[1]), parts[2]


def filled(text: str, window: str) -> str:
    """A query as Grafana sends it with everything chosen."""
    chosen = {"__rate_interval": window, "model": ".*", "version": ".*"}
    for name, value in chosen.items():
        text = text.replace(f"${name}", value)
    return text


def labels_of(page: str) -> dict[str, set[str]]:
    """Of every sample's name on a metrics page the labels that it has there."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def unknown(asked: Iterable[Query], known: Mapping[str, set[str]]) -> list[str]:
    """What queries name that a page does not have."""
    wrong: list[str] = []
    for query in asked:
        selectors = query.selectors()
        wrong += [f"{query.panel}: no metric in {query.text}"] * (not selectors)
        offered = set(TARGET_LABELS)
        for name, labels in selectors:
            has = known.get(name)
            if has is None:
                wrong.append(f"{query.panel}: no {name}")
                continue
            offered |= has
            wrong += [
                f"{query.panel}: {name} has no {label}" for label in labels - has - TARGET_LABELS
            ]
        wrong += [
            f"{query.panel}: no {label} in {query.text}" for label in query.grouped() - offered
        ]
    return wrong
