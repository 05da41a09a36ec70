"""Points of a run, one after the other: open, warm up, measure, wait for the last, close."""

import contextlib
import gc
import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from twofold import __version__, rpc
from twofold.errors import Unavailable
from twofold.loadgen import schedule
from twofold.loadgen.answers import Checker, framing_problem
from twofold.loadgen.cost import Meter
from twofold.loadgen.link import Headers, Link, Work
from twofold.loadgen.loops import Closed, Loop, Open
from twofold.loadgen.network import UNIX_PREFIX, Network
from twofold.loadgen.points import Load, Point, point_of
from twofold.loadgen.pool import SWEEP_NS, Pool
from twofold.loadgen.requests import framed
from twofold.loadgen.schedule import Arrivals
from twofold.loadgen.tally import Tally, Window
from twofold.oip import inference_pb2 as pb

_SERVICE = "/inference.GRPCInferenceService/"
_NS_PER_S = 1_000_000_000
#: Longest that connections may take to come about.
CONNECT_S = 10.0
#: A window that never ends.
_ALWAYS = Window(0, 1 << 62)
_PREFIX_BYTES = 5


@dataclass(frozen=True, slots=True)
class Target:
    """The server, and how long its answers may take."""

    address: str
    timeout_s: float = 10.0

    def headers(self, method: str) -> Headers:
        """Of a request, as gRPC's clients send them."""
        is_unix = self.address.startswith(UNIX_PREFIX)
        return (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", f"{_SERVICE}{method}".encode()),
            (b":authority", b"localhost" if is_unix else self.address.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", f"twofold-bench/{__version__}".encode()),
            (b"grpc-timeout", f"{max(1, round(self.timeout_s * 1000))}m".encode()),
        )

    @property
    def timeout_ns(self) -> int:
        """The deadline of each request."""
        return round(self.timeout_s * _NS_PER_S)


@dataclass(frozen=True, slots=True)
class Plan:
    """What all points have in common."""

    target: Target
    model: str
    version: str
    bodies: Sequence[bytes]
    """gRPC messages that are sent in turn."""
    duration_s: float = 5.0
    warmup_s: float = 1.0
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0


def metadata(
    network: Network[Link], target: Target, model: str, version: str
) -> pb.ModelMetadataResponse:
    """What the server says of a model; it may take as long as connections may.

    Raises:
        TwofoldError: what the server answers instead; Unavailable where none does.
    """
    request = pb.ModelMetadataRequest(name=model, version=version)
    patient = Target(target.address, CONNECT_S)
    answer = _call(network, patient, "ModelMetadata", request.SerializeToString())
    return pb.ModelMetadataResponse.FromString(answer)


def _call(network: Network[Link], target: Target, method: str, message: bytes) -> bytes:
    """One call on a connection of its own."""
    answers: list[bytes] = []

    def keep(body: bytes) -> str:
        answers.append(body[_PREFIX_BYTES:])
        return framing_problem(body)

    tally = Tally(_ALWAYS)
    bodies = itertools.repeat(framed(message))
    work = Work(target.headers(method), bodies, keep, tally, target.timeout_ns, network.now_ns)
    pool = Pool(network, work, 1)
    with contextlib.closing(pool):
        _connect(network, pool, target)
        pool.links[0].start()
        pool.links[0].flush()
        while not pool.is_idle():
            pool.sweep(network.now_ns())
            for link in network.wait(SWEEP_NS):
                link.receive()
    for code, text in tally.failures.examples.items():
        raise rpc.from_code(code, text)
    return answers[0]


def _connect(network: Network[Link], pool: Pool, target: Target) -> None:
    """Opens all connections; raises Unavailable where one does not come about."""
    pool.open()
    end_ns = network.now_ns() + round(CONNECT_S * _NS_PER_S)
    while not pool.is_open():
        for link in network.wait(SWEEP_NS):
            link.receive()
            link.flush()
        is_late = network.now_ns() >= end_ns
        if (reason := pool.lost()) or is_late:
            raise Unavailable(
                f"the inferer at {target.address} cannot be reached: "
                f"{reason or f'no HTTP/2 within {CONNECT_S:g} s'}",
                resource=target.address,
            )


def measure(plan: Plan, load: Load, network: Network[Link], meter: Meter) -> Point:
    """One point.

    Raises:
        Unavailable: the connections cannot be had at all. Later losses are counted instead.
    """
    check = Checker(plan.model, plan.version)
    # What is sent before the connections stand is nothing; the window is known once they do.
    tally = Tally(_ALWAYS)
    work = Work(
        plan.target.headers("ModelInfer"),
        itertools.cycle(plan.bodies),
        check,
        tally,
        plan.target.timeout_ns,
        network.now_ns,
    )
    pool = Pool(network, work, load.connections)
    with contextlib.closing(pool), _no_collections():
        _connect(network, pool, plan.target)
        begin_ns = network.now_ns()
        start_ns = begin_ns + round(plan.warmup_s * _NS_PER_S)
        tally.window = window = Window(start_ns, start_ns + round(plan.duration_s * _NS_PER_S))
        arrivals_ns = schedule.times_ns(plan.arrivals, load.rate, begin_ns, plan.seed)
        loop = _loop(load, network, pool, work, arrivals_ns)
        loop.run_until(window.start_ns)
        before = meter()
        loop.run_until(window.end_ns)
        used = meter().since(before)
        loop.drain(window.end_ns)
    tally.versions.update(check.versions)
    return point_of(load, tally, used)


def _loop(
    load: Load, network: Network[Link], pool: Pool, work: Work, arrivals_ns: Iterator[int]
) -> Loop:
    """`arrivals_ns` are an open loop's; of a closed one nobody asks when."""
    if load.rate:
        return Open(network, pool, work, arrivals_ns)
    pool.share(load.concurrency)
    return Closed(network, pool)


@contextlib.contextmanager
def _no_collections() -> Generator[None]:
    """Nothing here makes circles, and looking for them takes milliseconds."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
