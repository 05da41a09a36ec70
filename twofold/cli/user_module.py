"""`--module FILE.py:NAME` and `--loss`: the user's own, imported on the user's machine alone.

`--module plugin:NAME` is one that a package installed on this machine offers.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from twofold import toml_spec
from twofold.errors import InvalidField
from twofold.nets import plugins

_ALLOWED_LOSS = "FILE.py:NAME, NAME being a function of outputs and target, or a module of them"
_ALLOWED = (
    "FILE.py:NAME, NAME being a class, a function that returns a module, or a module; or "
    "plugin:NAME"
)
_PLUGIN = "plugin:"
#: What is to be done where a class or function takes other arguments than it was given.
_WAYS_OUT = {
    "--module": "its arguments are given by --module-arg NAME=VALUE",
    "--loss": "it is made without arguments; name a function, or what the file makes of it",
}


def load(reference: str, arguments: Sequence[str]) -> object:
    """The module that `reference` names, made with NAME=VALUE arguments where it is to be made.

    The file's folder is put on the import path, so that it finds its neighbours.

    Raises:
        InvalidField: there is no such file, plugin or name, or it raises; says which.
    """
    if reference.startswith(_PLUGIN):
        return plugins.plugin(reference.removeprefix(_PLUGIN), **_arguments(arguments))
    name, found = _named("--module", reference, _ALLOWED)
    given = _arguments(arguments)
    if not (isinstance(found, type) or _is_function(found)):
        if given:
            raise InvalidField.of("--module-arg", arguments[0], "nothing: NAME is not a class")
        return found
    return _made("--module", name, cast("Callable[..., object]", found), given)


def load_loss(reference: str) -> object:
    """The loss that `reference` names: a function as it is, of a class an instance.

    Raises InvalidField as `load` does.
    """
    name, found = _named("--loss", reference, _ALLOWED_LOSS)
    return _made("--loss", name, found, {}) if isinstance(found, type) else found


def _named(option: str, reference: str, allowed: str) -> tuple[str, object]:
    """The name that an option names, and what it stands for."""
    path_text, colon, name = reference.rpartition(":")
    path = Path(path_text)
    if not colon or path.suffix != ".py" or not path.is_file() or not name.isidentifier():
        raise InvalidField.of(option, reference, allowed + "; the file must exist")
    found: object = vars(_imported(option, path)).get(name)
    if found is None:
        raise InvalidField.of(option, name, f"a name that {path.name} defines")
    return name, found


def _made(
    option: str, name: str, make: Callable[..., object], given: Mapping[str, toml_spec.Value]
) -> object:
    try:
        return make(**given)
    except Exception as error:
        text = f"{name}({', '.join(given)}) raises {type(error).__name__}: {error}"
        if isinstance(error, TypeError):
            text = f"{text}; {_WAYS_OUT[option]}"
        raise InvalidField(f"{option}: {text}", field=option) from error


def _is_function(found: object) -> bool:
    return type(found) is type(_is_function)


def _imported(option: str, path: Path) -> object:
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidField.of(option, path.name, "a file that Python can import")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        text = f"{path.name} cannot be imported: {type(error).__name__}: {error}"
        raise InvalidField(f"{option}: {text}", field=option) from error
    return module


def _arguments(given: Sequence[str]) -> Mapping[str, toml_spec.Value]:
    arguments: dict[str, toml_spec.Value] = {}
    for entry in given:
        name, equals, text = entry.partition("=")
        if not equals or not name.isidentifier():
            raise InvalidField.of("--module-arg", entry, "NAME=VALUE, such as width=64")
        arguments[name] = toml_spec.bare_value(text.strip())
    return arguments
