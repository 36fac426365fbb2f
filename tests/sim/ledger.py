"""A stand-in for execution: opaque blocks, an invalid transaction, and validator sets that the blocks themselves decide."""

import random
from dataclasses import replace
from typing import Final

from consensus.application import HeightContext
from genesis.primitives import Address, Hash32, Height, Power
from genesis.proposers import advance
from genesis.types import Block, Commit, Validator, ValidatorSet
from tests.sim.plan import HONEST, Plan
from tests.unit.consensus.support import first_context

INVALID_TRANSACTION: Final = b"invalid"
CANDIDATES: Final = 6


class Ledger:
    """What every node computes alike: the context after a block, and whether execution accepts it."""

    def __init__(self, plan: Plan, addresses: list[Address], rng: random.Random) -> None:
        members = zip(addresses, plan.powers, strict=False)
        self.genesis_set = _set_of(dict(members))
        self.punished: dict[Hash32, frozenset[Address]] = {}
        """By a block's hash: whom the chain up to it has punished."""
        self._sets = [self.genesis_set]
        while plan.changing and len(self._sets) < CANDIDATES:
            drawn = _draw(plan, addresses, rng)
            if drawn is not None:
                self._sets.append(drawn)

    def first(self) -> HeightContext:
        return first_context(self.genesis_set)

    def after(self, context: HeightContext, block: Block, commit: Commit) -> HeightContext:
        """The context of the next height: its set was known already, the block chooses the set of the one after."""
        punished = self.punished_before(context) | {item.offender for item in block.evidence}
        self.punished[block.hash] = punished
        chosen = _without(self._sets[block.hash[0] % len(self._sets)], punished)
        raised, _ = advance(context.validators, context.priorities)
        known = dict(zip((m.address for m in context.validators.members), raised, strict=True))
        return replace(
            context,
            height=Height(context.height + 1),
            parent_hash=block.hash,
            parent_time_ms=block.consensus.time_ms,
            validators=context.next_validators,
            next_validators=chosen,
            last_validators=context.validators,
            last_commit=commit,
            priorities=tuple(known.get(m.address, 0) for m in context.next_validators.members),
        )

    def punished_before(self, context: HeightContext) -> frozenset[Address]:
        return self.punished.get(context.parent_hash, frozenset())

    def executes(self, context: HeightContext, block: Block) -> bool:
        again = self.punished_before(context) & {item.offender for item in block.evidence}
        return INVALID_TRANSACTION not in block.transactions and not again


def _set_of(powers: dict[Address, int]) -> ValidatorSet:
    return ValidatorSet(tuple(Validator(address, Power(power), address) for address, power in powers.items()))


def _without(validators: ValidatorSet, punished: frozenset[Address]) -> ValidatorSet:
    """A punished validator is in no later set; a set of none but punished stays."""
    left = tuple(member for member in validators.members if member.address not in punished)
    return ValidatorSet(left) if left else validators


def _draw(plan: Plan, addresses: list[Address], rng: random.Random) -> ValidatorSet | None:
    """A random set in which the cheats have less than a third; None if this draw gives them more."""
    cheats = sum(behaviour != HONEST for behaviour in plan.byzantine)
    honest = list(range(cheats, len(addresses)))
    members = rng.sample(honest, rng.randint(max(1, len(honest) - 2), len(honest)))
    cheating = [key for key in range(cheats) if rng.random() < 0.8]
    powers = {addresses[key]: rng.randint(5, 20) for key in [*members, *cheating]}
    total = sum(powers.values())
    bad = sum(powers[addresses[key]] for key in cheating)
    return _set_of(powers) if 3 * bad < total else None
