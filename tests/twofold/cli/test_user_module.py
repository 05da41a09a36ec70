"""A user's file is imported, and every way in which that fails is told."""

import sys
from pathlib import Path

import pytest

from twofold.cli import user_module
from twofold.errors import InvalidField

SOURCE = """
import neighbour_of_nets

class Wide:
    def __init__(self, width=8, name="x"):
        if width < 1:
            raise ValueError("width is too small")
        self.width, self.name = width, name

class Needy:
    def __init__(self, width):
        self.width = width

def make():
    return Wide(neighbour_of_nets.WIDTH)

ready = Wide(3)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "neighbour_of_nets.py").write_text("WIDTH = 5\n", encoding="utf-8")
    path = tmp_path / "my_nets.py"
    path.write_text(SOURCE, encoding="utf-8")
    for name in ("my_nets", "neighbour_of_nets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return path


def width_of(made: object) -> object:
    return vars(made)["width"]


def test_a_class_a_function_and_a_module_are_taken(file: Path) -> None:
    assert width_of(user_module.load(f"{file}:Wide", [])) == 8
    assert width_of(user_module.load(f"{file}:make", [])) == 5
    assert width_of(user_module.load(f"{file}:ready", [])) == 3


def test_arguments_are_toml_values_or_text(file: Path) -> None:
    made = user_module.load(f"{file}:Wide", ["width=64", "name=deep"])

    assert vars(made) == {"width": 64, "name": "deep"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Narrow", [], "--module is Narrow; allowed: a name that my_nets.py defines"),
        ("Wide", ["width"], "--module-arg is width; allowed: NAME=VALUE"),
        ("Wide", ["width=0"], "Wide(width) raises ValueError: width is too small"),
        ("Wide", ["depth=1"], "Wide(depth) raises TypeError"),
        ("Wide", ["depth=1"], "'depth'; its arguments are given by --module-arg NAME=VALUE"),
        ("Needy", [], "'width'; its arguments are given by --module-arg NAME=VALUE"),
        ("ready", ["width=1"], "--module-arg is width=1; allowed: nothing"),
        ("not a name", [], "allowed: FILE.py:NAME"),
    ],
)
def test_what_is_wrong_is_told(file: Path, name: str, arguments: list[str], message: str) -> None:
    with pytest.raises(InvalidField) as caught:
        user_module.load(f"{file}:{name}", arguments)

    assert message in caught.value.message


def test_a_file_that_is_missing_or_breaks_is_told(tmp_path: Path, file: Path) -> None:
    with pytest.raises(InvalidField, match="the file must exist"):
        user_module.load(f"{tmp_path}/none.py:Wide", [])
    file.write_text("import no_such_thing\n", encoding="utf-8")

    with pytest.raises(InvalidField, match=r"my_nets\.py cannot be imported: ModuleNotFoundError"):
        user_module.load(f"{file}:Wide", [])


LOSSES = """
class Scaled:
    def __init__(self, by=2):
        self.by = by

def squared(output, target):
    return (output - target) ** 2

class Needy:
    def __init__(self, by):
        self.by = by

ready = Scaled(3)
"""


def test_a_loss_is_a_function_as_it_is_or_an_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "my_losses.py"
    path.write_text(LOSSES, encoding="utf-8")

    function = user_module.load_loss(f"{path}:squared")
    assert callable(function)
    assert function(3, 1) == 4
    assert vars(user_module.load_loss(f"{path}:Scaled")) == {"by": 2}
    assert vars(user_module.load_loss(f"{path}:ready")) == {"by": 3}
    with pytest.raises(
        InvalidField, match=r"Needy\(\) raises .*'by'; it is made without arguments"
    ):
        user_module.load_loss(f"{path}:Needy")
    with pytest.raises(InvalidField, match=r"--loss is gone; allowed: a name that my_losses\.py"):
        user_module.load_loss(f"{path}:gone")
    with pytest.raises(
        InvalidField, match=r"--loss is .*; allowed: FILE\.py:NAME, NAME being a fun"
    ):
        user_module.load_loss("squared")
