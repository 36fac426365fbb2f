"""Names for the plain values that cross folders, and the hash function of the chain.

Sizes: `Hash32` 32 bytes, `Address` 20 bytes, `Signature` 65 bytes (r ‖ s ‖ v, v in {0, 1}, low s).
Units: `Wei` is 10**-18 OPEN; `Height`, `Round`, `Power` are plain counts; times are integer milliseconds since the Unix
epoch and say so in their names (`time_ms`). No floats anywhere.
"""

from typing import Final, NewType

import sha3

Address = NewType("Address", bytes)
Hash32 = NewType("Hash32", bytes)
Signature = NewType("Signature", bytes)
Height = NewType("Height", int)
Round = NewType("Round", int)
Power = NewType("Power", int)
Wei = NewType("Wei", int)

ZERO_HASH: Final = Hash32(bytes(32))
ZERO_ADDRESS: Final = Address(bytes(20))
NO_ROUND: Final = Round(-1)
"""The paper's -1: no lock, no valid value, a fresh proposal."""

WEI_PER_GWEI: Final = 10**9
WEI_PER_OPEN: Final = 10**18


def keccak256(data: bytes) -> Hash32:
    """Keccak-256 as Ethereum uses it (not NIST SHA3-256)."""
    return Hash32(sha3.keccak_256(data).digest())


def abi_words(*values: int | bytes) -> bytes:
    """`abi.encode` of static values: ints as uint256 (-1 as all ones), 20 bytes as address, 32 bytes as bytes32.

    Raises ValueError for bytes of any other length and for ints outside -1 .. 2**256 - 1.
    """
    words = []
    for value in values:
        if isinstance(value, int):
            if not -1 <= value < 1 << 256:
                raise ValueError(f"{value} does not fit a word")
            words.append((value % (1 << 256)).to_bytes(32, "big"))
        elif len(value) == 32:
            words.append(bytes(value))
        elif len(value) == 20:
            words.append(bytes(12) + value)
        else:
            raise ValueError(f"{len(value)} bytes are neither an address nor a bytes32")
    return b"".join(words)
