"""Elementwise functions that may overwrite what they read, by what stands for them in a net."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inferer.forms.form import Activation
from twofold.nets.functions import CALLS
from twofold.v1 import graph_pb2

#: Exactly these classes: a subclass may do anything.
_MODULES: Mapping[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda _: Activation("relu"),
    nn.Tanh: lambda _: Activation("tanh"),
    nn.Sigmoid: lambda _: Activation("sigmoid"),
    nn.SiLU: lambda _: Activation("silu"),
    nn.Mish: lambda _: Activation("mish"),
    nn.Hardswish: lambda _: Activation("hardswish"),
    nn.Hardsigmoid: lambda _: Activation("hardsigmoid"),
    nn.GELU: lambda module: Activation("gelu", (module.approximate,)),
    nn.ELU: lambda module: Activation("elu", (module.alpha,)),
    nn.LeakyReLU: lambda module: Activation("leaky_relu", (module.negative_slope,)),
    nn.Hardtanh: lambda module: Activation("hardtanh", (module.min_val, module.max_val)),
    nn.ReLU6: lambda _: Activation("hardtanh", (0.0, 6.0)),
}

#: Their operands after the tensor are the activation's own arguments.
_NAMES: Mapping[graph_pb2.Function, str] = {
    graph_pb2.FUNCTION_RELU: "relu",
    graph_pb2.FUNCTION_TANH: "tanh",
    graph_pb2.FUNCTION_SIGMOID: "sigmoid",
    graph_pb2.FUNCTION_SILU: "silu",
    graph_pb2.FUNCTION_MISH: "mish",
    graph_pb2.FUNCTION_HARDSWISH: "hardswish",
    graph_pb2.FUNCTION_HARDSIGMOID: "hardsigmoid",
    graph_pb2.FUNCTION_GELU: "gelu",
    graph_pb2.FUNCTION_ELU: "elu",
    graph_pb2.FUNCTION_LEAKY_RELU: "leaky_relu",
    graph_pb2.FUNCTION_HARDTANH: "hardtanh",
}
_FUNCTIONS = {CALLS[function]: name for function, name in _NAMES.items()}

_IN_PLACE: Mapping[str, Callable[..., Tensor]] = {
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
    "silu": lambda x: functional.silu(x, inplace=True),
    "mish": lambda x: functional.mish(x, inplace=True),
    "hardswish": lambda x: functional.hardswish(x, inplace=True),
    "hardsigmoid": lambda x: functional.hardsigmoid(x, inplace=True),
    # torch has none that writes over its operand.
    "gelu": lambda x, how: functional.gelu(x, approximate=how),
    "elu": lambda x, alpha: functional.elu(x, alpha, inplace=True),
    "leaky_relu": lambda x, slope: functional.leaky_relu(x, slope, inplace=True),
    "hardtanh": lambda x, low, high: functional.hardtanh(x, low, high, inplace=True),
}

_APART: Mapping[str, Callable[..., Tensor]] = {
    name: CALLS[function] for function, name in _NAMES.items()
}


def of_module(module: nn.Module) -> Activation | None:
    """What a module computes, where it is one of these."""
    make = _MODULES.get(type(module))
    return None if make is None else make(module)


def of_function(function: Callable[..., Any], operands: Sequence[Any]) -> Activation | None:
    """What a function of a tensor and these literals computes, where it is one of these."""
    name = _FUNCTIONS.get(function)
    if name is None or any(isinstance(operand, Tensor) for operand in operands):
        return None
    return Activation(name, tuple(operands))


def in_place(activation: Activation) -> Callable[[Tensor], Tensor]:
    """The function; it may write over what it is given."""
    return _with(_IN_PLACE[activation.name], activation)


def apart(activation: Activation) -> Callable[[Tensor], Tensor]:
    """The function; it leaves what it is given as it is."""
    return _with(_APART[activation.name], activation)


def _with(function: Callable[..., Tensor], activation: Activation) -> Callable[[Tensor], Tensor]:
    arguments = activation.arguments
    if not arguments:
        return function
    return lambda x: function(x, *arguments)
