"""Training by a loss of the user's: the graph that is sent of it. torch is imported only then."""

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from twofold import spec as specs
from twofold.client.modules import NoTorch
from twofold.v1 import dataset_pb2, graph_pb2, spec_pb2


class _Examples(Protocol):
    def trace(
        self,
        loss: object,
        outputs: Sequence[graph_pb2.TensorSpec],
        target: graph_pb2.TensorSpec,
    ) -> graph_pb2.Graph: ...


def ready(loss: object) -> graph_pb2.Graph | None:
    """The graph of what is one, or was traced before; None for what is still to be traced."""
    if isinstance(loss, graph_pb2.Graph):
        return loss
    # What twofold.nets.trace_loss makes, which cannot be imported here.
    found: object = getattr(loss, "graph", None)
    return found if isinstance(found, graph_pb2.Graph) else None


def trace(
    loss: object, spec: spec_pb2.TrainingSpec, dataset: dataset_pb2.Dataset
) -> graph_pb2.Graph:
    """The graph of a function or module, for what the spec's network computes over the data.

    Raises:
        InvalidField: the spec does not fit the data.
        NoTorch: torch is not installed.
    """
    outputs, target = specs.operands_of_loss(spec, dataset.columns, dataset.row_count)
    try:
        # Not at the top: a client is without torch.
        examples = cast("_Examples", importlib.import_module("twofold.nets.loss_examples"))
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise NoTorch("a loss is traced with torch; install twofold[torch]") from error
    return examples.trace(loss, outputs, target)


def completed(spec: spec_pb2.TrainingSpec, graph: graph_pb2.Graph) -> spec_pb2.TrainingSpec:
    """The spec with the loss."""
    done = spec_pb2.TrainingSpec()
    done.CopyFrom(spec)
    done.training.loss_graph.CopyFrom(graph)
    return done
