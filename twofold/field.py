"""One field of a spec: its kind, its range, its default. Rows of the table in spec_fields."""

from dataclasses import dataclass
from typing import Literal

#: Most labels of a classification, and most values of a column that is taken for labels.
MAX_LABELS = 1000
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its kind, its range, its default and what it means."""

    kind: Literal["text", "integer", "real", "boolean", "duration", "choice"]
    doc: str
    low: float = 0
    high: float = 0
    #: Whether `low` or `high` itself is refused.
    is_low_open: bool = False
    is_high_open: bool = False
    #: The default, where it is the same for every spec; durations in seconds.
    default: float | None = None
    #: The default in words, where it is not.
    default_rule: str = ""
    #: Most entries, for a list.
    entries: int = 0
    #: A word that may stand for a number in TOML, and that number.
    word: tuple[str, int] | None = None

    def allowed(self) -> str:
        """The range in words; empty for text and choices, which are checked by meaning."""
        if self.kind not in ("integer", "real", "duration"):
            return ""
        unit = " seconds" if self.kind == "duration" else ""
        opening = "(" if self.is_low_open else "["
        closing = ")" if self.is_high_open else "]"
        kind = "whole number" if self.kind == "integer" else "number"
        low = self.low
        word = f', or "{self.word[0]}" ({self.word[1]})' if self.word else ""
        return f"{kind} in {opening}{_plain(low)}, {_plain(self.high)}{closing}{unit}{word}"

    def default_text(self) -> str:
        """The default in words."""
        if self.default is None:
            return self.default_rule
        if self.kind == "boolean":
            return str(self.default).lower()
        return _plain(self.default)

    def accepts(self, number: float) -> bool:
        """Whether a number lies in the range."""
        above = number > self.low if self.is_low_open else number >= self.low
        below = number < self.high if self.is_high_open else number <= self.high
        return above and below


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.16g}"


def required(kind: Literal["text", "choice"], doc: str) -> Field:
    """A field without a default."""
    return Field(kind, doc, default_rule="required")
