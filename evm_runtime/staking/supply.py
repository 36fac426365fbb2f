"""The supply as state counts it, in wei: total = genesis + minted - burned, at every block the sum of all balances."""

from dataclasses import dataclass

from evm_runtime.native.reserve import RESERVE
from evm_runtime.native.storage import Slots
from evm_runtime.staking.layout import (
    BONDED,
    BURNED,
    CARRY,
    EMISSION_CLOCK_MS,
    GENESIS_SUPPLY,
    MINTED,
    OWED_TOTAL,
    PENDING_TOTAL,
    SLASHED,
    STAKED,
    UNBONDING_TOTAL,
    UNCLAIMED,
    WITHDRAWN,
)
from genesis.primitives import Wei


@dataclass(frozen=True, slots=True)
class SupplyState:
    """Wei, and the emission clock in milliseconds. `total` equals the sum of all balances."""

    genesis: Wei
    minted: Wei
    burned: Wei
    total: Wei
    reserve: Wei
    """Allotted to attribution payments and not minted."""
    emission_clock_ms: int
    pending_rewards: Wei
    """Earned or rolled over, and not yet paid by a withdrawal."""


@dataclass(frozen=True, slots=True)
class StakeBooks:
    """Wei of stake: `staked` == `bonded` + `unbonding` + `owed` + `slashed` + `withdrawn`, at the end of every block."""

    staked: Wei
    bonded: Wei
    unbonding: Wei
    owed: Wei
    """Unbonded, and waiting for its withdrawal."""
    slashed: Wei
    withdrawn: Wei

    @property
    def balanced(self) -> bool:
        return self.staked == self.bonded + self.unbonding + self.owed + self.slashed + self.withdrawn

    @property
    def held(self) -> Wei:
        """What of it the staking account's balance holds."""
        return Wei(self.bonded + self.unbonding + self.owed)


def read_supply(slots: Slots) -> SupplyState:
    genesis, minted, burned = GENESIS_SUPPLY.get(slots), MINTED.get(slots), BURNED.get(slots)
    return SupplyState(
        genesis=Wei(genesis),
        minted=Wei(minted),
        burned=Wei(burned),
        total=Wei(genesis + minted - burned),
        reserve=Wei(RESERVE.get(slots)),
        emission_clock_ms=EMISSION_CLOCK_MS.get(slots),
        pending_rewards=Wei(PENDING_TOTAL.get(slots) + CARRY.get(slots) + UNCLAIMED.get(slots)),
    )


def read_books(slots: Slots) -> StakeBooks:
    places = (STAKED, BONDED, UNBONDING_TOTAL, OWED_TOTAL, SLASHED, WITHDRAWN)
    return StakeBooks(*(Wei(place.get(slots)) for place in places))
