"""Who asks. Until tokens exist it is always LOCAL; every handler, key and path takes one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: its tenant stands in every key and path."""

    tenant: str
    name: str


LOCAL = Principal(tenant="local", name="local")
