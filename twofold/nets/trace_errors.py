"""What a module cannot be traced for, told by the user's own line. No torch."""

import importlib.util
import inspect
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import cast

from twofold.errors import InvalidField, shorten

_PLUGIN = "or let an operator's plugin build it from permitted parts, see twofold.nets.plugin"
_PACKAGE = str(Path(__file__).parents[1])


class InvalidModule(InvalidField):
    """A module cannot become a graph.

    Fields `file`, `line` and `code` say where, unless it is no line of the user's that is wrong.
    """


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the user's."""

    file: str
    number: int

    @property
    def code(self) -> str:
        """Its text."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def refused(problem: str, way_out: str, line: Line | None = None) -> InvalidModule:
    """The error: `problem` follows the line's code, `way_out` says what to write instead.

    Without `line` it is the innermost line of the user's that is being run, if there is one.
    """
    where = line or current_line()
    if where is None:
        return InvalidModule(f"module: {problem}; {way_out}", field="module")
    code = shorten(where.code)
    text = f"{where}: `{code}`: {problem}; {way_out}"
    return InvalidModule(text, field="module", file=where.file, line=where.number, code=code)


def unsupported(what: str, hint: str) -> InvalidModule:
    """A function or class that no graph holds."""
    return refused(f"{what} is not permitted in a graph", f"{hint}, {_PLUGIN}" if hint else _PLUGIN)


def current_line() -> Line | None:
    """The innermost line of the user's that is being run."""
    return _first(_frames(sys._getframe()))  # noqa: SLF001 - the stack of this thread


def line_of(error: BaseException) -> Line | None:
    """The innermost line of the user's that an error came through."""
    found = [
        (frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
    ]
    return _first(reversed(found))


def line_of_function(function: object) -> Line | None:
    """Where a function or method of the user's begins."""
    code = getattr(inspect.unwrap(cast("Callable[..., object]", function)), "__code__", None)
    if not isinstance(code, CodeType) or is_foreign(code.co_filename):
        return None
    return Line(code.co_filename, code.co_firstlineno)


def _frames(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def _first(lines: Iterable[tuple[str, int]]) -> Line | None:
    """The first that is the user's. Who called the tracer is no part of the module."""
    for file, number in lines:
        if file in _ENTRIES:
            return None
        if not is_foreign(file):
            return Line(file, number)
    return None


def is_foreign(file: str) -> bool:
    """Whether a file is ours, torch's or Python's own."""
    if file.startswith((*_FOREIGN, "<")):
        return True
    return file.startswith(_STANDARD + os.sep) and "site-packages" not in file


def _torch_folder() -> str:
    spec = importlib.util.find_spec("torch")
    return str(Path(spec.origin).parent) if spec and spec.origin else _PACKAGE


#: Where tracing begins: frames outside it are the caller's.
_ENTRIES = {str(Path(__file__).with_name(name)) for name in ("tracing.py", "packing.py")}
_STANDARD = sysconfig.get_paths()["stdlib"]
_FOREIGN = (_PACKAGE + os.sep, _torch_folder() + os.sep)
