"""What all disputes share: who can be disputed, the challenger's bond, opened windows, and the end of a dispute."""

from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile.declarations import DisputeKind, DisputeState, Opening, Status
from attribution_precompile.layout import (
    ATTESTATIONS,
    CONTRIBUTIONS,
    DISPUTE_COUNT,
    DISPUTES,
    OPEN_DISPUTES,
    SEGMENTS,
    UPLOADS,
    Contribution,
    Dispute,
)
from attribution_precompile.methods.base import AttributionBase, require_contribution, require_datanet
from attribution_precompile.methods.money import credit
from attribution_precompile.rules.merkle import DEPTH_MAX, leaf_of, root_from
from attribution_precompile.rules.tokens import WINDOW_ID_BYTES, TextError, tokenize
from evm_runtime.native import Frame, Slots
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Hash32, Wei, keccak256

SALT_BYTES: Final = 32
"""The salt of an opening, before the window's text."""
OPENING_BYTES_MAX: Final = 4_096


def require_open(slots: Slots, dispute_id: int) -> Dispute:
    found = DISPUTES.load(slots, dispute_id)
    if found.challenger == ZERO_ADDRESS:
        raise d.UNKNOWN_DISPUTE(dispute_id)
    if found.state != DisputeState.OPEN:
        raise d.DISPUTE_CLOSED(dispute_id, found.state)
    return found


class Hearings(AttributionBase):
    """Steps of the contract's parts that hear disputes."""

    def _require_exposed(self, slots: Slots, contribution_id: int) -> Contribution:
        """A contribution that can be disputed: in whatever way it may have left, as long as it isn't slashed."""
        record = require_contribution(slots, contribution_id)
        if record.status == Status.SLASHED:
            raise d.WRONG_STATUS(contribution_id, record.status)
        if UPLOADS.load_field(slots, "hidden", contribution_id):
            raise d.NOT_REVEALED(contribution_id)
        return record

    def _take_bond(self, frame: Frame) -> Wei:
        """The challenger's bond out of the wei sent; the rest is credited back."""
        bond = self.params.dispute_bond
        if frame.value < bond:
            raise d.BOND_TOO_LOW(bond, frame.value)
        credit(frame.storage, {frame.sender: frame.value - bond})
        return bond

    def _open(
        self,
        frame: Frame,
        kind: DisputeKind,
        subject: Hash32,
        bond: Wei,
        deadline: int,
        *,
        window: int = 0,
        evidence: Hash32 = ZERO_HASH,
    ) -> int:
        slots = frame.storage
        dispute_id = DISPUTE_COUNT.add(slots, 1)
        record = Dispute(frame.sender, kind, DisputeState.OPEN, deadline, bond, window, subject, evidence)
        DISPUTES.store(slots, record, dispute_id)
        if kind != DisputeKind.SCORES:
            OPEN_DISPUTES.add(slots, 1, int.from_bytes(subject, "big"))
        frame.emit(d.DISPUTED, dispute_id, subject, kind)
        return dispute_id

    def _settle(self, frame: Frame, dispute_id: int, upheld: bool) -> None:
        """End a dispute: the challenger's bond is whose was right."""
        slots, dispute = frame.storage, DISPUTES.load(frame.storage, dispute_id)
        state = DisputeState.UPHELD if upheld else DisputeState.DISMISSED
        DISPUTES.store(slots, replace(dispute, state=state, bond=0), dispute_id)
        if dispute.kind == DisputeKind.SCORES:
            other = ATTESTATIONS.load_field(slots, "attestor", dispute.subject)
        else:
            contribution_id = int.from_bytes(dispute.subject, "big")
            OPEN_DISPUTES.add(slots, -1, contribution_id)
            other = CONTRIBUTIONS.load_field(slots, "contributor", contribution_id)
        credit(slots, {dispute.challenger if upheld else other: dispute.bond})
        frame.emit(d.RESOLVED, dispute_id, upheld)

    def _check_opening(
        self, frame: Frame, contribution_id: int, record: Contribution, window: int, shown: Opening
    ) -> None:
        """Raises `BadProof` unless a window of a commit-only contribution is opened: under its content root, and of the id that
        it gave."""
        if len(shown.opening) > OPENING_BYTES_MAX or len(shown.proof) > DEPTH_MAX:
            raise d.TOO_LONG("opening", len(shown.opening), OPENING_BYTES_MAX)
        if root_from(leaf_of(window, keccak256(shown.opening)), shown.proof) != record.content_root:
            raise d.BAD_PROOF("the opening is not in the tree of the content root")
        datanet = require_datanet(frame.storage, record.datanet_id)
        try:
            tokens = tokenize(shown.opening[SALT_BYTES:], datanet.tokenizer)
        except TextError as error:
            raise d.INVALID_CONTENT(str(error)) from None
        if len(tokens) != datanet.min_span:
            raise d.BAD_PROOF(f"a window has {datanet.min_span} tokens, the opening {len(tokens)}")
        segment = SEGMENTS.get(frame.storage, UPLOADS.load(frame.storage, contribution_id).end - 1, record.datanet_id)
        ids = frame.get_blob(segment.windows_hash)
        if tokens.window_ids(datanet.min_span) != ids[window * WINDOW_ID_BYTES : (window + 1) * WINDOW_ID_BYTES]:
            raise d.BAD_PROOF("the opening is not of the window whose id was given")
