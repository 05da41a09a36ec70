"""How a program becomes ready: its forms checked and chosen, its buckets warm, its pace learnt."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from inferer.aside import Aside
from inferer.forms import choice as choices
from inferer.forms.choice import Choice
from inferer.forms.form import Columns, Inexpressible
from inferer.lane import INLINE_LIMIT_S
from inferer.preparation import Preparation, Structure
from inferer.program import NetProgram
from tests.inferer import artifacts
from tests.inferer.fakes import never
from twofold.features import Features, Scores
from twofold.golden import Golden
from twofold.tensors import Array
from twofold.v1.model_pb2 import Tolerance

SPEC = artifacts.regression()
ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)
GOLDEN = Golden({"x": ROWS}, {"value": ROWS.sum(1, keepdims=True)})
TOLERANCE = Tolerance(absolute=1e-4, relative=1e-4)


class FakeForm:
    """Sums of rows, off by a number."""

    def __init__(self, name: str, off: float = 0.0, most_rows: int | None = None) -> None:
        self.name = name
        self.most_rows = most_rows
        self.off = off
        self.sizes: list[int] = []

    def put(self, columns: Columns, rows: int) -> Array:
        assert self.most_rows is None or rows <= self.most_rows
        self.sizes.append(rows)
        return np.concatenate(columns[0])

    def compute(self, batch: Any) -> Scores:  # noqa: ANN401 - an array
        return batch.sum(1, keepdims=True) + np.float32(self.off)


class FakeOffers:
    """Forms that are there already; those named in `lacking` are not."""

    def __init__(self, *forms: FakeForm, aside: Sequence[FakeForm] = ()) -> None:
        self.forms = {form.name: form for form in (*forms, *aside)}
        self.names: Sequence[str] = [*[form.name for form in forms], "lacking"]
        self.names_aside: Sequence[str] = [form.name for form in aside]
        self.examples: list[int] = []

    def make(self, name: str, examples: Columns) -> FakeForm:
        self.examples.append(len(examples[0][0]))
        if name not in self.forms:
            raise Inexpressible("it is not there")
        return self.forms[name]


class FakeAside(Aside):
    """Keeps the work for the test."""

    def __init__(self) -> None:
        super().__init__("none")
        self.work: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None]) -> None:
        self.work.append(work)


def a_structure(choice: Choice | None = None) -> Structure:
    return Structure(Features(SPEC), kept.append, choice=choice)


kept: list[Choice] = []


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    kept.clear()


def ready(
    structure: Structure,
    offers: FakeOffers,
    eager: FakeForm | None = None,
    aside: Aside | None = None,
) -> NetProgram:
    eager = eager or FakeForm("eager")
    program = NetProgram(structure.features, eager, Preparation(structure, eager, offers, aside))
    program.replay(GOLDEN, TOLERANCE)
    program.warm_up(GOLDEN)
    return program


def fastest(monkeypatch: pytest.MonkeyPatch, **us: float) -> None:
    """Durations at every size, instead of measured ones."""

    def measure(runs: choices.Timings, clock: choices.Clock) -> choices.Timings:
        assert clock() <= clock()
        return {name: dict.fromkeys(sizes, us[name] * 1e-06) for name, sizes in runs.items()}

    monkeypatch.setattr(choices, "measure", measure)


def test_the_fastest_form_serves_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest(monkeypatch, eager=10, quick=2, slow=50)
    quick, structure = FakeForm("quick"), a_structure()

    program = ready(structure, FakeOffers(quick, FakeForm("slow")))

    assert program.forms.of(1) is quick
    assert program.told["form"] == "quick"
    assert "eager 10.0 us" in program.told["form_reason"]
    assert kept == [structure.choice]


def test_a_form_of_few_rows_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest(monkeypatch, eager=10, few=1, quick=2)
    few, quick = FakeForm("few", most_rows=5), FakeForm("quick")

    program = ready(a_structure(), FakeOffers(few, quick))

    assert [program.forms.of(rows).name for rows in (1, 4, 5, 64, 1000)] == [
        *("few", "few", "quick", "quick", "quick")
    ]


def test_a_form_that_answers_otherwise_is_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fastest(monkeypatch, eager=10, wrong=1)

    program = ready(a_structure(), FakeOffers(FakeForm("wrong", off=0.1)))

    assert program.told["form"] == "eager"
    assert "form answers otherwise" in caplog.text


def test_a_form_of_few_rows_is_checked_with_all_golden_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fastest(monkeypatch, eager=10, few=1)
    few = FakeForm("few", most_rows=4)

    ready(a_structure(), FakeOffers(few))

    assert few.sizes[:2] == [4, 2]


def test_every_bucket_is_run_before_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest(monkeypatch, eager=10, quick=1)
    quick = FakeForm("quick")

    program = ready(a_structure(), FakeOffers(quick))

    assert set(quick.sizes) >= set(choices.BUCKETS)
    assert 0 < program.expected_s(1) < 1


def test_the_next_version_measures_nothing_but_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest(monkeypatch, eager=10, quick=1)
    structure = a_structure()
    first = ready(structure, FakeOffers(FakeForm("quick")))
    for _ in range(20):
        first.run([{"x": ROWS[:1]}])
    monkeypatch.setattr(choices, "measure", never)
    quick, wrong = FakeForm("quick"), FakeForm("quick", off=1.0)

    second, third = ready(structure, FakeOffers(quick)), ready(structure, FakeOffers(wrong))

    assert second.forms.of(1) is quick
    assert second.expected_s(1) == first.expected_s(1)
    assert quick.sizes[1:] == list(structure.buckets)  # after the golden rows each once
    assert third.told == {
        "form": "eager",
        "form_reason": "quick does not give the golden answers",
    }
    assert len(kept) == 1


def test_a_choice_of_another_process_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "measure", never)
    structure = a_structure(Choice((("quick", 64),), "as remembered"))

    program = ready(structure, FakeOffers(FakeForm("quick")))

    assert program.told == {"form": "quick", "form_reason": "as remembered"}
    assert program.expected_s(1) < 1  # its pace is its own all the same


def test_what_is_made_aside_serves_once_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest(monkeypatch, eager=10, quick=5, compiled=1)
    compiled, aside = FakeForm("compiled"), FakeAside()
    offers = FakeOffers(FakeForm("quick"), aside=[compiled])

    program = ready(a_structure(), offers, aside=aside)

    assert program.told["form"] == "quick"
    aside.work.pop()()
    assert program.forms.of(1) is compiled
    assert program.told["form"] == "compiled"
    assert [choice.told() for choice in kept] == ["quick"]


@pytest.mark.parametrize(("off", "us"), [(0.1, 1.0), (0.0, 9.5)])
def test_what_is_made_aside_must_be_right_and_faster(
    monkeypatch: pytest.MonkeyPatch, off: float, us: float
) -> None:
    fastest(monkeypatch, eager=10, quick=5, compiled=us)
    aside = FakeAside()
    offers = FakeOffers(FakeForm("quick"), aside=[FakeForm("compiled", off)])
    program = ready(a_structure(), offers, aside=aside)

    aside.work.pop()()

    assert program.told["form"] == "quick"


def test_nothing_is_made_aside_for_a_version_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest(monkeypatch, eager=10, compiled=1)
    aside, offers = FakeAside(), FakeOffers(aside=[FakeForm("compiled")])
    program = ready(a_structure(), offers, aside=aside)
    made = len(offers.examples)

    del program
    aside.work.pop()()

    assert len(offers.examples) == made


def test_what_computes_on_a_device_never_runs_inline() -> None:
    eager = FakeForm("eager")
    structure = a_structure()
    preparation = Preparation(structure, eager, FakeOffers())
    program = NetProgram(structure.features, eager, preparation, is_inline=False)
    program.replay(GOLDEN, TOLERANCE)
    before = program.expected_s(1)
    program.warm_up(GOLDEN)

    assert before == float("inf")
    assert INLINE_LIMIT_S < program.expected_s(1) < 2 * INLINE_LIMIT_S


def test_a_batch_teaches_the_pace() -> None:
    program = ready(a_structure(), FakeOffers())
    before = program.expected_s(1)

    program.run([{"x": ROWS[:1]}])

    assert program.expected_s(1) != before


def test_why_a_form_is_not_offered_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    ready(a_structure(), FakeOffers())

    assert "form not offered" in caplog.text
