"""Disputes that somebody has to answer or judge: who is heard, who decides, until when, and what follows if nobody does.

    kind       opened by              decided by                                   if nobody does
    COMMITTED  challengeCommitted     the contributor, by `reveal`                 upheld after `reveal_seconds`
    SCORES     disputeScores          the council, by `resolve`                    dismissed after `resolve_seconds`
    COPIED     disputeContribution    the council, by `resolve`                    dismissed after `resolve_seconds`
    PRIORITY   announceChallenge      the challenger, by `openPassage`             dismissed after `open_seconds`

(`challengePriority` is decided by the contract in the call; both are in `challenges.py`.) After its deadline anybody may
`resolve` a dispute to what it comes to by default. The challenger's bond comes back if the dispute is upheld and goes to the
other side if it is dismissed. A contribution that loses one of the first kinds is SLASHED: its windows die (`departures.py`),
its bond is the challenger's. An attestor that loses is slashed by the bond locked for the receipt: half of it is the
challenger's, half is burned, so that nobody can dispute himself for free; what was held goes to the pools.
"""

from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import DisputeKind, Opening, Status
from attribution_precompile.layout import (
    ATTESTATIONS,
    BONDS,
    DISPUTES,
    OPENINGS,
    UPLOADS,
    Contribution,
    Dispute,
)
from attribution_precompile.methods.attested import attested_uses, pay_uses, require_attestation
from attribution_precompile.methods.base import check, require_contribution, require_datanet
from attribution_precompile.methods.departures import kill
from attribution_precompile.methods.hearings import Hearings, require_open
from attribution_precompile.methods.money import burn, credit
from attribution_precompile.methods.standing import bar
from evm_runtime.native import Frame, Slots, method
from genesis.primitives import ZERO_ADDRESS, Hash32, Wei

_UPHELD_BY_DEFAULT: Final = (DisputeKind.COMMITTED,)


def _subject(contribution_id: int) -> Hash32:
    return Hash32(contribution_id.to_bytes(32, "big"))


class DisputeMethods(Hearings):
    """The part of the contract that hears disputes."""

    # ---------------------------------------------------------------- opening

    @method("challengeCommitted(uint64 contributionId, uint32 window) returns (uint64 disputeId)", payable=True)
    def challenge_committed(self, frame: Frame, contribution_id: int, window: int) -> int:
        """Ask a commit-only contribution to open one window, with a bond that its contributor gets for doing so."""
        slots = frame.storage
        record = self._require_answerable(slots, contribution_id)
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
        self._require_answerable(frame.storage, contribution_id)
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
        gas=lambda _dispute, opening, proof: gas.opening_gas(len(opening), len(proof)),
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
        self._check_opening(frame, contribution_id, record, dispute.window, Opening(opening, proof))
        self._settle(frame, dispute_id, False)

    @method("resolve(uint64 disputeId, bool upheld)")
    def resolve(self, frame: Frame, dispute_id: int, upheld: bool) -> None:
        """Decide a dispute: the council's judgement on scores and copies; after the deadline anybody, as it comes to by default
        (what wasn't opened is upheld, all else dismissed)."""
        dispute = require_open(frame.storage, dispute_id)
        if frame.timestamp <= dispute.deadline:
            if dispute.kind in (DisputeKind.COMMITTED, DisputeKind.PRIORITY):
                raise d.DISPUTE_OPEN(dispute_id, dispute.deadline)
            if frame.sender != self.params.council:
                raise d.NOT_ALLOWED(frame.sender, "the council, or anybody after the deadline")
        else:
            default = dispute.kind in _UPHELD_BY_DEFAULT
            check(upheld == default, "upheld", f"after the deadline only {str(default).lower()}")
        if dispute.kind == DisputeKind.SCORES:
            attestation = require_attestation(frame.storage, dispute.subject)
            ATTESTATIONS.store(frame.storage, replace(attestation, dispute=0), dispute.subject)
        if upheld and dispute.kind == DisputeKind.SCORES:
            self._slash_scores(frame, dispute)
        elif upheld:
            self._slash_contribution(frame, dispute)
        self._settle(frame, dispute_id, upheld)

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

    def _require_answerable(self, slots: Slots, contribution_id: int) -> Contribution:
        """A contribution that can lose something: itself, or a bond that it has left here."""
        record = self._require_exposed(slots, contribution_id)
        gone = record.status in (Status.REJECTED, Status.ERASED)
        if gone and not UPLOADS.load_field(slots, "bond", contribution_id):
            raise d.WRONG_STATUS(contribution_id, record.status)
        return record

    def _slash_contribution(self, frame: Frame, dispute: Dispute) -> None:
        slots, contribution_id = frame.storage, int.from_bytes(dispute.subject, "big")
        record, upload = require_contribution(slots, contribution_id), UPLOADS.load(slots, contribution_id)
        if upload.bond:
            UPLOADS.store(slots, replace(upload, bond=0), contribution_id)
            credit(slots, {dispute.challenger: upload.bond})
        if record.status not in (Status.REJECTED, Status.ERASED, Status.SLASHED):
            kill(frame, self.params, contribution_id, record, Status.SLASHED)
        bar(slots, contribution_id)
        frame.emit(d.SLASHED, record.contributor, upload.bond, dispute.kind)

    def _slash_scores(self, frame: Frame, dispute: Dispute) -> None:
        slots, receipt_id = frame.storage, dispute.subject
        attestation = require_attestation(slots, receipt_id)
        reward = attestation.bond - attestation.bond // 2
        bond = BONDS.load(slots, attestation.attestor)
        BONDS.store(slots, replace(bond, locked=bond.locked - attestation.bond), attestation.attestor)
        credit(slots, {dispute.challenger: reward})
        burn(frame, Wei(attestation.bond // 2))
        uses = attested_uses(slots, attestation)
        credit(slots, {self.treasury: pay_uses(frame, receipt_id, uses, Wei(attestation.held))})
        ATTESTATIONS.store(slots, replace(attestation, slashed=True, held=0, bond=0), receipt_id)
        frame.emit(d.SLASHED, attestation.attestor, attestation.bond, dispute.kind)
