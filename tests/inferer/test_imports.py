"""The seams of the inferer: one module knows the transport's library, one knows torch."""

import ast
from pathlib import Path

import pytest

import inferer

ROOT = Path(inferer.__file__).parent


def importers(library: str) -> set[str]:
    """Modules of the inferer that import the library itself."""
    found: set[str] = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == library for name in names):
                found.add(str(path.relative_to(ROOT)))
    return found


def test_torch_is_known_to_the_engine_and_to_forms() -> None:
    found = importers("torch")

    assert "engine.py" in found
    assert {path for path in found if not path.startswith("forms/")} == {"engine.py"}
    assert "forms/numpy_calls.py" not in found


@pytest.mark.parametrize(
    ("library", "module"),
    [
        ("grpc", "transport/grpcio.py"),
        ("ngh2", "transport/native/connection.py"),
        ("prometheus_client", "metrics.py"),
        ("uvloop", "app.py"),
    ],
)
def test_only_one_module_knows(library: str, module: str) -> None:
    assert importers(library) == {module}


def test_redis_is_known_to_nobody() -> None:
    assert importers("redis") == set()
