"""From a network that was just built to a program that may serve: replayed, its forms chosen, warm.

On the loader's thread. What versions of an equal graph share is measured once; each version's forms
must give its own golden answers, or they do not run. No torch.
"""

import logging
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from inferer.aside import Aside
from inferer.forms import choice as choices
from inferer.forms.choice import EAGER, Choice
from inferer.forms.form import Columns, Form, Inexpressible, Selected
from inferer.pace import Pace
from inferer.program import Inputs, NetProgram
from twofold.errors import Corrupt
from twofold.features import Features, Scores
from twofold.golden import Golden
from twofold.tensors import Array
from twofold.v1.model_pb2 import Tolerance

#: How long a batch of the largest bucket may take.
_WARM_UP_S = 0.1
#: How often a bucket is run; the fastest counts: anything slower was a core taken away.
_WARM_UP_RUNS = 5
#: Rows by which forms are built.
_EXAMPLES = 2
#: What a network may raise on rows that it cannot run.
_ERRORS = (RuntimeError, ValueError, IndexError)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Structure:
    """What versions of one graph and one preprocessing share; no weights."""

    features: Features
    #: Keeps a choice that was measured, for other processes.
    keep: Callable[[Choice], None]
    #: What forms are measured by.
    clock: choices.Clock = time.perf_counter
    #: What was measured, here or by another process.
    choice: Choice | None = None
    #: Batch sizes to warm up, ascending; none before the first version was warm.
    buckets: Sequence[int] = ()
    #: The pace of the version before.
    pace: Pace | None = None


class Offers(Protocol):
    """The other forms of a network than the eager one."""

    @property
    def names(self) -> Sequence[str]:
        """What is made while a version is loaded."""
        ...

    @property
    def names_aside(self) -> Sequence[str]:
        """What takes so long that it is made while the version serves."""
        ...

    def make(self, name: str, examples: Columns) -> Form:
        """A form, built by a few rows; raises Inexpressible where the network has none such."""
        ...


class Preparation:
    """See program.Preparation. For one program."""

    def __init__(
        self, structure: Structure, eager: Form, offers: Offers, aside: Aside | None = None
    ) -> None:
        self._structure = structure
        self._eager = eager
        self._offers = offers
        self._aside = aside
        self._tolerance = Tolerance()

    def replay(self, program: NetProgram, examples: Golden, tolerance: Tolerance) -> None:
        """See program.Preparation."""
        try:
            answers = program.answer(examples.inputs)
        except _ERRORS as error:
            raise Corrupt("golden replay: the network does not run on its own examples") from error
        examples.check(answers, tolerance)
        self._tolerance = tolerance

    def warm_up(self, program: NetProgram, examples: Golden) -> None:
        """See program.Preparation."""
        structure = self._structure
        if not structure.buckets:
            structure.buckets = self._buckets(program, examples)
        if structure.choice is None:
            forms = self._made(self._offers.names, examples)
            structure.choice = self._measured(forms, examples)
            structure.keep(structure.choice)
        else:
            forms = self._made(structure.choice.forms, examples)
        self._select(program, structure.choice, forms)
        program.pace = self._warm(program, examples)
        if self._aside is not None and self._offers.names_aside:
            # Weakly: a version that was unloaded meanwhile is let go of, and not compiled.
            self._aside.submit(partial(self._improve, weakref.ref(program), examples))

    def _improve(self, reference: "weakref.ref[NetProgram]", examples: Golden) -> None:
        """Gives a program that serves the forms that were made aside, where they are faster."""
        if reference() is None:
            return
        # The others anew: those of the program are at work.
        forms = self._made([*self._offers.names, *self._offers.names_aside], examples)
        choice = self._measured(forms, examples)
        program = reference()
        if program is not None and set(choice.forms) & set(self._offers.names_aside):
            self._select(program, choice, forms)
            _log.info("forms replaced", extra={"form": choice.told()})

    def _buckets(self, program: NetProgram, examples: Golden) -> Sequence[int]:
        """Fewer rows of a network that takes long for one."""
        one = resized(examples.inputs, 1)
        one_s = min(_seconds(partial(program.answer, one)) for _ in range(_WARM_UP_RUNS))
        return choices.sizes(one_s, _WARM_UP_S)

    def _made(self, names: Sequence[str], examples: Golden) -> dict[str, Form]:
        """The eager form and those of these names that can be made and give the golden answers."""
        features = self._structure.features
        few = features.columns([resized(examples.inputs, _EXAMPLES)])
        found = {EAGER: self._eager}
        known = {*self._offers.names, *self._offers.names_aside}
        for name in names:
            if name not in known:
                continue
            try:
                form = self._offers.make(name, few)
                check(form, features, examples, self._tolerance)
            except Inexpressible as error:
                _log.debug("form not offered", extra={"form": name, "why": str(error)})
            except (Corrupt, *_ERRORS) as error:
                _log.warning("form answers otherwise", extra={"form": name, "why": str(error)})
            else:
                found[name] = form
        return found

    def _measured(self, forms: Mapping[str, Form], examples: Golden) -> Choice:
        features = self._structure.features
        batches = {
            rows: features.columns([resized(examples.inputs, rows)])
            for rows in self._structure.buckets
        }
        runs = {
            name: {
                rows: partial(_compute, form, columns, rows)
                for rows, columns in batches.items()
                if form.most_rows is None or rows <= form.most_rows
            }
            for name, form in forms.items()
        }
        bounded = [name for name, form in forms.items() if form.most_rows is not None]
        return choices.decide(choices.measure(runs, self._structure.clock), bounded)

    def _select(self, program: NetProgram, choice: Choice, forms: Mapping[str, Form]) -> None:
        """A form that this version lacks is replaced by the eager one."""
        told = {"form": choice.told(), "form_reason": choice.reason}
        if missing := [name for name in choice.forms if name not in forms]:
            told = {"form": EAGER, "form_reason": f"{missing[0]} does not give the golden answers"}
            choice = choices.ALL_EAGER
        program.forms = Selected(
            [forms[name] for name, _ in choice.ranges], [rows for _, rows in choice.ranges[:-1]]
        )
        program.told = told

    def _warm(self, program: NetProgram, examples: Golden) -> Pace:
        """Runs every bucket; where the pace is known, once."""
        known = self._structure.pace
        runs = _WARM_UP_RUNS if known is None else 1
        points: list[tuple[int, float]] = []
        for rows in self._structure.buckets:
            run = partial(program.answer, resized(examples.inputs, rows))
            points.append((rows, min(_seconds(run) for _ in range(runs))))
        pace = Pace.through(points) if known is None else known.again()
        self._structure.pace = pace
        return pace


def resized(inputs: Inputs, count: int) -> dict[str, Array]:
    """So many rows, the given ones over and over."""
    return {name: np.resize(rows, (count, *rows.shape[1:])) for name, rows in inputs.items()}


def check(form: Form, features: Features, examples: Golden, tolerance: Tolerance) -> None:
    """Raises Corrupt unless a form gives the golden answers; in pieces where it must."""
    count = len(next(iter(examples.inputs.values())))
    size = min(count, form.most_rows or count)
    found: list[Mapping[str, Array]] = []
    for start in range(0, count, size):
        piece = {name: rows[start : start + size] for name, rows in examples.inputs.items()}
        rows = min(size, count - start)
        found.append(features.answers(_compute(form, features.columns([piece]), rows)))
    answers = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    examples.check(answers, tolerance)


def _compute(form: Form, columns: Columns, rows: int) -> Scores:
    return form.compute(form.put(columns, rows))


def _seconds(run: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    run()
    return time.perf_counter() - start_s
