"""Weighted round robin: proportional, bounded, and the same for rounds as for heights."""

from collections import Counter

import pytest

from genesis.primitives import Address, Power, Round
from genesis.proposers import advance, initial_priorities, proposer
from genesis.types import Validator, ValidatorSet


def set_of(*powers: int) -> ValidatorSet:
    return ValidatorSet(
        tuple(
            Validator(Address(bytes([n + 1]) * 20), Power(power), Address(bytes(20))) for n, power in enumerate(powers)
        )
    )


@pytest.mark.parametrize("powers", [(1,), (1, 1, 1, 1), (1, 2, 3), (100, 1, 1), (7, 11, 13, 17)])
def test_each_proposes_in_proportion_to_its_power(powers: tuple[int, ...]) -> None:
    validators = set_of(*powers)
    priorities, turns = initial_priorities(validators), Counter[bytes]()
    for _ in range(3 * validators.total_power):
        priorities, chosen = advance(validators, priorities)
        turns[chosen] += 1
        assert sum(priorities) == 0
        assert max(map(abs, priorities)) <= 2 * validators.total_power
    assert [turns[member.address] for member in validators.members] == [3 * power for power in powers]


def test_a_round_is_a_further_step() -> None:
    validators = set_of(3, 1, 2)
    priorities = initial_priorities(validators)
    expected, state = [], priorities
    for _ in range(8):
        state, chosen = advance(validators, state)
        expected.append(chosen)
    assert [proposer(validators, priorities, Round(round_)) for round_ in range(8)] == expected


def test_priorities_must_fit_the_set() -> None:
    with pytest.raises(ValueError, match="one priority per validator"):
        advance(set_of(1, 2), (0,))
