"""How a completed spec is trained: network, tensors, optimizer and the process's settings."""
# pyright: reportUnknownMemberType=false

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as parse
from torch import Tensor

from trainer import machine, optimizers, precision, warm_start
from trainer.average import Average
from trainer.machine import settle_process
from trainer.optimizers import Optimizers
from trainer.prepared import Prepared, measure_axis
from trainer.rows import IMAGE_RANK, Rows
from trainer.warm_start import Parent
from trainer.weights import positive_weights, row_weights
from twofold import spec_module
from twofold.errors import Corrupt, InvalidData, InvalidField
from twofold.nets import bounds, catalogue, tables
from twofold.nets.losses import GraphLoss, Loss, Results, first_of, loss_function
from twofold.nets.net import Net, init, load
from twofold.v1 import graph_pb2, spec_pb2

#: Dimensions of a batch of columns.
_TABLE_RANK = 2
#: Bytes of an array that go to the device at a time.
_PIECE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training loop needs, on its device."""

    spec: spec_pb2.TrainingSpec
    graph: graph_pb2.Graph
    net: Net
    loss: Loss
    #: How logits become the answers that metrics look at, also where raw ones are served;
    #: UNSPECIFIED where they say nothing of the task, so that there are none.
    head: graph_pb2.Head
    optimizer: Optimizers
    #: What is evaluated and published instead of `net`, where the spec asks for an average.
    average: Average | None
    training: Rows
    #: The held-out rows, or the training rows where none are held out.
    evaluation: Rows
    device: torch.device
    #: What was picked, for people; the step that is made of the recipe adds its part.
    choices: spec_pb2.Choices
    #: Rows of one pass through the network, at most.
    micro_batch_size: int

    @property
    def judged(self) -> Net:
        """The net that is evaluated and published."""
        return self.net if self.average is None else self.average.net

    def results_of(self, net: Net, rows: Rows) -> Results:
        """What the loss and the metrics see: the first of the net's outputs, or all of them."""
        found: Results = net(*rows.inputs)
        return found if self.loss.takes_all else first_of(found)

    def loss_of(self, rows: Rows) -> Tensor:
        """The mean loss of rows, with a graph for gradients, in the precision that was picked."""
        if self.choices.precision != "bf16":
            results = self.results_of(self.net, rows)
        else:
            with torch.autocast(self.device.type, torch.bfloat16):
                found = self.results_of(self.net, rows)
            results = _single(found) if isinstance(found, Tensor) else tuple(map(_single, found))
        return self.loss(results, rows.target, rows.weight)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the first weights come from; what is not given is drawn by the spec's seed."""

    #: Of a module of the user's, all of them, by path.
    weights: Mapping[str, Tensor] | None = None
    #: A version of which the network takes what fits.
    parent: Parent | None = None


SEEDED = Origin()


