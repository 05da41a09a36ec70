import io
import json
import logging
from collections.abc import Iterator

import pytest

from twofold import log


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_one_json_object_whatever_is_logged() -> None:
    out = io.StringIO()
    log.setup("trainer", style="json", stream=out)

    attack = 'x\n{"level": "error"}\x1b[31m\u202e' + "y" * 5_000
    logging.getLogger("t").info("job created", extra={"job": attack, "rows": 3, "ok": True})

    (line,) = out.getvalue().splitlines()
    parsed = json.loads(line)
    assert line.isascii()
    assert parsed["component"] == "trainer"
    assert parsed["message"] == "job created"
    assert parsed["rows"] == 3
    assert parsed["ok"] is True
    assert len(parsed["job"]) == 1_000


def test_a_traceback_stays_in_its_line() -> None:
    out = io.StringIO()
    log.setup("t", stream=out)

    try:
        int("why")
    except ValueError:
        logging.getLogger("t").exception("failed")

    (line,) = out.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["traceback"]


def test_the_human_form_cannot_colour_a_terminal() -> None:
    out = io.StringIO()
    log.setup("t", style="human", stream=out)

    logging.getLogger("t").warning("version bad", extra={"model": "\x1b[31mred\n"})

    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1
    assert "model=\\x1b[31mred\\n" in out.getvalue()


def test_less_than_the_level_is_dropped() -> None:
    out = io.StringIO()
    log.setup("t", level="WARNING", style="json", stream=out)

    logging.getLogger("t").info("quiet")

    assert not out.getvalue()
