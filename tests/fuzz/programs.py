"""Random programs that mostly succeed: the writer knows the height of the stack, so nothing underflows by accident.

Memory offsets are small, loops count down, calls carry little gas. What a program computes ends up in storage, logs, memory
and output, so that a wrong bit is seen. A few programs are broken on purpose: errors must be equal too.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.fuzz import messages
from tests.unit.evm_runtime.programs import BINARY, CONTEXT, OPS, UNARY, asm

CLZ = 0x1E
TERNARY = ["ADDMOD", "MULMOD"]
EDGES = [0, 1, 2, 31, 32, 33, 255, 256, (1 << 255) - 1, 1 << 255, (1 << 256) - 1, (1 << 160) - 1, (1 << 256) - 32]
MEMORY = 320
"""Offsets stay below it."""


def random_word(rng: random.Random) -> int:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(EDGES)
    if kind == 1:
        return rng.randrange(100)
    return rng.getrandbits(rng.choice([8, 16, 31, 64, 128, 160, 255, 256]))


@dataclass
class Writer:
    """Writes code; `height` counts the items that it may use, `hidden` those below (loop counters, return addresses)."""

    rng: random.Random
    targets: Sequence[bytes]
    code: bytearray = field(default_factory=bytearray)
    height: int = 0
    hidden: int = 0
    depth: int = 0
    budget: int = 60
    clz: bool = False
    """Whether the fork has CLZ; without it one now and then is an invalid opcode."""
    natives: bool = False
    """Whether there is a native contract to call."""
    recurses: bool = False
    """Whether the program calls itself already: a second time would double the work at each level."""
    functions: list[tuple[int, int, list[int]]] = field(default_factory=list)
    """(arguments, results, places of calls) of functions that are written after the end."""

    def op(self, name: str, pops: int, pushes: int) -> None:
        while self.height < pops:
            self.push(random_word(self.rng))
        self.code.append(OPS[name])
        self.height += pushes - pops

    def push(self, value: int | bytes) -> None:
        self.code += asm(value)
        self.height += 1

    def label(self) -> int:
        """A push of two bytes to be patched later."""
        self.code += b"\x61\x00\x00"
        self.height += 1
        return len(self.code) - 2

    def here(self, *places: int) -> None:
        """A JUMPDEST, and the address of every label that means it."""
        for place in places:
            self.code[place : place + 2] = len(self.code).to_bytes(2, "big")
        self.code.append(OPS["JUMPDEST"])

    def level(self, height: int) -> None:
        """Push or pop until the stack has this height."""
        while self.height > height:
            self.op("POP", 1, 0)
        while self.height < height:
            self.push(random_word(self.rng))

    # ------------------------------------------------------------ statements

    def statements(self, count: int) -> None:
        for _ in range(count):
            if self.budget <= 0:
                return
            self.budget -= 1
            if self.height > 24:
                self.level(8)
            pieces: list[tuple[float, Callable[[], None]]] = [
                (14, self.arithmetic), (6, self.shuffle), (5, self.context), (7, self.memory), (5, self.storage),
                (2, self.transient), (2, self.copies), (2, self.log), (3, self.accounts),
                *((weight, partial(statement, self)) for weight, statement in messages.STATEMENTS),
            ]  # fmt: skip
            if self.natives:
                pieces.append((4, partial(messages.native, self)))
            if self.depth < 3:
                pieces += [(4, self.branch), (3, self.loop), (3, self.function), (2, self.choice), (1, self.switch)]
            names, weights = [piece for _, piece in pieces], [weight for weight, _ in pieces]
            self.rng.choices(names, weights)[0]()

    def arithmetic(self) -> None:
        kind = self.rng.randrange(8)
        if kind == 0:
            self.push(random_word(self.rng))
        elif kind == 1 and self.rng.random() < (0.3 if self.clz else 0.01):
            self.level(max(1, self.height))
            self.code.append(CLZ)
        elif kind == 1:
            self.op(self.rng.choice(UNARY), 1, 1)
        elif kind == 2:
            self.op(self.rng.choice(TERNARY), 3, 1)
        elif kind == 3:
            self.push(self.rng.choice([0, 1, 4, 31, 32, 96, 160, 255, 256, (1 << 160) - 1, 0xFFFFFFFF]))
            self.op(self.rng.choice(["SHL", "SHR", "SAR", "AND", "BYTE", "SIGNEXTEND", "DIV", "MOD", "EQ"]), 2, 1)
        else:
            self.op(self.rng.choice(BINARY), 2, 1)

    def shuffle(self) -> None:
        self.level(max(self.height, 2))
        if self.rng.random() < 0.5:
            self.op(f"DUP{self.rng.randint(1, min(16, self.height + self.hidden))}", 0, 1)
        elif self.rng.random() < 0.8:
            self.op(f"SWAP{self.rng.randint(1, min(16, self.height - 1))}", 2, 2)
        else:
            self.op("POP", 1, 0)

    def context(self) -> None:
        self.op(self.rng.choice(CONTEXT), 0, 1)

    def offset(self, below: int = MEMORY) -> None:
        """A small number: a constant, or one that only the run knows."""
        if self.height and self.rng.random() < 0.3:
            self.op("DUP1", 1, 2)
            self.push(below - 1 if below & (below - 1) == 0 else 63)
            self.op("AND", 2, 1)
        else:
            self.push(self.rng.choice([0, 32, 64, self.rng.randrange(below)]))

    def memory(self) -> None:
        name = self.rng.choice(["MSTORE", "MSTORE", "MLOAD", "MLOAD", "MSTORE8", "KECCAK256", "MSIZE", "MCOPY"])
        if self.rng.random() < 0.01:
            # Memory that grows far, now and then beyond what any gas pays for.
            self.push(self.rng.choice([1_000, 1_000, 4_000, 4_000, 9_999, 40_000, 1 << 20, 1 << 255]))
            self.op("MLOAD", 1, 1)
        elif name == "KECCAK256":
            self.offset(128)
            self.offset()
            self.op(name, 2, 1)
        elif name == "MCOPY":
            self.offset(64)
            self.offset()
            self.offset()
            self.op(name, 3, 0)
        elif name == "MSIZE":
            self.op(name, 0, 1)
        elif name == "MLOAD":
            self.offset()
            self.op(name, 1, 1)
        else:
            self.level(max(1, self.height))
            self.offset()
            self.op(name, 2, 0)

    def slot(self) -> None:
        self.push(self.rng.randrange(5))
        if self.rng.random() < 0.1:
            self.op("NOT", 1, 1)

    def storage(self) -> None:
        if self.rng.random() < 0.45:
            self.slot()
            self.op("SLOAD", 1, 1)
            return
        if self.rng.random() < 0.4:
            self.push(self.rng.choice([0, 0, 1, 7]))
        self.level(max(1, self.height))
        self.slot()
        self.op("SSTORE", 2, 0)

    def transient(self) -> None:
        self.slot()
        if self.rng.random() < 0.5:
            self.op("TLOAD", 1, 1)
        else:
            self.op("TSTORE", 2, 0)

    def copies(self) -> None:
        name = self.rng.choice(["CALLDATACOPY", "CODECOPY", "RETURNDATACOPY", "EXTCODECOPY"])
        if name == "RETURNDATACOPY":
            if self.rng.random() < 0.05:
                self.push(self.rng.randrange(40))
            else:
                self.op("RETURNDATASIZE", 0, 1)
            self.push(0)
        else:
            self.offset(64)
            self.push(self.rng.choice([0, 3, 40, random_word(self.rng)]))
        self.offset()
        if name == "EXTCODECOPY":
            self.push(self.rng.choice(self.targets))
        self.op(name, 4 if name == "EXTCODECOPY" else 3, 0)

    def log(self) -> None:
        topics = self.rng.randrange(5)
        self.level(max(self.height, topics))
        self.offset(64)
        self.offset()
        self.op(f"LOG{topics}", topics + 2, 0)

    def accounts(self) -> None:
        name = self.rng.choice(
            ["BALANCE", "EXTCODESIZE", "EXTCODEHASH", "CALLDATALOAD", "CALLDATALOAD", "BLOCKHASH", "BLOBHASH"]
        )
        if name == "CALLDATALOAD":
            self.push(self.rng.choice([0, 4, 32, 60, random_word(self.rng)]))
        elif name.startswith("BLO"):
            self.push(self.rng.choice([0, 1, random_word(self.rng)]))
        else:
            self.push(self.rng.choice(self.targets))
        self.op(name, 1, 1)

    def inner(self, budget: int) -> "Writer":
        """A writer of small code for a contract that this one creates."""
        return Writer(self.rng, self.targets, depth=3, budget=budget, clz=self.clz)

    def store_bytes(self, content: bytes, at: int) -> None:
        """Put bytes into memory, word by word."""
        for place in range(0, len(content), 32):
            self.push(content[place : place + 32].ljust(32, b"\0"))
            self.push(at + place)
            self.op("MSTORE", 2, 0)

    # ------------------------------------------------------------ control

    def nested(self, count: int) -> None:
        self.depth += 1
        self.statements(count)
        self.depth -= 1

    def branch(self) -> None:
        """if / else with arms that leave the stack equally high."""
        self.level(max(1, self.height))
        if self.rng.random() < 0.5:
            name = self.rng.choice(["ISZERO", "LT", "SGT", "EQ"])
            self.op(name, 1 if name == "ISZERO" else 2, 1)
        then = self.label()
        self.op("JUMPI", 2, 0)
        height = self.height
        self.nested(self.rng.randrange(3))
        if self.rng.random() < 0.1:
            self.code += asm(*self.ending())
            self.height = height
            self.here(then)
            return
        after = max(self.height - self.rng.randrange(2), 0)
        self.level(after)
        done = self.label()
        self.op("JUMP", 1, 0)
        self.height = height
        self.here(then)
        self.nested(self.rng.randrange(3))
        self.level(after)
        self.here(done)

    def loop(self) -> None:
        """A countdown below the items that the body uses."""
        self.level(min(self.height, 6))
        visible = self.height
        self.push(self.rng.choice([1, 2, 2, 3, 6]))
        start = len(self.code)
        self.here()
        self.height = 0
        self.hidden += visible + 1
        self.nested(self.rng.randint(1, 4))
        self.level(0)
        self.hidden -= visible + 1
        self.code += asm(1, "SWAP1", "SUB", "DUP1", start.to_bytes(2, "big"), "JUMPI")
        self.height = visible + 1

    def function(self) -> None:
        """Call a function by pushing where to come back to; it is written after the end of the program."""
        if not self.functions or self.rng.random() < 0.4:
            self.functions.append((self.rng.randrange(3), self.rng.randrange(3), []))
        arguments, results, places = self.rng.choice(self.functions)
        back = self.label()
        for _ in range(arguments):
            self.push(random_word(self.rng))
        places.append(self.label())
        self.op("JUMP", 1, 0)
        self.height += results - arguments - 1
        self.here(back)

    def choice(self) -> None:
        """A jump to one of two places, reckoned from what is on the stack."""
        self.level(max(1, self.height))
        self.op("ISZERO", 1, 1)
        at = len(self.code)
        # PUSH2 first, PUSH2 second ^ first, MUL, XOR: the address is first or second.
        self.code += b"\x61\0\0\x02\x61\0\0\x18\x56"
        self.height -= 1
        height = self.height
        first = len(self.code)
        self.here()
        self.nested(self.rng.randrange(2))
        self.level(height)
        second = len(self.code)
        self.here()
        self.code[at + 1 : at + 3] = (first ^ second).to_bytes(2, "big")
        self.code[at + 5 : at + 7] = first.to_bytes(2, "big")

    def switch(self) -> None:
        """A dispatcher, as compilers write it: DUP, compare with constants, jump."""
        self.level(max(1, self.height))
        self.push(3)
        self.op("AND", 2, 1)
        cases = []
        for value in range(3):
            self.op("DUP1", 1, 2)
            self.push(value)
            self.op("EQ", 2, 1)
            cases.append(self.label())
            self.op("JUMPI", 2, 0)
        ends = []
        height = self.height
        for case in [None, *cases]:
            self.height = height
            if case is not None:
                self.here(case)
            self.nested(1)
            self.level(height)
            ends.append(self.label())
            self.op("JUMP", 1, 0)
        self.height = height
        self.here(*ends)

    def ending(self) -> list[str | int]:
        rng = self.rng
        offset, size = rng.randrange(64), rng.randrange(100)
        kind = rng.randrange(12)
        if kind < 4:
            return ["STOP"]
        if kind < 9:
            return [size, offset, "RETURN"]
        return [[size, offset, "REVERT"], ["INVALID"], [rng.choice(self.targets), "SELFDESTRUCT"]][kind - 9]  # type: ignore[list-item]


def random_program(
    rng: random.Random, targets: Sequence[bytes], budget: int, *, clz: bool = False, natives: bool = False
) -> bytes:
    """A contract's code; `targets` are the addresses that it calls and looks at."""
    if rng.random() < 0.01:
        return messages.descent(rng)
    writer = Writer(rng, targets, budget=budget, clz=clz, natives=natives)
    for _ in range(rng.choice([0, 0, 2, 5, 20])):
        writer.push(random_word(rng))
    writer.statements(budget)
    for slot in range(min(writer.height, 3)):
        writer.push(slot)
        writer.op("SSTORE", 2, 0)
    offset = rng.randrange(64)
    writer.code += asm(*(writer.ending() if rng.random() < 0.3 else [rng.randrange(100), offset, "RETURN"]))
    written = 0
    while written < len(writer.functions):
        _function(writer, *writer.functions[written])
        written += 1
    code = bytes(writer.code)
    if rng.random() < 0.04 and code:
        place = rng.randrange(len(code))
        code = code[:place] + bytes([rng.randrange(256)]) + code[place + 1 :]
    return code


def _function(writer: Writer, arguments: int, results: int, places: list[int]) -> None:
    """It finds its arguments above the return address, and leaves its results instead of both."""
    body = Writer(writer.rng, writer.targets, writer.code, arguments, depth=3, budget=5)
    body.here(*places)
    body.statements(writer.rng.randrange(4))
    body.level(results)
    body.code += asm(*([f"SWAP{results}"] if results else []), "JUMP")
