"""Parameters, buffers and constants of a module that is traced: by which path a graph has each."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from twofold.nets.trace_errors import refused
from twofold.nets.trace_values import data_type
from twofold.v1 import graph_pb2

#: Modules with buffers that training moves.
_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor that a module holds at one path, or at several."""

    tensor: Tensor
    #: The first is where its numbers are.
    paths: tuple[str, ...]
    is_persistent: bool = True

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter that could be trained."""
        return isinstance(self.tensor, nn.Parameter) and self.tensor.is_floating_point()


class States:
    """What a module holds; constants are added as they are met."""

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._held = {id(each.tensor): each for each in _held(root)}
        self._constants: dict[str, Tensor] = {}
        self._known = {id(each.tensor): each.paths[0] for each in self._held.values()}

    def path_of(self, tensor: Tensor) -> str:
        """The path of a parameter or buffer, or of any other tensor, which is then a constant."""
        found = self._known.get(id(tensor))
        if found is None:
            found = self._constant_path(tensor)
            self._constants[found] = tensor  # also keeps its id from being used again
            self._known[id(tensor)] = found
        return found

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor shares its memory with a parameter, a buffer or a constant."""
        memory = tensor.untyped_storage().data_ptr()
        held = (each.tensor for each in self._held.values())
        everything = itertools.chain(held, self._constants.values())
        return any(each.untyped_storage().data_ptr() == memory for each in everything)

    def held(self) -> list[Held]:
        """All of them, constants last; buffers that stand at several paths once for each."""
        constants = [
            Held(tensor, (path,), is_persistent=False) for path, tensor in self._constants.items()
        ]
        return [*_apart(self._held.values()), *constants]

    def _constant_path(self, tensor: Tensor) -> str:
        """That of an equal constant; else of the attribute that holds it, else a new one."""
        for path, known in self._constants.items():
            is_like = (known.shape, known.dtype) == (tensor.shape, tensor.dtype)
            if is_like and torch.equal(known, tensor):
                return path
        for path, module in self._root.named_modules():
            for name, value in vars(module).items():
                if value is tensor:
                    return f"{path}.{name}" if path else name
        taken = {path for each in self._held.values() for path in each.paths}
        taken.update(self._constants, (path for path, _ in self._root.named_modules()))
        names = (f"constant_{number}" for number in itertools.count())
        return next(name for name in names if name not in taken)


def _apart(held: Iterator[Held] | Mapping[int, Held] | object) -> Iterator[Held]:
    """Parameters with all their paths; of a buffer one entry per path, as no graph ties them."""
    for each in held:  # pyright: ignore[reportGeneralTypeIssues] - held states
        if each.is_parameter:
            yield each
        else:
            yield from (Held(each.tensor, (path,), each.is_persistent) for path in each.paths)


def _held(root: nn.Module) -> Iterator[Held]:
    """Every parameter and buffer by identity."""
    paths: dict[int, list[str]] = {}
    tensors: dict[int, Tensor] = {}
    parameters = root.named_parameters(remove_duplicate=False)
    buffers = root.named_buffers(remove_duplicate=False)
    for path, tensor in itertools.chain(parameters, buffers):
        _check(path, tensor)
        paths.setdefault(id(tensor), []).append(path)
        tensors[id(tensor)] = tensor
    _check_norms(root, paths)
    stored = root.state_dict().keys()
    for key, tensor in tensors.items():
        yield Held(tensor, tuple(paths[key]), is_persistent=paths[key][0] in stored)


def _check_norms(root: nn.Module, paths: Mapping[int, Sequence[str]]) -> None:
    """Refuses norms of two names: training would move the running figures of the first alone."""
    norms = (each for each in root.modules() if isinstance(each, _NORMS))
    for buffer in itertools.chain.from_iterable(each.buffers(recurse=False) for each in norms):
        if len(found := paths[id(buffer)]) > 1:
            problem = f"the running figures of one norm stand at {found[0]} and {found[1]}"
            raise refused(problem, "give the norm one name and call it twice, or make two norms")


def _check(path: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise refused(f"{path} has no shape yet", "run the module once before it is traced")
    if tensor.device.type != "cpu":
        raise refused(f"{path} is on {tensor.device}", "call module.cpu() first")
    data_type(tensor.dtype, path)


def spec_of(held: Held, path: str) -> graph_pb2.State:
    """What the format says of a state at one of its paths."""
    return graph_pb2.State(
        path=path,
        data_type=data_type(held.tensor.dtype, path),
        shape=held.tensor.shape,
        trainable=held.is_parameter,
        non_persistent=not held.is_persistent,
    )
