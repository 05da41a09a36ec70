"""The bench of the engine says what was measured."""

import pytest

from bench import engine


def test_each_size_has_a_line_with_its_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_ROUND_S", 0.001)

    first, *lines = engine.lines_of("MLP 64-128-128-10", rounds=1)

    assert first.startswith("MLP 64-128-128-10: ")
    assert [line.split()[:2] for line in lines] == [[str(rows), "rows"] for rows in engine.ROWS]
    for line in lines:
        eager, chosen = (float(line.split(name)[1].split()[0]) for name in ("eager", "chosen"))
        assert eager > 0
        assert float(line.split()[-2]) == pytest.approx(eager / chosen, abs=0.05, rel=0.05)
