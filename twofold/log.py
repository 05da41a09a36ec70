"""Structured logs: JSON lines for machines, one readable line on a terminal."""

import json
import logging
import sys
import time
from typing import Literal, TextIO

#: Longer values are cut: a log line must stay a line.
_VALUE_LIMIT = 1_000
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def setup(
    component: str,
    level: str = "INFO",
    style: Literal["auto", "json", "human"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Sends the root logger to `stream` (standard error), in JSON unless it is a terminal."""
    out = stream or sys.stderr
    human = style == "human" or (style == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(HumanFormatter() if human else JsonFormatter(component))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {name: _plain(value) for name, value in extra.items()}


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float) else str(value)[:_VALUE_LIMIT]


class JsonFormatter(logging.Formatter):
    """One JSON object a line, ASCII only: no input can forge a line or colour a terminal."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, object] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "component": self._component,
            "logger": record.name,
            "message": record.getMessage()[:_VALUE_LIMIT],
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class HumanFormatter(logging.Formatter):
    """`12:00:00 info    message  key=value`, escaped to ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = "".join(f"  {name}={value}" for name, value in _fields(record).items())
        text = f"{record.getMessage()[:_VALUE_LIMIT]}{fields}"
        line = f"{clock} {record.levelname.lower():7} {text.encode('unicode_escape').decode()}"
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


def _timestamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
