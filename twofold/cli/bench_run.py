"""What `twofold bench` does, from its options to points."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from twofold.cli import bench_rows
from twofold.errors import InvalidField
from twofold.loadgen import cost, points, requests
from twofold.loadgen.link import Link
from twofold.loadgen.measure import Plan, Target, measure, metadata
from twofold.loadgen.network import Sockets, locate, wake_precisely
from twofold.loadgen.points import Load, Point
from twofold.loadgen.requests import Asked
from twofold.loadgen.schedule import Arrivals
from twofold.oip import inference_pb2 as pb
from twofold.tensors import Array

Number = TypeVar("Number", int, float)
#: Most requests under way at once, or a second: a typing error should not open a million sockets.
MOST_UNDER_WAY, MOST_RATE = 10_000, 1_000_000
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


def loads(concurrency: str | None, rate: str | None, connections: int | None) -> list[Load]:
    """The points that two options name, of which one is given; raises InvalidField."""
    if rate is None:
        counts = _numbers("concurrency", concurrency or "", int, MOST_UNDER_WAY)
        return [points.closed(count, connections) for count in counts]
    if concurrency is not None:
        allowed = "either concurrency (a closed loop) or rate (an open one)"
        raise InvalidField.of("rate", f"{rate} beside concurrency {concurrency}", allowed)
    rates = _numbers("rate", rate, float, MOST_RATE)
    return [points.opened(number, connections) for number in rates]


def _numbers(field: str, text: str, kind: type[Number], most: int) -> list[Number]:
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < number <= most for number in found):
        allowed = f"numbers above 0, at most {most:,}, with commas between them"
        raise InvalidField.of(field, text, allowed)
    return found


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
