"""Reviews and versions (rule 5): what is accepted, with which quality, from which version on."""

from dataclasses import replace

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Role, Status
from attribution_precompile.index.endings import note_ending
from attribution_precompile.layout import (
    CHAINS,
    CONTRIBUTIONS,
    DATANETS,
    REVIEWED,
    SEGMENTS,
    UPLOADS,
    VECTOR_SPACES,
    VECTORED,
    VERSIONS,
    Contribution,
    Datanet,
    Version,
)
from attribution_precompile.methods.base import (
    CHAIN_REVIEW,
    AttributionBase,
    check,
    extend_chain,
    require_contribution,
    require_datanet,
    require_role,
)
from attribution_precompile.methods.money import set_weight_next
from attribution_precompile.methods.pool_books import open_version
from attribution_precompile.methods.standing import start_count
from attribution_precompile.methods.vectors import take_vectors
from evm_runtime.native import Frame, method
from genesis.emission import BPS
from genesis.primitives import Hash32


class ReviewMethods(AttributionBase):
    """The part of the contract that reviews contributions and publishes versions."""

    @method("review(uint64 contributionId, bool accept, uint16 quality)")
    def review(self, frame: Frame, contribution_id: int, accept: bool, quality: int) -> None:
        """Accept a contribution with a quality of 0 to 10000, or reject it. By a curator, in a later block than its content.
        Accepting again changes the quality, which acts with the next version. What was withdrawn or erased before any review
        can still be rejected."""
        slots = frame.storage
        record = require_contribution(slots, contribution_id)
        datanet = require_datanet(slots, record.datanet_id)
        require_role(frame, record.datanet_id, datanet, Role.CURATOR)
        check(quality <= BPS, "quality", f"0 to {BPS}")
        check(accept or quality == 0, "quality", "what is rejected has none")
        again = accept and record.status == Status.ACCEPTED
        self._require_reviewable(contribution_id, record, accept)
        if UPLOADS.load_field(slots, "hidden", contribution_id):
            raise d.NOT_REVEALED(contribution_id)
        if record.last_block >= frame.block_number:
            raise d.REVIEW_TOO_EARLY(contribution_id, record.last_block)
        if not accept and frame.timestamp >= record.deadline:
            raise d.DEADLINE_PASSED(contribution_id, record.deadline)
        if again:
            record = replace(record, quality=quality)
        elif accept:
            record = self._accept(frame, contribution_id, record, datanet, quality)
        else:
            if record.status == Status.PENDING:
                note_ending(
                    slots, self.params, contribution_id, record, frame.block_number, datanet.versions, died=False
                )
            record = replace(record, status=Status.REJECTED)
        if not record.decided_at:
            record = replace(record, decided_at=min(frame.timestamp, record.deadline))
        if accept:
            set_weight_next(frame, contribution_id, record, self.params)
        CONTRIBUTIONS.store(slots, record, contribution_id)
        extend_chain(frame, record.datanet_id, CHAIN_REVIEW, contribution_id, record.status << 16 | quality)
        frame.emit(d.REVIEWED, contribution_id, accept, quality)

    def _require_reviewable(self, contribution_id: int, record: Contribution, accept: bool) -> None:
        """Pending content; what is accepted, to be given another quality; what went unreviewed, to be rejected."""
        wanted = {Status.PENDING, Status.ACCEPTED} if accept else {Status.PENDING, Status.WITHDRAWN, Status.ERASED}
        if record.status not in wanted or (not accept and record.accepted_version):
            raise d.WRONG_STATUS(contribution_id, record.status)

    def _count(self, frame: Frame, contribution_id: int, record: Contribution) -> int:
        """How many windows are the contribution's own now: what its weight is measured by from here on."""
        frame.charge(gas.review_gas(record.tokens, record.segments, record.further_blocks), "counting owned windows")
        owned = self.index.at(frame.state.base).owned_windows(contribution_id, frame.charge)
        start_count(frame.storage, contribution_id, owned)
        return owned

    @method("recount(uint64 contributionId) returns (uint64 ownedWindows)")
    def recount(self, frame: Frame, contribution_id: int) -> int:
        """Count an accepted contribution's owned windows again, as a review would now; acts with the next version, up or down.
        Anyone may: after one ahead of it was rejected or has gone, or content promised before it was revealed."""
        record = require_contribution(frame.storage, contribution_id)
        if record.status != Status.ACCEPTED:
            raise d.WRONG_STATUS(contribution_id, record.status)
        owned = self._count(frame, contribution_id, record)
        record = replace(record, owned_windows=owned)
        set_weight_next(frame, contribution_id, record, self.params)
        CONTRIBUTIONS.store(frame.storage, record, contribution_id)
        frame.emit(d.RECOUNTED, contribution_id, owned)
        return owned

    def _accept(
        self, frame: Frame, contribution_id: int, record: Contribution, datanet: Datanet, quality: int
    ) -> Contribution:
        """Count what the contribution brought, for the versions from the next one on."""
        owned = self._count(frame, contribution_id, record)
        accepted = replace(
            record,
            status=Status.ACCEPTED,
            quality=quality,
            owned_windows=owned,
            accepted_version=datanet.versions + 1,
        )
        REVIEWED.append(frame.storage, contribution_id, record.datanet_id)
        take_vectors(frame.storage, contribution_id, record.datanet_id)
        return accepted

    @method("publishVersion(uint64 datanetId) returns (uint32 version)")
    def publish_version(self, frame: Frame, datanet_id: int) -> int:
        """Seal what is accepted now as a version that models can use from the next block on. By a curator."""
        slots = frame.storage
        datanet = require_datanet(slots, datanet_id)
        require_role(frame, datanet_id, datanet, Role.CURATOR)
        version, most = datanet.versions + 1, self.params.versions_max
        if version > most:
            raise d.TOO_LONG("versions", version, most)
        root = Hash32(CHAINS.get(slots, datanet_id).to_bytes(32, "big"))
        record = Version(
            time=frame.timestamp,
            block_number=frame.block_number,
            segments=SEGMENTS.length(slots, datanet_id),
            contributions=datanet.contributions,
            content_root=root,
            terms_hash=datanet.terms_hash,
            vectors=VECTOR_SPACES.load_field(slots, "vectors", datanet_id),
            vectored=VECTORED.length(slots, datanet_id),
            curator_bps=datanet.curator_bps,
            soft_cap_bps=datanet.soft_cap_bps,
        )
        open_version(slots, datanet_id, version)
        VERSIONS.store(slots, record, datanet_id, version)
        DATANETS.store(slots, replace(datanet, versions=version), datanet_id)
        frame.emit(d.VERSION_PUBLISHED, datanet_id, version, root)
        return version
