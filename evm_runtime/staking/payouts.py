"""The payment queue: whom the next withdrawals (EIP-4895) go to, first in, first out, in whole gwei.

Two kinds of money wait for a payee: rewards, which come out of the escrow or are minted when they are paid, and unbonded stake,
which lies on the account's balance. A payee stands in the queue as soon as both together make a gwei; less than a gwei stays.
"""

from dataclasses import dataclass

from evm_runtime.native.storage import Slots
from evm_runtime.staking.layout import (
    ESCROW,
    MINTED,
    OWED,
    OWED_TOTAL,
    PENDING,
    PENDING_TOTAL,
    QUEUE,
    QUEUE_HEAD,
    QUEUE_TAIL,
    WITHDRAWAL_INDEX,
    WITHDRAWN,
)
from genesis.primitives import WEI_PER_GWEI, Address
from genesis.types import Withdrawal


@dataclass(frozen=True, slots=True)
class Payments:
    """What one block pays: the withdrawals, the wei of them that lay on the account's balance, and the wei minted."""

    withdrawals: tuple[Withdrawal, ...]
    debited: int
    minted: int


def add_reward(slots: Slots, payee: Address, amount: int) -> None:
    """Owe a payee `amount` wei of rewards."""
    before = PENDING.get(slots, payee)
    PENDING.set(slots, before + amount, payee)
    PENDING_TOTAL.add(slots, amount)
    _enqueue(slots, payee, before + OWED.get(slots, payee), amount)


def add_stake(slots: Slots, payee: Address, amount: int) -> None:
    """Owe a payee `amount` wei of stake that lies on the account's balance."""
    before = OWED.get(slots, payee)
    OWED.set(slots, before + amount, payee)
    OWED_TOTAL.add(slots, amount)
    _enqueue(slots, payee, before + PENDING.get(slots, payee), amount)


def _enqueue(slots: Slots, payee: Address, before: int, amount: int) -> None:
    if before < WEI_PER_GWEI <= before + amount:
        tail = QUEUE_TAIL.get(slots)
        QUEUE.set(slots, int.from_bytes(payee, "big"), tail)
        QUEUE_TAIL.set(slots, tail + 1)


def pay(slots: Slots, count_max: int) -> tuple[list[tuple[Address, int]], Payments]:
    """Take the first payees off the queue. Returns (payee, wei) for the caller to credit, and what was paid with what."""
    head, tail = QUEUE_HEAD.get(slots), QUEUE_TAIL.get(slots)
    index = WITHDRAWAL_INDEX.get(slots)
    payees: list[tuple[Address, int]] = []
    withdrawals: list[Withdrawal] = []
    stake = rewards = 0
    while head < tail and len(withdrawals) < count_max:
        payee = Address(QUEUE.get(slots, head).to_bytes(20, "big"))
        QUEUE.set(slots, 0, head)
        head += 1
        owed, pending = OWED.get(slots, payee), PENDING.get(slots, payee)
        gwei = (owed + pending) // WEI_PER_GWEI
        amount = gwei * WEI_PER_GWEI
        from_stake = min(owed, amount)
        OWED.set(slots, owed - from_stake, payee)
        PENDING.set(slots, pending - (amount - from_stake), payee)
        stake += from_stake
        rewards += amount - from_stake
        # Payees may stand behind several validators or none: no validator index fits, so it is 0.
        withdrawals.append(Withdrawal(index + len(withdrawals), 0, payee, gwei))
        payees.append((payee, amount))
    QUEUE_HEAD.set(slots, head)
    WITHDRAWAL_INDEX.set(slots, index + len(withdrawals))
    OWED_TOTAL.add(slots, -stake)
    WITHDRAWN.add(slots, stake)
    PENDING_TOTAL.add(slots, -rewards)
    from_escrow = min(rewards, ESCROW.get(slots))
    ESCROW.add(slots, -from_escrow)
    MINTED.add(slots, rewards - from_escrow)
    return payees, Payments(tuple(withdrawals), stake + from_escrow, rewards - from_escrow)
