"""What an attacker may fill a block with: each opcode and precompile in its most expensive use, and what surrounds them.

A *piece* is code that leaves the stack as it was. A case repeats one piece in a loop until the gas is gone; `worst.py` also
looks for mixtures of pieces.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from py_ecc import optimized_bls12_381 as bls
from py_ecc import optimized_bn128 as bn

from genesis.chain_spec import GenesisAccount
from genesis.primitives import Address, Wei, keccak256
from tests.unit.evm_runtime.programs import OPS, asm

MAX = (1 << 256) - 1
FILLERS_AT = 1 << 100
"""The first of many accounts with consecutive addresses: what cold accesses go to."""
CASE_AT = 1 << 120
"""The first of the contracts of the table, by place."""
BODY_BYTES = 3_000
CODE_BYTES_MAX = 24_576
EMPTY, TINY, BIG, DEEP, BALLAST = ((0xAA << 96) + place for place in range(5))
"""Targets: nobody, code that stops at once, code of 24 KiB, one that calls itself, one that returns 10 KiB."""
_AROUND = (
    "ADDRESS", "ORIGIN", "CALLER", "CALLVALUE", "CALLDATASIZE", "CODESIZE", "GASPRICE", "RETURNDATASIZE", "COINBASE",
    "TIMESTAMP", "NUMBER", "PREVRANDAO", "GASLIMIT", "CHAINID", "SELFBALANCE", "BASEFEE", "BLOBBASEFEE", "PC", "MSIZE", "GAS",
)  # fmt: skip
_MODEXP_SIZES = (
    (1, 1, 1), (32, 32, 32), (64, 64, 64), (1_024, 1, 1_024), (1_024, 8, 1_024), (256, 256, 256), (8, 1_024, 8),
    (1_024, 1_024, 1),
)  # fmt: skip
"""Of base, exponent and modulus, in bytes."""
OP_CODES = {**OPS, "CLZ": 0x1E}


@dataclass(frozen=True, slots=True)
class Case:
    """`code` runs with `data` until its gas is gone. `storage` gives it so many slots, 0, 1, 2, …"""

    name: str
    code: bytes
    data: bytes = b""
    storage: int = 0
    value: int = 0
    """What is sent along."""


@dataclass(slots=True)
class Table:
    """The cases, and the pieces that they were made of."""

    cases: list[Case] = field(default_factory=list)
    pieces: dict[str, bytes] = field(default_factory=dict)

    def piece(self, name: str, body: bytes, head: bytes = b"", storage: int = 0) -> None:
        self.cases.append(Case(name, loop(body, head), storage=storage))
        if not head and not storage:
            self.pieces[name] = body


def loop(body: bytes, head: bytes = b"") -> bytes:
    """`head`, then `body` as often as fits into a few kilobytes, for ever."""
    times = max(1, BODY_BYTES // max(1, len(body)))
    return head + asm("JUMPDEST") + body * times + asm(len(head), "JUMP")


def table(slots: int) -> Table:
    """All cases. `slots` is how many slots the contracts with much storage have."""
    found = Table()
    _arithmetic(found)
    _memory(found)
    _state(found, slots)
    _calls(found)
    _creations(found)
    for name, address, data in _precompile_inputs():
        _precompile(found, name, address, data)
    return found


def targets() -> list[GenesisAccount]:
    """The contracts that cases call."""
    deep = asm(0, 0, 0, 0, 0, "ADDRESS", "GAS", "CALL")
    return [
        _contract(TINY, asm("STOP")),
        _contract(BIG, asm("STOP").ljust(CODE_BYTES_MAX, b"\x5b")),
        _contract(DEEP, deep),
        _contract(BALLAST, asm(10_000, 0, "RETURN")),
    ]


def _contract(place: int, code: bytes, storage: int = 0) -> GenesisAccount:
    slots = tuple((slot, slot + 1) for slot in range(storage))
    return GenesisAccount(Address(place.to_bytes(20, "big")), Wei(10**18), 1, code, slots)


def contracts(cases: list[Case]) -> list[GenesisAccount]:
    return [_contract(CASE_AT + place, case.code, case.storage) for place, case in enumerate(cases)]


def _op(name: str) -> bytes:
    return bytes([OP_CODES[name]])


def _arithmetic(found: Table) -> None:
    operands = {"small": 3, "half": (1 << 127) - 1, "large": MAX - 188}
    for name in ("MUL", "DIV", "SDIV", "MOD", "SMOD"):
        for size, divisor in operands.items():
            found.piece(f"{name} {size}", asm("DUP2", "DUP2", name, "POP"), asm(divisor, MAX - 12))
    for name in ("ADD", "SUB", "EXP", "SIGNEXTEND", "LT", "SLT", "EQ", "AND", "BYTE", "SHL", "SAR"):
        found.piece(name, asm("DUP2", "DUP2", name, "POP"), asm(MAX - 188, MAX - 12))
    for name in ("ADDMOD", "MULMOD"):
        for size, modulus in operands.items():
            found.piece(f"{name} {size}", asm("DUP3", "DUP3", "DUP3", name, "POP"), asm(modulus, MAX - 1, MAX - 12))
    for name in ("ISZERO", "NOT", "CLZ"):
        found.piece(name, _op(name), asm(5))
    for name in _AROUND:
        found.piece(name, asm(name, "POP"))
    found.piece("JUMPDEST", asm("JUMPDEST"))
    found.piece("PUSH0", asm(0, "POP"))
    found.piece("PUSH32", asm(MAX, "POP"))
    found.piece("DUP16", asm("DUP16", "POP"), asm(*range(16)))
    found.piece("SWAP16", asm("SWAP16"), asm(*range(17)))
    found.piece("BLOBHASH", asm(0, "BLOBHASH", "POP"))
    found.piece("BLOCKHASH", asm(1, "NUMBER", "SUB", "BLOCKHASH", "POP"))
    chain = b"".join(_landing(place) for place in range(300))
    found.cases.append(Case("JUMP", asm("JUMPDEST") + chain + asm(0, "JUMP")))
    found.cases.append(Case("JUMPI", loop(asm(0, 0, "JUMPI"))))


def _landing(place: int) -> bytes:
    """PUSH2 to the JUMPDEST behind it."""
    return bytes([0x61]) + (1 + 5 * place + 4).to_bytes(2, "big") + bytes([0x56, 0x5B])


def _memory(found: Table) -> None:
    found.piece("MLOAD", asm(64, "MLOAD", "POP"))
    found.piece("MSTORE", asm(MAX, 64, "MSTORE"))
    found.piece("MSTORE8", asm(255, 64, "MSTORE8"))
    found.piece("CALLDATALOAD", asm(0, "CALLDATALOAD", "POP"))
    for size in (0, 32, 4_096):
        found.piece(f"KECCAK256 {size}", asm(size, 0, "KECCAK256", "POP"))
        for name in ("CALLDATACOPY", "CODECOPY", "MCOPY"):
            found.piece(f"{name} {size}", asm(size, 0, 32, name))
        found.piece(f"EXTCODECOPY {size}", asm(size, 0, 0, BIG, "EXTCODECOPY"))
    found.piece("RETURNDATACOPY 0", asm(0, 0, 0, "RETURNDATACOPY"))
    found.piece("memory growth", asm("DUP1", "DUP1", "MSTORE", 32, "ADD"), asm(0))
    found.piece("memory growth by steps", asm("DUP1", "DUP1", "MSTORE8", 4_000, "ADD"), asm(0))


def _state(found: Table, slots: int) -> None:
    found.piece("SLOAD warm", asm(1, "SLOAD", "POP"))
    found.piece("SLOAD cold", asm(1, "ADD", "DUP1", "SLOAD", "POP"), asm(0), storage=slots)
    found.piece("SSTORE same", asm(1, "SLOAD", 1, "SSTORE"))
    found.piece("SSTORE again", asm("GAS", 1, "SSTORE"))
    found.piece("SSTORE change", asm(1, "ADD", "DUP1", "DUP1", "SSTORE"), asm(0), storage=slots)
    found.piece("SSTORE set", asm(1, "ADD", "DUP1", "DUP1", "SSTORE"), asm(1 << 200))
    found.piece("SSTORE clear", asm(1, "ADD", 0, "DUP2", "SSTORE"), asm(0), storage=slots)
    found.piece("TLOAD", asm(1, "TLOAD", "POP"))
    found.piece("TSTORE", asm(1, 1, "TSTORE"))
    found.piece("TSTORE new", asm(1, "ADD", "DUP1", "DUP1", "TSTORE"), asm(0))
    for topics in (0, 4):
        for size in (0, 256):
            found.piece(f"LOG{topics} {size}", asm(*range(topics), size, 0, f"LOG{topics}"))
    for name in ("BALANCE", "EXTCODESIZE", "EXTCODEHASH"):
        found.piece(f"{name} warm", asm("ADDRESS", name, "POP"))
        found.piece(f"{name} cold", asm(1, "ADD", "DUP1", name, "POP"), asm(FILLERS_AT))


def _calls(found: Table) -> None:
    for target, place in (("nobody", EMPTY), ("tiny code", TINY), ("24 KiB", BIG), ("10 KiB back", BALLAST)):
        for name in ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"):
            value = [0] if name in ("CALL", "CALLCODE") else []
            found.piece(f"{name} {target}", asm(0, 0, 0, 0, *value, place, "GAS", name, "POP"))
    found.piece("CALL cold", asm(1, "ADD", 0, 0, 0, 0, 0, "DUP6", 0, "CALL", "POP"), asm(FILLERS_AT))
    found.piece("CALL with value", asm(0, 0, 0, 0, 1, TINY, 0, "CALL", "POP"))
    found.piece("CALL cold with value", asm(1, "ADD", 0, 0, 0, 0, 1, "DUP6", 0, "CALL", "POP"), asm(FILLERS_AT))
    found.piece("CALL new with value", asm(1, "ADD", 0, 0, 0, 0, 1, "DUP6", 0, "CALL", "POP"), asm(1 << 90))
    found.piece("CALL to depth 1024", asm(0, 0, 0, 0, 0, DEEP, "GAS", "CALL", "POP"))
    found.piece("CALL with 10 KiB", asm(0, 0, 10_000, 0, 0, TINY, "GAS", "CALL", "POP"))


def _creations(found: Table) -> None:
    found.piece("CREATE empty", asm(0, 0, 0, "CREATE", "POP"))
    found.piece("CREATE 48 KiB of zeros", asm(49_152, 0, 0, "CREATE", "POP"))
    jumpdests = asm("JUMPDEST") * 32
    fill = b"".join(asm(jumpdests, 32 * place, "MSTORE") for place in range(32))
    double = b"".join(asm(1_024 << n, 0, 1_024 << n, "MCOPY") for n in range(6))
    found.piece("CREATE 48 KiB of JUMPDEST", asm(49_152, 0, 0, "CREATE", "POP"), fill + double)
    found.piece("CREATE2 48 KiB of JUMPDEST", asm("GAS", 49_152, 0, 0, "CREATE2", "POP"), fill + double)
    # Initcode that jumps into the data of a PUSH: whoever asks whether that is a destination may have to read it all.
    bad = asm(0x5B5B, 3, "JUMP").ljust(32, b"\x5b")
    jumper = fill + double + asm(bad, 0, "MSTORE")
    found.piece("CREATE2 with a bad jump", asm("GAS", 49_152, 0, 0, "CREATE2", "POP", "GAS", 128, "MSTORE"), jumper)
    deploy, destroy = asm(CODE_BYTES_MAX, 0, "RETURN"), asm("CALLER", "SELFDESTRUCT")
    found.piece("CREATE of 24 KiB", _create(deploy, 0), asm(int.from_bytes(deploy, "big"), 0, "MSTORE"))
    found.piece("CREATE and SELFDESTRUCT", _create(destroy, 1), asm(int.from_bytes(destroy, "big"), 0, "MSTORE"))


def _create(initcode: bytes, value: int) -> bytes:
    """With initcode that ends the first word of memory."""
    return asm(len(initcode), 32 - len(initcode), value, "CREATE", "POP")


def _precompile(found: Table, name: str, address: int, data: bytes) -> None:
    """Calls it with the calldata of the transaction as its input, or with nothing."""
    size = len(data)
    head = asm(size, 0, 0, "CALLDATACOPY") if data else b""
    code = loop(asm(0, 0, size, 0, address, "GAS", "STATICCALL", "POP"), head)
    found.cases.append(Case(name, code, data))


def _precompile_inputs() -> Iterator[tuple[str, int, bytes]]:
    rng = random.Random(8)
    message = keccak256(b"worst")
    signature = PrivateKey(b"\x01" * 32).sign_recoverable(message, hasher=None)
    yield "ecrecover", 1, message + _words(27 + signature[64]) + signature[:64]
    yield "ecrecover of nobody", 1, message + _words(27, MAX // 3, MAX // 5)
    for name, address in (("sha256", 2), ("ripemd160", 3), ("identity", 4)):
        yield f"{name} of nothing", address, b""
        yield f"{name} of 4 KiB", address, rng.randbytes(4_096)
    for base, exponent, modulus in _MODEXP_SIZES:
        numbers = [b"\xff" * size for size in (base, exponent, modulus)]
        yield f"modexp {base} {exponent} {modulus}", 5, _words(base, exponent, modulus) + b"".join(numbers)
    yield "modexp even 256", 5, _words(256, 256, 256) + b"\xff" * 512 + (b"\xff" * 255 + b"\xfe")
    yield "bn128 add", 6, _words(1, 2, 1, 2)
    yield "bn128 mul", 7, _words(1, 2, MAX)
    g2 = [int(part) for point in bn.G2[:2] for part in reversed(point.coeffs)]
    for pairs in (1, 2, 8):
        yield f"bn128 pairing {pairs}", 8, _words(1, 2, *g2) * pairs
    for rounds in (0, 12, 10_000):
        yield f"blake2f {rounds}", 9, rounds.to_bytes(4, "big") + rng.randbytes(208) + b"\x01"
    infinity = b"\xc0" + bytes(47)
    yield "point evaluation", 10, b"\x01" + sha256(infinity).digest()[1:] + _words(5, 0) + infinity * 2
    yield from _bls_inputs()
    key = derive_private_key(12_345, SECP256R1())
    r, s = decode_dss_signature(key.sign(message, ECDSA(Prehashed(SHA256()))))
    public = key.public_key().public_numbers()
    yield "p256verify", 256, message + _words(r, s, public.x, public.y)


def _bls_inputs() -> Iterator[tuple[str, int, bytes]]:
    g1 = b"".join(int(part).to_bytes(64, "big") for part in bls.normalize(bls.multiply(bls.G1, 7)))
    g2 = b"".join(int(c).to_bytes(64, "big") for part in bls.normalize(bls.multiply(bls.G2, 7)) for c in part.coeffs)
    scalar = _words(MAX)
    yield "bls g1 add", 0x0B, g1 * 2
    yield "bls g2 add", 0x0D, g2 * 2
    for count in (1, 16, 128):
        yield f"bls g1 msm {count}", 0x0C, (g1 + scalar) * count
        yield f"bls g2 msm {count}", 0x0E, (g2 + scalar) * count
    for count in (1, 4):
        yield f"bls pairing {count}", 0x0F, (g1 + g2) * count
    yield "bls map fp", 0x10, (5).to_bytes(64, "big")
    yield "bls map fp2", 0x11, (5).to_bytes(64, "big") * 2


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)
