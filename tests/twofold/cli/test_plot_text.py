"""Charts as text: what stands where, and how wide it is."""

import re

import pytest

from twofold.cli.curves import Chart, Curve
from twofold.cli.plot_text import draw
from twofold.errors import InvalidField

EPOCHS = tuple(range(1, 61))
FALLING = Curve("falling", EPOCHS, tuple(1 - (epoch - 1) / 59 for epoch in EPOCHS))
FLAT = Curve("flat", EPOCHS, (0.5,) * 60)
CHART = Chart("loss", (FALLING, FLAT))


def plain(chart: Chart, width: int = 80, *, is_log: bool = False) -> list[str]:
    return draw(chart, width, is_log=is_log, is_plain=True).splitlines()


def canvas(lines: list[str]) -> list[str]:
    """What stands right of the value axis, from the top."""
    return [line.partition(" | ")[2] for line in lines if re.match(r" *[-+.e0-9]+ \|", line)]


def test_a_falling_curve_goes_from_the_upper_left_to_the_lower_right() -> None:
    rows = canvas(plain(Chart("loss", (FALLING,))))
    places = [(row.find("a"), row.rfind("a")) for row in rows if "a" in row]

    assert places[0][0] == 0
    assert places[-1][1] == 80 - 24 - 1
    assert places == sorted(places)
    assert len(places) >= 14


def test_curves_without_colours_are_ascii_and_told_apart_by_letters() -> None:
    lines = plain(CHART)

    assert "\n".join(lines).isascii()
    assert lines[0] == "loss"
    assert lines[-2:] == ["  a  falling", "  b  flat"]
    assert any(row.count("b") > 40 for row in canvas(lines))


def test_curves_in_colours_are_dots_and_have_their_colour_in_the_legend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """plotille, too, looks whether there is a terminal; this says so."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    drawn = draw(CHART, 80, is_log=False, is_plain=False)
    first, second = drawn.splitlines()[-2:]

    assert any(0x2800 < ord(character) < 0x2900 for character in drawn)
    assert "\x1b[38;5;33m" in first
    assert first.endswith("falling")
    assert "\x1b[38;5;208m" in second
    assert drawn.count("\x1b[38;5;33m") > 20


@pytest.mark.parametrize("width", [44, 60, 80, 200])
def test_it_is_as_wide_as_the_terminal(width: int) -> None:
    coloured = draw(CHART, width, is_log=False, is_plain=False)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)

    for lines in (plain(CHART, width), bare.splitlines()):
        assert max(map(len, lines)) == width


def test_a_narrow_terminal_has_a_least_width() -> None:
    assert max(map(len, plain(CHART, 10))) == 44


def test_logarithms_are_labelled_by_the_values() -> None:
    curve = Curve("a", EPOCHS, tuple(10.0 ** -(epoch / 20) for epoch in EPOCHS))
    labels = [
        float(line.split("|")[0]) for line in plain(Chart("loss", (curve,)), is_log=True)[2:17]
    ]

    assert labels[0] == pytest.approx(1.0, rel=0.2)
    assert labels[-1] == pytest.approx(0.001, rel=0.5)
    assert labels[7] == pytest.approx(0.03, rel=0.3)
    with pytest.raises(InvalidField):
        plain(Chart("loss", (Curve("a", (1,), (0.0,)),)), is_log=True)


def test_no_loss_below_0_is_suggested() -> None:
    lines = plain(Chart("loss", (Curve("a", (1, 2), (1.0, 0.001)),)))
    signed = plain(Chart("r2", (Curve("a", (1, 2), (0.5, -0.5)),)))

    assert not any(line.lstrip().startswith("-0") for line in lines)
    assert any(line.lstrip().startswith("-0.5") for line in signed)


def test_a_peak_between_two_columns_is_drawn_all_the_same() -> None:
    """The curve has more epochs than the terminal has columns."""
    epochs = tuple(range(1, 1001))
    values = tuple(1.0 if epoch == 503 else 0.0 for epoch in epochs)

    rows = canvas(plain(Chart("loss", (Curve("a", epochs, values),))))

    assert any("a" in row for row in rows[:2])
    assert rows[-1].count("a") > 50


def test_a_curve_of_few_epochs_has_no_gaps() -> None:
    rows = canvas(plain(Chart("loss", (Curve("a", (1, 10), (0.5, 0.5)),))))

    assert max(row.count("a") for row in rows) == 56


def test_one_epoch_and_equal_values_are_drawn() -> None:
    one = canvas(plain(Chart("loss", (Curve("a", (7,), (0.5,)),))))
    zero = canvas(plain(Chart("loss", (Curve("a", (1, 2), (0.0, 0.0)),))))

    assert any("a" in row for row in one)
    assert any("a" in row for row in zero)


def test_a_long_name_stands_above_and_not_at_the_axis() -> None:
    lines = plain(Chart("balanced_accuracy", (FLAT,)))

    assert lines[0] == "balanced_accuracy"
    assert lines[1].split() == ["(value)", "^"]
