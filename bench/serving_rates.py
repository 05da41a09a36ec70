"""Rates of bench.serving: every server at the same point in turns, round after round."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import serving_model as model
from bench.serving_calls import first_answer
from bench.serving_h2load import POINTS, Load, Sample
from bench.serving_servers import KINDS, PATH, Ended, Running, Site, is_there, running
from twofold.store import LocalStore
from twofold.tensors import Array

#: What is measured; the others are what it is compared with.
OWN = "native"
OTHERS = tuple(name for name in KINDS if name != OWN)
#: Others unless somebody asks for more.
USUAL = tuple(name for name in OTHERS if name != "mlserver")
_IDLE_S = 1.0
_STARTS = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    rounds: int
    #: Of one sample, and before each, in seconds.
    duration_s: int
    warm_up_s: int
    parts: Sequence[str]
    others: Sequence[str]
    reloads: int
    memory_reloads: int
    pause_s: float
    output: Path | None


#: By point and server, round by round.
Samples = Mapping[tuple[str, str], Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured."""

    servers: Sequence[str]
    samples: Samples
    #: Cores that all servers took while nobody asked them.
    idle_cores: float


def measure(options: Options, folder: Path) -> Rates:
    """All samples; raises SystemExit where a server answers wrongly or fails."""
    names = [name for name in (OWN, *options.others) if _is_usable(name)]
    site = _site(folder)
    spec, net = model.spec_and_net()
    expected = model.answer(spec, net, {"x": model.row()})["value"]
    samples: dict[tuple[str, str], list[Sample]] = {}
    with ExitStack() as stack:
        loads: dict[str, Load] = {}
        servers: list[Running] = []
        for name in names:
            server, answer = _begun(name, site, expected, stack)
            if name == OWN:
                _write_file(site.files, answer)
            loads[name] = Load(server, answer, folder)
            servers.append(server)
            print(f"{name} answers", flush=True)
        idle = _idle_cores(servers)
        for turn, point, name in _order(options.rounds, names):
            sample = loads[name].run(POINTS[point], options.duration_s, options.warm_up_s)
            samples.setdefault((point, name), []).append(sample)
            print(
                f"round {turn + 1}, {point}, {name}: {sample.rate:,.0f}/s, {sample.cpu_us:.0f} us",
                flush=True,
            )
    return Rates(names, samples, idle)


def _begun(name: str, site: Site, expected: Array, stack: ExitStack) -> tuple[Running, bytes]:
    """A server that answers, and its answer; one that falls over as it starts is started again.

    Triton's does now and then: a segmentation fault in its own threads, before the first request.
    """
    for turn in range(_STARTS):
        own = Site(site.folder / f"{name}-{turn}", site.store, site.weights, site.files)
        with ExitStack() as inner:
            server = inner.enter_context(running(name, own))
            try:
                answer = first_answer(server, expected)
            except Ended as error:
                print(f"{name} fell over as it started: {error}", flush=True)
                continue
            stack.enter_context(inner.pop_all())
            return server, answer
    raise SystemExit(f"{name} fell over {_STARTS} times as it started")


def _order(rounds: int, names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Every other round backwards, so that nobody always follows the same one."""
    for turn in range(rounds):
        for point in POINTS:
            for name in names if turn % 2 == 0 else reversed(names):
                yield turn, point, name


def _is_usable(name: str) -> bool:
    if is_there(name):
        return True
    if name == "limit":
        print("limit: there is no nghttpd (Debian's nghttp2-server), so it is left out")
        return False
    raise SystemExit(f"{name} is not installed: run `make bench-serving`, or choose --against")


def _site(folder: Path) -> Site:
    site = Site(folder, folder / "store", folder / "weights.npz", folder / "files")
    spec, net = model.spec_and_net()
    model.put(LocalStore(site.store), (spec, net))
    model.write_weights(net, site.weights)
    return site


def _write_file(root: Path, answer: bytes) -> None:
    """Where a server of files finds an answer."""
    path = root / PATH.lstrip("/")
    shutil.rmtree(root, ignore_errors=True)
    path.parent.mkdir(parents=True)
    path.write_bytes(answer)


def _idle_cores(servers: Sequence[Running]) -> float:
    before = sum(server.cpu_s() for server in servers)
    time.sleep(_IDLE_S)
    return (sum(server.cpu_s() for server in servers) - before) / _IDLE_S
