"""How a completed spec is trained: network, tensors, optimizer and the process's settings."""
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer import optimizers
from trainer.average import Average
from trainer.optimizers import Optimizers
from trainer.prepared import Prepared
from trainer.rows import Rows
from trainer.weights import row_weights
from twofold.errors import WrongState
from twofold.nets import bounds, catalogue, tables
from twofold.nets.losses import LossFunction, loss_function
from twofold.nets.net import Net, init
from twofold.v1 import graph_pb2, spec_pb2

#: Below this many multiply-adds a step is over before a second thread has woken up, and two threads
#: stall for seconds where the other core is busy: such steps train on one thread.
SMALL_STEP = 20_000_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training loop needs, on its device."""

    spec: spec_pb2.TrainingSpec
    graph: graph_pb2.Graph
    net: Net
    loss: LossFunction
    optimizer: Optimizers
    #: What is evaluated and published instead of `net`, where the spec asks for an average.
    average: Average | None
    training: Rows
    #: The held-out rows, or the training rows where none are held out.
    evaluation: Rows
    device: torch.device
    threads: int
    #: Rows of one pass through the network, at most.
    micro_batch_size: int

    @property
    def judged(self) -> Net:
        """The net that is evaluated and published."""
        return self.net if self.average is None else self.average.net

    def loss_of(self, rows: Rows) -> Tensor:
        """The mean loss of rows, with a graph for gradients."""
        return self.loss(self.net(*rows.inputs), rows.target, rows.weight)


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
    average = None
    if options.HasField("ema_decay"):
        average = Average(init(graph, options.seed).to(device), net, options.ema_decay)
    weight_N = row_weights(options, prepared)
    training = _rows(prepared, weight_N, prepared.training_rows, device)
    held_out = prepared.validation_rows
    return Recipe(
        spec=spec,
        graph=graph,
        net=net,
        loss=loss_function(options.loss, graph, options),
        optimizer=optimizers.make(net, options, device),
        average=average,
        training=training,
        evaluation=_rows(prepared, weight_N, held_out, device) if len(held_out) else training,
        device=device,
        threads=threads,
        micro_batch_size=min(options.micro_batch_size or batch_size, batch_size),
    )


def _set_scale(net: Net, prepared: Prepared) -> None:
    if prepared.mean_D is None or prepared.deviation_D is None:
        return
    state = net.state_dict()
    state[tables.SCALE_MEAN].copy_(torch.from_numpy(prepared.mean_D))
    state[tables.SCALE_DEVIATION].copy_(torch.from_numpy(prepared.deviation_D))


def _rows(
    prepared: Prepared,
    weight_N: NDArray[np.float32] | None,
    rows: NDArray[np.int64],
    device: torch.device,
) -> Rows:
    arrays = (prepared.x_ND, prepared.category_NK)
    inputs = tuple(
        torch.from_numpy(array[rows]).to(device) for array in arrays if array is not None
    )
    weight = None if weight_N is None else torch.from_numpy(weight_N[rows]).to(device)
    return Rows(inputs, torch.from_numpy(prepared.target_N[rows]).to(device), weight)
