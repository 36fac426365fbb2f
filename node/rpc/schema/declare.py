"""The table of methods: each is declared once, with the schema of its parameters, beside its code.

    @method("eth_getCode", Param("address", ADDRESS), Param("block", BLOCK_REF, default=LATEST), result="data", runs=Runs.READ)
    def code(context: Context, address: Address, block: BlockRef) -> str: ...

The declaration parses arguments strictly and carries all that a generated `openrpc.json` needs.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, TypeVar

from node.rpc.config import GUARDED_NAMESPACES
from node.rpc.schema.errors import METHOD_NOT_FOUND, RpcError, invalid_params
from node.rpc.schema.params import BadParam, Kind

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)


class Runs(Enum):
    """Where a method's function runs."""

    LOOP = auto()
    """On the event loop: memory only (or an async function that goes to a thread by itself)."""
    LOOK = auto()
    """On the event loop where it asks for the tip's state (a look-up or two), as READ for any other block."""
    READ = auto()
    """In a worker thread for short disk reads."""
    CALL = auto()
    """In a worker thread for work that takes long and watches a stopwatch."""


class Keeps(Enum):
    """How long a result stays right."""

    NOTHING = auto()
    """It depends on more than the chain, or is too seldom asked for twice."""
    TIP = auto()
    """Until the next block; where the pending block is asked for, as SECOND."""
    SECOND = auto()
    """Until the next block, or the next second: it depends on the time that the next block will have."""
    FINAL = auto()
    """For ever, where the arguments name one final block or transaction by height or hash (`Method.is_final`); else as TIP."""


class _Required:
    pass


REQUIRED: Final = _Required()


@dataclass(frozen=True, slots=True)
class Param:
    """One positional parameter. Without a default it is required; null counts as absent."""

    name: str
    kind: Kind[Any]
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class Method:
    """A method that can be called by name."""

    name: str
    params: tuple[Param, ...]
    result: str
    """What it answers, as a shape of `schemas.py`: `quantity`, `block or null`…"""
    runs: Runs
    handler: Handler
    summary: str
    keeps: Keeps = Keeps.NOTHING
    brief: Handler | None = None
    """Answers the same from any thread if that takes but a moment, else None."""

    @property
    def namespace(self) -> str:
        return self.name.replace(".", "_").partition("_")[0]

    def parse(self, raw: object) -> list[Any]:
        """The arguments as values. Raises RpcError (-32602) that names the argument and what was expected."""
        if raw is None:
            raw = []
        if not isinstance(raw, list):
            raise invalid_params("non-array args")
        if len(raw) > len(self.params):
            raise invalid_params(f"too many arguments, want at most {len(self.params)}")
        values = []
        for place, param in enumerate(self.params):
            argument = raw[place] if place < len(raw) else None
            if argument is None and not (param.kind.takes_null and place < len(raw)):
                if param.required:
                    raise invalid_params(f"missing value for required argument {place}")
                values.append(param.default)
                continue
            try:
                values.append(param.kind.parse(argument))
            except BadParam as error:
                raise invalid_params(f"invalid argument {place}: {error}") from None
        return values

    def is_final(self, raw: list[Any], result: bytes) -> bool:
        """Whether `result`, the answer to arguments that were valid, will never be another one."""
        if self.keeps is not Keeps.FINAL or result == b"null":
            return False
        first = raw[0]
        if isinstance(first, dict):  # a range of logs, or a block as an object
            low, high, block = (first.get(name) for name in ("fromBlock", "toBlock", "blockHash"))
            return block is not None or (_is_height(low) and _is_height(high)) or _is_height(first.get("blockNumber"))
        return _is_height(first)

    def minds_clock(self, raw: object) -> bool:
        """Whether the answer to `raw` is right for a second only."""
        if self.keeps is Keeps.SECOND:
            return True
        return self.keeps is Keeps.TIP and isinstance(raw, list) and any(map(_names_pending, raw))


def _names_pending(value: object) -> bool:
    return value == "pending" or (isinstance(value, dict) and value.get("blockNumber") == "pending")


def _is_height(value: object) -> bool:
    """A height or a hash, not a tag."""
    return isinstance(value, str) and value.startswith("0x")


DECLARED: Final[dict[str, Method]] = {}
"""Methods by name, as their modules are imported (`node.rpc.methods` imports all)."""


def method(
    name: str,
    *params: Param,
    result: str,
    runs: Runs = Runs.LOOP,
    keeps: Keeps = Keeps.NOTHING,
    brief: Handler | None = None,
) -> Callable[[H], H]:
    """Declare the decorated function as the JSON-RPC method `name`; its docstring's first line is the summary."""

    def declare(handler: H) -> H:
        if name in DECLARED:
            raise ValueError(f"{name} is declared twice")
        summary = (inspect.getdoc(handler) or "").partition("\n")[0]
        new = Method(name, params, result, runs, handler, summary, keeps, brief)
        if new.namespace in GUARDED_NAMESPACES and keeps is not Keeps.NOTHING:
            raise ValueError(f"{name} is the operator's: what is kept is answered to everybody")
        DECLARED[name] = new
        return handler

    return declare


class Registry:
    """The methods of the namespaces that are switched on."""

    def __init__(self, namespaces: Sequence[str], methods: Iterable[Method]) -> None:
        self.namespaces = tuple(namespaces)
        self.every = tuple(methods)
        """Those that are switched off, too."""
        self.methods = {each.name: each for each in self.every if each.namespace in self.namespaces}

    def find(self, name: str) -> Method:
        """Raises RpcError (-32601) for a method that does not exist or is switched off."""
        found = self.methods.get(name)
        if found is None:
            shown = name if len(name) <= 64 else name[:61] + "..."
            raise RpcError(METHOD_NOT_FOUND, f"the method {shown} does not exist/is not available")
        return found
