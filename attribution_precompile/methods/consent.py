"""Consent and audit: contributions that withdraw or are erased, what a model was built from, and what it should forget."""

from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile.declarations import Status, Use
from attribution_precompile.index.endings import note_ending
from attribution_precompile.index.membership import is_in
from attribution_precompile.layout import (
    CONTRIBUTIONS,
    DEPARTED,
    DEPARTURES,
    UPLOADS,
    USES,
    VERSIONS,
)
from attribution_precompile.methods.base import (
    USE_MASK_BITS,
    AttributionBase,
    check,
    require_contribution,
    require_datanet,
    require_model,
)
from attribution_precompile.methods.departures import depart, kill
from attribution_precompile.methods.money import set_weight_next
from evm_runtime.native import Frame, method
from genesis.primitives import ZERO_ADDRESS, Hash32

ALL_USES: Final = (1 << USE_MASK_BITS) - 1
FORGET_PAGE: Final = 64
"""Departed contributions that one `forgetSet` call looks at."""
_POSITION_BITS: Final = 64


class ConsentMethods(AttributionBase):
    """The part of the contract that lets contributions go."""

    @method("withdrawConsent(uint64 contributionId, uint32 useMask)")
    def withdraw_consent(self, frame: Frame, contribution_id: int, use_mask: int) -> None:
        """Withdraw consent to uses, by the contributor. If the datanet's useMask has one of them (or is empty), versions
        published later don't have the contribution, and its pool weight ends with the next; earlier ones keep it."""
        slots = frame.storage
        record = require_contribution(slots, contribution_id)
        if frame.sender != record.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor")
        check(0 < use_mask <= ALL_USES, "useMask", f"one or more of the lowest {USE_MASK_BITS} bits")
        if record.status not in (Status.PENDING, Status.ACCEPTED, Status.WITHDRAWN):
            raise d.WRONG_STATUS(contribution_id, record.status)
        datanet = require_datanet(slots, record.datanet_id)
        departure = DEPARTURES.load(slots, contribution_id)
        departure = replace(departure, withdrawn_mask=departure.withdrawn_mask | use_mask)
        if not departure.gone and use_mask & (datanet.use_mask or ALL_USES):
            note_ending(slots, self.params, contribution_id, record, frame.block_number, datanet.versions, died=False)
            departure = replace(departure, gone=True, left=datanet.versions)
            record = replace(record, quality=0, status=Status.WITHDRAWN)
            set_weight_next(frame, contribution_id, record, self.params)
            depart(frame, contribution_id, record)
        DEPARTURES.store(slots, departure, contribution_id)
        frame.emit(d.CONSENT_WITHDRAWN, contribution_id, use_mask)

    @method("erase(uint64 contributionId)")
    def erase(self, frame: Frame, contribution_id: int) -> None:
        """Erase a contribution, by its contributor or the chain's council: from the next block on its windows are nobody's,
        and nodes may drop its content. What it has earned stays claimable."""
        slots = frame.storage
        record = require_contribution(slots, contribution_id)
        council = self.params.council
        if frame.sender != record.contributor and (council == ZERO_ADDRESS or frame.sender != council):
            raise d.NOT_ALLOWED(frame.sender, "the contributor or the council")
        if DEPARTURES.load_field(slots, "died_block", contribution_id):
            raise d.WRONG_STATUS(contribution_id, Status.ERASED)
        kill(frame, self.params, contribution_id, record, Status.ERASED)
        frame.emit(d.ERASED, contribution_id)

    # ---------------------------------------------------------------- audit

    @method(
        "trainingSummary(uint64 modelId, uint256 cursor) returns (Use[] uses, bytes32[] terms, uint256 next)", view=True
    )
    def training_summary(self, frame: Frame, model_id: int, cursor: int) -> tuple[object, ...]:
        """The versions a model was built from, and the hash of the terms that each was published under."""
        slots = frame.storage
        require_model(slots, model_id)
        count = USES.length(slots, model_id)
        records = [USES.get(slots, i, model_id) for i in range(min(cursor, count), count)]
        uses = [Use(record.datanet_id, record.version, record.stage, record.bps) for record in records]
        terms: list[Hash32] = [VERSIONS.load_field(slots, "terms_hash", use.datanet_id, use.version) for use in uses]
        return uses, terms, 0

    @method("forgetSet(uint64 modelId, uint256 cursor) returns (uint64[] contributionIds, uint256 next)", view=True)
    def forget_set(self, frame: Frame, model_id: int, cursor: int) -> tuple[object, ...]:
        """Contributions in the model's versions that have withdrawn or were erased since. A page may be empty; a next cursor of
        0 ends the list."""
        slots = frame.storage
        require_model(slots, model_id)
        place, position = cursor >> _POSITION_BITS, cursor & ((1 << _POSITION_BITS) - 1)
        if place >= USES.length(slots, model_id):
            return [], 0
        use = USES.get(slots, place, model_id)
        departed = DEPARTED.length(slots, use.datanet_id)
        end = min(position + FORGET_PAGE, departed)
        found = []
        for i in range(position, end):
            contribution_id = DEPARTED.get(slots, i, use.datanet_id)
            record = CONTRIBUTIONS.load(slots, contribution_id)
            upload, departure = UPLOADS.load(slots, contribution_id), DEPARTURES.load(slots, contribution_id)
            if is_in(slots, use.version, record, upload, departure):
                found.append(contribution_id)
        if end < departed:
            return found, place << _POSITION_BITS | end
        more = place + 1 < USES.length(slots, model_id)
        return found, (place + 1) << _POSITION_BITS if more else 0
