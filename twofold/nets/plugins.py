"""Networks that installed packages offer by name, as entry points of `twofold.nets`. No torch.

An entry point is a function that takes a dictionary of arguments and returns a torch.nn.Module.
Names are looked up in what is installed on the machine that traces, and nowhere else: a server
gets the graph, and imports nothing that a user names.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from twofold.errors import InvalidField

GROUP = "twofold.nets"


def installed() -> Mapping[str, EntryPoint]:
    """What is offered on this machine, by name; raises InvalidField for a name offered twice."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        known = found.setdefault(point.name, point)
        if known.value != point.value:
            shown = f"{point.name}, which is both {known.value} and {point.value}"
            raise InvalidField.of("plugin", shown, "a name that one installed package offers")
    return found


def plugin(name: str, /, **arguments: object) -> object:
    """The module that an installed package makes: it is traced and checked like any other.

    Raises:
        InvalidField: no installed package offers `name`, or what it offers raises.
    """
    offered = installed()
    if name not in offered:
        words = ", ".join(sorted(offered)) or "nothing is installed"
        raise InvalidField.of("plugin", name, f"an entry point of the group {GROUP}: {words}")
    try:
        make = cast("Callable[[dict[str, object]], object]", offered[name].load())
        return make(arguments)
    except Exception as error:
        text = f"plugin {name} ({offered[name].value}) raises {type(error).__name__}: {error}"
        raise InvalidField(text, field="plugin") from error
