"""Stand-ins for two libraries that libp2p imports and the node never uses.

`fastecdsa` serves secio and P-256 keys only, and comes as source that needs a compiler and libgmp; `trio_typing` serves
annotations, and its stubs would shadow trio's own types. The lock leaves both out. libp2p imports them unconditionally and
evaluates annotations with their names, so empty modules are not enough: `install()` registers modules with the names that
are looked up, before libp2p is imported. A real installation, where there is one, is used instead.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any, Final, TypeVar

import trio

_F = TypeVar("_F")


class Absent:
    """Takes the place of every class and function of fastecdsa; using one is an error."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        raise NotImplementedError("secio and P-256 keys need fastecdsa, which is left out")


_FASTECDSA: Final[dict[str, tuple[str, ...]]] = {
    "fastecdsa": (),
    "fastecdsa.curve": ("Curve", "P256"),
    "fastecdsa.point": ("Point",),
    "fastecdsa.keys": ("gen_private_key", "get_public_key", "export_key", "PEMEncoder"),
    "fastecdsa.encoding": (),
    "fastecdsa.encoding.util": ("int_bytelen",),
    "fastecdsa.encoding.sec1": ("SEC1Encoder",),
}


def install() -> None:
    """Register the stand-ins for what is not installed. Idempotent; call before the first import of libp2p."""
    if _missing("fastecdsa"):
        for name, attributes in _FASTECDSA.items():
            _register(name, dict.fromkeys(attributes, Absent))
    if _missing("trio_typing"):
        _register("trio_typing", {"TaskStatus": trio.TaskStatus, "takes_callable_and_args": _same})


def _missing(name: str) -> bool:
    return name not in sys.modules and importlib.util.find_spec(name) is None


def _same(function: _F) -> _F:
    return function


def _register(name: str, attributes: dict[str, Any]) -> None:
    module = ModuleType(name)
    module.__path__ = []
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
