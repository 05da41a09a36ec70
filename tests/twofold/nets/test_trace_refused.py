"""What a graph cannot hold is told by its line, with a way out."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import dataclasses
import inspect
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone writes it

import twofold
from twofold.errors import InvalidField
from twofold.nets import InvalidModule, trace
from twofold.nets.trace_errors import is_foreign


class Does(nn.Module):
    """A forward() of one's own over x, FP32 [B, 4]."""

    def __init__(self, does: Callable[..., Any]) -> None:
        super().__init__()
        self.does = does
        self.norm = nn.BatchNorm1d(4)
        self.weight = nn.Parameter(torch.ones(4))
        self.stray = [nn.Linear(4, 4)]
        self.steps = 0

    def forward(self, x: Tensor) -> Any:
        return self.does(self, x)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - torch's
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  # noqa: ARG004 - torch's
        return gradient


@dataclasses.dataclass
class Answer:
    logits: Tensor


def _branch(_: Does, x: Tensor) -> Tensor:
    if x.sum() > 0:
        return x
    return -x


def _loop(_: Does, x: Tensor) -> Tensor:
    return torch.stack([row * 2 for row in x])


def _view(_: Does, x: Tensor) -> Tensor:
    y = x * 1
    head = y[:, :2]
    y += 1
    return head


def _buffer(m: Does, x: Tensor) -> Tensor:
    m.norm.running_mean.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
    return x


