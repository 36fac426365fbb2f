"""Disputes: who is heard, who decides, until when, and what follows if nobody does.

    kind       opened by              decided by                                   if nobody does
    COMMITTED  challengeCommitted     the contributor, by `reveal`                 upheld after `reveal_seconds`
    SCORES     disputeScores          the council, by `resolve`                    dismissed after `resolve_seconds`
    COPIED     disputeContribution    the council, by `resolve`                    dismissed after `resolve_seconds`
    PRIORITY   challengePriority      the contract, at once, or it refuses         -

After its deadline anybody may `resolve` a dispute to what it comes to by default. The challenger's bond comes back if the
dispute is upheld and goes to the other side if it is dismissed. A contribution that loses is SLASHED: its windows die
(`departures.py`), its bond is the challenger's. An attestor that loses is slashed by the bond locked for the receipt: half of
it is the challenger's, half is burned, so that nobody can dispute himself for free; what was held goes to the pools.
"""

from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.attested import attested_uses, pay_uses, require_attestation
from attribution_precompile.base import AttributionBase, check, require_contribution, require_datanet
from attribution_precompile.declarations import DisputeKind, DisputeState, Status
from attribution_precompile.departures import kill
from attribution_precompile.layout import (
    ATTESTATIONS,
    BONDS,
    DISPUTE_COUNT,
    DISPUTES,
    OPEN_DISPUTES,
    OPENINGS,
    SEGMENTS,
    UPLOADS,
    Contribution,
    Dispute,
)
from attribution_precompile.merkle import DEPTH_MAX, leaf_of, root_from
from attribution_precompile.money import burn, credit
from attribution_precompile.passages import Place, same_passage
from attribution_precompile.tokens import WINDOW_ID_BYTES, TextError, tokenize
from evm_runtime.native import Frame, Slots, method
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, Wei, keccak256

SALT_BYTES: Final = 32
"""Of an opening, before the window's text."""
OPENING_BYTES_MAX: Final = 4_096
_UPHELD_BY_DEFAULT: Final = (DisputeKind.COMMITTED,)


def require_open(slots: Slots, dispute_id: int) -> Dispute:
    found = DISPUTES.load(slots, dispute_id)
    if found.challenger == ZERO_ADDRESS:
        raise d.UNKNOWN_DISPUTE(dispute_id)
    if found.state != DisputeState.OPEN:
        raise d.DISPUTE_CLOSED(dispute_id, found.state)
    return found


def _subject(contribution_id: int) -> Hash32:
    return Hash32(contribution_id.to_bytes(32, "big"))


