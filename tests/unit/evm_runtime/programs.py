"""EVM assembly for tests: a tiny assembler, and random programs that mostly succeed."""

import random

OPS = {
    "STOP": 0x00, "ADD": 0x01, "MUL": 0x02, "SUB": 0x03, "DIV": 0x04, "SDIV": 0x05, "MOD": 0x06, "SMOD": 0x07, "ADDMOD": 0x08,
    "MULMOD": 0x09, "EXP": 0x0A, "SIGNEXTEND": 0x0B, "LT": 0x10, "GT": 0x11, "SLT": 0x12, "SGT": 0x13, "EQ": 0x14,
    "ISZERO": 0x15, "AND": 0x16, "OR": 0x17, "XOR": 0x18, "NOT": 0x19, "BYTE": 0x1A, "SHL": 0x1B, "SHR": 0x1C, "SAR": 0x1D,
    "KECCAK256": 0x20, "ADDRESS": 0x30, "BALANCE": 0x31, "ORIGIN": 0x32, "CALLER": 0x33, "CALLVALUE": 0x34,
    "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37, "CODESIZE": 0x38, "CODECOPY": 0x39, "GASPRICE": 0x3A,
    "EXTCODESIZE": 0x3B, "EXTCODECOPY": 0x3C, "RETURNDATASIZE": 0x3D, "RETURNDATACOPY": 0x3E, "EXTCODEHASH": 0x3F,
    "BLOCKHASH": 0x40, "COINBASE": 0x41, "TIMESTAMP": 0x42, "NUMBER": 0x43, "PREVRANDAO": 0x44, "GASLIMIT": 0x45,
    "CHAINID": 0x46, "SELFBALANCE": 0x47, "BASEFEE": 0x48, "BLOBHASH": 0x49, "BLOBBASEFEE": 0x4A, "POP": 0x50, "MLOAD": 0x51,
    "MSTORE": 0x52, "MSTORE8": 0x53, "SLOAD": 0x54, "SSTORE": 0x55, "JUMP": 0x56, "JUMPI": 0x57, "PC": 0x58, "MSIZE": 0x59,
    "GAS": 0x5A, "JUMPDEST": 0x5B, "TLOAD": 0x5C, "TSTORE": 0x5D, "MCOPY": 0x5E, "CREATE": 0xF0, "CALL": 0xF1,
    "CALLCODE": 0xF2, "RETURN": 0xF3, "DELEGATECALL": 0xF4, "CREATE2": 0xF5, "STATICCALL": 0xFA, "REVERT": 0xFD,
    "INVALID": 0xFE, "SELFDESTRUCT": 0xFF,
    **{f"DUP{n}": 0x7F + n for n in range(1, 17)}, **{f"SWAP{n}": 0x8F + n for n in range(1, 17)},
    **{f"LOG{n}": 0xA0 + n for n in range(5)},
}  # fmt: skip

UNARY = ["ISZERO", "NOT"]
BINARY = [
    "ADD",
    "MUL",
    "SUB",
    "DIV",
    "SDIV",
    "MOD",
    "SMOD",
    "EXP",
    "SIGNEXTEND",
    "LT",
    "GT",
    "SLT",
    "SGT",
    "EQ",
    "AND",
    "OR",
]
BINARY += ["XOR", "BYTE", "SHL", "SHR", "SAR"]
CONTEXT = [
    "ADDRESS",
    "ORIGIN",
    "CALLER",
    "CALLVALUE",
    "CALLDATASIZE",
    "CODESIZE",
    "GASPRICE",
    "RETURNDATASIZE",
    "COINBASE",
]
CONTEXT += [
    "TIMESTAMP",
    "NUMBER",
    "PREVRANDAO",
    "GASLIMIT",
    "CHAINID",
    "SELFBALANCE",
    "BASEFEE",
    "BLOBBASEFEE",
    "PC",
    "MSIZE",
]
CONTEXT += ["GAS"]


