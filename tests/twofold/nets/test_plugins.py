"""Networks of installed packages are found by name, and nothing else is."""
# pyright: reportUnknownMemberType=false

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from twofold.cli import user_module
from twofold.errors import InvalidField
from twofold.nets import InvalidModule, plugin, trace

SOURCE = """
from torch import nn

def tower(arguments):
    width = arguments.get("width", 4)
    if width < 1:
        raise ValueError("width is too small")
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))

def looks(arguments):
    class Looks(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x
    return Looks()
"""
POINTS = """
[twofold.nets]
tower = fake_nets:tower
looks = fake_nets:looks
gone = fake_nets:gone

[console_scripts]
not_ours = fake_nets:tower
"""


def install(folder: Path, name: str, points: str) -> None:
    """A distribution as a package manager leaves it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fake_nets.py").write_text(SOURCE)
    install(tmp_path, "fake-nets", POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fake_nets", raising=False)
    return tmp_path


@pytest.mark.usefixtures("site")
def test_an_installed_name_makes_a_module_that_is_traced_like_any_other() -> None:
    module = plugin("tower", width=5)

    assert isinstance(module, nn.Module)
    graph = trace(module, torch.rand(2, 3)).graph
    assert graph.modules[0].arguments["out_features"].integer == 5


@pytest.mark.usefixtures("site")
def test_the_command_line_names_it_by_plugin() -> None:
    made = user_module.load("plugin:tower", ["width=6"])

    assert isinstance(made, nn.Sequential)
    assert made[0].out_features == 6


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("name", ["not_ours", "os:system", "fake_nets:tower", "", "../x"])
def test_what_no_package_offers_in_the_group_is_refused(name: str) -> None:
    with pytest.raises(InvalidField) as caught:
        plugin(name)

    assert "an entry point of the group twofold.nets: gone, looks, tower" in caught.value.message
    assert "os:system" not in sys.modules


@pytest.mark.usefixtures("site")
def test_what_a_plugin_raises_is_told() -> None:
    with pytest.raises(InvalidField, match=r"plugin tower \(fake_nets:tower\) raises ValueError"):
        plugin("tower", width=0)
    with pytest.raises(InvalidField, match=r"plugin gone .* raises AttributeError"):
        plugin("gone")


@pytest.mark.usefixtures("site")
def test_a_plugin_s_module_is_refused_like_a_user_s() -> None:
    module = plugin("looks")

    assert isinstance(module, nn.Module)
    with pytest.raises(InvalidModule, match=r"fake_nets\.py:13: .*depends on the data"):
        trace(module, torch.rand(2, 3))


def test_a_name_that_two_packages_offer_is_refused(site: Path) -> None:
    install(site, "other-nets", "[twofold.nets]\ntower = other_nets:tower\n")

    with pytest.raises(InvalidField, match="a name that one installed package offers"):
        plugin("tower")


def test_without_a_plugin_that_is_said() -> None:
    with pytest.raises(InvalidField, match="nothing is installed"):
        plugin("tower")