class DisputeMethods(AttributionBase):
    """The part of the contract that hears disputes."""

    # ---------------------------------------------------------------- opening

    @method(
        "challengePriority(uint64 contributionId, uint64 segment, uint32 window, uint64 earlierId, "
        "uint64 earlierSegment, uint32 earlierWindow) returns (uint64 disputeId)"
    )
    def challenge_priority(
        self,
        frame: Frame,
        contribution_id: int,
        segment: int,
        window: int,
        earlier_id: int,
        earlier_segment: int,
        earlier_window: int,
    ) -> int:
        """Show that a contribution of any datanet has a passage of an earlier one of the caller, of any status: segments by
        their place in the datanet, windows by their number in the segment. Decided at once: the later one is slashed, or the
        call reverts."""
        slots = frame.storage
        record = self._require_alive(slots, contribution_id)
        earlier = require_contribution(slots, earlier_id)
        if frame.sender != earlier.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor of the earlier contribution")
        check(frame.sender != record.contributor, "contributionId", "it is the caller's own")
        later = Place(contribution_id, record, segment, window)
        first = Place(earlier_id, earlier, earlier_segment, earlier_window)
        same_passage(frame, later, first, self.params.challenge_windows)
        dispute = self._open(frame, DisputeKind.PRIORITY, _subject(contribution_id), Wei(0), frame.timestamp)
        self._close(frame, dispute, DISPUTES.load(slots, dispute), True)
        return dispute

    @method("challengeCommitted(uint64 contributionId, uint32 window) returns (uint64 disputeId)", payable=True)
    def challenge_committed(self, frame: Frame, contribution_id: int, window: int) -> int:
        """Ask a commit-only contribution to open one window, with a bond that its contributor gets for doing so."""
        slots = frame.storage
        record = self._require_alive(slots, contribution_id)
        datanet = require_datanet(slots, record.datanet_id)
        if not datanet.commit_only:
            raise d.COMMIT_ONLY(record.datanet_id, False)
        windows = record.tokens - datanet.min_span + 1
        check(window < windows, "window", f"the contribution has {windows} windows, numbered from 0")
        openings = OPENINGS.add(slots, 1, contribution_id)
        if openings > self.params.openings_max:
            raise d.TOO_LONG("openings of a contribution", openings, self.params.openings_max)
        deadline = frame.timestamp + self.params.reveal_seconds
        bond = self._take_bond(frame)
        return self._open(frame, DisputeKind.COMMITTED, _subject(contribution_id), bond, deadline, window=window)

    @method("disputeContribution(uint64 contributionId, bytes32 evidence) returns (uint64 disputeId)", payable=True)
    def dispute_contribution(self, frame: Frame, contribution_id: int, evidence: Hash32) -> int:
        """Say, with a bond, that a contribution isn't its contributor's to give; the evidence (its hash) is for the council."""
        self._require_council()
        self._require_alive(frame.storage, contribution_id)
        bond, deadline = self._take_bond(frame), frame.timestamp + self.params.resolve_seconds
        return self._open(frame, DisputeKind.COPIED, _subject(contribution_id), bond, deadline, evidence=evidence)

    @method("disputeScores(bytes32 receiptId, bytes32 evidence) returns (uint64 disputeId)", payable=True)
    def dispute_scores(self, frame: Frame, receipt_id: Hash32, evidence: Hash32) -> int:
        """Say, with a bond, that attested scores are wrong, before they are final; the evidence (its hash) is for the
        council."""
        slots = frame.storage
        self._require_council()
        attestation = require_attestation(slots, receipt_id)
        if attestation.slashed:
            raise d.SCORES_SLASHED(receipt_id)
        if attestation.dispute:
            raise d.DISPUTE_OPEN(attestation.dispute, DISPUTES.load_field(slots, "deadline", attestation.dispute))
        if frame.timestamp >= attestation.final_at:
            raise d.SCORES_FINAL(receipt_id, attestation.final_at)
        bond, deadline = self._take_bond(frame), frame.timestamp + self.params.resolve_seconds
        dispute = self._open(frame, DisputeKind.SCORES, receipt_id, bond, deadline, evidence=evidence)
        ATTESTATIONS.store(slots, replace(attestation, dispute=dispute), receipt_id)
        return dispute

    # ---------------------------------------------------------------- deciding

    @method(
        "reveal(uint64 disputeId, bytes opening, bytes32[] proof)",
        gas=lambda _dispute, opening, proof: gas.proof_gas(len(proof)) + gas.TEXT_BYTE * len(opening) + gas.OPENING,
    )
    def reveal(self, frame: Frame, dispute_id: int, opening: bytes, proof: tuple[Hash32, ...]) -> None:
        """Open the window that was asked for: 32 bytes of salt, then the window's text, with its proof under the content
        root. By the contributor, who gets the challenger's bond."""
        slots = frame.storage
        dispute = require_open(slots, dispute_id)
        check(dispute.kind == DisputeKind.COMMITTED, "disputeId", "nothing is to be opened in this dispute")
        contribution_id = int.from_bytes(dispute.subject, "big")
        record = require_contribution(slots, contribution_id)
        if frame.sender != record.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor")
        if frame.timestamp > dispute.deadline:
            raise d.DISPUTE_OVER(dispute_id, dispute.deadline)
        if len(opening) > OPENING_BYTES_MAX or len(proof) > DEPTH_MAX:
            raise d.TOO_LONG("opening", len(opening), OPENING_BYTES_MAX)
        if root_from(leaf_of(dispute.window, keccak256(opening)), proof) != record.content_root:
            raise d.BAD_PROOF("the opening is not in the tree of the content root")
        self._check_window(frame, contribution_id, record, dispute.window, opening[SALT_BYTES:])
        self._close(frame, dispute_id, dispute, False)

    def _check_window(self, frame: Frame, contribution_id: int, record: Contribution, window: int, text: bytes) -> None:
        datanet = require_datanet(frame.storage, record.datanet_id)
        try:
            tokens = tokenize(text, datanet.tokenizer)
        except TextError as error:
            raise d.INVALID_CONTENT(str(error)) from None
        if len(tokens) != datanet.min_span:
            raise d.BAD_PROOF(f"a window has {datanet.min_span} tokens, the opening {len(tokens)}")
        segment = SEGMENTS.get(frame.storage, UPLOADS.load(frame.storage, contribution_id).end - 1, record.datanet_id)
        ids = frame.get_blob(segment.windows_hash)
        if tokens.window_ids(datanet.min_span) != ids[window * WINDOW_ID_BYTES : (window + 1) * WINDOW_ID_BYTES]:
            raise d.BAD_PROOF("the opening is not of the window whose id was given")

    @method("resolve(uint64 disputeId, bool upheld)")
    def resolve(self, frame: Frame, dispute_id: int, upheld: bool) -> None:
        """Decide a dispute: the council's judgement on scores and copies; after the deadline anybody, as it comes to by default
        (what wasn't opened is upheld, all else dismissed)."""
        dispute = require_open(frame.storage, dispute_id)
        if frame.timestamp <= dispute.deadline:
            if dispute.kind == DisputeKind.COMMITTED:
                raise d.DISPUTE_OPEN(dispute_id, dispute.deadline)
            if frame.sender != self.params.council:
                raise d.NOT_ALLOWED(frame.sender, "the council, or anybody after the deadline")
        else:
            default = dispute.kind in _UPHELD_BY_DEFAULT
            check(upheld == default, "upheld", f"after the deadline only {str(default).lower()}")
        self._close(frame, dispute_id, dispute, upheld)

    @method(
        "getDispute(uint64 disputeId) returns (DisputeKind kind, DisputeState state, address challenger, bytes32 subject, "
        "uint32 window, uint256 bond, uint64 deadline, bytes32 evidence)",
        view=True,
    )
    def get_dispute(self, frame: Frame, dispute_id: int) -> tuple[object, ...]:
        """A dispute as it stands; its subject is a contribution's id or a receipt's."""
        found = DISPUTES.load(frame.storage, dispute_id)
        if found.challenger == ZERO_ADDRESS:
            raise d.UNKNOWN_DISPUTE(dispute_id)
        about = (found.subject, found.window, found.bond, found.deadline, found.evidence)
        return found.kind, found.state, found.challenger, *about

    # ---------------------------------------------------------------- the steps

    def _require_council(self) -> None:
        if self.params.council == ZERO_ADDRESS:
            raise d.NOT_SUPPORTED("judgement: this chain has no council")

    def _require_alive(self, slots: Slots, contribution_id: int) -> Contribution:
        """A contribution that can lose something."""
        record = require_contribution(slots, contribution_id)
        if record.status in (Status.REJECTED, Status.ERASED, Status.SLASHED):
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

    def _close(self, frame: Frame, dispute_id: int, dispute: Dispute, upheld: bool) -> None:
        state = DisputeState.UPHELD if upheld else DisputeState.DISMISSED
        DISPUTES.store(frame.storage, replace(dispute, state=state, bond=0), dispute_id)
        if dispute.kind == DisputeKind.SCORES:
            other = self._close_scores(frame, dispute, upheld)
        else:
            other = self._close_contribution(frame, dispute, upheld)
        credit(frame.storage, {dispute.challenger if upheld else other: dispute.bond})
        frame.emit(d.RESOLVED, dispute_id, upheld)

    def _close_contribution(self, frame: Frame, dispute: Dispute, upheld: bool) -> Address:
        slots, contribution_id = frame.storage, int.from_bytes(dispute.subject, "big")
        OPEN_DISPUTES.add(slots, -1, contribution_id)
        record = require_contribution(slots, contribution_id)
        if not upheld:
            return record.contributor
        upload = UPLOADS.load(slots, contribution_id)
        if upload.bond:
            UPLOADS.store(slots, replace(upload, bond=0), contribution_id)
            credit(slots, {dispute.challenger: upload.bond})
        if record.status not in (Status.REJECTED, Status.ERASED, Status.SLASHED):
            kill(frame, self.params, contribution_id, record, Status.SLASHED)
        frame.emit(d.SLASHED, record.contributor, upload.bond, dispute.kind)
        return record.contributor

    def _close_scores(self, frame: Frame, dispute: Dispute, upheld: bool) -> Address:
        slots, receipt_id = frame.storage, dispute.subject
        attestation = replace(require_attestation(slots, receipt_id), dispute=0)
        if not upheld:
            ATTESTATIONS.store(slots, attestation, receipt_id)
            return attestation.attestor
        reward = attestation.bond - attestation.bond // 2
        bond = BONDS.load(slots, attestation.attestor)
        BONDS.store(slots, replace(bond, locked=bond.locked - attestation.bond), attestation.attestor)
        credit(slots, {dispute.challenger: reward})
        burn(frame, Wei(attestation.bond // 2))
        uses = attested_uses(slots, attestation)
        credit(slots, {self.treasury: pay_uses(frame, receipt_id, uses, Wei(attestation.held))})
        ATTESTATIONS.store(slots, replace(attestation, slashed=True, held=0, bond=0), receipt_id)
        frame.emit(d.SLASHED, attestation.attestor, attestation.bond, dispute.kind)
        return attestation.attestor
