"""What a graph may hold: modules with every constructor argument, and functions. No torch.

MODULES has every permitted class, FUNCTIONS every permitted function, REFUSED the other public
classes of torch.nn with the reason. `inplace` may only be false: a graph is a data flow, and
writing over an operand would change it, or the caller's tensor.
"""

from collections.abc import Mapping
from typing import cast

from twofold.nets import values
from twofold.nets.tables_base import (
    FORMAT_VERSION,
    FORMAT_VERSIONS,
    MAX_DIMENSION,
    MAX_INPUTS,
    MAX_LAYERS,
    MAX_MODULES,
    MAX_NAME,
    MAX_NESTING,
    MAX_NODES,
    MAX_OPERATIONS,
    MAX_OUTPUTS,
    MAX_PARAMETERS,
    MAX_PATHS,
    MAX_PIECES,
    MAX_RANK,
    MAX_REAL,
    MAX_ROW_ELEMENTS,
    MAX_STATES,
    MAX_VALUES,
    REQUIRED,
    Argument,
    Kind,
    ModuleTable,
    Parameter,
    ParameterKind,
    Required,
    StateShape,
)
from twofold.nets.tables_functions import FUNCTIONS
from twofold.nets.tables_layers import LAYER_MODULES
from twofold.nets.tables_refused import CONTAINERS, NOT_MODULES, REFUSED
from twofold.nets.tables_shapes import (
    ACTIVATION_MODULES,
    PADDING_MODULES,
    POOLING_MODULES,
    RESHAPING_MODULES,
)
from twofold.v1 import graph_pb2, spec_pb2

__all__ = [
    "ACTIVATIONS",
    "CONTAINERS",
    "FORMAT_VERSION",
    "FORMAT_VERSIONS",
    "FUNCTIONS",
    "MAX_DIMENSION",
    "MAX_INPUTS",
    "MAX_LAYERS",
    "MAX_MODULES",
    "MAX_NAME",
    "MAX_NESTING",
    "MAX_NODES",
    "MAX_OPERATIONS",
    "MAX_OUTPUTS",
    "MAX_PARAMETERS",
    "MAX_PATHS",
    "MAX_PIECES",
    "MAX_RANK",
    "MAX_REAL",
    "MAX_ROW_ELEMENTS",
    "MAX_STATES",
    "MAX_VALUES",
    "MODULES",
    "NOT_MODULES",
    "REFUSED",
    "REQUIRED",
    "SCALE_DEVIATION",
    "SCALE_MEAN",
    "Argument",
    "Kind",
    "ModuleTable",
    "Parameter",
    "ParameterKind",
    "Required",
    "StateShape",
    "arguments",
]

#: States of the catalogue's graphs that hold the standardisation of numeric features.
SCALE_MEAN = "scale.mean"
SCALE_DEVIATION = "scale.deviation"

#: Permitted modules.
MODULES: Mapping[graph_pb2.ModuleKind, ModuleTable] = {
    **LAYER_MODULES,
    **ACTIVATION_MODULES,
    **POOLING_MODULES,
    **PADDING_MODULES,
    **RESHAPING_MODULES,
}

#: The module of every activation: both enums have the same names after their prefixes.
ACTIVATIONS: Mapping[spec_pb2.Activation, graph_pb2.ModuleKind] = {
    cast("spec_pb2.Activation", number): cast(  # protobuf's stubs say int
        "graph_pb2.ModuleKind",
        graph_pb2.ModuleKind.Value("MODULE_KIND_" + name.removeprefix("ACTIVATION_")),
    )
    for name, number in spec_pb2.Activation.items()
    if number != spec_pb2.ACTIVATION_UNSPECIFIED
}


def arguments(kind: graph_pb2.ModuleKind, **given: values.Literal) -> dict[str, graph_pb2.Value]:
    """Every constructor argument of a module: those given, torch's defaults for the rest.

    What has no default and is not given stays away; `bounds.check` names it.
    """
    table = MODULES[kind].arguments
    filled = {name: given.get(name, argument.default) for name, argument in table.items()}
    return {
        name: values.literal(value)
        for name, value in filled.items()
        if not isinstance(value, Required)
    }
