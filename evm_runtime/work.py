"""The second meter, *work*: what executing costs a validator, where Ethereum's gas says too little of it.

Gas stays Ethereum's. But a warm CALL pays 100 gas for what takes this runtime as long as thousands of additions, so the gas
limit alone does not bound the time of a block. Work does. Its unit is a nominal nanosecond: about twice what the thing takes on
one quiet core of the machines that `make bench-worst` was calibrated on. No clock is ever read: weights are constants of the
protocol, counted alike in every tier.

    work of a transaction = its gas before refunds * GAS_WORK           (code, memory and calldata: what gas measures well)
                          + TRANSACTION_WORK and what follows, by weight
    its limit             = its gas limit * GAS_WORK + min(its gas limit * WORK_PER_GAS, the chain's transaction_work_limit)
    a block takes it if   the work done so far + its limit <= the chain's work_limit

So, as with gas, whether a transaction fits is known before it runs. One that passes its limit while it runs is *out of gas*:
all of its gas is taken and all it did is undone, whatever frame it was in (no caller can catch it, or whoever sends somebody
else's transaction on could make a call inside it fail by choosing its gas). More gas limit buys more work, which is how
`eth_estimateGas` finds enough.

Tiers must come to the same sum, and need not notice an excess at the same place: once it is passed, nothing can undo that.
An opcode counts once it has paid all of its gas (one that fails counts nothing), and its weight follows from the gas that it
took. Tiers that charge several instructions at once end such a charge at each opcode that has a weight, so the sum is exact
in failing frames too. Precompiles and natives count while they charge, before they work. Official state tests and read-only
calls run without limit.
"""

from collections.abc import Mapping
from typing import Final

from genesis.chain_spec import BlockParams
from genesis.primitives import Address

UNLIMITED: Final = 1 << 62
"""For what no transaction pays for: system calls, ends of blocks, reads, official tests."""

GAS_WORK: Final = 4
"""The work of one gas, whatever it pays for."""
WORK_PER_GAS: Final = 100
"""What one gas of a transaction's limit buys beyond that."""

TRANSACTION_WORK: Final = 30_000
"""What its first 21,000 gas do not stand for of recovery, nonce and fees, up to three accounts in the state trie, receipt,
roots: a plain transfer counts 114,000 in all."""
AUTHORIZATION_WORK: Final = 60_000
"""EIP-7702: one recovery, one account."""
FRAME_WORK: Final = 45_000
"""Entering and leaving a message inside another."""
DEPTH_WORK: Final = 250
"""What a frame costs more for each frame that it lies in: deep recursion leaves the processor's caches."""
CREATION_WORK: Final = 40_000
"""On top of its frame: a new account, its code."""
INITCODE_WORD_WORK: Final = 200
"""32 bytes of initcode: hashed, and read for jump destinations."""
ACCOUNT_WRITE_WORK: Final = 30_000
"""One more account in the state trie: a transfer inside a transaction."""
COLD_WORK: Final = 10_000
"""An address or slot that a transaction reaches for the first time is looked up in the database."""
SLOT_WRITE_WORK: Final = 10_000
"""The first change of a slot in a transaction, one more leaf of a storage trie, beyond the 5,000 gas that it takes at least."""
SLOAD_WORK: Final = 3_000
SSTORE_WORK: Final = 6_000
TRANSIENT_WORK: Final = 5_000
"""TLOAD, TSTORE."""
KECCAK_WORK: Final = 1_000
KECCAK_WORD_WORK: Final = 100
"""32 bytes that KECCAK256 hashes."""
LOG_WORK: Final = 10_000
LOG_TOPIC_WORK: Final = 1_000

KECCAK256: Final = 0x20
_SLOAD, _SSTORE = 0x54, 0x55
_COLD_SLOT_GAS: Final = 2_100
_NO_CHANGE_GAS: Final = 100
_FIRST_CHANGE_GAS: Final = 2_900
"""The least that SSTORE pays (EIP-2200, EIP-3529) where it changes a slot for the first time in a transaction."""

_OPCODE_WORK: Final[Mapping[int, int]] = {
    KECCAK256: KECCAK_WORK,
    0x31: 6_000,  # BALANCE
    0x3B: 6_000,  # EXTCODESIZE
    0x3C: 12_000,  # EXTCODECOPY
    0x3F: 6_000,  # EXTCODEHASH
    0x40: 8_000,  # BLOCKHASH
    _SLOAD: SLOAD_WORK,
    _SSTORE: SSTORE_WORK,
    0x5C: TRANSIENT_WORK,
    0x5D: TRANSIENT_WORK,
    **{0xA0 + topics: LOG_WORK + LOG_TOPIC_WORK * topics for topics in range(5)},
}
"""Beside what their gas stands for. An opcode that is not here runs natively and is within its gas."""
WEIGHTED: Final = frozenset(_OPCODE_WORK)


def opcode_work(opcode: int, gas: int, hashed: int = 0) -> int:
    """What one of the `WEIGHTED` opcodes counts that took this gas; KECCAK256 has hashed so many bytes.

    (Addresses count where they become warm.)
    """
    amount = _OPCODE_WORK[opcode]
    if opcode == _SLOAD:
        return amount + (COLD_WORK if gas >= _COLD_SLOT_GAS else 0)
    if opcode == _SSTORE:
        return amount + sstore_extra_work(gas)
    return amount + (hashed + 31) // 32 * KECCAK_WORD_WORK


def sstore_extra_work(gas: int) -> int:
    """The work of an SSTORE that took this gas: nothing, a look-up, or a new leaf and its look-up."""
    if gas >= _FIRST_CHANGE_GAS:
        return SLOT_WRITE_WORK
    return COLD_WORK if gas > _NO_CHANGE_GAS else 0


NATIVE_GAS_WORK: Final = 4
"""The work of one gas that a native contract charges, beyond GAS_WORK."""
PRECOMPILE_WORK: Final = 5_000
"""A call of a precompile or native contract, beyond its frame."""
_PRECOMPILE_GAS_WORK: Final[Mapping[int, int]] = {
    0x01: 20,  # ECRECOVER
    0x02: 40,  # SHA-256
    0x03: 20,  # RIPEMD-160
    0x04: 40,  # identity
    0x05: 20,  # MODEXP
    0x06: 280,  # bn128: addition
    0x07: 55,  # bn128: multiplication
    0x08: 70,  # bn128: pairing
    0x09: 25,  # BLAKE2
    0x0A: 30,  # point evaluation
    0x0B: 220,  # BLS12-381: G1 addition
    0x0C: 35,  # G1 multi-scalar multiplication
    0x0D: 140,  # G2 addition
    0x0E: 60,  # G2 multi-scalar multiplication
    0x0F: 30,  # pairing
    0x10: 40,  # map to G1
    0x11: 25,  # map to G2
    0x0100: 15,  # P256VERIFY
}
PRECOMPILE_GAS_WORK: Final[Mapping[Address, int]] = {
    Address(number.to_bytes(20, "big")): weight for number, weight in _PRECOMPILE_GAS_WORK.items()
}
"""The work of one gas that a precompile charges."""


class WorkExceeded(Exception):  # named for what happened, as all errors here
    """Ends a transaction from wherever it is; no frame may catch it, so it is no VMError."""


def allowance(gas_limit: int, params: BlockParams) -> int:
    """The work beyond its gas that a transaction may do."""
    return min(gas_limit * WORK_PER_GAS, params.transaction_work_limit)


def limit(gas_limit: int, params: BlockParams) -> int:
    """The most work that a transaction can do, which is what a block must have left to take it."""
    return gas_limit * GAS_WORK + allowance(gas_limit, params)
