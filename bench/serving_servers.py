"""The servers of bench.serving: how each is started here, and what is known of it while it runs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from bench.serving_model import MODEL, OUTPUTS, WIDTH
from bench.warm_process import ROOT

_PEERS = ROOT / "bench" / "peers"
#: How long a server may take to end by itself.
_LEAVE_S = 10.0
_ON = "127.0.0.1"
PATH = "/inference.GRPCInferenceService/ModelInfer"
#: Of most requests that other servers put in one batch.
_MAX_BATCH = 64


@dataclass(frozen=True, slots=True)
class Site:
    """What servers start from."""

    #: Theirs to write in.
    folder: Path
    store: Path
    weights: Path
    #: A folder that answers at PATH with the bytes of a prediction, for a server of files.
    files: Path


@dataclass(frozen=True, slots=True)
class Start:
    """How a server is started."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to serve."""

    start: Callable[[Site, int], Start]
    #: In words, with versions.
    about: Callable[[], str]
    #: What it needs that may not be there: files, and the target of make that brings them.
    needs: Sequence[Path] = ()
    #: Name of the input tensor; empty: the row's bare bytes over HTTP/1.1.
    input_name: str = "INPUT"
    #: Whether it counts its successes and failures (ModelStatistics).
    is_counting: bool = False
    #: Whether it answers predictions.
    is_predicting: bool = True


def _python(name: str) -> Path:
    return ROOT / f".venv-bench-serving-{name}" / "bin" / "python"


def _asked(python: Path, code: str) -> str:
    return _said(str(python), "-c", code)


