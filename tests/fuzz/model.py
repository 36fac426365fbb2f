"""What a case starts from, what a machine says of it, and how two machines are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

BASE_FEE = 7
COINBASE = b"\xc0" * 20
GAS_LIMIT = 30_000_000
TIMESTAMP = 1_800_000_000
NUMBER = 1
PREV_RANDAO = b"\x5a" * 32


@dataclass
class Account:
    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: dict[int, int] = field(default_factory=dict)


Accounts = Mapping[bytes, Account]


class Result(NamedTuple):
    """What one transaction did. None is what a machine does not tell, or tells in words of its own."""

    status: int
    gas_used: int
    output: bytes
    logs: tuple[Any, ...]
    refund: int | None = None
    """Gas that storage and authorizations gave back, before the cap of a fifth."""
    error: str | None = None
    warm: tuple[Any, ...] | None = None
    work: int | None = None


class Step(NamedTuple):
    """One opcode of a struct log, before it runs; None is what a machine does not tell."""

    pc: int
    opcode: int
    gas: int
    depth: int
    """1 in the transaction's own message."""
    stack: tuple[int, ...]
    memory: tuple[int, int] | None = None
    """Length and CRC-32."""
    cost: int | None = None
    refund: int | None = None


@dataclass(frozen=True)
class Run:
    results: tuple[Result | None, ...]
    """None for a transaction that was invalid when its turn came."""
    root: bytes
    steps: tuple[tuple[Step, ...], ...] | None = None
    """The struct log of each valid transaction, where asked for."""


def difference(name: str, expected: Run, found: Run) -> str:
    """Where `found`, by the machine of this name, is not what was expected; empty if nowhere."""
    for index, (left, right) in enumerate(zip(expected.results, found.results, strict=True)):
        if found_here := _compare(left, right):
            return f"transaction {index} by {name}: {found_here}"
    if expected.steps is not None and found.steps is not None:
        for index, (ours, theirs) in enumerate(zip(expected.steps, found.steps, strict=True)):
            if place := _first_difference(ours, theirs):
                return f"trace {index} by {name}, {place}"
    if expected.root != found.root:
        return f"state roots: expected {expected.root.hex()}, {name} {found.root.hex()}"
    return ""


def _first_difference(expected: Sequence[Step], found: Sequence[Step]) -> str:
    for place, (left, right) in enumerate(zip(expected, found, strict=False)):
        if found_here := _compare(left, right):
            return f"step {place} (pc {left.pc}, opcode {left.opcode:#x}): {found_here}"
    return "" if len(expected) == len(found) else f"{len(expected)} steps expected, {len(found)} found"


def _compare(left: Result | Step | None, right: Result | Step | None) -> str:
    """The fields that differ, but for those of which one side says nothing."""
    if left == right:
        return ""
    if left is None or right is None:
        return f"expected {left}, found {right}"
    return "; ".join(
        f"{name} expected {a}, found {b}"
        for name, a, b in zip(left._fields, left, right, strict=True)
        if a is not None and b is not None and a != b
    )
