"""Equivocation: how it is noticed, kept and proven. Blocks of this protocol version carry no evidence (`block_rules`).

A proof names its offender by signatures alone, so that nobody has to be believed: two votes (or proposals) of one validator
for one height, round and kind that differ in what they speak for.
"""

import dataclasses
from collections.abc import Callable
from typing import Final

from genesis.crypto import recover
from genesis.errors import InvalidBlock, WireError
from genesis.primitives import Address, Hash32
from genesis.types import ChainIdentity, DuplicateProposal, DuplicateVote, Evidence, Proposal, ValidatorSet

EVIDENCE_KEPT_MAX: Final = 256


def duplicate_proposal(first: Proposal, second: Proposal) -> DuplicateProposal | None:
    """Evidence from two signed proposals of one position; None if they say the same (a polka is not signed)."""
    if (first.block_hash, first.valid_round) == (second.block_hash, second.valid_round):
        return None
    bare = [dataclasses.replace(proposal, polka=()) for proposal in (first, second)]
    a, b = sorted(bare, key=lambda proposal: (proposal.block_hash, proposal.valid_round))
    return DuplicateProposal(a, b)


def offender(evidence: Evidence) -> Address:
    """Whom the evidence accuses."""
    return evidence.first.validator if isinstance(evidence, DuplicateVote) else evidence.first.proposer


def check_evidence(
    chain: ChainIdentity, validators: ValidatorSet, evidence: Evidence, proposer: Callable[[int], Address] | None = None
) -> None:
    """Raises InvalidBlock unless both signatures are those of one member of `validators`, the set of that height.

    A validator that signs two proposals equivocates whether or not it was its turn; pass `proposer` to ask for the turn too.
    """
    culprit = offender(evidence)
    if culprit not in validators:
        raise InvalidBlock(f"evidence accuses {culprit.hex()}, which is no validator of height {evidence.first.height}")
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


class EvidencePool:
    """The evidence this node saw, once per offender, the oldest dropped when full."""

    def __init__(self) -> None:
        self._items: dict[Address, Evidence] = {}

    def add(self, evidence: Evidence) -> bool:
        """True if the offender was not known yet."""
        culprit = offender(evidence)
        if culprit in self._items:
            return False
        self._items[culprit] = evidence
        if len(self._items) > EVIDENCE_KEPT_MAX:
            del self._items[next(iter(self._items))]
        return True

    def accuses(self, validator: Address) -> bool:
        return validator in self._items

    def items(self) -> tuple[Evidence, ...]:
        return tuple(self._items.values())
