"""What every command has in common: its client, and errors in one line."""

import importlib.util
from collections.abc import Sequence

import typer
from typer._click.core import Context  # typer's own name of it is a subclass
from typer.core import TyperGroup

from twofold import rpc
from twofold.cli.render import one_line
from twofold.client import Client, Connection
from twofold.errors import TwofoldError

#: Exit code after an error of a server or of the data; usage errors have 2, as everywhere.
FAILURE = 1
#: Exit code after Ctrl-C: 128 + SIGINT, as shells have it.
INTERRUPTED = 130
_BENCH_PACKAGES = ("ngh2",)
_ONNX_PACKAGES = ("torch", "safetensors", "onnx", "onnxruntime", "onnxscript")
_PLOT_PACKAGES = ("matplotlib",)
_SERVER_PACKAGES = ("grpc_health", "pydantic_settings", "torch", "redis", "safetensors")


class Group(TyperGroup):
    """A root command that tells a TwofoldError in one line on standard error."""

    def invoke(self, ctx: Context) -> object:
        """See TyperGroup; exits with FAILURE instead of raising TwofoldError."""
        try:
            return super().invoke(ctx)
        except TwofoldError as error:
            typer.echo(f"error: {rpc.reason_name(error)}: {one_line(error.message)}", err=True)
            raise typer.Exit(FAILURE) from error


def client_of(context: typer.Context) -> Client:
    """The client of a command's servers; the caller closes it."""
    return Client(connection=connection_of(context))


def connection_of(context: typer.Context) -> Connection:
    """Where a command's servers are."""
    connection = context.find_root().obj
    return connection if isinstance(connection, Connection) else Connection()


def require_servers() -> None:
    """Ends a command that needs the servers' packages where they are not installed."""
    _require("the servers", _SERVER_PACKAGES, "embedded")


def require_onnx() -> None:
    """Ends a command that exports to ONNX where its packages are not installed."""
    _require("torch and ONNX", _ONNX_PACKAGES, "onnx")


def require_plots() -> None:
    """Ends a command that draws to a file where what it draws with is not installed."""
    _require("what draws files", _PLOT_PACKAGES, "plot")


def require_bench() -> None:
    """Ends a command that puts load on a server where its HTTP/2 is not installed."""
    _require("HTTP/2 by libnghttp2", _BENCH_PACKAGES, "bench")


def _require(what: str, packages: Sequence[str], extra: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        typer.echo(
            f"this command needs {what}, and {', '.join(missing)} is not installed: "
            f"pip install 'twofold[{extra}]'",
            err=True,
        )
        raise typer.Exit(2)
