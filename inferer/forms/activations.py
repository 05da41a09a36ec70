"""Elementwise functions that may overwrite what they read, by what stands for them in a net."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

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
_FUNCTIONS: Mapping[Callable[..., Any], str] = {
    CALLS[graph_pb2.FUNCTION_RELU]: "relu",
    CALLS[graph_pb2.FUNCTION_TANH]: "tanh",
    CALLS[graph_pb2.FUNCTION_SIGMOID]: "sigmoid",
    CALLS[graph_pb2.FUNCTION_SILU]: "silu",
    CALLS[graph_pb2.FUNCTION_MISH]: "mish",
    CALLS[graph_pb2.FUNCTION_HARDSWISH]: "hardswish",
    CALLS[graph_pb2.FUNCTION_HARDSIGMOID]: "hardsigmoid",
    CALLS[graph_pb2.FUNCTION_GELU]: "gelu",
    CALLS[graph_pb2.FUNCTION_ELU]: "elu",
    CALLS[graph_pb2.FUNCTION_LEAKY_RELU]: "leaky_relu",
    CALLS[graph_pb2.FUNCTION_HARDTANH]: "hardtanh",
}

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
    function, arguments = _IN_PLACE[activation.name], activation.arguments
    if not arguments:
        return function
    return lambda x: function(x, *arguments)
