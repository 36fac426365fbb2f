"""Typed reads for audits, beside `queries.py`: disputes, attested scores, segments, what a pool owes, proofs of receipts."""

from collections.abc import Iterator
from dataclasses import dataclass

from attribution_precompile import layout
from attribution_precompile.declarations import DisputeKind, DisputeState
from attribution_precompile.methods.passages import losses_of
from attribution_precompile.methods.pool_books import share_of
from attribution_precompile.reading.queries import Queries, clipped, known
from genesis.primitives import ZERO_ADDRESS, Address, Hash32, Wei


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """One piece of a contribution: its place among its datanet's segments (what a priority challenge names), its number in the
    chain's order, its tokens, the keccak of its content (zero where only window ids are given), and the ranges [start, end) of
    its window places that it has lost."""

    place: int
    order: int
    tokens: int
    content_hash: Hash32
    lost: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class DisputeInfo:
    id: int
    kind: DisputeKind
    state: DisputeState
    challenger: Address
    subject: Hash32
    """A contribution's id, or a receipt's."""
    window: int
    bond: Wei
    deadline: int
    evidence: Hash32


@dataclass(frozen=True, slots=True)
class AttestationInfo:
    receipt_id: Hash32
    attestor: Address
    final_at: int
    score_root: Hash32
    total_weight: int
    claimed_weight: int
    held: Wei
    bond: Wei
    slashed: bool
    dispute: int


def receipt_slots(receipt_id: Hash32) -> tuple[int, ...]:
    """The storage slots of a receipt: with their proofs (EIP-1186) under a header that one trusts, `Queries` over them reads
    the receipt without trusting who sent it."""
    return layout.RECEIPTS.slots_of(receipt_id)


class AuditQueries(Queries):
    """Reads over one state."""

    def segments(self, contribution_id: int) -> tuple[SegmentInfo, ...]:
        """The segments of a contribution, in order; none if it is unknown or still hidden."""
        datanet_id = layout.CONTRIBUTIONS.load_field(self._slots, "datanet_id", contribution_id)
        found = []
        for place in range(layout.SEGMENTS.length(self._slots, datanet_id)):
            segment = layout.SEGMENTS.get(self._slots, place, datanet_id)
            if segment.contribution_id == contribution_id:
                lost = tuple((loss.start, loss.end) for loss in losses_of(self._slots, datanet_id, place))
                found.append(SegmentInfo(place, segment.order, segment.tokens, segment.content_hash, lost))
        return tuple(found)

    def dispute(self, dispute_id: int) -> DisputeInfo | None:
        record = layout.DISPUTES.load(self._slots, dispute_id)
        if record.challenger == ZERO_ADDRESS:
            return None
        return DisputeInfo(
            id=dispute_id,
            kind=record.kind,
            state=record.state,
            challenger=record.challenger,
            subject=record.subject,
            window=record.window,
            bond=Wei(record.bond),
            deadline=record.deadline,
            evidence=record.evidence,
        )

    def disputes(self, first: int, count: int) -> Iterator[DisputeInfo]:
        for dispute_id in clipped(first, count, layout.DISPUTE_COUNT.get(self._slots)):
            yield known(self.dispute(dispute_id))

    def attestation(self, receipt_id: Hash32) -> AttestationInfo | None:
        record = layout.ATTESTATIONS.load(self._slots, receipt_id)
        if record.attestor == ZERO_ADDRESS:
            return None
        return AttestationInfo(
            receipt_id=receipt_id,
            attestor=record.attestor,
            final_at=record.final_at,
            score_root=record.score_root,
            total_weight=record.total_weight,
            claimed_weight=record.claimed_weight,
            held=Wei(record.held),
            bond=Wei(record.bond),
            slashed=record.slashed,
            dispute=record.dispute,
        )

    def bond(self, who: Address) -> tuple[Wei, Wei]:
        """(free, locked) of an attestor."""
        record = layout.BONDS.load(self._slots, who)
        return Wei(record.free), Wei(record.locked)

    def terms_hash(self, datanet_id: int, version: int) -> Hash32:
        """The hash of the terms that a version was published under."""
        return Hash32(layout.VERSIONS.load_field(self._slots, "terms_hash", datanet_id, version))

    def pool_share(self, contribution_id: int) -> Wei:
        """What `claimPool` would move to the contribution's payout now."""
        datanet_id = layout.CONTRIBUTIONS.load_field(self._slots, "datanet_id", contribution_id)
        versions = layout.DATANETS.load_field(self._slots, "versions", datanet_id)
        return share_of(self._slots, contribution_id, datanet_id, versions)
