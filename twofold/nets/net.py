"""Graph and weights to a torch module: the one loader of both services.

No code is generated or evaluated: a Net walks its list of steps, each an operation of a closed
table. Paths and names of a graph never become attributes that Python looks up.
"""
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from twofold import signature
from twofold.errors import Corrupt, InvalidTensor
from twofold.nets import bounds, meta, modules, steps, tables
from twofold.nets.data_types import DATA_TYPES
from twofold.v1 import graph_pb2, model_pb2

_WEIGHTS = "weights.safetensors"
#: Numbers per row up to which inner results stay until the end of a pass: 16 KiB each.
_SMALL = 4096
#: One output, or several.
_Values = TypeVar("_Values", Tensor, tuple[Tensor, ...])


class Net(nn.Module):
    """A graph as a module: forward() computes logits, head() turns them into answers.

    `state_dict()` has exactly the keys of the module that the graph was made of: those of
    `bounds.state_shapes(graph)`, and those tied to them, without buffers that are not persistent.
    Made by `load` and `init`.
    """

    #: What was published of it; None where it was not loaded by twofold.nets.load.
    manifest: model_pb2.Manifest | None = None

    def __init__(self, graph: graph_pb2.Graph, measured: meta.Measured) -> None:
        super().__init__()
        #: For `load` of another state of an equal graph.
        self.measured = measured
        #: Numbers that training computes per row, as measured.
        self.row_elements = measured.row_elements
        #: Multiply-adds of a training pass per row.
        self.row_cost = measured.row_cost
        #: A number beside the message, which torch.compile cannot look into.
        self._input_count = len(graph.inputs)
        self.graph = graph_pb2.Graph.FromString(graph.SerializeToString())
        #: For training, then for eval mode. Filled in place: assigning would meet users' names.
        self._plans: list[steps.Plan] = []

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The results for inputs in the order of graph.inputs; a tuple where there are several.

        But for HEAD_RAW it is one: logits, float32 [B, K].
        """
        if len(inputs) != self._input_count:
            expected = ", ".join(spec.name for spec in self.graph.inputs)
            raise InvalidTensor(f"{len(inputs)} inputs; expected: {expected}", expected=expected)
        return self._plans[0 if self.training else 1].run(inputs)

    @property
    def plan(self) -> steps.Plan:
        """What eval mode computes."""
        return self._plans[1]

    def head(self, logits: _Values) -> _Values:
        """What is served: probabilities of the classes [B, classes], or values [B, targets].

        HEAD_STEP and HEAD_THRESHOLD know no probabilities: theirs are 0 and 1. HEAD_RAW leaves the
        outputs as they are.
        """
        if isinstance(logits, tuple):
            return logits
        return apply_head(self.graph.head, logits, self.graph.head_threshold)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """As torch's own, in a tenth of its time: an epoch of a small net is not much longer."""
        reached: list[nn.Module] = [self]
        for module in reached:
            # Past nn.Module's own __setattr__, which looks for parameters; none has such a name.
            object.__setattr__(module, "training", mode)
            children = module._modules.values()  # noqa: SLF001 - children() removes duplicates
            reached.extend(child for child in children if child is not None)
        return self

    def extra_repr(self) -> str:
        """What it takes and answers; of a published version its name and its signature."""
        if self.manifest is None:
            return ", ".join(map(str, signature.by_name(self.graph.inputs).values()))
        return f"{self.manifest.model}@{self.manifest.version}: " + str(
            signature.of_manifest(self.manifest)
        )

    def weights(self) -> dict[str, Tensor]:
        """What weights.safetensors holds, by key: the live tensors, without gradients."""
        return {path: self._find(path).detach() for path in bounds.state_shapes(self.graph)}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Copies what `weights()` gave into the net, in place; raises Corrupt where it differs."""
        _check_state(self.graph, weights)
        with torch.no_grad():
            for path, tensor in weights.items():
                self._find(path).copy_(tensor)

    def _find(self, path: str) -> Tensor:
        """The parameter or buffer of a path that is known to be there."""
        holder, leaf = self._holder(path)
        return steps.Read(holder, leaf).run([])

    def _grow(self, leaves: Mapping[str, nn.Module], states: Mapping[str, Tensor]) -> None:
        """Puts modules and states at their paths, then makes the steps."""
        for path, module in leaves.items():
            holder, leaf = self._holder(path)
            holder._modules[leaf] = module  # noqa: SLF001 - add_module refuses names such as "head"
        for state in self.graph.states:
            holder, leaf = self._holder(state.path)
            tensor = states[state.path]
            if state.trainable:
                holder._parameters[leaf] = nn.Parameter(tensor)  # noqa: SLF001 - likewise
                continue
            holder._buffers[leaf] = tensor  # noqa: SLF001 - likewise
            if state.non_persistent:
                holder._non_persistent_buffers_set.add(leaf)  # noqa: SLF001 - likewise
        one_hots = modules.one_hots(self.graph)
        for index, module in enumerate(one_hots.values()):
            # ":" keeps the name apart from every path.
            self._modules[f"one_hot:{index}"] = module
        parts = steps.Parts(leaves, self._holder, one_hots)
        for is_training in (True, False):
            plan = steps.plan(self.graph, parts, is_training=is_training)
            plan.is_lean = self.row_elements > _SMALL
            self._plans.append(plan)

    def _settle(self) -> None:
        """Makes parameters one that are tied, and freezes."""
        for tie in self.graph.ties:
            holder, leaf = self._holder(tie.path)
            tied = self._find(tie.source)
            assert isinstance(tied, nn.Parameter)  # noqa: S101 - bounds.check saw to it
            if isinstance(holder, nn.RNNBase):
                setattr(holder, leaf, tied)  # a name of the tables; it also lists its weights
            else:
                holder._parameters[leaf] = tied  # noqa: SLF001 - setattr would take user names
        for path in self.graph.frozen:
            self._find(path).requires_grad = False

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


def apply_head(head: graph_pb2.Head, logits: Tensor, threshold: float = 0.0) -> Tensor:
    """Logits [B, K] to what a head answers; see Net.head. `threshold` is HEAD_THRESHOLD's."""
    match head:
        case graph_pb2.HEAD_SOFTMAX:
            return torch.softmax(logits, dim=1)
        case graph_pb2.HEAD_SIGMOID:
            return _both(torch.sigmoid(logits))
        case graph_pb2.HEAD_MULTILABEL:
            return torch.sigmoid(logits)
        case graph_pb2.HEAD_STEP:
            return _both(modules.step(logits))
        case graph_pb2.HEAD_THRESHOLD:
            return _both(modules.step(logits - threshold))
        case _:
            return logits


