"""How a completed spec is trained: network, tensors, optimizer and the process's settings."""
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.prepared import Prepared
from twofold.errors import WrongState
from twofold.nets import bounds, catalogue, tables
from twofold.nets.losses import LossFunction, loss_function
from twofold.nets.net import Net, init
from twofold.v1 import graph_pb2, spec_pb2

#: Below this many multiply-adds a step is over before a second thread has woken up, and two threads
#: stall for seconds where the other core is busy: such steps train on one thread.
SMALL_STEP = 20_000_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows resident on the device: the network's inputs and the target, indexed alike."""

    inputs: tuple[Tensor, ...]
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: Tensor) -> "Rows":
        """These rows, gathered on the device; `rows` is int64 [B]."""
        inputs = tuple(tensor.index_select(0, rows) for tensor in self.inputs)
        return Rows(inputs, self.target.index_select(0, rows))

    def piece(self, start: int, count: int) -> tuple[Tensor, ...]:
        """Views of the inputs of at most `count` rows from `start`."""
        return tuple(tensor[start : start + count] for tensor in self.inputs)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training loop needs, on its device."""

    spec: spec_pb2.TrainingSpec
    graph: graph_pb2.Graph
    net: Net
    loss: LossFunction
    optimizer: torch.optim.Optimizer
    training: Rows
    #: The held-out rows, or the training rows where none are held out.
    evaluation: Rows
    device: torch.device
    threads: int


def choose_device(asked: str) -> torch.device:
    """The device asked for; "": the best there is. Raises WrongState where it is not there."""
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise WrongState(
            "a CUDA device was asked for, and torch finds none; use TWOFOLD_DEVICE=cpu"
        )
    return torch.device(asked or ("cuda:0" if torch.cuda.is_available() else "cpu"))


def choose_threads(options: spec_pb2.TrainingOptions, step_cost: int, available: int) -> int:
    """CPU threads: the spec's, one for small steps, else what the worker has.

    `step_cost` is parameters times rows of a step, about its multiply-adds.
    """
    if options.HasField("threads"):
        return min(options.threads, available)
    return 1 if step_cost < SMALL_STEP else available


def settle_process(device: torch.device, threads: int, seed: int) -> None:
    """Sets what is global in the process, so that no job inherits it from the one before."""
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(mode=False)
    torch.manual_seed(seed)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def make(
    spec: spec_pb2.TrainingSpec, prepared: Prepared, device: torch.device, threads: int
) -> Recipe:
    """The recipe of a completed spec; sets the process up for it.

    Raises InvalidField where the network does not fit the data.
    """
    options = spec.training
    scaling = prepared.mean_D is not None
    graph = catalogue.build(spec.network, prepared.features, scaling, options.loss)
    batch_size = min(options.batch_size, len(prepared.training_rows))
    cost = bounds.parameter_count(graph) * batch_size
    threads = choose_threads(options, cost, threads)
    settle_process(device, threads, options.seed)
    net = init(graph, options.seed)
    _set_scale(net, prepared)
    net.to(device)
    training = _rows(prepared, prepared.training_rows, device)
    held_out = prepared.validation_rows
    return Recipe(
        spec=spec,
        graph=graph,
        net=net,
        loss=loss_function(options.loss, graph),
        optimizer=make_optimizer(net, options),
        training=training,
        evaluation=_rows(prepared, held_out, device) if len(held_out) else training,
        device=device,
        threads=threads,
    )


def make_optimizer(net: nn.Module, options: spec_pb2.TrainingOptions) -> torch.optim.Optimizer:
    """The optimizer of completed options over the network's parameters."""
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    rate, decay = options.learning_rate, options.weight_decay
    match options.optimizer:
        case spec_pb2.OPTIMIZER_SGD:
            return torch.optim.SGD(
                parameters,
                lr=rate,
                weight_decay=decay,
                momentum=options.momentum,
                nesterov=options.nesterov,
            )
        case spec_pb2.OPTIMIZER_ADAMW:
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
        case _:
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)


def _set_scale(net: Net, prepared: Prepared) -> None:
    if prepared.mean_D is None or prepared.deviation_D is None:
        return
    state = net.state_dict()
    state[tables.SCALE_MEAN].copy_(torch.from_numpy(prepared.mean_D))
    state[tables.SCALE_DEVIATION].copy_(torch.from_numpy(prepared.deviation_D))


def _rows(prepared: Prepared, rows: NDArray[np.int64], device: torch.device) -> Rows:
    arrays = (prepared.x_ND, prepared.category_NK)
    inputs = tuple(
        torch.from_numpy(array[rows]).to(device) for array in arrays if array is not None
    )
    return Rows(inputs, torch.from_numpy(prepared.target_N[rows]).to(device))
