"""Statements that leave the program: calls, creations, recursion, precompiles, native contracts."""

import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from eth_abi import encode
from eth_keys.datatypes import PrivateKey

from evm_runtime.native import Frame, NativeContract, Texts, Value, event, method
from genesis.primitives import Address, Hash32, Wei
from tests.unit.evm_runtime.programs import asm, deployer
from tests.unit.evm_runtime.test_precompiles import P1, P2, RFC_6979_SAMPLE, bls, g1, g2, modexp_input, word

if TYPE_CHECKING:
    from tests.fuzz.programs import Writer

NATIVE: Final = Address(b"\x0a" * 20)
PLAIN_PRECOMPILES: Final = [bytes(19) + bytes([number]) for number in (1, 2, 3, 4)]
INPUT_AT: Final = 352
"""Where arguments of precompiles and native contracts are put together: above what the other statements use."""
KINDS: Final = ("CALL", "CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")
BN_P: Final = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47


# ---------------------------------------------------------------- calls and creations


def call(writer: "Writer") -> None:
    """A call of any kind, to anybody, with little gas or with all."""
    name = writer.rng.choice(KINDS)
    writer.offset(64)
    writer.offset()
    writer.offset(128)
    writer.offset()
    if name in ("CALL", "CALLCODE"):
        writer.push(writer.rng.choice([0, 0, 0, 1, 1 << 200]))
    writer.push(writer.rng.choice([*writer.targets, *PLAIN_PRECOMPILES]))
    if writer.rng.random() < 0.3:
        writer.op("GAS", 0, 1)
    else:
        writer.push(writer.rng.choice([0, 2_300, 20_000, 60_000, 60_000, 60_000]))
    writer.op(name, 7 if name in ("CALL", "CALLCODE") else 6, 1)


def create(writer: "Writer") -> None:
    """CREATE or CREATE2 of something small; now and then it is called at once, and may destroy itself."""
    rng = writer.rng
    inner = writer.inner(4)
    inner.statements(3)
    ending = [rng.choice(writer.targets), "SELFDESTRUCT"] if rng.random() < 0.25 else inner.ending()
    code = bytes(inner.code + asm(*ending))[:96]
    initcode = deployer(code) if rng.random() < 0.7 else code
    writer.store_bytes(initcode, 0)
    salted = rng.random() < 0.5
    if salted:
        writer.push(rng.randrange(3))
    writer.push(len(initcode))
    writer.push(0)
    writer.push(rng.choice([0, 0, 1]))
    writer.op("CREATE2" if salted else "CREATE", 4 if salted else 3, 1)
    if rng.random() < 0.4:
        address = writer.height  # the created one's place, from below
        for value in (32, 0, 0, 0, rng.choice([0, 0, 1])):
            writer.push(value)
        writer.op(f"DUP{writer.height - address + 1}", 0, 1)
        writer.push(40_000)
        writer.op("CALL", 7, 1)


def recursion(writer: "Writer") -> None:
    """The program calls itself with one byte of calldata more, until there are enough or the gas is gone."""
    if writer.recurses:
        return
    writer.recurses = True
    rng = writer.rng
    writer.push(rng.choice([5, 20, 60, 72]))
    writer.op("CALLDATASIZE", 0, 1)
    writer.op("LT", 2, 1)
    writer.op("ISZERO", 1, 1)
    skip = writer.label()
    writer.op("JUMPI", 2, 0)
    kind = rng.choice(["CALL", "CALL", "DELEGATECALL", "CALLCODE", "STATICCALL"])
    for value in (32, 0):
        writer.push(value)
    writer.push(1)
    writer.op("CALLDATASIZE", 0, 1)
    writer.op("ADD", 2, 1)
    writer.push(0)
    if kind in ("CALL", "CALLCODE"):
        writer.push(0)
    writer.op("ADDRESS", 0, 1)
    writer.op("GAS", 0, 1)
    writer.op(kind, 7 if kind in ("CALL", "CALLCODE") else 6, 1)
    writer.op("POP", 1, 0)
    writer.here(skip)


def descent(rng: random.Random) -> bytes:
    """A contract that does nothing but call itself, as deep as gas or its own bound allow, and count on the way back."""
    kind = rng.choice(["CALL", "DELEGATECALL", "CALLCODE", "STATICCALL"])
    value = [0] if kind in ("CALL", "CALLCODE") else []
    # Each level hands its calldata size on by one more byte; above the bound it returns.
    head = asm(rng.choice([75, 100, 200, 400]), "CALLDATASIZE", "GT", b"\0\0", "JUMPI")
    body = asm(32, 0, 1, "CALLDATASIZE", "ADD", 0, *value, "ADDRESS", "GAS", kind, 0, "MLOAD", "ADD", 0, "MSTORE")
    end = len(head) + len(body)
    head = head.replace(b"\x61\0\0", b"\x61" + end.to_bytes(2, "big"))
    return head + body + asm("JUMPDEST", 32, 0, "RETURN")


# ---------------------------------------------------------------- precompiles


def precompile(writer: "Writer") -> None:
    """A call of a precompile with arguments that mean something, or nearly."""
    number, data, size = random_input(writer.rng, osaka=writer.clz)
    _call_with(writer, number.to_bytes(20, "big"), data, size, writer.rng.choice(KINDS))


