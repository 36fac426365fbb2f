"""Commit and reveal: a place in the order without showing the text (rule 4).

`commit` takes the next number of the chain's order for a hash that binds sender, salt, datanet, content root and payout,
and of a commit-only contribution its window ids as well. When that content is revealed in full, in a later block and before
the commitment expires, all its segments stand in the order at that number: ahead of whoever saw the text in between and
sent it too. A commitment is used once.
"""

from attribution_precompile import declarations as d
from attribution_precompile.layout import COMMITMENTS, SEGMENT_COUNT, Commitment
from attribution_precompile.methods.base import AttributionBase
from evm_runtime.native import Frame, method
from genesis.primitives import Address, Hash32, abi_words, keccak256


def commitment_hash(sender: Address, salt: Hash32, datanet_id: int, content_root: Hash32, payout: Address) -> Hash32:
    """What `commit` is given: keccak(abi.encode(sender, salt, datanetId, contentRoot, payout))."""
    return keccak256(abi_words(sender, salt, datanet_id, content_root, payout))


def ids_commitment_hash(
    sender: Address, salt: Hash32, datanet_id: int, content_root: Hash32, payout: Address, window_ids: bytes
) -> Hash32:
    """What `commit` is given for a commit-only contribution: keccak(abi.encode(sender, salt, datanetId, contentRoot, payout,
    keccak(windowIds))). The root alone would bind no ids: somebody else could give them with a root of his own."""
    return keccak256(abi_words(sender, salt, datanet_id, content_root, payout, keccak256(window_ids)))


def use_commitment(frame: Frame, commitment: Hash32, lifetime: int) -> int:
    """The order number of the caller's commitment, which is used up by this; 0 if there is none such."""
    found = COMMITMENTS.load(frame.storage, frame.sender, commitment)
    if found.order == 0:
        return 0
    if found.block_number >= frame.block_number:
        raise d.COMMITMENT_TOO_NEW(commitment, found.block_number)
    if frame.timestamp > found.time + lifetime:
        raise d.COMMITMENT_EXPIRED(commitment, found.time + lifetime)
    COMMITMENTS.store(frame.storage, Commitment(0, 0, 0), frame.sender, commitment)
    return found.order


class CommitmentMethods(AttributionBase):
    """The part of the contract that keeps commitments."""

    @method("commit(bytes32 commitment)")
    def commit(self, frame: Frame, commitment: Hash32) -> None:
        """Take a place in the order for content to be revealed from the next block on, until it expires. The caller's own:
        somebody else committing to the same hash changes nothing."""
        found = COMMITMENTS.load(frame.storage, frame.sender, commitment)
        if found.order and frame.timestamp <= found.time + self.params.commit_seconds:
            raise d.COMMITMENT_EXISTS(commitment, found.time + self.params.commit_seconds)
        record = Commitment(SEGMENT_COUNT.add(frame.storage, 1), frame.block_number, frame.timestamp)
        COMMITMENTS.store(frame.storage, record, frame.sender, commitment)
        frame.emit(d.COMMITTED, commitment, frame.sender)
