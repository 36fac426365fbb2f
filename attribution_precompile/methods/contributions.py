"""Contributions: content in segments, their order, bonds (rules 3 and 4 of attribution).

A contribution's life: PENDING, while its contributor may append and a curator may reject it; then ACCEPTED or REJECTED by
review, or accepted by time-out: a version published at or after its deadline includes it although nobody has reviewed it.
After the deadline nothing can be appended or rejected any more; a review then only gives it quality, and so weight in the
pool.

With a salt, the content was promised by a commitment: its segments are held until all of it is there, and then stand in the
order where the commitment stands (`commitments.py`). One whose commitment is never found lapses at its deadline.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Status
from attribution_precompile.layout import (
    BOND_PRICES,
    CONTRIBUTION_COUNT,
    CONTRIBUTIONS,
    DATANETS,
    HELD,
    MEMBERS,
    OPEN_DISPUTES,
    SALTS,
    SEGMENT_COUNT,
    SEGMENTS,
    UPLOADS,
    Contribution,
    Datanet,
    Segment,
    Upload,
)
from attribution_precompile.methods.base import (
    CHAIN_CONTENT,
    AttributionBase,
    check_payee,
    extend_chain,
    require_contribution,
    require_datanet,
)
from attribution_precompile.methods.commitments import commitment_hash, use_commitment
from attribution_precompile.methods.money import credit, settle_entry
from attribution_precompile.rules.tokens import TextError, tokenize
from evm_runtime.native import Frame, method
from genesis.chain_spec import AttributionParams
from genesis.primitives import ZERO_HASH, Address, Hash32, abi_words, keccak256

NOTHING_YET: Final = Upload(content_bytes=0, bond=0, complete=False, hidden=False, end=0)
KIB: Final = 1_024
"""Bonds are per KiB of a call's content, begun ones count."""


def next_content_root(root: Hash32, content_hash: Hash32) -> Hash32:
    """The root of a contribution after another segment: keccak(abi.encode(root, keccak(segment))), from a zero root."""
    return keccak256(abi_words(root, content_hash))


def _commitment_of(record: Contribution, salt: Hash32) -> Hash32:
    return commitment_hash(record.contributor, salt, record.datanet_id, record.content_root, record.payout)


