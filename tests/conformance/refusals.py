"""What a refusal says, by the name that Ethereum's tests give to its reason.

A transaction that must be refused may not be refused for anything else: a decoder that stumbles would pass too.
"""

import re
from typing import Final

_WORDS: Final = {
    "GASLIMIT_PRICE_PRODUCT_OVERFLOW": "insufficient funds",
    "GAS_ALLOWANCE_EXCEEDED": "exceeds block gas limit|gas limit reached",
    "GAS_LIMIT_EXCEEDS_MAXIMUM": "transaction gas limit too high",
    "INITCODE_SIZE_EXCEEDED": "max initcode size exceeded",
    "INSUFFICIENT_ACCOUNT_FUNDS": "insufficient funds",
    "INSUFFICIENT_MAX_FEE_PER_BLOB_GAS": "max fee per blob gas less than block blob gas fee",
    "INSUFFICIENT_MAX_FEE_PER_GAS": "max fee per gas less than block base fee",
    "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST": "insufficient gas for floor data gas cost",
    "INTRINSIC_GAS_TOO_LOW": "intrinsic gas too low",
    "INVALID_CHAINID": "invalid chain id",
    "NONCE_IS_MAX": "nonce has max value|nonce: the integer is too large",
    "NONCE_MISMATCH_TOO_HIGH": "nonce too high",
    "NONCE_MISMATCH_TOO_LOW": "nonce too low",
    "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS": "max priority fee per gas higher than max fee per gas",
    "RLP_INVALID_VALUE": "value: the integer is too large",
    "SENDER_NOT_EOA": "sender not an eoa",
    "TYPE_3_TX_BLOB_COUNT_EXCEEDED": "too many blobs",
    "TYPE_3_TX_CONTRACT_CREATION": "a blob transaction cannot create",
    "TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH": "invalid hash version",
    "TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED": "too many blobs",
    "TYPE_3_TX_ZERO_BLOBS": "missing blob hashes",
    "TYPE_4_EMPTY_AUTHORIZATION_LIST": "empty auth list",
    "TYPE_4_TX_CONTRACT_CREATION": "a type 4 transaction cannot create",
    "TYPE_4_TX_PRE_FORK": "transaction type not supported",
}
"""By the name in execution-spec-tests, without its prefix."""


def matches(reason: str, refusal: str) -> bool:
    """Whether a refusal is for a reason, `TransactionException.NAME`. A name that is not known matches any refusal."""
    words = _WORDS.get(reason.removeprefix("TransactionException."))
    return words is None or re.search(words, refusal) is not None
