"""Contributions: content in segments, review, versions (rules 3 to 5 of attribution).

A contribution's life: PENDING, while its contributor may append and a curator may reject it; then ACCEPTED or REJECTED by
review, or accepted by time-out: a version published at or after its deadline includes it although nobody has reviewed it.
After the deadline nothing can be appended or rejected any more; a review then only gives it quality, and so weight in the
pool.
"""

from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas, pool
from attribution_precompile.base import (
    CHAIN_CONTENT,
    CHAIN_REVIEW,
    AttributionBase,
    check,
    extend_chain,
    require_contribution,
    require_datanet,
    require_role,
)
from attribution_precompile.declarations import Role, Status
from attribution_precompile.fees import BPS
from attribution_precompile.layout import (
    BOND_PRICES,
    CHAINS,
    CONTRIBUTION_COUNT,
    CONTRIBUTIONS,
    DATANETS,
    MEMBERS,
    POOLS,
    REVIEWED,
    SEGMENT_COUNT,
    SEGMENTS,
    UPLOADS,
    VERSIONS,
    Contribution,
    Datanet,
    Segment,
    Upload,
    Version,
)
from attribution_precompile.money import credit, settle_entry
from attribution_precompile.tokens import TextError, tokenize
from evm_runtime.native import Frame, method
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, abi_words, keccak256

KIB: Final = 1_024
"""Bonds are per KiB of a call's content, begun ones count."""


def next_content_root(root: Hash32, content_hash: Hash32) -> Hash32:
    """The root of a contribution after another segment: keccak(abi.encode(root, keccak(segment))), from a zero root."""
    return keccak256(abi_words(root, content_hash))