def add_bytes(frame: Frame, limits: AttributionParams, datanet_id: int, upload: Upload, content: bytes) -> Upload:
    """Check sizes and take the bond for another piece of content; what was sent above it is credited back."""
    total = upload.content_bytes + len(content)
    if len(content) > limits.call_bytes_max:
        raise d.TOO_LONG("content of a call", len(content), limits.call_bytes_max)
    if total > limits.contribution_bytes_max:
        raise d.TOO_LONG("content of a contribution", total, limits.contribution_bytes_max)
    bond = BOND_PRICES.get(frame.storage, datanet_id) * -(-len(content) // KIB)
    if frame.value < bond:
        raise d.BOND_TOO_LOW(bond, frame.value)
    credit(frame.storage, {frame.sender: frame.value - bond})
    return replace(upload, content_bytes=total, bond=upload.bond + bond)


def require_growing(frame: Frame, contribution_id: int) -> tuple[Contribution, Upload]:
    """A contribution of the caller that may still get something, if it isn't complete."""
    record = require_contribution(frame.storage, contribution_id)
    if frame.sender != record.contributor:
        raise d.NOT_ALLOWED(frame.sender, "the contributor")
    if record.status != Status.PENDING:
        raise d.WRONG_STATUS(contribution_id, record.status)
    if frame.timestamp >= record.deadline:
        raise d.DEADLINE_PASSED(contribution_id, record.deadline)
    return record, UPLOADS.load(frame.storage, contribution_id)


class ContributionMethods(AttributionBase):
    """The part of the contract that takes content in."""

    @method(
        "contribute(uint64 datanetId, bytes content, bytes32 provenance, address payout, bytes32 salt) "
        "returns (uint64 contributionId)",
        payable=True,
        gas=lambda _datanet, content, _provenance, _payout, _salt: gas.content_gas(len(content)),
    )
    def contribute(
        self, frame: Frame, datanet_id: int, content: bytes, provenance: Hash32, payout: Address, salt: Hash32
    ) -> int:
        """Put content into a datanet; PENDING until reviewed or timed out. The salt is for commit-reveal: zero without."""
        slots = frame.storage
        datanet = require_datanet(slots, datanet_id)
        if datanet.commit_only:
            raise d.COMMIT_ONLY(datanet_id, True)
        check_payee("payout", payout)
        contribution_id = CONTRIBUTION_COUNT.add(slots, 1)
        upload = add_bytes(frame, self.params, datanet_id, NOTHING_YET, content)
        piece = self._read_piece(frame, datanet, contribution_id, content)
        record = Contribution(
            contributor=frame.sender,
            datanet_id=datanet_id,
            quality=0,
            status=Status.PENDING,
            payout=payout,
            first_order=0,
            accepted_version=0,
            tokens=piece.tokens,
            owned_windows=0,
            deadline=0,
            decided_at=0,
            last_block=frame.block_number,
            segments=1,
            further_blocks=piece.further_blocks,
            content_root=next_content_root(ZERO_HASH, piece.content_hash),
            provenance=provenance,
        )
        order = self._order_of(frame, record, salt)
        if order:
            upload = replace(upload, complete=salt != ZERO_HASH)
            self._place(frame, contribution_id, record, upload, datanet, [piece], order)
        else:
            SALTS.set(slots, int.from_bytes(salt, "big"), contribution_id)
            HELD.append(slots, piece, contribution_id)
            record = replace(record, deadline=frame.timestamp + self.params.commit_seconds)
            self._store(frame, contribution_id, record, replace(upload, hidden=True))
        DATANETS.store(slots, replace(datanet, contributions=datanet.contributions + 1), datanet_id)
        MEMBERS.append(slots, contribution_id, datanet_id)
        frame.emit(d.CONTRIBUTED, datanet_id, contribution_id, payout, record.content_root, record.tokens)
        return contribution_id

    @method(
        "appendContent(uint64 contributionId, bytes content)",
        payable=True,
        gas=lambda _contribution, content: gas.content_gas(len(content)),
    )
    def append_content(self, frame: Frame, contribution_id: int, content: bytes) -> None:
        """Add a segment to a pending contribution of the caller; its time for review starts again."""
        slots = frame.storage
        record, upload = require_growing(frame, contribution_id)
        if upload.complete:
            raise d.COMPLETE(contribution_id)
        datanet = require_datanet(slots, record.datanet_id)
        upload = add_bytes(frame, self.params, record.datanet_id, upload, content)
        piece = self._read_piece(frame, datanet, contribution_id, content)
        record = replace(
            record,
            tokens=record.tokens + piece.tokens,
            segments=record.segments + 1,
            further_blocks=record.further_blocks + piece.further_blocks,
            content_root=next_content_root(record.content_root, piece.content_hash),
        )
        if upload.hidden:
            HELD.append(slots, piece, contribution_id)
            self._store(frame, contribution_id, record, upload)
        else:
            order = SEGMENT_COUNT.add(slots, 1)
            self._place(frame, contribution_id, record, upload, datanet, [piece], order)
        frame.emit(d.APPENDED, contribution_id, record.content_root, record.tokens)

    @method("finalizeContent(uint64 contributionId)")
    def finalize_content(self, frame: Frame, contribution_id: int) -> None:
        """Say that a contribution is complete: neither content nor vectors can be added any more. By its contributor, while it
        is pending. For one held with a salt: its content must be what a commitment of the caller promised."""
        record, upload = require_growing(frame, contribution_id)
        if upload.closed:
            raise d.COMPLETE(contribution_id)
        upload = replace(upload, complete=True, closed=True)
        if upload.hidden:
            self._reveal(frame, contribution_id, record, upload)
        else:
            UPLOADS.store(frame.storage, upload, contribution_id)
        frame.emit(d.COMPLETED, contribution_id, record.content_root, record.tokens)

    def _reveal(self, frame: Frame, contribution_id: int, record: Contribution, upload: Upload) -> None:
        slots = frame.storage
        salt = Hash32(SALTS.get(slots, contribution_id).to_bytes(32, "big"))
        order = self._order_of(frame, record, salt)
        if order == 0:
            raise d.UNKNOWN_COMMITMENT(_commitment_of(record, salt))
        pieces = [HELD.get(slots, i, contribution_id) for i in range(HELD.length(slots, contribution_id))]
        datanet = require_datanet(slots, record.datanet_id)
        record = replace(record, deadline=0)
        self._place(frame, contribution_id, record, replace(upload, hidden=False), datanet, pieces, order)

    def _order_of(self, frame: Frame, record: Contribution, salt: Hash32) -> int:
        """The content's place in the chain's order: the next, or with a salt that of its commitment; 0 if there is none."""
        if salt == ZERO_HASH:
            return SEGMENT_COUNT.add(frame.storage, 1)
        return use_commitment(frame, _commitment_of(record, salt), self.params.commit_seconds)

    def _place(
        self,
        frame: Frame,
        contribution_id: int,
        record: Contribution,
        upload: Upload,
        datanet: Datanet,
        pieces: Sequence[Segment],
        order: int,
    ) -> None:
        """Put segments into the datanet, where reviews and versions see them; the time for review starts anew."""
        for piece in pieces:
            placed = replace(piece, order=order, block_number=frame.block_number)
            end = SEGMENTS.append(frame.storage, placed, record.datanet_id) + 1
        record = replace(
            record,
            first_order=record.first_order or order,
            deadline=max(record.deadline, frame.timestamp + datanet.review_seconds),
            last_block=frame.block_number,
        )
        self._store(frame, contribution_id, record, replace(upload, end=end))
        extend_chain(frame, record.datanet_id, CHAIN_CONTENT, contribution_id, record.content_root)

    def _store(self, frame: Frame, contribution_id: int, record: Contribution, upload: Upload) -> None:
        CONTRIBUTIONS.store(frame.storage, record, contribution_id)
        UPLOADS.store(frame.storage, upload, contribution_id)

    def _read_piece(self, frame: Frame, datanet: Datanet, contribution_id: int, content: bytes) -> Segment:
        """Check content and keep it as a blob: a segment without its place in the order."""
        try:
            tokens = tokenize(content, datanet.tokenizer)
        except TextError as error:
            raise d.INVALID_CONTENT(str(error)) from None
        count = len(tokens)
        if count < datanet.min_span:
            raise d.TOO_SHORT("content (tokens)", count, datanet.min_span)
        further_blocks = tokens.further_blocks(datanet.min_span)
        frame.charge(gas.index_gas(count, further_blocks), "indexing")
        windows_hash = keccak256(tokens.window_ids(datanet.min_span))
        return Segment(contribution_id, 0, 0, count, further_blocks, frame.put_blob(content), windows_hash)

    @method("withdrawBond(uint64 contributionId) returns (uint256 amount)")
    def withdraw_bond(self, frame: Frame, contribution_id: int) -> int:
        """Credit what a contribution has left of its bond to its contributor, who calls this: `bond_seconds` after its first
        review, or after its deadline if that came earlier, whatever has become of it since, while no dispute is open."""
        record = require_contribution(frame.storage, contribution_id)
        if frame.sender != record.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor")
        free_at = (record.decided_at or record.deadline) + self.params.bond_seconds
        if frame.timestamp < free_at:
            raise d.BOND_LOCKED(contribution_id, free_at)
        if OPEN_DISPUTES.get(frame.storage, contribution_id):
            raise d.BOND_LOCKED(contribution_id, 0)
        upload = UPLOADS.load(frame.storage, contribution_id)
        if upload.bond:
            UPLOADS.store(frame.storage, replace(upload, bond=0), contribution_id)
            credit(frame.storage, {frame.sender: upload.bond})
            frame.emit(d.BOND_RETURNED, contribution_id, frame.sender, upload.bond)
        return upload.bond

    @method("setPayout(uint64 contributionId, address payout)")
    def set_payout(self, frame: Frame, contribution_id: int, payout: Address) -> None:
        """Redirect a contribution's income, by its contributor. Its pool share so far goes to the old payout."""
        record = require_contribution(frame.storage, contribution_id)
        if frame.sender != record.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor")
        check_payee("payout", payout)
        if UPLOADS.load_field(frame.storage, "hidden", contribution_id):
            raise d.NOT_REVEALED(contribution_id)
        settle_entry(frame, contribution_id, record)
        CONTRIBUTIONS.store(frame.storage, replace(record, payout=payout), contribution_id)
        frame.emit(d.PAYOUT_SET, contribution_id, payout)
