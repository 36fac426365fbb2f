"""Equivocation: how it is noticed, kept, proven, and put into blocks, once.

A proof names its offender by signatures alone, so that nobody has to be believed: two votes (or proposals) of one validator
for one height, round and kind that differ in what they speak for. A block may carry up to 16 of them if each

- speaks of a height before the block's, by a member of the set that voted there, with two good signatures;
- is not older than `evidence_age_ms`: the time of the block that carries it less the time of the block of that height;
- accuses another validator than the others, and none that was punished before (that is execution's to know).

The age is longer than light clients trust a block and no longer than stake takes to unbond: who signed what a light client
still believes has something to lose.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Final

from consensus.application import HeightContext, PastHeight
from genesis.crypto import recover
from genesis.errors import InvalidBlock, WireError
from genesis.limits import EVIDENCE_PER_BLOCK_MAX
from genesis.primitives import Address, Hash32, Height
from genesis.types import Block, ChainIdentity, DuplicateProposal, Evidence, Proposal, ValidatorSet

EVIDENCE_KEPT_MAX: Final = 256


def duplicate_proposal(first: Proposal, second: Proposal) -> DuplicateProposal | None:
    """Evidence from two signed proposals of one position; None if they say the same (a polka is not signed)."""
    if (first.block_hash, first.valid_round) == (second.block_hash, second.valid_round):
        return None
    bare = [dataclasses.replace(proposal, polka=()) for proposal in (first, second)]
    a, b = sorted(bare, key=lambda proposal: (proposal.block_hash, proposal.valid_round))
    return DuplicateProposal(a, b)


def check_evidence(
    chain: ChainIdentity, validators: ValidatorSet, evidence: Evidence, proposer: Callable[[int], Address] | None = None
) -> None:
    """Raises InvalidBlock unless both signatures are those of one member of `validators`, the set of that height.

    A validator that signs two proposals equivocates whether or not it was its turn; pass `proposer` to ask for the turn too.
    """
    culprit = evidence.offender
    if culprit not in validators:
        raise InvalidBlock(f"evidence accuses {culprit.hex()}, which is no validator of height {evidence.height}")
    if proposer is not None and isinstance(evidence, DuplicateProposal) and proposer(evidence.first.round) != culprit:
        raise InvalidBlock("evidence accuses a validator of proposals in a round that was not its own")
    for statement in (evidence.first, evidence.second):
        digest: Hash32 = statement.digest(chain, validators.hash())
        try:
            signer = recover(digest, statement.signature)
        except WireError as error:
            raise InvalidBlock(f"evidence with a bad signature: {error}") from None
        if signer != culprit:
            raise InvalidBlock("evidence with a signature of somebody else")


def check_block_evidence(
    chain: ChainIdentity, context: HeightContext, block: Block, past: Mapping[Height, PastHeight]
) -> None:
    """Raises InvalidBlock unless all evidence in `block` is what a block may carry. `past` holds the heights it speaks of."""
    accused: set[Address] = set()
    for item in block.evidence:
        found = past.get(item.height)
        if item.height >= context.height or found is None:
            raise InvalidBlock(f"evidence of height {item.height}, which is not final before block {context.height}")
        if item.offender in accused:
            raise InvalidBlock(f"evidence accuses {item.offender.hex()} twice in one block")
        accused.add(item.offender)
        if is_too_old(found, block.consensus.time_ms, context):
            raise InvalidBlock(f"evidence of height {item.height} is older than {context.evidence_age_ms} ms")
        check_evidence(chain, found.validators, item)


def is_too_old(past: PastHeight, time_ms: int, context: HeightContext) -> bool:
    return time_ms - past.time_ms > context.evidence_age_ms


class EvidencePool:
    """The proven evidence that this node knows, once per offender, the oldest dropped when full.

    What was punished, or can't be any more, is closed: its offender stays known, so that it is not taken up again.
    """

    def __init__(self) -> None:
        self._items: dict[Address, Evidence] = {}
        self._closed: dict[Address, None] = {}
        self._told = 0

    def add(self, evidence: Evidence) -> bool:
        """True if the offender was not known yet."""
        culprit = evidence.offender
        if self.accuses(culprit):
            return False
        self._items[culprit] = evidence
        if len(self._items) > EVIDENCE_KEPT_MAX:
            del self._items[next(iter(self._items))]
        return True

    def accuses(self, validator: Address) -> bool:
        return validator in self._items or validator in self._closed

    def items(self) -> tuple[Evidence, ...]:
        """What waits to be put into a block."""
        return tuple(self._items.values())

    def close(self, validator: Address) -> None:
        """Nothing more is to be done about this offender."""
        self._items.pop(validator, None)
        self._closed[validator] = None
        if len(self._closed) > EVIDENCE_KEPT_MAX:
            del self._closed[next(iter(self._closed))]

    def choose(
        self, context: HeightContext, time_ms: int, past: Mapping[Height, PastHeight], punishable: Collection[Address]
    ) -> tuple[Evidence, ...]:
        """What a block of `time_ms` should carry. Closes what no block can carry any more.

        `past` holds the final heights that the pool speaks of; `punishable` those of its offenders who are.
        """
        chosen = []
        for item in self.items():
            if item.height >= context.height:
                continue
            found = past.get(item.height)
            if found is None or is_too_old(found, time_ms, context) or item.offender not in punishable:
                self.close(item.offender)
            else:
                chosen.append(item)
        return tuple(chosen[:EVIDENCE_PER_BLOCK_MAX])

    def next_to_tell(self) -> Evidence | None:
        """One item after the other, for gossip: whoever missed it hears of it again."""
        items = self.items()
        self._told += 1
        return items[self._told % len(items)] if items else None