def _call_with(writer: "Writer", to: bytes, data: bytes, size: int, kind: str, value: int = 0) -> None:
    """Call with bytes from memory, and keep the first word that comes back."""
    writer.store_bytes(data, INPUT_AT)
    for pushed in (size, 0, len(data), INPUT_AT):
        writer.push(pushed)
    if kind in ("CALL", "CALLCODE"):
        writer.push(value)
    writer.push(to)
    # A precompile that refuses its input takes all the gas that it was given.
    writer.push(writer.rng.choice([1_000, 20_000, 40_000, 40_000, 80_000]))
    writer.op(kind, 7 if kind in ("CALL", "CALLCODE") else 6, 1)
    writer.push(0)
    writer.op("MLOAD", 1, 1)


def random_input(rng: random.Random, *, osaka: bool) -> tuple[int, bytes, int]:
    """(number of the precompile, input, bytes of output worth looking at). Pairings and the like are left to their vectors."""
    number = rng.choice([1, 2, 3, 4, 5, 5, 6, 6, 7, 8, 9, 0x0B, 0x0D, 0x100])
    if osaka and rng.random() < 0.1:
        number = 0x0A
    data = _plausible(rng, number)
    if rng.random() < 0.2 and data:
        place = rng.randrange(len(data))
        data = data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data) + 1)]
    return number, data, rng.choice([32, 64, 96])


def _plausible(rng: random.Random, number: int) -> bytes:
    if number == 1:
        return _recoverable()
    if number in (2, 3, 4):
        return rng.randbytes(rng.choice([0, 1, 31, 32, 33, 64, 100]))
    if number == 5:
        base, exponent, modulus = (rng.randbytes(rng.choice([0, 1, 8, 32, 40])) for _ in range(3))
        return modexp_input(base, exponent, modulus)
    if number == 6:
        points = [word(1, 2), word(1, BN_P - 2), word(0, 0)]
        return rng.choice(points) + rng.choice(points)
    if number == 7:
        return word(1, 2, rng.choice([0, 1, 2, 1 << 255, (1 << 256) - 1]))
    if number == 8:
        return rng.choice([b"", word(1, 2, 0, 0, 0, 0), rng.randbytes(192)])
    if number == 9:
        return word(rng.randrange(12))[28:] + rng.randbytes(208) + bytes([rng.randrange(2)])
    if number == 0x0A:
        return rng.randbytes(192)
    if number == 0x0B:
        return rng.choice([g1(P1) + g1(bls.G1), g1(P1) + bytes(128), rng.randbytes(256)])
    if number == 0x0D:
        return rng.choice([g2(P2) + g2(bls.G2), g2(P2) + bytes(256)])
    return RFC_6979_SAMPLE


@cache
def _recoverable() -> bytes:
    digest = bytes(range(32))
    signature = PrivateKey(b"\x31" * 32).sign_msg_hash(digest)
    return digest + word(signature.v + 27, signature.r, signature.s)


# ---------------------------------------------------------------- a native contract


CHANGED = event("Changed(address indexed who, uint256 indexed key, uint256 value)")


class Ledger(NativeContract):
    """A native contract with something of everything: storage, logs, wei, views, long texts, gas by size."""

    address = NATIVE
    events = (CHANGED,)

    @method("put(uint256 key, uint256 value) returns (uint256 before)")
    def put(self, frame: Frame, key: int, value: int) -> int:
        before = Value(0).get(frame.storage, key)
        Value(0).set(frame.storage, value, key)
        frame.emit(CHANGED, frame.sender, key, value)
        return before

    @method("get(uint256 key) returns (uint256 value)", view=True)
    def get(self, frame: Frame, key: int) -> int:
        return Value(0).get(frame.storage, key)

    @method("pay(address to, uint256 amount)", payable=True)
    def pay(self, frame: Frame, to: Address, amount: int) -> None:
        # Nothing to nobody makes an empty account, which stock py-evm keeps where no message touched it.
        if paid := min(amount, frame.value):
            frame.pay(to, Wei(paid))

    @method("note(bytes text)", gas=lambda text: 3 * len(text))
    def note(self, frame: Frame, text: bytes) -> None:
        Texts(1).set(frame.storage, text)

    @method("noted() returns (bytes text)", view=True)
    def noted(self, frame: Frame) -> bytes:
        return Texts(1).get(frame.storage)

    @method("hash(bytes text) returns (bytes32 id)", view=True, gas=lambda text: len(text))
    def hash(self, _frame: Frame, text: bytes) -> Hash32:
        return Hash32(text[:32].ljust(32, b"\1"))


_METHODS: Final = {found.signature.name: found for found in Ledger.methods.values()}


def native(writer: "Writer") -> None:
    """A call of the native contract, mostly well-formed."""
    rng = writer.rng
    data = native_input(rng, writer.targets)
    value = rng.choice([0, 0, 0, 5])
    _call_with(writer, NATIVE, data, 64, rng.choice(KINDS), value)


def native_input(rng: random.Random, targets: Sequence[bytes]) -> bytes:
    """Calldata for the native contract."""
    name = rng.choice(list(_METHODS))
    signature = _METHODS[name].signature
    values: dict[str, object] = {
        "uint256": rng.choice([0, 1, 2, 3, 1 << 255]),
        "address": "0x" + rng.choice(targets).hex(),
        "bytes": rng.randbytes(rng.choice([0, 5, 31, 32, 80])),
    }
    types = [parameter.type.canonical for parameter in signature.inputs]
    data = signature.selector + encode(types, [values[each] for each in types])
    return data if rng.random() < 0.9 else data[: rng.randrange(len(data))]


STATEMENTS: Final[list[tuple[float, Callable[["Writer"], None]]]] = [
    (3, call),
    (1.2, create),
    (0.2, recursion),
    (0.6, precompile),
]
"""(weight, statement) beside those of the writer itself."""
