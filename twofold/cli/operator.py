"""`twofold reconcile` and `twofold collect`: an operator's work on store and queue themselves."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twofold.cli import render
from twofold.cli.group import require_servers
from twofold.principal import LOCAL
from twofold.seams import World
from twofold.store import LocalStore

if TYPE_CHECKING:
    from twofold.config import TrainerSettings
    from twofold.lifecycle import Ledger
    from twofold.queue import RedisQueue

Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="Folder of a cluster that `twofold up` runs; default: TWOFOLD_STORE, _REDIS_URL.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def reconcile(directory: Directory = None, *, as_json: AsJson = False) -> None:
    """Rebuild the queue from the store: jobs that Redis lost are queued again or ended.

    Safe at any time, beside running services, which do this by themselves when they see that Redis
    restarted. Prints how many jobs the store has, how many were queued, how many were ended.

    Example: twofold reconcile --dir .twofold
    """
    settings = _settings(directory)
    done = asyncio.run(_reconcile(settings))
    typer.echo(json.dumps(done) if as_json else render.pairs(done))


def collect(
    directory: Directory = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go; remove nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove from the store what nobody needs any more, as the trainer does every hour.

    What goes is set by TWOFOLD_KEEP_VERSIONS, TWOFOLD_KEEP_JOBS_DAYS and TWOFOLD_COLLECT_GRACE_S.

    Example: twofold collect --dir .twofold --dry-run
    """
    settings = _settings(directory)
    removals = asyncio.run(_collect(settings, dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps(removals, indent=2))
        return
    if removals:
        rows = ((one["kind"], one["name"], one["why"]) for one in removals)
        typer.echo(render.table(("kind", "name", "why"), rows))
    typer.echo(f"{len(removals)} {'would go' if dry_run else 'removed'}")


def _settings(directory: Path | None) -> "TrainerSettings":
    """The trainer's settings, with store and queue of `directory` if that is given."""
    require_servers()
    from twofold import config  # noqa: PLC0415 - the client alone has no servers
    from twofold.cluster.valkey import url  # noqa: PLC0415 - likewise

    try:
        settings = config.read(config.TrainerSettings)
    except config.UnusableSettings as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    if directory is None:
        return settings
    folder = directory.absolute()
    where = {"store": folder / "store", "redis_url": url(folder / "valkey.sock")}
    return settings.model_copy(update=where)


async def _reconcile(settings: "TrainerSettings") -> dict[str, object]:
    async with _opened(settings) as (_, ledger, _):
        return asdict(await ledger.reconcile())


async def _collect(settings: "TrainerSettings", *, dry_run: bool) -> list[dict[str, object]]:
    from twofold import housekeeping  # noqa: PLC0415 - the client alone has no servers

    async with _opened(settings) as (store, _, queue):
        place = housekeeping.Place(store, queue, World(), LOCAL.tenant)
        act = housekeeping.survey if dry_run else housekeeping.collect
        removals = await act(place, settings.collector_policy)
    return [{"kind": one.kind, "name": one.name, "why": one.why} for one in removals]


@contextlib.asynccontextmanager
async def _opened(
    settings: "TrainerSettings",
) -> "AsyncGenerator[tuple[LocalStore, Ledger, RedisQueue]]":
    """A store and the queue that belongs to it; anything else is refused."""
    from twofold import identity  # noqa: PLC0415 - the client alone has no servers
    from twofold.config import UnusableSettings  # noqa: PLC0415 - likewise
    from twofold.lifecycle import Ledger  # noqa: PLC0415 - likewise
    from twofold.queue import RedisQueue  # noqa: PLC0415 - likewise

    store = LocalStore(settings.store)
    if identity.read(store) is None:
        typer.echo(
            f"TWOFOLD_STORE is {str(settings.store)!r}: no trainer has a store there; is it "
            "mistyped, or not mounted?",
            err=True,
        )
        raise typer.Exit(2)
    async with RedisQueue(settings.redis_url) as queue:
        ledger = Ledger(store, queue, World(), settings.job_policy)
        try:
            await ledger.pair()
        except UnusableSettings as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
        yield store, ledger, queue
