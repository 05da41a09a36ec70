"""Graph and weights to a torch module: the one loader of both services.

No code is generated or evaluated: a Net walks its list of steps, each an operation of a closed
table. Paths and names of a graph never become attributes that Python looks up.
"""
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from twofold import signature
from twofold.errors import Corrupt, InvalidTensor
from twofold.nets import bounds, modules, steps, tables, values
from twofold.v1 import graph_pb2, model_pb2

DATA_TYPES: Mapping[graph_pb2.DataType, torch.dtype] = {
    graph_pb2.DATA_TYPE_FP32: torch.float32,
    graph_pb2.DATA_TYPE_FP64: torch.float64,
    graph_pb2.DATA_TYPE_INT64: torch.int64,
    graph_pb2.DATA_TYPE_INT32: torch.int32,
    graph_pb2.DATA_TYPE_BOOL: torch.bool,
}
_WEIGHTS = "weights.safetensors"


class Net(nn.Module):
    """A graph as a module: forward() computes logits, head() turns them into answers.

    `state_dict()` has exactly the keys of `bounds.state_shapes(graph)`. Made by `load` and `init`.
    """

    #: What was published of it; None where it was not loaded by twofold.nets.load.
    manifest: model_pb2.Manifest | None = None

    def __init__(self, graph: graph_pb2.Graph) -> None:
        super().__init__()
        self.graph = graph_pb2.Graph.FromString(graph.SerializeToString())
        #: For training, then for eval mode. Filled in place: assigning would meet users' names.
        self._plans: list[steps.Plan] = []

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits, float32 [B, K], of inputs in the order of graph.inputs."""
        if len(inputs) != len(self.graph.inputs):
            expected = ", ".join(spec.name for spec in self.graph.inputs)
            raise InvalidTensor(f"{len(inputs)} inputs; expected: {expected}", expected=expected)
        return self._plans[0 if self.training else 1].run(inputs)

    def head(self, logits: Tensor) -> Tensor:
        """What is served: probabilities of the classes [B, classes], or values [B, targets].

        HEAD_STEP and HEAD_THRESHOLD know no probabilities: theirs are 0 and 1.
        """
        match self.graph.head:
            case graph_pb2.HEAD_SOFTMAX:
                return torch.softmax(logits, dim=1)
            case graph_pb2.HEAD_SIGMOID:
                return _both(torch.sigmoid(logits))
            case graph_pb2.HEAD_STEP:
                return _both(modules.step(logits))
            case graph_pb2.HEAD_THRESHOLD:
                return _both(modules.step(logits - self.graph.head_threshold))
            case _:
                return logits

    def extra_repr(self) -> str:
        """What it takes and answers; of a published version its name and its signature."""
        if self.manifest is None:
            return ", ".join(map(str, signature.by_name(self.graph.inputs).values()))
        return f"{self.manifest.model}@{self.manifest.version}: " + str(
            signature.of_manifest(self.manifest)
        )

    def _grow(self, leaves: Mapping[str, nn.Module], states: Mapping[str, Tensor]) -> None:
        """Puts modules and states at their paths, then makes the steps."""
        for path, module in leaves.items():
            holder, leaf = self._holder(path)
            holder._modules[leaf] = module  # noqa: SLF001 - add_module refuses names such as "head"
        trainable = {state.path: state.trainable for state in self.graph.states}
        for path, tensor in states.items():
            holder, leaf = self._holder(path)
            if trainable[path]:
                holder._parameters[leaf] = nn.Parameter(tensor)  # noqa: SLF001 - likewise
            else:
                holder._buffers[leaf] = tensor  # noqa: SLF001 - likewise
        holders = {path: self._holder(path)[0] for path in states}
        parts = steps.Parts(leaves, holders, self._one_hots())
        nodes = self.graph.nodes
        for computation in (nodes, self.graph.eval_nodes or nodes):
            self._plans.append(steps.plan(self.graph, computation, parts))

    def _holder(self, path: str) -> tuple[nn.Module, str]:
        """The container of a path's last name, made if it is not there, and that name."""
        *above, leaf = path.split(".")
        holder: nn.Module = self
        for part in above:
            found = holder._modules.get(part)  # noqa: SLF001 - getattr would take user names
            if found is None:
                found = holder._modules[part] = nn.Module()  # noqa: SLF001 - likewise
            holder = found
        return holder, leaf

    def _one_hots(self) -> dict[str, nn.Module]:
        """A module for every one-hot node; ":" keeps its name apart from every path."""
        found: dict[str, nn.Module] = {}
        for node in (*self.graph.nodes, *self.graph.eval_nodes):
            if node.function == graph_pb2.FUNCTION_ONE_HOT:
                classes = values.to_integers(node.arguments[1]) or []
                found[node.name] = self._modules[f"one_hot:{node.name}"] = modules.OneHot(classes)
        return found


def load(graph: graph_pb2.Graph, state: Mapping[str, Tensor]) -> Net:
    """The net of a published version or checkpoint, on the CPU and in eval mode.

    The tensors are copied: the net shares no memory with `state`.

    Raises:
        InvalidField: the graph is not one that this release can run.
        Corrupt: keys, shapes or types of `state` are not those of the graph.
    """
    bounds.check(graph)
    _check_state(graph, state)
    with torch.device("meta"):  # shapes only: the parameters come from `state`
        leaves = {module.path: modules.make(module) for module in graph.modules}
    copies = {path: tensor.detach().to("cpu", copy=True) for path, tensor in state.items()}
    net = Net(graph)
    net._grow(leaves, {spec.path: copies[spec.path] for spec in graph.states})  # noqa: SLF001 - ours
    net.load_state_dict(copies, assign=True)
    return net.eval()


def init(graph: graph_pb2.Graph, seed: int) -> Net:
    """A new net on the CPU in training mode, its parameters drawn by torch's own initialisation.

    States start as zeros, but tables.SCALE_DEVIATION as ones: numeric features as they are. The
    caller's random generators are left as they were.

    Args:
        graph: checked here; raises InvalidField.
        seed: 0 to 2^63 - 1; the same seed draws the same parameters.
    """
    bounds.check(graph)
    net = Net(graph)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        leaves = {module.path: modules.make(module) for module in graph.modules}
        net._grow(leaves, {state.path: _fresh(state) for state in graph.states})  # noqa: SLF001 - ours
    return net.train()


def _both(score: Tensor) -> Tensor:
    """[B, 1] scores of class 1 to [B, 2] of both classes."""
    return torch.cat([1 - score, score], dim=1)


def _fresh(state: graph_pb2.State) -> Tensor:
    make = torch.ones if state.path == tables.SCALE_DEVIATION else torch.zeros
    return make(tuple(state.shape), dtype=DATA_TYPES[state.data_type])


def _check_state(graph: graph_pb2.Graph, state: Mapping[str, Tensor]) -> None:
    expected = bounds.state_shapes(graph)
    for path in sorted(expected.keys() ^ state.keys()):
        problem = "lack" if path in expected else "hold the unknown"
        raise Corrupt(f"the weights {problem} {path}", resource=_WEIGHTS)
    for path, wanted in expected.items():
        tensor = state[path]
        if tuple(tensor.shape) != wanted.shape or tensor.dtype != DATA_TYPES[wanted.data_type]:
            got = f"{tensor.dtype}{list(tensor.shape)}"
            want = f"{DATA_TYPES[wanted.data_type]}{list(wanted.shape)}"
            raise Corrupt(f"the weights' {path} is {got} instead of {want}", resource=_WEIGHTS)
