"""Compiled where it is asked for and possible, else eager with a reason."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path

import pytest
import torch
from torch._inductor import cpu_vec_isa

from tests.trainer.test_loop import plane_loop, run_to_end
from trainer import compiled, execution
from trainer.compiled import CannotCompile
from trainer.loop import Loop
from twofold.toml_spec import Value

OPTIONS: dict[str, Value] = {"epochs": 2, "batch_size": 20}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_cache_is_made_private(home: Path) -> None:
    folder = compiled.cache_folder(home)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert compiled.cache_folder(home) == folder


@pytest.mark.parametrize("mode", [0o770, 0o755, 0o701])
def test_a_cache_that_others_can_reach_is_refused(home: Path, mode: int) -> None:
    compiled.cache_folder(home).chmod(mode)

    with pytest.raises(CannotCompile, match="not private"):
        compiled.cache_folder(home)


def test_a_link_in_place_of_the_cache_is_refused(home: Path) -> None:
    folder = compiled.cache_folder(home)
    folder.rmdir()
    target = home / "elsewhere"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)

    with pytest.raises(CannotCompile):
        compiled.cache_folder(home)


def test_a_cache_that_cannot_be_made_is_a_reason(home: Path) -> None:
    (home / ".cache").write_text("a file")

    with pytest.raises(CannotCompile, match="cannot be made"):
        compiled.cache_folder(home)


def test_what_cannot_be_compiled_trains_eagerly_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CannotCompile("torch.compile failed: no compiler")

    eager = run_to_end(plane_loop("mlp", OPTIONS))
    monkeypatch.setattr(execution.compiled, "compile_loss", refuse)
    loop = run_to_end(plane_loop("mlp", {**OPTIONS, "compile": True}))

    assert loop.choices.execution == "eager"
    assert loop.choices.execution_reason.startswith("torch.compile failed: no compiler; ")
    assert_same_weights(loop, eager)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "[Errno 13] Permission denied: '/home/me/.cache/x.cpp'",
            "[Errno 13] Permission denied: '...'",
        ),
        (
            "No working C++ compiler in cpp.cxx: (None, '/opt/bin/g++')\nmore",
            "No working C++ compiler in cpp.cxx: (None, '...')",
        ),
        ("~/x and a ratio of 1/2 and m/s", "... and a ratio of 1/2 and m/s"),
        ("x" * 300, "x" * 200),
    ],
)
def test_users_are_shown_no_path_of_the_machine(text: str, shown: str) -> None:
    assert compiled.told(OSError(text)) == shown


def test_a_compiler_that_fails_leaves_everything_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        def fail(*_: object) -> None:
            torch.rand(3)
            raise ZeroDivisionError("inner")

        return fail

    loop = plane_loop("mlp", OPTIONS)
    recipe = loop.recipe
    state = torch.get_rng_state()
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(CannotCompile, match="ZeroDivisionError: inner"):
        compiled.compile_loss(recipe.loss_of, recipe.net, recipe.training.piece(0, 20), home)

    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_a_compiled_network_trains_as_the_eager_one_does(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 20 compiled, the last one, of 8, eagerly."""
    # Six compilations only find out which vector instructions there are.
    monkeypatch.setattr(cpu_vec_isa, "valid_vec_isa_list", list)
    eager = run_to_end(plane_loop("linear", OPTIONS))
    loop = run_to_end(plane_loop("linear", {**OPTIONS, "compile": True}))

    assert loop.choices.execution == "compiled"
    assert loop.choices.execution_reason == "asked for; CUDA graphs are for GPUs"
    assert list((home / ".cache" / "twofold" / "compiled").iterdir())
    assert loop.position.loss == pytest.approx(eager.position.loss, rel=1e-4)
    assert_same_weights(loop, eager)


def assert_same_weights(one: Loop, other: Loop) -> None:
    for name, tensor in one.best.items():
        assert torch.allclose(tensor, other.best[name], rtol=1e-3, atol=1e-5), name


def test_a_user_without_a_home_trains_eagerly_and_is_told_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)  # as in a container

    loop = run_to_end(plane_loop("linear", {**OPTIONS, "compile": True}))

    assert loop.choices.execution == "eager"
    assert loop.choices.execution_reason.startswith("there is no home folder for compiled code")