def _autocast(_: Does, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return x @ x.T


def _quiet(_: Does, x: Tensor) -> Tensor:
    y = x * 2
    with torch.no_grad():
        y += 1
    return y


def _assigned(_: Does, x: Tensor) -> Tensor:
    x[:, 0] = 0
    return x


REFUSED: dict[str, tuple[Callable[..., Any], str, str]] = {
    "a branch": (_branch, "depends on the data", "torch.where"),
    "an assertion": (lambda _, x: x if (x > 0).all() else -x, "depends on the data", "torch.where"),
    "a loop over rows": (_loop, "a loop over the rows", "all rows at once"),
    "a loop over the batch": (
        lambda _, x: [x for _ in range(len(x))],
        "size of the batch is needed",
        "every size of a batch",
    ),
    "int of the batch": (
        lambda _, x: x.view(int(x.shape[0]), -1),
        "size of the batch is needed",
        "leave int() out: a size is whole",
    ),
    "a branch on the batch": (
        lambda _, x: x if x.shape[0] > 1 else -x,
        "depends on the size of the batch",
        "every size of a batch",
    ),
    "a number of a tensor": (lambda _, x: x * float(x.mean()), "as a plain number", "torch.where"),
    "item": (lambda _, x: x * x.sum().item(), ".item() is not permitted", "leaves the graph"),
    "numpy": (lambda _, x: torch.from_numpy(x.numpy()), ".numpy() is not", "leaves the graph"),
    "a view of what was written over": (_view, "a view of what", "write y = x + 1"),
    "a buffer that is written": (_buffer, "is written over", "a graph writes only"),
    "a part that is assigned": (_assigned, "an assignment to a part", "torch.where"),
    "a mask as an index": (lambda _, x: x[x > 0], "an index of truth values", "multiply by"),
    "nonzero": (lambda _, x: x.nonzero(), ".nonzero() is not", "how many it gives depends"),
    "scatter": (lambda _, x: x.scatter(1, x.long(), 0.0), ".scatter() is not", "make a new tensor"),
    "a device": (lambda _, x: x.to("cuda"), "not on 'cuda'", "hand on x.device"),
    "cuda": (lambda _, x: x.cuda(), ".cuda() is not", "where the service runs"),
    "half": (lambda _, x: x.half(), ".half() is not", "training.precision"),
    "bfloat16": (lambda _, x: x.to(torch.bfloat16), "bfloat16", "training.precision"),
    "bytes": (lambda _, x: x.to(torch.uint8), "the element type is uint8", ".long()"),
    "complex": (lambda _, x: torch.fft.fft(x).abs(), "fft_fft is not", "other functions"),
    "autocast": (_autocast, "autocast in forward()", "training.precision"),
    "functional batch norm": (
        lambda m, x: F.batch_norm(x, m.weight, m.weight),
        "batch_norm is not permitted",
        "use its class",
    ),
    "randint": (lambda _, x: x + torch.randint(3, (4,)), "randint is not", "torch.rand"),
    "randperm": (lambda _, x: x[:, torch.randperm(4)], "randperm is not", "torch.rand"),
    "bernoulli": (lambda _, x: torch.bernoulli(x.sigmoid()), "bernoulli is not", "torch.rand"),
    "empty": (lambda _, x: torch.empty_like(x) + x, "empty_like is not", "torch.zeros"),
    "a typo": (lambda _, x: x.cumsums(), "has no attribute 'cumsums'", "functions of torch"),
    "one near": (lambda _, x: torch.logaddexp(x, x), "logaddexp is not", "permitted and near"),
    "a backward of one's own": (
        lambda _, x: Straight.apply(x),
        "torch.autograd.Function is not",
        "its backward would be lost",
    ),
    "Python's random numbers": (
        lambda _, x: x * random.random(),  # noqa: S311 - refused
        "draws from random",
        "torch.rand",
    ),
    "numpy's random numbers": (
        lambda _, x: x * float(np.random.rand()),  # noqa: NPY002 - refused
        "draws from numpy",
        "torch.rand",
    ),
    "a stray module": (lambda m, x: m.stray[0](x), "no part of the module", "ModuleList"),
    "operands that do not fit": (
        lambda m, x: x @ m.weight.view(2, 2),
        "matmul does not run on the example: mat1 and mat2",
        "make its operands fit",
    ),
    "out": (lambda _, x: torch.add(x, 1, out=torch.zeros(4)), "the argument out", "returns"),
    "one_hot of unknown size": (lambda _, x: F.one_hot(x.long()), "without num_c", "give num"),
    "where of one": (lambda _, x: torch.where(x > 0), "a condition alone", "three arguments"),
    "an odd argument": (
        lambda _, x: F.interpolate(x[:, None], mode="cubic"),
        "mode of interpolate is 'cubic'",
        "allowed: choice or nearest",
    ),
    "writing without gradients": (_quiet, "written over without gradients", "write y = x + 1"),
    "a gradient": (lambda _, x: x * x.requires_grad, "reading .requires_grad", "x.detach()"),
    "nothing": (lambda _, x: None, "returns output as None", "return a tensor"),  # noqa: ARG005 - refused
    "a number": (lambda _, x: x.shape[1], "returns output as int", "return a tensor"),
    "a dataclass": (lambda _, x: Answer(x), "output as Answer", "return a dictionary"),
    "nested": (lambda _, x: (x, [x]), "returns output_1 as list", "a tuple of tensors"),
    "a mean over the batch": (
        lambda _, x: x.mean(0),
        "output as FP32[4] for any batch",
        "keep the batch",
    ),
    "a batch that grows": (lambda _, x: torch.cat([x, x]), "[4, 4] for 2 rows", "keep the batch"),
    "a single number": (lambda _, x: x.mean(), "output as FP32[] for any batch", "keep the batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_told(name: str) -> None:
    does, problem, way_out = REFUSED[name]

    with pytest.raises(InvalidModule) as caught:
        trace(Does(does), torch.rand(2, 4))

    assert problem in caught.value.message
    assert way_out in caught.value.message


def test_the_line_and_its_code_are_named() -> None:
    """Of the innermost function of the user's, and also as fields for programs."""
    lines, first = inspect.getsourcelines(_branch)
    number = str(first + next(i for i, line in enumerate(lines) if "x.sum()" in line))

    with pytest.raises(InvalidField) as caught:
        trace(Does(_branch), torch.rand(2, 4))

    assert caught.value.message == (
        f"{__file__}:{number}: `if x.sum() > 0:`: a branch that depends on the data; use "
        "torch.where to pick between two tensors, or multiply by a mask; both ways are computed"
    )
    assert caught.value.fields["line"] == number
    assert caught.value.fields["file"] in __file__
    assert caught.value.fields["code"] == "if x.sum() > 0:"


def test_what_forward_itself_raises_is_told_with_its_line() -> None:
    def does(_: Does, x: Tensor) -> Tensor:
        raise KeyError(x.shape[1])

    with pytest.raises(InvalidModule, match=r"`raise KeyError\(x.shape\[1\]\)`: KeyError: 4"):
        trace(Does(does), torch.rand(2, 4))


def test_numbers_that_change_between_calls_are_found_by_the_answers() -> None:
    def does(module: Does, x: Tensor) -> Tensor:
        module.steps += 1
        return x * module.steps

    with pytest.raises(InvalidModule, match="the graph answers otherwise than the module"):
        trace(Does(does), torch.rand(2, 4))


class Loose(nn.Module):
    def forward(self, *xs: Tensor) -> Tensor:
        return xs[0]


class Placed(nn.Module):
    def forward(self, x: Tensor, /) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (nn.Linear(4, 2), torch.rand(2, 4), r"Linear alone is traced; wrap it: torch.nn.Seq"),
        (Loose(), torch.rand(2, 4), r"forward\(\) has \*xs.*; name its arguments"),
        (Placed(), torch.rand(2, 4), r"forward\(\) takes x by its place alone; leave out the /"),
        (Does(_loop), torch.tensor(1.0), r"the example of x is \(\); give a tensor of a few rows"),
        (Does(_loop), [1.0], "the example of x is float"),
        (Does(_loop), torch.rand(2, 4).half(), "x is float16, .* call .float()"),
        (Does(_loop), (torch.rand(2), torch.rand(2)), r"2 example inputs for forward\(x\)"),
        (Does(_loop), {"y": torch.rand(2)}, r"forward\(\) has no argument y; it has x"),
        (Does(_loop), {}, r"forward\(\) has an argument x; give an example"),
        (lambda x: x, torch.rand(2), "it is function; give a torch.nn.Module"),
    ],
)
def test_what_is_no_module_or_no_example_is_told(module: Any, example: Any, message: str) -> None:
    with pytest.raises(InvalidModule, match=message):
        trace(module, example)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


@pytest.mark.parametrize(("name", "told"), [("y", "every name once"), ("an x", "letters, digits")])
def test_names_that_inputs_cannot_have_are_told(name: str, told: str) -> None:
    with pytest.raises(InvalidModule, match=f"names is {name}; allowed: {told}"):
        trace(Two(), (torch.rand(2, 4), torch.rand(2, 4)), names={"x": name})


def test_packages_whose_names_begin_like_ours_are_the_users() -> None:
    ours, torchs = Path(twofold.__file__).parent, Path(torch.__file__).parent

    for folder in (ours, torchs):
        assert is_foreign(str(folder / "a.py"))
        assert not is_foreign(f"{folder}_extra/a.py")


def test_extra_state_of_a_module_is_refused() -> None:
    class Extra(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def get_extra_state(self) -> dict[str, int]:
            return {"a": 1}

        def set_extra_state(self, state: Any) -> None:
            del state

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x)

    with pytest.raises(InvalidModule, match=r"_extra_state is in the state_dict\(\) of the module"):
        trace(Extra(), torch.rand(2, 4))
