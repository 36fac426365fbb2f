"""The emission schedule E(t): how much OPEN has been allocated after t milliseconds of chain time.

400,000,000 OPEN in halving periods of 63,072,000 s (two years of 365 days): 200 M, 100 M, 50 M, … Inside a period it is
linear, in integer wei. The clock is state, not wall time: each block advances it by its ConsensusData time since its parent,
at most `EMISSION_STEP_MS_MAX`, so a long halt pays no windfall. `genesis + minted <= SUPPLY_MAX` holds at every block.

The reserve is minted only where an inference was paid for, in a bounded proportion to what that payment destroyed: `match_of`.
The bound is a rule of the chain and no parameter, so no vote can lift it.
"""

from typing import Final

from genesis.primitives import WEI_PER_OPEN, Wei

SUPPLY_MAX: Final = Wei(1_000_000_000 * WEI_PER_OPEN)
GENESIS_SUPPLY_MAX: Final = Wei(600_000_000 * WEI_PER_OPEN)
EMISSION_TOTAL: Final = Wei(400_000_000 * WEI_PER_OPEN)
EMISSION_PERIOD_MS: Final = 63_072_000_000
EMISSION_STEP_MS_MAX: Final = 60_000
VALIDATORS_EMISSION_BPS: Final = 4_000
"""The part of each block's emission that goes to validators and delegators; the rest is the attribution reserve."""
BPS: Final = 10_000


def emitted(clock_ms: int) -> Wei:
    """E(clock_ms): wei allocated since genesis when the emission clock shows `clock_ms` (>= 0). Monotone, < EMISSION_TOTAL."""
    if clock_ms < 0:
        raise ValueError("the emission clock starts at 0")
    periods, rest_ms = divmod(clock_ms, EMISSION_PERIOD_MS)
    if periods >= EMISSION_TOTAL.bit_length():
        return EMISSION_TOTAL
    remaining = EMISSION_TOTAL >> periods
    this_period = remaining >> 1
    return Wei(EMISSION_TOTAL - remaining + this_period * rest_ms // EMISSION_PERIOD_MS)


def block_emission(clock_ms: int, parent_time_ms: int, time_ms: int) -> tuple[int, Wei]:
    """(new clock, wei allocated by this block) for a block at `time_ms` on a parent at `parent_time_ms`."""
    new_clock_ms = clock_ms + min(max(time_ms - parent_time_ms, 0), EMISSION_STEP_MS_MAX)
    return new_clock_ms, Wei(emitted(new_clock_ms) - emitted(clock_ms))


def match_of(burned: int, to_treasury: int) -> Wei:
    """The most that one receipt may be matched with, given what it burned and sent to the treasury, in wei.

    At most half of both together; and never more than what was burned, so that who holds the treasury under another name
    gains nothing either (ADR 18).
    """
    return Wei((burned + min(burned, to_treasury)) // 2)


def validators_part(amount: int) -> Wei:
    """The validators' 40 % of an emission, rounded down."""
    return Wei(amount * VALIDATORS_EMISSION_BPS // BPS)
