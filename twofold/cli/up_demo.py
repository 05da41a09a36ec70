"""`twofold up` and `twofold demo`: the commands that run servers."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from twofold.cli.group import require_servers

_ADDRESS = "HOST:PORT"


class Transport(StrEnum):
    """What carries predictions."""

    GRPCIO = "grpcio"
    NATIVE = "native"


def up(
    directory: Annotated[
        Path,
        typer.Option(
            "--dir", metavar="DIR", help="Folder of all data; locked while the cluster runs."
        ),
    ] = Path(".twofold"),
    train_address: Annotated[
        str, typer.Option(metavar=_ADDRESS, help="Where the trainer listens; port 0: any.")
    ] = "127.0.0.1:50051",
    infer_address: Annotated[
        str, typer.Option(metavar=_ADDRESS, help="Where the inferer listens; port 0: any.")
    ] = "127.0.0.1:8001",
    metrics_address: Annotated[
        str, typer.Option(metavar=_ADDRESS, help="The one metrics page of all parts.")
    ] = "127.0.0.1:8002",
    redis_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Use this Redis or Valkey (redis://, unix://); start none."
        ),
    ] = None,
    transport: Annotated[
        Transport | None, typer.Option(help="The inferer's gRPC implementation.")
    ] = None,
) -> None:
    """Run the whole cluster here: Valkey, the trainer with one worker, the inferer.

    Prints `ready train=... infer=... metrics=...` when all answer; Ctrl-C drains and ends it.

    Example: twofold up --dir /srv/twofold
    """
    require_servers()
    from twofold.cluster import up as cluster  # noqa: PLC0415 - the client alone has no servers

    options = cluster.Options(
        directory,
        train_address,
        infer_address,
        metrics_address,
        redis_url,
        None if transport is None else transport.value,
    )
    raise typer.Exit(cluster.run(options))


def demo(
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder with digits.toml and data/; default: the checkout's."
        ),
    ] = None,
) -> None:
    """Show everything once with real data: train, publish, predict, trace, replace a version.

    Runs a cluster of its own on free ports in a temporary folder, and leaves nothing behind.

    Example: twofold demo
    """
    require_servers()
    from twofold import demo as show  # noqa: PLC0415 - the client alone has no servers

    raise typer.Exit(show.run(examples))
