"""Commit-only contributions: the content stays off chain, its windows' ids are shown.

`windowIds` are the BLAKE2b-128 ids of all windows, in order, 16 bytes each; the index takes them in place of the text, as it
does for erased content, so that outputs are attributed as by any other contribution. `contentRoot` is the root of a Merkle
tree (`merkle.py`) with a leaf (i, keccak(opening)) for window i, where an opening is 32 random bytes and the window's text. A
challenge makes the contributor open one window (`disputes.py`): ids of windows that nobody wrote would otherwise count as
weight in the pool. Ids hide the text from nobody who can guess it, so they are of at least `committed_span_min` tokens.

Ids can be copied out of a transaction that waits. Who commits to them first stands ahead of such a copy, and only what was
given with a commitment can challenge others by priority (`challenges.py`).
"""

from dataclasses import replace

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Status
from attribution_precompile.layout import (
    CONTRIBUTION_COUNT,
    CONTRIBUTIONS,
    DATANETS,
    MEMBERS,
    SALTS,
    SEGMENT_COUNT,
    SEGMENTS,
    UPLOADS,
    Contribution,
    Segment,
)
from attribution_precompile.methods.base import (
    CHAIN_CONTENT,
    AttributionBase,
    check,
    check_payee,
    extend_chain,
    require_datanet,
)
from attribution_precompile.methods.commitments import ids_commitment_hash, use_commitment
from attribution_precompile.methods.contributions import NOTHING_YET, add_bytes
from attribution_precompile.rules.tokens import WINDOW_ID_BYTES
from evm_runtime.native import Frame, method
from genesis.primitives import ZERO_HASH, Address, Hash32


class CommittedMethods(AttributionBase):
    """The part of the contract that takes window ids in place of content."""

    @method(
        "contributeCommitted(uint64 datanetId, bytes32 contentRoot, uint64 tokens, bytes windowIds, address payout, "
        "bytes32 salt) returns (uint64 contributionId)",
        payable=True,
        gas=lambda _datanet, _root, _tokens, ids, _payout, _salt: (
            gas.STORED_BYTE * len(ids) + gas.index_gas(len(ids) // WINDOW_ID_BYTES, 0)
        ),
    )
    def contribute_committed(
        self,
        frame: Frame,
        datanet_id: int,
        content_root: Hash32,
        tokens: int,
        window_ids: bytes,
        payout: Address,
        salt: Hash32,
    ) -> int:
        """Put the window ids of content that stays off chain into a commit-only datanet; one call for each contribution. With
        a salt it stands where the caller's commitment to all of this does; without (zero) it can challenge nobody."""
        slots = frame.storage
        datanet = require_datanet(slots, datanet_id)
        if not datanet.commit_only:
            raise d.COMMIT_ONLY(datanet_id, False)
        check_payee("payout", payout)
        check(content_root != ZERO_HASH, "contentRoot", "the root of a tree over the openings of all windows")
        windows, rest = divmod(len(window_ids), WINDOW_ID_BYTES)
        check(rest == 0 and windows > 0, "windowIds", f"one or more ids of {WINDOW_ID_BYTES} bytes")
        check(tokens == windows + datanet.min_span - 1, "tokens", "n tokens have n - minSpan + 1 windows")
        contribution_id = CONTRIBUTION_COUNT.add(slots, 1)
        upload = add_bytes(frame, self.params, datanet_id, NOTHING_YET, window_ids)
        order = self._order_of_ids(frame, contribution_id, datanet_id, content_root, window_ids, payout, salt)
        # No content has the zero hash: the index never finds a text and takes the ids.
        windows_hash = frame.put_blob(window_ids)
        segment = Segment(contribution_id, order, frame.block_number, tokens, 0, ZERO_HASH, windows_hash)
        end = SEGMENTS.append(slots, segment, datanet_id) + 1
        record = Contribution(
            contributor=frame.sender,
            datanet_id=datanet_id,
            quality=0,
            status=Status.PENDING,
            payout=payout,
            first_order=order,
            accepted_version=0,
            tokens=tokens,
            owned_windows=0,
            deadline=frame.timestamp + datanet.review_seconds,
            decided_at=0,
            last_block=frame.block_number,
            segments=1,
            further_blocks=0,
            content_root=content_root,
            provenance=ZERO_HASH,
        )
        CONTRIBUTIONS.store(slots, record, contribution_id)
        UPLOADS.store(slots, replace(upload, complete=True, end=end), contribution_id)
        DATANETS.store(slots, replace(datanet, contributions=datanet.contributions + 1), datanet_id)
        MEMBERS.append(slots, contribution_id, datanet_id)
        extend_chain(frame, datanet_id, CHAIN_CONTENT, contribution_id, content_root)
        frame.emit(d.CONTRIBUTED, datanet_id, contribution_id, payout, content_root, tokens)
        return contribution_id

    def _order_of_ids(
        self,
        frame: Frame,
        contribution_id: int,
        datanet_id: int,
        content_root: Hash32,
        window_ids: bytes,
        payout: Address,
        salt: Hash32,
    ) -> int:
        """The place in the chain's order: the next, or with a salt that of the commitment, which must be there."""
        if salt == ZERO_HASH:
            return SEGMENT_COUNT.add(frame.storage, 1)
        commitment = ids_commitment_hash(frame.sender, salt, datanet_id, content_root, payout, window_ids)
        order = use_commitment(frame, commitment, self.params.commit_seconds)
        if order == 0:
            raise d.UNKNOWN_COMMITMENT(commitment)
        SALTS.set(frame.storage, int.from_bytes(salt, "big"), contribution_id)
        return order
