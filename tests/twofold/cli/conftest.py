"""The command line against the fake servers."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner, Result

from tests.twofold.client.serving import Servers, serve
from twofold.cli.app import app


@dataclass(frozen=True)
class CommandLine:
    """Runs commands of one pair of servers."""

    servers: Servers

    def __call__(self, *arguments: str, text: str | None = None) -> Result:
        """Runs `twofold ARGUMENTS` with `text` on standard input."""
        where = ["--train", self.servers.train, "--infer", self.servers.infer]
        return CliRunner().invoke(app, [*where, *arguments], input=text, catch_exceptions=False)


@pytest.fixture
def servers() -> Iterator[Servers]:
    with serve() as both:
        yield both


@pytest.fixture
def twofold(servers: Servers) -> CommandLine:
    return CommandLine(servers)
