"""A ratchet: no module and no function grows past what a reader can hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("twofold", "trainer", "inferer", "tests", "bench", "tools")
MODULE_LINES = 400
FUNCTION_LINES = 50


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                yield path


def too_long(path: Path) -> list[str]:
    """What is past a limit in one module."""
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    text = path.read_text(encoding="utf-8")
    line_count = text.count("\n")
    found = [f"{name}: {line_count} lines"] if line_count > MODULE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(f"{name}:{node.lineno} {node.name}: {length} lines")
    return found


def test_nothing_is_too_long() -> None:
    paths = list(sources())

    assert len(paths) > 20
    assert [line for path in paths for line in too_long(path)] == []


@pytest.mark.parametrize(("extra", "is_refused"), [(0, False), (1, True)])
def test_the_limits_are_what_they_say(tmp_path: Path, extra: int, is_refused: bool) -> None:  # noqa: FBT001
    body = "    pass\n" * (FUNCTION_LINES - 1 + extra)
    function, module = tmp_path / "function.py", tmp_path / "module.py"
    function.write_text(f"def f() -> None:\n{body}", encoding="utf-8")
    module.write_text("x = 1\n" * (MODULE_LINES + extra), encoding="utf-8")

    assert bool(too_long(function)) == is_refused
    assert bool(too_long(module)) == is_refused
