"""E(t): monotone, halving, capped; a block's step is bounded."""

import random

import pytest

from genesis.emission import (
    EMISSION_PERIOD_MS,
    EMISSION_STEP_MS_MAX,
    EMISSION_TOTAL,
    GENESIS_SUPPLY_MAX,
    SUPPLY_MAX,
    block_emission,
    emitted,
    validators_part,
)
from genesis.primitives import WEI_PER_OPEN


def test_halving_periods() -> None:
    assert emitted(0) == 0
    assert emitted(EMISSION_PERIOD_MS) == 200_000_000 * WEI_PER_OPEN
    assert emitted(2 * EMISSION_PERIOD_MS) == 300_000_000 * WEI_PER_OPEN
    assert emitted(EMISSION_PERIOD_MS // 2) == 100_000_000 * WEI_PER_OPEN
    assert emitted(10_000 * EMISSION_PERIOD_MS) == EMISSION_TOTAL
    assert SUPPLY_MAX == GENESIS_SUPPLY_MAX + EMISSION_TOTAL


def test_monotone_and_below_the_total() -> None:
    generator = random.Random(1)
    times = sorted(generator.randrange(200 * EMISSION_PERIOD_MS) for _ in range(2_000))
    amounts = [emitted(time) for time in times]
    assert amounts == sorted(amounts)
    assert amounts[-1] <= EMISSION_TOTAL


def test_blocks_sum_to_the_schedule() -> None:
    generator = random.Random(2)
    clock, total, now = 0, 0, 1_000
    for _ in range(1_000):
        later = now + generator.randrange(1, 2_000)
        clock, amount = block_emission(clock, now, later)
        total, now = total + amount, later
    assert total == emitted(clock) == emitted(now - 1_000)


def test_a_long_halt_pays_no_windfall() -> None:
    clock, amount = block_emission(5_000, 0, 10 * EMISSION_PERIOD_MS)
    assert clock == 5_000 + EMISSION_STEP_MS_MAX
    assert amount == emitted(clock) - emitted(5_000)
    assert block_emission(5_000, 10, 10) == (5_000, 0)


def test_parts_and_bounds() -> None:
    assert validators_part(10_001) == 4_000
    with pytest.raises(ValueError, match="starts at 0"):
        emitted(-1)
