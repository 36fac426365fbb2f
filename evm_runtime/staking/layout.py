"""Where the staking account 0x…0A01 keeps what: everything of consensus and supply that lives in state.

Solidity's layout (`evm_runtime/native/storage.py`); amounts are wei, powers plain counts.

     0  hash of the chain spec                      8  burned
     1  hash of the last validator set              9  reserve for attribution payments (a counter, not minted)
     2  hash of the current validator set          10  escrow: what of this account's balance rewards are owed from
     3  hash of the next validator set             11  pending: sum of all payees' rewards not yet paid
     4  emission clock, milliseconds               12  carry: rewards that nobody has earned yet
     5  genesis supply                             13  payment queue: place of the first payee
     6  minted                                     14  payment queue: place behind the last payee
     7  next withdrawal index                      15  payment queue: mapping place => payee
    16  mapping payee => pending reward            17  priorities of the current set, array of int256
    18  mapping set hash => array of (address, payout ‖ power): two slots per validator
    19  stake that ever came in                    20  bonded
    21  unbonding                                  22  owed: unbonded stake not yet paid out
    23  slashed, ever                              24  withdrawn, ever
    25  mapping payee => owed stake                26  delegators' rewards not yet claimed
    27  blocks at whose end a set is to be chosen  28  candidates, array of address
    29  mapping validator => record                30  mapping validator => reward pool of its delegators
    31  mapping validator => delegator => record   32  mapping validator => delegator => redelegation
    33  unbonding queue: first place               34  unbonding queue: place behind the last
    35  mapping place => unbonding                 36  mapping validator => word => bits of missed heights
    37  mapping word => durations of recent blocks, eight of 32 bits (milliseconds)
    38  parameter changes, ever                   39  mapping keccak(parameter) => voted value plus one
    40  proposals, ever                           41  mapping proposal => record
    42  mapping proposal => parameter             43  mapping proposal => validator => vote (1 no, 2 yes)

The books, at the end of every block:

    stake in (19) == bonded (20) + unbonding (21) + owed (22) + slashed (23) + withdrawn (24)
    balance of the account == escrow (10) + bonded (20) + unbonding (21) + owed (22) + what was forced onto it
"""

import enum
from dataclasses import dataclass
from typing import Annotated, Final

from evm_runtime.native.storage import (
    U16,
    U32,
    U64,
    U128,
    U256,
    Account,
    Flag,
    Records,
    Slots,
    Texts,
    Value,
    array_slot,
)
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS, Address

SPEC_HASH: Final = 0
LAST_SET: Final = 1
CURRENT_SET: Final = 2
NEXT_SET: Final = 3
EMISSION_CLOCK_MS: Final = Value(4)
GENESIS_SUPPLY: Final = Value(5)
MINTED: Final = Value(6)
WITHDRAWAL_INDEX: Final = Value(7)
BURNED: Final = Value(8)
ESCROW: Final = Value(10)
PENDING_TOTAL: Final = Value(11)
CARRY: Final = Value(12)
QUEUE_HEAD: Final = Value(13)
QUEUE_TAIL: Final = Value(14)
QUEUE: Final = Value(15)
PENDING: Final = Value(16)
PRIORITIES: Final = 17
SETS: Final = 18
STAKED: Final = Value(19)
BONDED: Final = Value(20)
UNBONDING_TOTAL: Final = Value(21)
OWED_TOTAL: Final = Value(22)
SLASHED: Final = Value(23)
WITHDRAWN: Final = Value(24)
OWED: Final = Value(25)
UNCLAIMED: Final = Value(26)
CANDIDATES_CHANGED: Final = Value(27)
CANDIDATES: Final = 28


