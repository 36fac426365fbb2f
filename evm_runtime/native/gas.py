"""What the framework itself charges, in gas. Storage and logs follow EIP-2929 and EIP-2200 in their simplest form:

- the first touch of a slot in a transaction costs `COLD_SLOT`, reading it again `WARM_SLOT` (more than the 100 of EIP-2929:
  each touch is made in Python, with its share of packing a record);
- writing costs, on top of a cold touch, `WARM_SLOT` if nothing changes, `SET_SLOT` from zero to non-zero, else `RESET_SLOT`;
- there are no refunds;
- a log costs as the LOG opcodes do.
"""

from typing import Final

CALL_BASE: Final = 4_000
"""Dispatch, decoding of the selector, set-up of the frame, an error's encoding."""
CALLDATA_WORD: Final = 12
"""Copying one 32-byte word of arguments."""
ABI_VALUE: Final = 200
"""Reading one value of the arguments, or writing one of the results (`abi.AbiType.values`), in Python."""
COLD_SLOT: Final = 2_100
WARM_SLOT: Final = 800
SET_SLOT: Final = 20_000
RESET_SLOT: Final = 2_900
LOG: Final = 375
LOG_TOPIC: Final = 375
LOG_BYTE: Final = 8
TRANSFER: Final = 9_000
"""Moving wei to another account."""
NEW_ACCOUNT: Final = 25_000
"""On top, where the receiver didn't exist."""


def words(length: int) -> int:
    """32-byte words that hold `length` bytes."""
    return (length + 31) // 32


def log_gas(topics: int, data_length: int) -> int:
    """Gas of one log entry; `topics` counts the event's own topic too."""
    return LOG + LOG_TOPIC * topics + LOG_BYTE * data_length