def push(value: int | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([0x5F + len(data)]) + data


def asm(*items: str | int | bytes) -> bytes:
    """Names are opcodes, ints and bytes are pushed: the last argument of an opcode comes first, as on the stack."""
    return b"".join(bytes([OPS[item]]) if isinstance(item, str) else push(item) for item in items)


def deployer(runtime: bytes) -> bytes:
    """Initcode that returns `runtime`."""
    size = len(runtime).to_bytes(2, "big")
    head = asm(size, b"\x0d", 0, "CODECOPY", size, 0, "RETURN")
    return head.ljust(13, b"\x00") + runtime


def store_top(rng: random.Random) -> bytes:
    return asm(rng.randrange(6), "SSTORE")


def random_value(rng: random.Random) -> int:
    return rng.choice([0, 1, 2, 31, 32, 255, rng.getrandbits(64), rng.getrandbits(256), (1 << 256) - 1])


def random_piece(rng: random.Random, targets: list[bytes], depth: int) -> bytes:
    """A stack-neutral piece of code."""
    kind = rng.randrange(15)
    if kind == 0:
        return asm(random_value(rng), rng.randrange(6), "SSTORE")
    if kind == 1:
        return asm(random_value(rng), random_value(rng), rng.choice(BINARY)) + store_top(rng)
    if kind == 2:
        return asm(rng.choice(CONTEXT)) + store_top(rng)
    if kind == 3:
        offset = rng.randrange(200)
        return asm(
            random_value(rng), offset, rng.choice(["MSTORE", "MSTORE8"]), rng.randrange(64), offset, "KECCAK256"
        ) + store_top(rng)
    if kind == 4:
        topics = rng.randrange(5)
        return asm(*[random_value(rng) for _ in range(topics)], rng.randrange(70), rng.randrange(70), f"LOG{topics}")
    if kind == 5:
        return asm(rng.choice(targets), rng.choice(["BALANCE", "EXTCODESIZE", "EXTCODEHASH"])) + store_top(rng)
    if kind == 6:
        return asm(
            rng.randrange(40), rng.randrange(40), rng.randrange(40), rng.choice(["CODECOPY", "CALLDATACOPY", "MCOPY"])
        )
    if kind == 7:
        return asm(rng.randrange(40), rng.randrange(40), rng.randrange(40), rng.choice(targets), "EXTCODECOPY")
    if kind == 8:
        slot = rng.randrange(4)
        return asm(random_value(rng), slot, "TSTORE", slot, "TLOAD") + store_top(rng)
    if kind == 9:
        return asm(rng.randrange(6), "SLOAD", random_value(rng), "ADD") + store_top(rng)
    if kind == 10:
        return asm(rng.randrange(64), "MLOAD", rng.choice(UNARY)) + store_top(rng)
    if kind in (11, 12):
        name = rng.choice(["CALL", "CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"])
        value = [rng.choice([0, 0, 1, 1 << 200])] if name in ("CALL", "CALLCODE") else []
        gas = rng.choice([0, 700, 30_000, 100_000, 1 << 40])
        call = asm(
            rng.randrange(40),
            rng.randrange(40),
            rng.randrange(40),
            rng.randrange(40),
            *value,
            rng.choice(targets),
            gas,
            name,
        )
        return call + store_top(rng) + asm("RETURNDATASIZE") + store_top(rng)
    if kind == 13 and depth < 2:
        runtime = random_program(rng, targets, rng.randrange(1, 4), depth + 1)
        init = random_program(rng, targets, rng.randrange(2), depth + 1, ends=[b""]) if rng.random() < 0.3 else b""
        return create(rng, init or deployer(runtime))
    return asm(rng.randrange(40), "CALLDATALOAD") + store_top(rng)


def create(rng: random.Random, initcode: bytes) -> bytes:
    stores = b"".join(
        asm(initcode[at : at + 32].ljust(32, b"\x00"), at, "MSTORE") for at in range(0, len(initcode), 32)
    )
    salt = [rng.randrange(3)] if rng.random() < 0.5 else []
    made = asm(*salt, len(initcode), 0, rng.choice([0, 0, 1]), "CREATE2" if salt else "CREATE")
    call = asm(0, 0, 0, 0, 0, "DUP6", 50_000, "CALL", "POP") if rng.random() < 0.6 else b""
    return stores + made + call + store_top(rng)


def random_program(
    rng: random.Random, targets: list[bytes], pieces: int, depth: int = 0, ends: list[bytes] | None = None
) -> bytes:
    body = b"".join(random_piece(rng, targets, depth) for _ in range(pieces))
    if ends is None:
        ends = [asm("STOP")] * 4 + [asm(rng.randrange(40), rng.randrange(40), "RETURN")] * 3
        ends += [asm(rng.randrange(40), rng.randrange(40), "REVERT"), asm("INVALID")]
        ends += [asm(rng.choice(targets), "SELFDESTRUCT"), asm("ADDRESS", "SELFDESTRUCT"), b""]
    return body + rng.choice(ends)
