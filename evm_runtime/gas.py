"""What a transaction costs before it runs.

Sources: EIP-2028 (calldata), EIP-2 (creation), EIP-170 (code), EIP-3860 (initcode), EIP-2930 (access lists), EIP-7623
(calldata floor), EIP-7702 (authorizations). All amounts are gas.
"""

from typing import Final

TRANSACTION_GAS: Final = 21_000
CREATION_GAS: Final = 32_000
ZERO_BYTE_GAS: Final = 4
NONZERO_BYTE_GAS: Final = 16
ACCESS_LIST_ADDRESS_GAS: Final = 2_400
ACCESS_LIST_SLOT_GAS: Final = 1_900
INITCODE_WORD_GAS: Final = 2
CODE_BYTES_MAX: Final = 24_576
INITCODE_BYTES_MAX: Final = 49_152
FLOOR_GAS_PER_TOKEN: Final = 10
TOKENS_PER_NONZERO_BYTE: Final = 4
AUTHORIZATION_GAS: Final = 25_000
"""Charged per EIP-7702 authorization; half of it comes back as a refund when the authority already exists."""
AUTHORIZATION_REFUND: Final = 12_500
REFUND_QUOTIENT: Final = 5
"""At most a fifth of the gas used is refunded (EIP-3529)."""


def intrinsic_gas(data: bytes, *, is_create: bool, addresses: int, slots: int, authorizations: int) -> int:
    """Gas charged before the first opcode: base, calldata, creation and initcode words, access list, authorizations."""
    zeros = data.count(0)
    gas = TRANSACTION_GAS + ZERO_BYTE_GAS * zeros + NONZERO_BYTE_GAS * (len(data) - zeros)
    if is_create:
        gas += CREATION_GAS + INITCODE_WORD_GAS * ((len(data) + 31) // 32)
    gas += ACCESS_LIST_ADDRESS_GAS * addresses + ACCESS_LIST_SLOT_GAS * slots
    return gas + AUTHORIZATION_GAS * authorizations


def floor_gas(data: bytes) -> int:
    """EIP-7623: the least that a transaction with this calldata pays, whatever it executes."""
    zeros = data.count(0)
    tokens = zeros + TOKENS_PER_NONZERO_BYTE * (len(data) - zeros)
    return TRANSACTION_GAS + FLOOR_GAS_PER_TOKEN * tokens
