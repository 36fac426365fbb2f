"""Evidence in a block: whom it may accuse, and what it costs. Whether the signatures are good is consensus' to check.

A validator is slashed once, for its first proven equivocation: it loses `slash_bps` of its own stake and its delegators', never
validates again (tombstone), and what left it since the fault loses as much when it matures (`unbonding.py`, `delegators.py`).
"""

from collections.abc import Sequence
from dataclasses import replace

from evm_runtime.native.storage import Slots
from evm_runtime.staking.candidates import delist
from evm_runtime.staking.layout import BONDED, SLASHED, VALIDATORS
from genesis.chain_spec import StakingParams
from genesis.emission import BPS
from genesis.errors import InvalidBlock
from genesis.primitives import Address, Height
from genesis.types import Evidence


def check_punishable(slots: Slots, height: Height, evidence: Sequence[Evidence]) -> None:
    """Raises InvalidBlock unless each item of a block at `height` accuses another validator, of a fault that is past, and
    none that was punished before."""
    seen: set[Address] = set()
    for item in evidence:
        who = item.offender
        if item.height >= height:
            raise InvalidBlock(f"evidence of height {item.height} in block {height}")
        if who in seen:
            raise InvalidBlock(f"evidence: 0x{who.hex()} is accused twice in one block")
        if not is_punishable(slots, who):
            raise InvalidBlock(f"evidence: 0x{who.hex()} was punished before, or never was a validator")
        seen.add(who)


def is_punishable(slots: Slots, validator: Address) -> bool:
    record = VALIDATORS.load(slots, validator)
    return record.exists and not record.tombstoned


def punish(slots: Slots, params: StakingParams, evidence: Sequence[Evidence]) -> int:
    """Slash each offender. Returns the wei to be destroyed by the caller. `check_punishable` comes first."""
    return sum(_slash(slots, params, item) for item in evidence)


def _slash(slots: Slots, params: StakingParams, item: Evidence) -> int:
    who = item.offender
    delist(slots, who)
    before = VALIDATORS.load(slots, who)
    kept_bps = BPS - params.slash_bps
    after = replace(
        before,
        tombstoned=True,
        infraction_height=item.height,
        kept_bps=kept_bps,
        self_stake=before.self_stake * kept_bps // BPS,
    )
    VALIDATORS.store(slots, after, who)
    lost = before.tokens - after.tokens
    BONDED.add(slots, -lost)
    SLASHED.add(slots, lost)
    return lost
