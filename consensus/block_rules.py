"""What consensus itself asks of a block: who proposed it, when, on top of which commit. Pure functions of block and context.

The rest (header, body, state) is the Application's. A rule that is broken raises InvalidBlock, and says by what.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from consensus.application import HeightContext, PastHeight
from consensus.evidence import check_block_evidence
from genesis.crypto import recover
from genesis.errors import InvalidBlock, WireError
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height
from genesis.types import (
    EMPTY_COMMIT,
    Block,
    ChainIdentity,
    Commit,
    Proposal,
    ValidatorSet,
    VoteType,
    evidence_hash,
    sign_digest,
)

NO_PAST: Final[Mapping[Height, PastHeight]] = MappingProxyType({})


def check_block(
    chain: ChainIdentity,
    context: HeightContext,
    block: Block,
    past: Mapping[Height, PastHeight] = NO_PAST,
) -> None:
    """Raises InvalidBlock unless `block` may follow the chain that `context` describes.

    `past` holds the final heights that its evidence speaks of (`application.past_heights`).
    The caller has bounded `block.consensus.round` (a proposal or more than 2/3 of the power named such a round): finding the
    proposer costs one step per round.
    """
    data = block.consensus
    if block.height != context.height:
        raise InvalidBlock(f"block {block.height} where block {context.height} is next")
    if data.validators_hash != context.validators.hash():
        raise InvalidBlock("validators_hash is not that of this height's validators")
    if data.next_validators_hash != context.next_validators.hash():
        raise InvalidBlock("next_validators_hash is not that of the next height's validators")
    if data.proposer != context.proposer(data.round):
        raise InvalidBlock(f"{data.proposer.hex()} is not the proposer of round {data.round}")
    if data.evidence_hash != evidence_hash(block.evidence):
        raise InvalidBlock("evidence_hash is not that of the evidence")
    check_time(context, block)
    check_last_commit(chain, context, block)
    check_block_evidence(chain, context, block, past)


def check_time(context: HeightContext, block: Block) -> None:
    """`time_ms >= parent + interval`; an empty block first proposed in round 0 waits for the empty interval."""
    params = context.block_params
    patient = not block.transactions and not block.evidence and block.consensus.round == 0
    earliest = context.parent_time_ms + (params.empty_interval_ms if patient else params.interval_ms)
    if block.consensus.time_ms < earliest:
        kind = "an empty block" if patient else "a block"
        raise InvalidBlock(f"{kind} of time {block.consensus.time_ms} where {earliest} is the earliest")


def check_last_commit(chain: ChainIdentity, context: HeightContext, block: Block) -> None:
    """The block carries a full commit of its parent, and its hash; block 1 the empty commit."""
    commit = block.last_commit
    if commit.hash() != block.consensus.last_commit_hash:
        raise InvalidBlock("last_commit_hash is not that of last_commit")
    if context.last_validators is None:
        if commit != EMPTY_COMMIT:
            raise InvalidBlock("block 1 carries the empty commit")
        return
    verify_commit(
        chain,
        context.last_validators,
        commit,
        Height(context.height - 1),
        context.parent_hash,
        known=context.last_commit,
    )


def verify_commit(
    chain: ChainIdentity,
    validators: ValidatorSet,
    commit: Commit,
    height: Height,
    block_hash: Hash32,
    *,
    known: Commit | None = None,
) -> None:
    """Raises InvalidBlock unless `commit` makes `block_hash` final at `height`, for the set that voted there.

    One signature slot per member; each signature that is there is good (none is skipped once the quorum is reached, because
    rewards and `prev_randao` depend on all of them); together more than 2/3 of the power. Signatures that stand at the same
    place in `known`, a commit this node verified before, are not recovered again.
    """
    if (commit.height, commit.block_hash) != (height, block_hash) or block_hash == ZERO_HASH:
        raise InvalidBlock(f"the commit is for height {commit.height}, block {commit.block_hash.hex()}")
    if len(commit.signatures) != len(validators):
        raise InvalidBlock(f"{len(commit.signatures)} signature slots for {len(validators)} validators")
    digest = sign_digest(chain, VoteType.PRECOMMIT, height, commit.round, block_hash, validators.hash())
    position = (commit.height, commit.round, commit.block_hash, len(commit.signatures))
    trusted: tuple[bytes, ...] = ()
    if known is not None and position == (known.height, known.round, known.block_hash, len(known.signatures)):
        trusted = known.signatures
    power = 0
    for place, (member, signature) in enumerate(zip(validators.members, commit.signatures, strict=True)):
        if not signature:
            continue
        if not (trusted and trusted[place] == signature):
            _check_signature(digest, signature, member.address)
        power += member.power
    if not validators.is_quorum(power):
        raise InvalidBlock(f"the commit has {power} of {validators.total_power} power, which is not more than 2/3")


def check_committed_block(block: Block, commit: Commit) -> None:
    """Raises InvalidBlock unless a verified commit is for this block, first proposed no later than it was committed.

    For sync, before `check_block`: it bounds the block's round by what more than 2/3 of the power signed.
    """
    if block.hash != commit.block_hash:
        raise InvalidBlock(f"block {block.hash.hex()} does not belong to the commit of {commit.block_hash.hex()}")
    if block.consensus.round > commit.round:
        raise InvalidBlock(f"a block of round {block.consensus.round} committed in round {commit.round}")


def check_polka(chain: ChainIdentity, validators: ValidatorSet, proposal: Proposal) -> None:
    """Raises InvalidBlock unless a re-proposal carries more than 2/3 of prevotes for its block in its valid round."""
    if proposal.valid_round == NO_ROUND:
        return
    power, seen = 0, set()
    for vote in proposal.polka:
        if (vote.kind, vote.height, vote.round, vote.block_hash) != (
            VoteType.PREVOTE,
            proposal.height,
            proposal.valid_round,
            proposal.block_hash,
        ):
            raise InvalidBlock("the polka of a re-proposal holds a vote for something else")
        if vote.validator in seen or vote.validator not in validators:
            raise InvalidBlock("the polka of a re-proposal holds a vote twice, or of a stranger")
        seen.add(vote.validator)
        power += validators.power(vote.validator)
    if not validators.is_quorum(power):
        raise InvalidBlock("the polka of a re-proposal has no more than 2/3 of the power")
    digest = sign_digest(
        chain, VoteType.PREVOTE, proposal.height, proposal.valid_round, proposal.block_hash, validators.hash()
    )
    for vote in proposal.polka:
        _check_signature(digest, vote.signature, vote.validator)


def _check_signature(digest: Hash32, signature: bytes, member: bytes) -> None:
    try:
        signer = recover(digest, signature)
    except WireError as error:
        raise InvalidBlock(f"the signature of validator {member.hex()} is bad: {error}") from None
    if signer != member:
        raise InvalidBlock(f"the signature of validator {member.hex()} is somebody else's")
