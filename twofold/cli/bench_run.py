"""What `twofold bench` does, from its options to points."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from twofold.cli import bench_rows
from twofold.loadgen import cost, requests
from twofold.loadgen.link import Link
from twofold.loadgen.measure import Plan, Target, measure, metadata
from twofold.loadgen.network import Sockets, locate, wake_precisely
from twofold.loadgen.points import Load, Point
from twofold.loadgen.requests import Asked
from twofold.loadgen.schedule import Arrivals
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

#: Seconds that a server may take to accept the first connection.
_LOCATE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What all points have in common."""

    address: str
    asked: Asked
    duration_s: float
    warmup_s: float
    timeout_s: float
    arrivals: Arrivals
    seed: int
    shapes: Mapping[str, Sequence[int]]
    data: str | None
    """A file of rows; None: random ones."""
    server_pid: int | None


@contextmanager
def prepared(options: Options) -> Generator[Callable[[Load], Point]]:
    """What measures a point, once the server has said what the model takes.

    Raises:
        TwofoldError: the server cannot be reached, or refuses the model; data that do not fit.
    """
    meter = cost.meter(options.server_pid)
    wake_precisely()
    target = Target(options.address, options.timeout_s)
    with Sockets[Link](*locate(options.address, _LOCATE_S)) as network:
        asked = options.asked
        described = metadata(network, target, asked.model, asked.version)
        plan = Plan(
            target=target,
            model=asked.model,
            version=asked.version,
            bodies=requests.bodies(asked, _batches(options, described)),
            duration_s=options.duration_s,
            warmup_s=options.warmup_s,
            arrivals=options.arrivals,
            seed=options.seed,
        )
        yield lambda load: measure(plan, load, network, meter)


def _batches(options: Options, described: pb.ModelMetadataResponse) -> list[dict[str, Array]]:
    rows = options.asked.rows
    if options.data is not None:
        return bench_rows.from_file(options.data, described, rows)
    return requests.random_batches(described.inputs, rows, options.shapes, options.seed)
