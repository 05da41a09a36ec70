"""Load by h2load (Debian's nghttp2-client), and whether every answer of it was a success.

h2load takes a failed call of gRPC, which is HTTP's 200 with a status in the trailers, for a
success. So each server's own counters are compared with what h2load counted, or, of servers without
counters, the bytes of bodies, which a failed call has none of. Where they differ there is no
report.
"""

import re
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.serving_calls import Counts, body, counts
from bench.serving_servers import PATH, Running

H2LOAD = shutil.which("h2load") or ""
#: Of the first answer's size; the other answers' numbers may have fewer digits.
_LEAST_PART = 0.95
#: Of h2load's count; more is another's doing.
_MOST_PART = 1.05
_OPTIONS = ("-t", "1", "-H", "content-type: application/grpc", "-H", "te: trailers")


@dataclass(frozen=True, slots=True)
class Point:
    """Requests under way: on so many connections so many each."""

    connections: int
    streams: int
    #: Whether single latencies are written down, which costs h2load a system call each.
    is_logged: bool = False

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self.connections * self.streams


POINTS: Mapping[str, Point] = {
    "1": Point(1, 1, is_logged=True),
    "4 x 1": Point(4, 1, is_logged=True),
    "3 x 5": Point(3, 5),
    "16 x 1": Point(16, 1),
    "64 x 1": Point(64, 1),
    "4 x 16": Point(4, 16),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run of one server at one point came to."""

    #: Requests a second.
    rate: float
    #: Processor time of the server per request, in microseconds.
    cpu_us: float
    mean_ms: float
    #: Rows per forward pass, where the server counts them; else 0.
    batch: float
    #: Of logged points only, like p99_ms; else 0.
    p50_ms: float = 0.0
    p99_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """What h2load said."""

    answers: int
    seconds: float
    mean_ms: float
    body_bytes: int


class Load:
    """Loads one server. Belongs to one thread."""

    def __init__(self, server: Running, answer: bytes, folder: Path) -> None:
        """`answer` is the body of the server's first answer."""
        self.server = server
        self._answer_bytes = len(answer)
        self._body = folder / f"{server.name}.body"
        self._log = folder / f"{server.name}.log"
        self._body.write_bytes(body(server))

    def run(self, point: Point, seconds: int, warm_up_s: int) -> Sample:
        """One sample; raises SystemExit where an answer was no success."""
        if warm_up_s:
            self._h2load(point, warm_up_s, is_logged=False)
        before, cpu_s = self._counts(), self.server.cpu_s()
        told = self._h2load(point, seconds, is_logged=point.is_logged)
        cpu_s = self.server.cpu_s() - cpu_s
        self.server.check_alive()
        counted = self._counts()
        if counted is not None and before is not None:
            counted = counted.since(before)
        self._check(point, told, counted)
        p50, p99 = self._percentiles() if point.is_logged else (0.0, 0.0)
        return Sample(
            rate=told.answers / told.seconds,
            cpu_us=cpu_s / told.answers * 1e6,
            mean_ms=told.mean_ms,
            batch=_batch(counted),
            p50_ms=p50,
            p99_ms=p99,
        )

    def _counts(self) -> Counts | None:
        return counts(self.server) if self.server.kind.is_counting else None

    def _h2load(self, point: Point, seconds: int, *, is_logged: bool) -> Told:
        is_http1 = not self.server.kind.input_name
        connections, streams = point.connections, point.streams
        if is_http1:
            connections, streams = connections * streams, 1
        command = [H2LOAD, *_OPTIONS, "-d", str(self._body), "-D", str(seconds)]
        command += ["-c", str(connections), "-m", str(streams)]
        command += ["--h1"] if is_http1 else []
        if is_logged:
            self._log.unlink(missing_ok=True)
            command.append(f"--log-file={self._log}")
        path = "/inference" if is_http1 else PATH
        command.append(f"http://{self.server.address}{path}")
        done = subprocess.run(  # noqa: S603 - our own
            command, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"h2load ended with {done.returncode}: {done.stdout}{done.stderr}")
        return told(self.server.name, done.stdout, seconds)

    def _check(self, point: Point, told: Told, counted: Counts | None) -> None:
        if not right(told, point, self._answer_bytes, counted):
            raise SystemExit(
                f"{self.server.name}: h2load had {told.answers} answers with {told.body_bytes} "
                f"bytes ({self._answer_bytes} each are expected) and {point.in_flight} under way, "
                f"the server counted {counted}: not all were successes, so there is no report"
            )

    def _percentiles(self) -> tuple[float, float]:
        """p50 and p99 in milliseconds; a line is a time, an HTTP status and microseconds."""
        microseconds = np.loadtxt(self._log, dtype=np.int64, usecols=2)
        p50, p99 = (float(each) / 1000 for each in np.percentile(microseconds, (50, 99)))
        return p50, p99


def right(told: Told, point: Point, answer_bytes: int, counted: Counts | None) -> bool:
    """Whether every answer was a success, as far as is known.

    h2load goes on for a moment after it has ceased to count, then leaves calls open. Those are
    cancelled, which some servers count as failures.
    """
    most = told.answers * _MOST_PART + 2 * point.in_flight
    least_bytes = told.answers * answer_bytes
    if counted is None:
        return least_bytes <= told.body_bytes <= most * answer_bytes
    return (
        told.answers <= counted.successes <= most
        and counted.failures <= point.in_flight
        and told.body_bytes >= least_bytes * _LEAST_PART
    )


def _batch(counted: Counts | None) -> float:
    return counted.rows / counted.batches if counted is not None and counted.batches else 0.0


def told(name: str, output: str, seconds: int) -> Told:
    """Reads what h2load prints; raises SystemExit where it counted failures."""
    requests = _numbers(r"requests: (.*)", output)
    _, _, done, succeeded, failed, errored, late = requests[:7]
    if not done or done != succeeded or failed or errored or late:
        raise SystemExit(f"{name}: h2load had failures:\n{output}")
    body_bytes = _numbers(r"traffic: .*\((\d+)\) data", output)[0]
    return Told(done, seconds, _mean_ms(output), body_bytes)


def _numbers(pattern: str, text: str) -> Sequence[int]:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"h2load said something else than expected:\n{text}")
    return [int(each) for each in re.findall(r"\d+", found.group(1))]


def _mean_ms(output: str) -> float:
    """Of `time for request:  MIN  MAX  MEAN  SD  +/-SD`."""
    found = re.search(r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s) ", output)
    if found is None:
        raise SystemExit(f"h2load said no time of requests:\n{output}")
    return float(found.group(1)) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found.group(2)]


def median(samples: Sequence[Sample], field: str) -> tuple[float, float, float]:
    """Median, least and largest of a field."""
    values = [float(getattr(sample, field)) for sample in samples]
    return statistics.median(values), min(values), max(values)
