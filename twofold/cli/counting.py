"""How many rows are done: a bar on a terminal, and a line at the end. On standard error."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from twofold.seams import SystemClock


class Count(Protocol):
    """Counts rows as they are done."""

    def __call__(self, rows: int, version: int) -> None:
        """Adds rows that a version answered."""
        ...


@contextmanager
def counted(total: int | None, *, is_silent: bool = False) -> Generator[Count]:
    """Counts within the block; `total` is None where only the end tells."""
    console, clock = Console(stderr=True), SystemClock()
    begun_s, done = clock.monotonic_s(), 0
    versions: set[int] = set()
    with Progress(
        TextColumn("rows"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=is_silent or not console.is_terminal,
    ) as progress:
        task = progress.add_task("rows", total=total)

        def count(rows: int, version: int) -> None:
            nonlocal done
            done += rows
            versions.add(version)
            progress.update(task, completed=done)

        yield count
    if is_silent:
        return
    took_s = max(clock.monotonic_s() - begun_s, 1e-9)
    by = ", ".join(map(str, sorted(versions)))
    text = f"{done:,} rows in {took_s:.1f} s ({done / took_s:,.0f} rows/s)"
    typer.echo(f"{text}, version {by}" if by else text, err=True)