def _said(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own
        command, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _version_of(python: Path, package: str) -> str:
    return _asked(python, f"from importlib.metadata import version; print(version({package!r}))")


def _peer_environment(site: Site) -> dict[str, str]:
    return {"TWOFOLD_BENCH_WEIGHTS": str(site.weights), "TWOFOLD_BENCH_PEERS": str(_PEERS)}


def inferer_start(site: Site, port: int, transport: str, **changes: str) -> Start:
    """The inferer as it is delivered, but for addresses and the store."""
    settings = {
        "TWOFOLD_STORE": str(site.store),
        "TWOFOLD_REDIS_URL": "",
        "TWOFOLD_INFER_ADDRESS": f"{_ON}:{port}",
        "TWOFOLD_METRICS_ADDRESS": f"{_ON}:0",
        "TWOFOLD_LOG_STYLE": "json",
    }
    return Start([sys.executable, "-m", "inferer", "--transport", transport], settings | changes)


def _triton(site: Site, port: int) -> Start:
    python = _python("triton")
    facts = _asked(
        python,
        "import sys, sysconfig as s; print(s.get_config_var('LIBDIR'), s.get_path('purelib'), "
        "s.get_python_version(), ':'.join(sys.path[1:]), sep='\\n')",
    )
    libraries, packages, python_version, modules = facts.splitlines()
    shipped = Path(packages) / "pytriton" / "tritonserver"
    backends, repository = site.folder / "backends", site.folder / "repository"
    shutil.copytree(shipped / "backends" / "python", backends / "python")
    stub = backends / "python" / "triton_python_backend_stub"
    shutil.copy(shipped / "python_backend_stubs" / python_version / stub.name, stub)
    stub.chmod(0o755)
    model = repository / MODEL / "1"
    model.mkdir(parents=True)
    shutil.copy(_PEERS / "triton_app.py", model / "model.py")
    (model.parent / "config.pbtxt").write_text(
        f'name: "{MODEL}" backend: "python" max_batch_size: {_MAX_BATCH}\n'
        f'input [ {{ name: "INPUT" data_type: TYPE_FP32 dims: [ {WIDTH} ] }} ]\n'
        f'output [ {{ name: "OUTPUT" data_type: TYPE_FP32 dims: [ {OUTPUTS} ] }} ]\n'
        "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
        "dynamic_batching { max_queue_delay_microseconds: 0 }\n"
    )
    command = [
        str(shipped / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--grpc-address={_ON}",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
    ]
    environment = _peer_environment(site) | {
        "PYTHONPATH": modules,
        "LD_LIBRARY_PATH": f"{libraries}:{packages}/nvidia_pytriton.libs",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    return Start(command, environment)


def _mosec(site: Site, port: int) -> Start:
    command = [str(_python("mosec")), str(_PEERS / "mosec_app.py")]
    command += ["--address", _ON, "--port", str(port), "--log-level", "warning"]
    return Start(command, _peer_environment(site))


def _mlserver(site: Site, port: int) -> Start:
    model = site.folder / MODEL
    model.mkdir()
    others = f'"http_port": {free_port()}, "metrics_port": {free_port()}'
    (site.folder / "settings.json").write_text(
        f'{{"debug": false, "host": "{_ON}", "grpc_port": {port}, {others}, '
        '"parallel_workers": 0, "logging_settings": null}'
    )
    (model / "model-settings.json").write_text(
        f'{{"name": "{MODEL}", "implementation": "mlserver_app.Mlp", '
        f'"max_batch_size": {_MAX_BATCH}, "max_batch_time": 0.001, '
        '"parameters": {"version": "1"}, '
        f'"inputs": [{{"name": "INPUT", "datatype": "FP32", "shape": [-1, {WIDTH}]}}], '
        f'"outputs": [{{"name": "OUTPUT", "datatype": "FP32", "shape": [-1, {OUTPUTS}]}}]}}'
    )
    command = [str(_python("mlserver").with_name("mlserver")), "start", str(site.folder)]
    return Start(command, _peer_environment(site) | {"PYTHONPATH": str(_PEERS)})


def _prototype(site: Site, port: int) -> Start:
    module, address = "bench.peers.prototype_app", f"{_ON}:{port}"
    return Start([sys.executable, "-m", module, str(site.store), MODEL, "1", address])


def _echo(_: Site, port: int) -> Start:
    return Start([sys.executable, "-m", "bench.peers.echo_app", f"{_ON}:{port}"])


def _limit(site: Site, port: int) -> Start:
    command = [NGHTTPD, "-a", _ON, "--no-tls", "--trailer", "grpc-status: 0"]
    return Start([*command, "-d", str(site.files), str(port)])


def _program(name: str) -> str:
    """Where a Debian program is; administrators' ones are not in everybody's PATH."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or f"/usr/sbin/{name}"


NGHTTPD = _program("nghttpd")
KINDS: Mapping[str, Kind] = {
    "native": Kind(
        lambda site, port: inferer_start(site, port, "native"),
        lambda: f"Twofold {version('twofold')}, native transport (ngh2 {version('ngh2')})",
        input_name="x",
        is_counting=True,
    ),
    "grpcio": Kind(
        lambda site, port: inferer_start(site, port, "grpcio"),
        lambda: f"the same inferer over grpcio {version('grpcio')}",
        input_name="x",
        is_counting=True,
    ),
    "triton": Kind(
        _triton,
        lambda: (
            f"tritonserver of nvidia-pytriton {_version_of(_python('triton'), 'nvidia-pytriton')}, "
            "Python backend, dynamic batching, one instance"
        ),
        needs=(_python("triton"),),
        is_counting=True,
    ),
    "mosec": Kind(
        _mosec,
        lambda: (
            f"mosec {_version_of(_python('mosec'), 'mosec')}, batches of {_MAX_BATCH}, 1 ms, "
            "bare float32 over HTTP/1.1, one request per connection"
        ),
        needs=(_python("mosec"),),
        input_name="",
    ),
    "mlserver": Kind(
        _mlserver,
        lambda: (
            f"MLServer {_version_of(_python('mlserver'), 'mlserver')}, batches of {_MAX_BATCH}, "
            "1 ms, no workers"
        ),
        needs=(_python("mlserver"),),
    ),
    "prototype": Kind(
        _prototype,
        lambda: "bench/peers/prototype_app.py: ngh2 and the same engine, and nothing else",
        input_name="x",
    ),
    "echo": Kind(
        _echo,
        lambda: "the native transport answering each request with itself",
        input_name="x",
        is_predicting=False,
    ),
    "limit": Kind(
        _limit,
        lambda: f"{_said(NGHTTPD, '--version')}: a file with the bytes of a prediction",
        needs=(Path(NGHTTPD),),
        input_name="x",
        is_predicting=False,
    ),
}


class Ended(SystemExit):
    """A server that is not there any more."""


class Running:
    """A server's processes. Belongs to one thread."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.name = name
        self.kind = KINDS[name]
        self.address = f"{_ON}:{port}"
        self.pid = process.pid
        self._process = process
        self._log = log

    def check_alive(self) -> None:
        """Raises Ended with what it said last, where it has ended."""
        if self._process.poll() is not None:
            raise Ended(f"{self.name} has ended: {self.log_tail()}")

    def log_tail(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-2000:]

    def cpu_s(self) -> float:
        """Processor time of the process and all below it, since their beginning."""
        return sum(map(_cpu_s, _tree(self.pid)))

    def resident_bytes(self) -> int:
        """Memory of the process and all below it; what they share counts for each."""
        return sum(map(_resident_bytes, _tree(self.pid)))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _tree(int(child))
    return found


def _cpu_s(pid: int) -> float:
    """proc(5), /proc/PID/stat: utime and stime, fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port on which nobody listens, not even with SO_REUSEPORT."""
    with socket.socket() as probe:
        probe.bind((_ON, 0))
        return int(probe.getsockname()[1])


def is_there(name: str) -> bool:
    """Whether what a server needs is installed."""
    return all(path.exists() for path in KINDS[name].needs)


@contextmanager
def running(name: str, site: Site, start: Start | None = None) -> Generator[Running]:
    """Runs a server, in a group of its own, which ends with the block."""
    site.folder.mkdir()
    port = free_port()
    how = start or KINDS[name].start(site, port)
    if start is not None:
        port = int(start.environment["TWOFOLD_INFER_ADDRESS"].rpartition(":")[2])
    log = site.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own
            how.command,
            cwd=ROOT,
            env=os.environ | how.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(name, process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end_group(process)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """Whoever of the group is left; the group is this process's own session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
