"""What every form is: columns of arrays in, scores out, a batch at a time."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twofold.features import Scores
from twofold.tensors import Array

#: Per argument of forward() the rows of each request of a batch.
Columns = Sequence[Sequence[Array]]


class Form(Protocol):
    """A network with its head. Runs one batch at a time, on any one thread.

    A batch is first put in place, then computed; nothing that `compute` answers is written again.
    """

    @property
    def name(self) -> str:
        """Of the forms of one network it is the only one of this name."""
        ...

    @property
    def most_rows(self) -> int | None:
        """Largest batch; None: any."""
        ...

    def put(self, columns: Columns, rows: int) -> Any:  # noqa: ANN401 - each form's own
        """The batch, ready to compute."""
        ...

    def compute(self, batch: Any) -> Scores:  # noqa: ANN401 - what `put` gave
        """The head's scores of the batch."""
        ...


class Inexpressible(Exception):
    """A network that a form cannot express; the text says why."""


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise function that may overwrite its operand."""

    name: str
    arguments: tuple[float | str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selected:
    """Forms by batch size, smallest first; the last one runs whatever is larger than `limits`."""

    forms: Sequence[Form]
    #: Largest batch of every form but the last, ascending.
    limits: Sequence[int] = ()

    def of(self, rows: int) -> Form:
        """The form that runs so many rows."""
        return self.forms[bisect.bisect_left(self.limits, rows)]