def load(
    graph: graph_pb2.Graph, state: Mapping[str, Tensor], measured: meta.Measured | None = None
) -> Net:
    """The net of a published version or checkpoint, on the CPU and in eval mode.

    The tensors are copied: the net shares no memory with `state`.

    Args:
        graph: is not changed.
        state: all of `bounds.state_shapes(graph)`.
        measured: of a net of an equal graph, to the byte: then it is not checked once more.

    Raises:
        InvalidField: the graph is not one that this release can run.
        Corrupt: keys, shapes or types of `state` are not those of the graph.
    """
    if measured is None:
        bounds.check(graph)
    _check_state(graph, state)
    with torch.device("meta"):  # shapes only: the parameters come from `state`
        leaves = modules.make_all(graph)
    measured = measured or meta.measure(graph, leaves)
    copies = {path: tensor.detach().to("cpu", copy=True) for path, tensor in state.items()}
    net = Net(graph, measured)
    tied = {tie.path for tie in graph.ties}
    spare = {spec.path: _fresh(spec) for spec in graph.states if spec.path in tied}
    net._grow(leaves, {**copies, **spare})  # noqa: SLF001 - ours
    net.load_state_dict(copies, strict=False, assign=True)  # the keys were compared
    net._settle()  # noqa: SLF001 - ours
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
    measured = meta.measure(graph)
    net = Net(graph, measured)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        leaves = modules.make_all(graph)
        net._grow(leaves, {state.path: _fresh(state) for state in graph.states})  # noqa: SLF001 - ours
    net._settle()  # noqa: SLF001 - ours
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