class ContributionMethods(AttributionBase):
    """The part of the contract that keeps contributions and versions."""

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
        check(payout != ZERO_ADDRESS, "payout", "nobody holds the zero address")
        if salt != ZERO_HASH:
            raise d.NOT_SUPPORTED("commit-reveal")
        contribution_id = CONTRIBUTION_COUNT.add(slots, 1)
        upload = self._add_bytes(frame, datanet_id, Upload(0, 0, False), content)
        segment = self._add_segment(frame, datanet_id, datanet, contribution_id, content)
        record = Contribution(
            contributor=frame.sender,
            datanet_id=datanet_id,
            quality=0,
            status=Status.PENDING,
            payout=payout,
            first_order=segment.order,
            accepted_version=0,
            tokens=segment.tokens,
            owned_windows=0,
            deadline=frame.timestamp + datanet.review_seconds,
            last_block=frame.block_number,
            content_root=next_content_root(ZERO_HASH, segment.content_hash),
            provenance=provenance,
        )
        CONTRIBUTIONS.store(slots, record, contribution_id)
        UPLOADS.store(slots, upload, contribution_id)
        DATANETS.store(slots, replace(datanet, contributions=datanet.contributions + 1), datanet_id)
        MEMBERS.append(slots, contribution_id, datanet_id)
        extend_chain(frame, datanet_id, CHAIN_CONTENT, contribution_id, record.content_root)
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
        record, upload = self._require_open(frame, contribution_id)
        datanet = require_datanet(slots, record.datanet_id)
        upload = self._add_bytes(frame, record.datanet_id, upload, content)
        segment = self._add_segment(frame, record.datanet_id, datanet, contribution_id, content)
        record = replace(
            record,
            tokens=record.tokens + segment.tokens,
            deadline=max(record.deadline, frame.timestamp + datanet.review_seconds),
            last_block=frame.block_number,
            content_root=next_content_root(record.content_root, segment.content_hash),
        )
        CONTRIBUTIONS.store(slots, record, contribution_id)
        UPLOADS.store(slots, upload, contribution_id)
        extend_chain(frame, record.datanet_id, CHAIN_CONTENT, contribution_id, record.content_root)
        frame.emit(d.APPENDED, contribution_id, record.content_root, record.tokens)

    @method("finalizeContent(uint64 contributionId)")
    def finalize_content(self, frame: Frame, contribution_id: int) -> None:
        """Say that a contribution is complete: nothing can be appended any more. By its contributor, while it is pending."""
        record, upload = self._require_open(frame, contribution_id)
        UPLOADS.store(frame.storage, replace(upload, complete=True), contribution_id)
        frame.emit(d.COMPLETED, contribution_id, record.content_root, record.tokens)

    def _require_open(self, frame: Frame, contribution_id: int) -> tuple[Contribution, Upload]:
        """A contribution of the caller that may still grow."""
        record = require_contribution(frame.storage, contribution_id)
        if frame.sender != record.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor")
        if record.status != Status.PENDING:
            raise d.WRONG_STATUS(contribution_id, record.status)
        if frame.timestamp >= record.deadline:
            raise d.DEADLINE_PASSED(contribution_id, record.deadline)
        upload = UPLOADS.load(frame.storage, contribution_id)
        if upload.complete:
            raise d.COMPLETE(contribution_id)
        return record, upload

    def _add_bytes(self, frame: Frame, datanet_id: int, upload: Upload, content: bytes) -> Upload:
        """Check sizes and take the bond for another piece of content; what was sent above it is credited back."""
        limits, total = self.params, upload.content_bytes + len(content)
        if len(content) > limits.call_bytes_max:
            raise d.TOO_LONG("content of a call", len(content), limits.call_bytes_max)
        if total > limits.contribution_bytes_max:
            raise d.TOO_LONG("content of a contribution", total, limits.contribution_bytes_max)
        bond = BOND_PRICES.get(frame.storage, datanet_id) * -(-len(content) // KIB)
        if frame.value < bond:
            raise d.BOND_TOO_LOW(bond, frame.value)
        credit(frame.storage, {frame.sender: frame.value - bond})
        return replace(upload, content_bytes=total, bond=upload.bond + bond)

    def _add_segment(
        self, frame: Frame, datanet_id: int, datanet: Datanet, contribution_id: int, content: bytes
    ) -> Segment:
        try:
            tokens = len(tokenize(content, datanet.tokenizer))
        except TextError as error:
            raise d.INVALID_CONTENT(str(error)) from None
        if tokens < datanet.min_span:
            raise d.TOO_SHORT("content (tokens)", tokens, datanet.min_span)
        frame.charge(gas.index_gas(tokens), "indexing")
        order = SEGMENT_COUNT.add(frame.storage, 1)
        segment = Segment(contribution_id, order, frame.block_number, tokens, frame.put_blob(content))
        SEGMENTS.append(frame.storage, segment, datanet_id)
        return segment

    @method("withdrawBond(uint64 contributionId) returns (uint256 amount)")
    def withdraw_bond(self, frame: Frame, contribution_id: int) -> int:
        """Credit a contribution's bond to its contributor, who calls this: once it is reviewed or past its deadline."""
        record = require_contribution(frame.storage, contribution_id)
        if frame.sender != record.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor")
        if record.status == Status.PENDING and frame.timestamp < record.deadline:
            raise d.BOND_LOCKED(contribution_id, record.deadline)
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
        check(payout != ZERO_ADDRESS, "payout", "nobody holds the zero address")
        settle_entry(frame, contribution_id, record, self.params.pool_windows_max)
        CONTRIBUTIONS.store(frame.storage, replace(record, payout=payout), contribution_id)
        frame.emit(d.PAYOUT_SET, contribution_id, payout)

    @method("review(uint64 contributionId, bool accept, uint16 quality)")
    def review(self, frame: Frame, contribution_id: int, accept: bool, quality: int) -> None:
        """Accept a contribution with a quality of 0 to 10000, or reject it. By a curator, in a later block than its content."""
        slots = frame.storage
        record = require_contribution(slots, contribution_id)
        datanet = require_datanet(slots, record.datanet_id)
        require_role(frame, record.datanet_id, datanet, Role.CURATOR)
        check(quality <= BPS, "quality", f"0 to {BPS}")
        check(accept or quality == 0, "quality", "what is rejected has none")
        if record.status != Status.PENDING:
            raise d.WRONG_STATUS(contribution_id, record.status)
        if record.last_block >= frame.block_number:
            raise d.REVIEW_TOO_EARLY(contribution_id, record.last_block)
        if not accept and frame.timestamp >= record.deadline:
            raise d.DEADLINE_PASSED(contribution_id, record.deadline)
        if accept:
            record = self._accept(frame, contribution_id, record, datanet, quality)
        else:
            record = replace(record, status=Status.REJECTED)
        CONTRIBUTIONS.store(slots, record, contribution_id)
        extend_chain(frame, record.datanet_id, CHAIN_REVIEW, contribution_id, record.status << 16 | quality)
        frame.emit(d.REVIEWED, contribution_id, accept, quality)

    def _accept(
        self, frame: Frame, contribution_id: int, record: Contribution, datanet: Datanet, quality: int
    ) -> Contribution:
        """Count what the contribution brought, and let its weight wait for the next version."""
        frame.charge(gas.review_gas(record.tokens), "counting owned windows")
        owned = self.index.owned_windows(frame.plain, frame.state, contribution_id, frame.block_number)
        accepted = replace(
            record,
            status=Status.ACCEPTED,
            quality=quality,
            owned_windows=owned,
            accepted_version=datanet.versions + 1,
        )
        REVIEWED.append(frame.storage, contribution_id, record.datanet_id)
        weight = pool.weight_of(quality, owned, self.params.pool_windows_max)
        if weight:
            state = POOLS.load(frame.storage, record.datanet_id)
            POOLS.store(frame.storage, pool.add_pending(state, weight), record.datanet_id)
        return accepted

    @method("publishVersion(uint64 datanetId) returns (uint32 version)")
    def publish_version(self, frame: Frame, datanet_id: int) -> int:
        """Seal what is accepted now as a version that models can use from the next block on. By a curator."""
        slots = frame.storage
        datanet = require_datanet(slots, datanet_id)
        require_role(frame, datanet_id, datanet, Role.CURATOR)
        version = datanet.versions + 1
        state = pool.fold(POOLS.load(slots, datanet_id))
        root = Hash32(CHAINS.get(slots, datanet_id).to_bytes(32, "big"))
        record = Version(
            time=frame.timestamp,
            block_number=frame.block_number,
            segments=SEGMENTS.length(slots, datanet_id),
            contributions=datanet.contributions,
            content_root=root,
            pool_accumulator=state.accumulator,
        )
        POOLS.store(slots, state, datanet_id)
        VERSIONS.store(slots, record, datanet_id, version)
        DATANETS.store(slots, replace(datanet, versions=version), datanet_id)
        frame.emit(d.VERSION_PUBLISHED, datanet_id, version, root)
        return version
