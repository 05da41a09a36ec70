"""What is sent of a module: its graph, and its weights as safetensors.

The names of forward()'s arguments say which columns they are. The graph's inputs have these names:

- `x`: FP32 [-1, n], the n numeric feature columns side by side, booleans as 0 and 1;
- `category`: INT64 [-1, k], the k text columns, each cell the place of its text in the column's
  vocabulary, -1 for a text that training did not see;
- the name of an array column: its element type, [-1, *shape of a row].

A lone argument may be called as one likes: it is `x` of columns that are all numeric, or the only
array column. Arguments with a default that name nothing keep it. Columns that no argument takes
are no features, unless the spec names them: then all must be taken.
"""
# pyright: reportUnknownMemberType=false

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn

from twofold import spec_targets
from twofold.nets.data_types import DATA_TYPES
from twofold.nets.trace_errors import line_of_function, refused
from twofold.nets.tracing import Traced, argument_names, trace
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2

X, CATEGORY = "x", "category"
_NUMERIC = (
    dataset_pb2.COLUMN_KIND_REAL,
    dataset_pb2.COLUMN_KIND_INTEGER,
    dataset_pb2.COLUMN_KIND_BOOLEAN,
)
#: Rows of an example; tracing makes a second batch of it.
_ROWS = 2


@dataclass(frozen=True, slots=True)
class Packed:
    """What a client sends."""

    #: With HEAD_RAW; a spec's loss says which head it gets.
    graph: graph_pb2.Graph
    #: Safetensors of `twofold.nets.bounds.state_shapes(graph)`.
    weights: bytes


def pack(module: object, columns: Sequence[dataset_pb2.Column], data: spec_pb2.DataSpec) -> Packed:
    """The graph and the weights of a module over the columns of a data set.

    Args:
        module: a torch.nn.Module, or what `twofold.nets.trace` made of one.
        columns: of the data set, in order.
        data: which of them are features, targets and weight, where it says so.

    Raises:
        InvalidModule: it cannot become a graph, or its arguments are no columns; says what to do.
        InvalidField: targets or weight are no columns that can be.
    """
    traced = module if isinstance(module, Traced) else _traced(module, columns, data)
    state = {path: tensor.contiguous() for path, tensor in traced.state.items()}
    return Packed(traced.graph, safetensors.torch.save(state))


def _traced(
    module: object, columns: Sequence[dataset_pb2.Column], data: spec_pb2.DataSpec
) -> Traced:
    if not isinstance(module, nn.Module):
        shown = f"it is a {type(module).__name__}"
        raise refused(shown, "give a torch.nn.Module, or what twofold.nets.trace made of one")
    offered = examples(features(columns, data))
    names = _names(module, offered, is_asked=bool(data.features))
    given = {argument: offered[name] for argument, name in names.items()}
    return trace(module, given, names=names)


def features(
    columns: Sequence[dataset_pb2.Column], data: spec_pb2.DataSpec
) -> list[dataset_pb2.Column]:
    """The feature columns, in order, as a server completes them.

    Raises InvalidField where targets or weight are no columns that can be.
    """
    by_name = {column.name: column for column in columns}
    if data.features:
        return [by_name[name] for name in data.features if name in by_name]
    completed = spec_pb2.DataSpec()
    completed.CopyFrom(data)
    spec_targets.complete(completed, by_name)
    used = spec_targets.used(completed)
    return [column for column in columns if column.name not in used]


def examples(columns: Sequence[dataset_pb2.Column]) -> dict[str, Tensor]:
    """A few rows of every input that these columns make, by name."""
    generator = torch.Generator().manual_seed(0)
    numeric = [column for column in columns if column.kind in _NUMERIC]
    texts = [column for column in columns if column.kind == dataset_pb2.COLUMN_KIND_CATEGORY]
    found: dict[str, Tensor] = {}
    if numeric:
        found[X] = torch.rand((_ROWS, len(numeric)), generator=generator)
    if texts:
        found[CATEGORY] = torch.zeros((_ROWS, len(texts)), dtype=torch.int64)
    for column in columns:
        if column.kind == dataset_pb2.COLUMN_KIND_ARRAY:
            drawn = torch.rand((_ROWS, *column.shape), generator=generator)
            found[column.name] = drawn.to(DATA_TYPES[column.data_type])
    return found


def _names(module: nn.Module, offered: Mapping[str, Tensor], *, is_asked: bool) -> dict[str, str]:
    """The input of every argument that is one; all that is asked for must be taken."""
    line = line_of_function(module.forward)
    arguments = argument_names(module)
    if len(arguments) == 1 and len(offered) == 1 and CATEGORY not in offered:
        return {arguments[0]: next(iter(offered))}
    parameters = inspect.signature(module.forward).parameters
    words = ", ".join(f"{name} {list(each.shape[1:])}" for name, each in offered.items())
    for name in arguments:
        if name not in offered and parameters[name].default is inspect.Parameter.empty:
            way_out = f"the columns make: {words}; rename it, or choose columns by data.features"
            raise refused(f"forward() has an argument {name}", way_out, line)
    taken = {name: name for name in arguments if name in offered}
    left = [name for name in offered if name not in taken]
    if left and is_asked:
        way_out = "give it an argument of this name, or leave the columns out of data.features"
        problem = f"forward() does not take {left[0]}, which the columns of data.features make"
        raise refused(problem, way_out, line)
    return taken
