"""Weights of a file go into a user's module, whole or not at all, and errors name the keys."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from twofold.errors import InvalidField
from twofold.nets.weights_in import load_into


class Small(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(2, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 1)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(3, 3, bias=False)
        self.out = nn.Linear(3, 3, bias=False)
        self.out.weight = self.into.weight


def drawn(module: nn.Module) -> dict[str, torch.Tensor]:
    """Other numbers for every key."""
    generator = torch.Generator().manual_seed(1)
    return {
        key: torch.rand(value.shape, generator=generator)
        if value.is_floating_point()
        else torch.full_like(value, 7)
        for key, value in module.state_dict().items()
    }


def saved(tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    path = folder / "w.safetensors"
    save_file(tensors, path)
    return path


def test_parameters_and_buffers_are_set(tmp_path: Path) -> None:
    module = Small()
    given = drawn(module)

    load_into(module, saved(given, tmp_path))

    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, given[key], rtol=0, atol=0)
    assert module.norm.num_batches_tracked is not None
    assert module.norm.num_batches_tracked.item() == 7


def test_smaller_types_of_the_same_kind_are_taken(tmp_path: Path) -> None:
    module = Small()
    given = {
        key: value.to(torch.bfloat16) if value.is_floating_point() else value
        for key, value in drawn(module).items()
    }

    load_into(module, saved(given, tmp_path))

    assert module.first.weight.dtype == torch.float32
    torch.testing.assert_close(module.first.weight, given["first.weight"].float(), rtol=0, atol=0)


def test_a_tied_weight_may_stand_there_once(tmp_path: Path) -> None:
    """As safetensors' own save_model writes it."""
    source, module = Tied(), Tied()
    save_model(source, str(tmp_path / "w.safetensors"))

    load_into(module, tmp_path / "w.safetensors")

    torch.testing.assert_close(module.out.weight, source.into.weight, rtol=0, atol=0)
    assert module.out.weight is module.into.weight


def refusal(module: object, path: Path) -> str:
    with pytest.raises(InvalidField) as caught:
        load_into(module, path)
    return caught.value.message


def test_missing_and_unknown_keys_are_named_and_nothing_is_set(tmp_path: Path) -> None:
    module = Small()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    given = drawn(module)
    given["head.weight"] = given.pop("last.weight")
    del given["last.bias"]

    assert refusal(module, saved(given, tmp_path)) == (
        "weights: the file lacks last.weight, last.bias (2 keys) and has head.weight, which the "
        "module has not; its keys must be those of the state_dict()"
    )
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("first.weight", torch.zeros(3, 4), "weights[first.weight] is float32[3, 4]; allowed: fl"),
        ("first.bias", torch.zeros(3, dtype=torch.float64), "is float64[3]; allowed: float32[3]"),
        ("first.bias", torch.zeros(3, dtype=torch.int64), "is int64[3]; allowed: float32[3], as"),
        ("norm.num_batches_tracked", torch.zeros(()), "is float32[]; allowed: int64[]"),
    ],
)
def test_another_shape_or_type_is_named(
    tmp_path: Path, key: str, value: torch.Tensor, told: str
) -> None:
    module = Small()
    before = module.first.weight.detach().clone()

    assert told in refusal(module, saved({**drawn(module), key: value}, tmp_path))
    assert torch.equal(module.first.weight, before)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"PK\x03\x04" * 20)

    assert "weights is w.pt; allowed: a safetensors file" in refusal(Small(), path)
    assert refusal(Small(), path).endswith("what torch.save writes is never read")
    missing = refusal(Small(), tmp_path / "absent")
    assert missing == "weights is absent; allowed: a safetensors file that exists"


class Extra(nn.Module):
    """What is no tensor stands in no file of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}

    def set_extra_state(self, state: object) -> None:
        raise AssertionError(state)


def test_extra_state_is_left_as_it_is(tmp_path: Path) -> None:
    module = Extra()
    given = drawn(module.first)

    load_into(module, saved({f"first.{key}": value for key, value in given.items()}, tmp_path))

    torch.testing.assert_close(module.first.weight, given["weight"], rtol=0, atol=0)


def test_a_module_that_refuses_stays_as_it_was(tmp_path: Path) -> None:
    def refuse(module: nn.Module, keys: object) -> None:
        raise RuntimeError(f"{type(module).__name__} of {keys}: no")

    module = Small()
    module.register_load_state_dict_post_hook(refuse)
    before = {key: value.clone() for key, value in module.state_dict().items()}

    assert refusal(module, saved(drawn(module), tmp_path)).startswith("weights: Small of ")
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


def test_only_torch_modules_take_weights(tmp_path: Path) -> None:
    path = saved(drawn(Small()), tmp_path)

    assert refusal(object(), path).startswith("module is object; allowed: a torch.nn.Module")
