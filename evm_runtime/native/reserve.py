"""The reserve: emission allotted to attribution payments, a counter in the staking account's storage.

The end of a block adds to it (`evm_runtime/rewards.py`). A native contract draws from it within a call, which is journaled
like all storage; the wei arrive on that contract's balance with the withdrawals of the same block. What is never drawn is
never minted.
"""

from typing import Final

from evm_runtime.native.frame import NativeState, PlainSlots
from evm_runtime.native.storage import Value
from genesis.chain_spec import STAKING_ADDRESS
from genesis.errors import InvariantError
from genesis.primitives import WEI_PER_GWEI, Wei

RESERVE: Final = Value(9)
"""Wei that may still be drawn."""
DRAWN: Final = Value(64)
"""Wei drawn in this block; zero between blocks. (Other slots of that account: `evm_runtime/staking/layout.py`.)"""


def draw(state: NativeState, amount: Wei) -> Wei:
    """Take up to `amount` out of the reserve, in whole gwei (a withdrawal pays no less); returns what was taken.

    Unmetered: the caller charges for two slots.
    """
    if amount < 0:
        raise InvariantError(f"{amount} wei would be drawn from the reserve")
    slots = PlainSlots(state, STAKING_ADDRESS)
    available = RESERVE.get(slots)
    taken = min(amount, available) // WEI_PER_GWEI * WEI_PER_GWEI
    if taken:
        RESERVE.set(slots, available - taken)
        DRAWN.add(slots, taken)
    return Wei(taken)