def _single(tensor: Tensor) -> Tensor:
    """Autocast's bfloat16 as float32; other types as they are."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def make(
    spec: spec_pb2.TrainingSpec,
    prepared: Prepared,
    device: torch.device,
    threads: int,
    origin: Origin = SEEDED,
) -> Recipe:
    """The recipe of a completed spec; sets the process up for it.

    Raises:
        InvalidField: the network does not fit the data, or the version that it begins from.
        Corrupt: the weights are not those of the graph.
    """
    options = spec.training
    graph = _graph(spec, prepared)
    net, first_weights = _network(graph, spec, prepared, origin)
    _require_parameters(net, options)
    # Parameters count where they are not in products, such as those of embeddings.
    row_cost = max(net.row_cost, bounds.parameter_count(graph))
    choices = choose(spec, row_cost, len(prepared.training_rows), device, threads)
    choices.warm_start = first_weights
    settle_process(
        device,
        choices.threads,
        options.seed,
        tf32=choices.precision == "tf32",
        deterministic=options.deterministic,
    )
    _place(net, graph, device)
    weight_N = row_weights(options, prepared)
    inputs = _inputs(prepared, graph)
    training = _rows(prepared, inputs, weight_N, prepared.training_rows, device)
    held_out = prepared.validation_rows
    return Recipe(
        spec=spec,
        graph=graph,
        net=net,
        loss=_loss(options, graph, prepared, device),
        head=spec_module.judging_head(graph, prepared.features),
        optimizer=optimizers.make(net, options, device),
        average=_average(net, options),
        training=training,
        evaluation=(
            _rows(prepared, inputs, weight_N, held_out, device) if len(held_out) else training
        ),
        device=device,
        choices=choices,
        micro_batch_size=choices.micro_batch_size,
    )


def no_such_row(error: IndexError) -> InvalidData:
    """Of a network that looks up, by the data, what its tables do not have; a CPU says so."""
    return InvalidData(
        f"the network looks up a row that it does not have ({error}); identifiers go from 0 to the "
        "rows of the module's embedding less 1, and a text that training did not see is -1"
    )


def read_weights(path: str) -> dict[str, Tensor] | None:
    """The tensors of a safetensors file; None without one; raises Corrupt, OSError."""
    if not path:
        return None
    try:
        return parse(Path(path).read_bytes())
    except SafetensorError as error:
        raise Corrupt("the network's weights cannot be read") from error


def _graph(spec: spec_pb2.TrainingSpec, prepared: Prepared) -> graph_pb2.Graph:
    graph = graph_pb2.Graph()
    if spec.network.HasField("graph"):
        graph.CopyFrom(spec.network.graph)
    else:
        built = catalogue.build(
            spec.network, prepared.features, prepared.is_scaled, spec.training.loss
        )
        graph.CopyFrom(built)
    graph.frozen.extend(
        path
        for path in warm_start.frozen_paths(graph, spec.network.frozen)
        if path not in graph.frozen
    )
    return graph


def _loss(
    options: spec_pb2.TrainingOptions,
    graph: graph_pb2.Graph,
    prepared: Prepared,
    device: torch.device,
) -> Loss:
    if options.loss == spec_pb2.LOSS_CUSTOM:
        return GraphLoss(options.loss_graph, device)
    weights_K = positive_weights(options, prepared)
    return loss_function(
        options.loss,
        graph,
        options,
        is_multilabel=prepared.features.task == spec_pb2.TASK_MULTILABEL,
        positive_K=None if weights_K is None else torch.from_numpy(weights_K).to(device),
    )


def _network(
    graph: graph_pb2.Graph, spec: spec_pb2.TrainingSpec, prepared: Prepared, origin: Origin
) -> tuple[Net, str]:
    """The net with its first weights, on the CPU, and what it took of a version, for people."""
    if origin.weights is None:
        net = init(graph, spec.training.seed)
    else:
        net = load(graph, origin.weights).train()
    _set_scale(net, prepared)
    if origin.parent is None:
        return net, ""
    return net, warm_start.take(origin.parent, prepared.features, net)


def choose(
    spec: spec_pb2.TrainingSpec,
    row_cost: int,
    row_count: int,
    device: torch.device,
    threads: int,
) -> spec_pb2.Choices:
    """What to pick for a completed spec on this device.

    Args:
        spec: the completed spec.
        row_cost: multiply-adds per row.
        row_count: training rows.
        device: what trains.
        threads: the worker's.
    """
    options = spec.training
    batch_size = min(options.batch_size, row_count)
    micro_batch_size = min(options.micro_batch_size or batch_size, batch_size)
    cost = row_cost * micro_batch_size
    count, threads_reason = machine.choose_threads(options, cost, threads)
    chosen = precision.choose(options.precision, machine.facts(device, cost, spec.data.task))
    name = spec_pb2.Optimizer.Name(options.optimizer).removeprefix("OPTIMIZER_").lower()
    return spec_pb2.Choices(
        device=str(device),
        threads=count,
        threads_reason=threads_reason,
        precision=chosen.name,
        precision_reason=chosen.reason,
        optimizer=f"{name}, {optimizers.implementation(options.optimizer)}",
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
    )


def _require_parameters(net: Net, options: spec_pb2.TrainingOptions) -> None:
    if options.epochs and not any(one.requires_grad for one in net.parameters()):
        allowed = "0: the network has no parameters to train"
        raise InvalidField.of("training.epochs", options.epochs, allowed)


def _average(net: Net, options: spec_pb2.TrainingOptions) -> Average | None:
    if not options.HasField("ema_decay"):
        return None
    return Average(copy.deepcopy(net), net, options.ema_decay)


def _place(net: Net, graph: graph_pb2.Graph, device: torch.device) -> None:
    """Moves the net; images stand channels last, which convolutions of every device prefer."""
    net.to(device)
    if any(len(spec.shape) == IMAGE_RANK for spec in graph.inputs):
        net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in the stub


def _resident(array: NDArray[np.generic], rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Rows of an input on the device; images stand channels last.

    Arrays go there piece by piece: beside what was read and what is resident nothing is as large.
    """
    if array.ndim <= _TABLE_RANK:
        return torch.from_numpy(array[rows]).to(device)
    is_image = array.ndim == IMAGE_RANK
    layout = torch.channels_last if is_image else torch.contiguous_format
    kind = torch.from_numpy(array[:0]).dtype
    shape = (len(rows), *array.shape[1:])
    tensor = torch.empty(shape, dtype=kind, device=device, memory_format=layout)
    step = max(1, _PIECE_BYTES // max(array[:1].nbytes, 1))
    for start in range(0, len(rows), step):
        piece = array[rows[start : start + step]]
        tensor[start : start + step].copy_(torch.from_numpy(piece))
    return tensor


def _set_scale(net: Net, prepared: Prepared) -> None:
    """Sets what the net standardises by, which has its states' shape: see `_array_figures`."""
    if not prepared.is_scaled:
        return
    state = net.state_dict()
    mean, deviation = state[tables.SCALE_MEAN], state[tables.SCALE_DEVIATION]
    if prepared.mean_D is not None and prepared.deviation_D is not None:
        figures = (prepared.mean_D, prepared.deviation_D)
    else:
        figures = _array_figures(prepared, tuple(mean.shape))
    mean.copy_(torch.from_numpy(figures[0]).view(mean.shape))
    deviation.copy_(torch.from_numpy(figures[1]).view(deviation.shape))


def _array_figures(
    prepared: Prepared, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of the one array of a net, for states of this shape.

    A state is broadcast over rows: [C, 1, 1] over images, [F] over sequences [T, F]. The one
    dimension that is not 1 says along which axis there are figures; without one there is one.
    """
    (array,) = prepared.arrays.values()
    places = [place for place, size in enumerate(shape) if size != 1]
    axis = array.ndim - len(shape) + places[0] if places else None
    return measure_axis(array.astype(np.float32, copy=False), prepared.training_rows, axis)


def _inputs(prepared: Prepared, graph: graph_pb2.Graph) -> list[NDArray[np.generic]]:
    """The net's inputs, every row of them, in the order of its arguments."""
    found = prepared.inputs()
    return [found[spec.name] for spec in graph.inputs]


def _rows(
    prepared: Prepared,
    arrays: Sequence[NDArray[np.generic]],
    weight_N: NDArray[np.float32] | None,
    rows: NDArray[np.int64],
    device: torch.device,
) -> Rows:
    inputs = tuple(_resident(array, rows, device) for array in arrays)
    weight = None if weight_N is None else torch.from_numpy(weight_N[rows]).to(device)
    return Rows(inputs, torch.from_numpy(prepared.target_N[rows]).to(device), weight)
