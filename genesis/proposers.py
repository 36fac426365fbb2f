"""Who proposes: weighted round robin by priorities, the same as in Tendermint, with integers only.

Each height adds its power to every validator's priority, then the highest priority proposes and pays the total power
(ties: lower address first). A round r of a height is proposed by whom r further steps would choose; those steps are not kept.
Priorities live in the staking contract's storage, in set order, and belong to the state *after* a block: they choose the
proposers of the next height.
"""

from genesis.primitives import Address, Round
from genesis.types import ValidatorSet

Priorities = tuple[int, ...]


def initial_priorities(validators: ValidatorSet) -> Priorities:
    """All zero, in set order."""
    return (0,) * len(validators)


def advance(validators: ValidatorSet, priorities: Priorities) -> tuple[Priorities, Address]:
    """One step: the new priorities and the chosen proposer. The sum of priorities is kept."""
    if len(priorities) != len(validators):
        raise ValueError("one priority per validator")
    raised = [priority + member.power for priority, member in zip(priorities, validators.members, strict=True)]
    chosen = max(range(len(raised)), key=lambda place: (raised[place], -place))
    raised[chosen] -= validators.total_power
    return tuple(raised), validators.members[chosen].address


def proposer(validators: ValidatorSet, priorities: Priorities, round_: Round) -> Address:
    """The proposer of `round_` at the height for which `priorities` are the parent block's. O((round+1) * validators)."""
    chosen = validators.members[0].address
    for _ in range(round_ + 1):
        priorities, chosen = advance(validators, priorities)
    return chosen


class Rotation:
    """The proposers of one height, round by round, each step computed once."""

    def __init__(self, validators: ValidatorSet, priorities: Priorities) -> None:
        self._validators = validators
        self._priorities = priorities
        self._chosen: list[Address] = []

    def proposer(self, round_: Round) -> Address:
        """The same as `proposer`. The caller bounds `round_`: every round up to it is remembered."""
        while len(self._chosen) <= round_:
            self._priorities, chosen = advance(self._validators, self._priorities)
            self._chosen.append(chosen)
        return self._chosen[round_]
