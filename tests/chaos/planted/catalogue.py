"""The planted bugs as data, read from catalogue.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug that the harness must find."""

    slug: str
    #: What is wrong, in the words of the failure file.
    text: str
    #: The module whose TIER finds it; empty where the parts it needs do not exist yet.
    finder: str = ""
    #: Recorded: a seed that found it. Once the code has changed it may mean another run, so that
    #: some seeds from here on are tried.
    seed: int = 0
    #: Where `finder` is empty: what is missing.
    missing: str = ""

    @property
    def patch(self) -> Path:
        """The bug itself."""
        return FOLDER / f"{self.slug}.patch"


def read() -> list[Bug]:
    """Every bug, in the order of the file; raises TypeError for a field that does not exist."""
    found = tomllib.loads((FOLDER / "catalogue.toml").read_text(encoding="utf-8"))
    return [Bug(**entry) for entry in found["bug"]]


def findable() -> list[Bug]:
    """Those whose parts exist."""
    return [bug for bug in read() if bug.finder]
