"""The optimizers are torch's, by their options, and their states come back as they were."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import json

import pytest
import torch
from torch import nn

from tests.trainer.jobs import truth_spec
from trainer import optimizers
from trainer.optimizers import Optimizers
from twofold.toml_spec import Value
from twofold.v1 import spec_pb2

CPU = torch.device("cpu")
OPTIONS: dict[str, dict[str, Value]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    "adam": {"optimizer": "adam", "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "rmsprop": {"optimizer": "rmsprop", "smoothing": 0.9, "momentum": 0.5, "centered": True},
    "muon": {"optimizer": "muon"},
    "lbfgs": {"optimizer": "lbfgs", "history": 3, "iterations": 5},
}


def options_of(options: dict[str, Value]) -> spec_pb2.TrainingOptions:
    return truth_spec("xor", network={"family": "mlp"}, training=options).training


def small_net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def train(net: nn.Module, made: Optimizers, steps: int) -> None:
    x = torch.linspace(-1, 1, 24).reshape(8, 3)

    def closure() -> torch.Tensor:
        made.zero_grad()
        loss = (net(x) - x.sum(dim=1, keepdim=True)).square().mean()
        loss.backward()
        return loss

    for _ in range(steps):
        if made.needs_closure:
            made.search(closure)
        else:
            closure()
            made.step()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_state_through_json_and_tensors_goes_on_to_the_bit(options: dict[str, Value]) -> None:
    asked = options_of(options)
    straight, first, second = small_net(), small_net(), small_net()
    train(straight, optimizers.make(straight, asked, CPU), 6)

    made = optimizers.make(first, asked, CPU)
    train(first, made, 3)
    plain, tensors = made.state()
    second.load_state_dict(first.state_dict())
    again = optimizers.make(second, asked, CPU)
    again.restore(json.loads(json.dumps(plain)), tensors)
    train(second, again, 3)

    for one, other in zip(straight.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_rmsprop_has_its_options() -> None:
    (made,) = optimizers.make(small_net(), options_of(OPTIONS["rmsprop"]), CPU).parts

    assert isinstance(made, torch.optim.RMSprop)
    (group,) = made.param_groups
    assert (group["alpha"], group["momentum"], group["centered"]) == (0.9, 0.5, True)
    assert (group["eps"], group["foreach"]) == (1e-8, True)


def test_adam_has_its_options_and_is_fused() -> None:
    (made,) = optimizers.make(small_net(), options_of(OPTIONS["adam"]), CPU).parts

    (group,) = made.param_groups
    assert (group["betas"], group["eps"], group["fused"]) == ((0.8, 0.95), 1e-6, True)


def test_muon_has_matrices_and_adamw_the_rest() -> None:
    muon, adamw = optimizers.make(small_net(), options_of(OPTIONS["muon"]), CPU).parts

    assert isinstance(muon, torch.optim.Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    assert [parameter.ndim for parameter in muon.param_groups[0]["params"]] == [2, 2]
    assert [parameter.ndim for parameter in adamw.param_groups[0]["params"]] == [1, 1]


def test_a_rate_reaches_every_group() -> None:
    made = optimizers.make(
        small_net(), options_of({"optimizer": "muon", "learning_rate": 0.5}), CPU
    )
    made.set_rate(0.25)

    rates = [group["lr"] for part in made.parts for group in part.param_groups]
    assert rates == [0.125, 0.125]


def test_fused_steps_are_those_of_the_plain_implementation() -> None:
    asked = options_of(OPTIONS["adamw"])
    fused, plain = small_net(), small_net()
    train(fused, optimizers.make(fused, asked, CPU), 20)
    reference = torch.optim.AdamW(plain.parameters(), lr=0.001, weight_decay=0.1, foreach=False)
    train(plain, Optimizers((reference,), 0.001), 20)

    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("damage", [[], [3], [{"0": {"step": {"tensor": "none"}}}]])
def test_a_state_that_is_none_is_refused(damage: list[optimizers.Plain]) -> None:
    made = optimizers.make(small_net(), options_of({}), CPU)

    with pytest.raises((KeyError, ValueError, TypeError)):
        made.restore(damage, {})