@dataclass(frozen=True, slots=True)
class ValidatorRecord:
    """Who validates under a consensus key, with what stake, and how it behaves. No owner: there is no such validator.

    `self_stake` is wei as they are. `delegated` counts wei as they came in: each is worth `kept_bps` basis points of one,
    10,000 until the validator is slashed, which happens at most once. `place` is its place among the candidates plus one, 0 if
    it is none. `missed_blocks` and `missed_ms` are those of the downtime window. Times are seconds.
    """

    owner: Account
    place: U16
    commission_bps: U16
    commission_max_bps: U16
    commission_step_bps: U16
    kept_bps: U16
    jailed: Flag
    tombstoned: Flag
    payout: Account
    jailed_until: U64
    missed_blocks: U32
    self_stake: U128
    delegated: U128
    commission_changed: U64
    infraction_height: U64
    missed_ms: U64
    created_height: U64

    @property
    def exists(self) -> bool:
        return self.owner != ZERO_ADDRESS

    @property
    def tokens(self) -> int:
        """Wei at stake with this validator, its own and its delegators'."""
        return self.self_stake + worth(self.delegated, self.kept_bps)


def worth(principal: int, kept_bps: int) -> int:
    """Wei that stand for all of a validator's delegated principal (rounded up, so that they cover each part rounded down)."""
    return -(-principal * kept_bps // BPS)


@dataclass(frozen=True, slots=True)
class RewardPool:
    """A validator's delegators' rewards: scaled wei (2**128 to one) per wei of principal so far, and the scaled remainder."""

    accumulator: U256
    remainder: U256


@dataclass(frozen=True, slots=True)
class Delegation:
    """`principal` as it came in (see ValidatorRecord); the accumulator it was settled at; scaled residue below one wei."""

    principal: U128
    residue: U128
    settled_at: U256


@dataclass(frozen=True, slots=True)
class Redelegation:
    """Principal that came from another validator, answers for what that one did before `height`, and is locked until then."""

    source: Account
    height: U64
    principal: U128
    completes_ms: U64


class ProposalState(enum.IntEnum):
    """Where a proposal stands. OPEN and QUEUED ones end with their deadline."""

    OPEN = 0
    QUEUED = 1
    ENACTED = 2


@dataclass(frozen=True, slots=True)
class Proposal:
    """A value proposed for a parameter; when it may be enacted (once queued), and when it ends. No deadline: there is none."""

    value: U256
    deadline_ms: U64
    earliest_ms: U64
    state: Annotated[ProposalState, 8]


@dataclass(frozen=True, slots=True)
class Unbonding:
    """Wei on their way out. `whole`: made before the validator was slashed, if it ever was."""

    owner: Account
    whole: Flag
    validator: Account
    amount: U128
    completes_ms: U64
    height: U64


VALIDATORS: Final = Records(29, ValidatorRecord)
POOLS: Final = Records(30, RewardPool)
DELEGATIONS: Final = Records(31, Delegation)
REDELEGATIONS: Final = Records(32, Redelegation)
UNBONDING_HEAD: Final = Value(33)
UNBONDING_TAIL: Final = Value(34)
UNBONDINGS: Final = Records(35, Unbonding)
MISSED: Final = Value(36)
DURATIONS: Final = Value(37)
CHANGES: Final = Value(38)
VALUES: Final = Value(39)
PROPOSAL_COUNT: Final = Value(40)
PROPOSALS: Final = Records(41, Proposal)
PROPOSAL_NAMES: Final = Texts(42)
VOTES: Final = Value(43)

NO_REDELEGATION: Final = Redelegation(ZERO_ADDRESS, 0, 0, 0)
NO_UNBONDING: Final = Unbonding(ZERO_ADDRESS, False, ZERO_ADDRESS, 0, 0, 0)


def candidate_count(slots: Slots) -> int:
    return slots.load(CANDIDATES)


def candidate(slots: Slots, place: int) -> Address:
    """The candidate at a place, from 0."""
    return Address(slots.load(array_slot(CANDIDATES) + place).to_bytes(20, "big"))


def set_candidate(slots: Slots, place: int, address: Address) -> None:
    slots.store(array_slot(CANDIDATES) + place, int.from_bytes(address, "big"))
