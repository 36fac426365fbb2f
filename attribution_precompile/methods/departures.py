"""How a contribution's windows die: erased, or lost in a dispute (rule 5)."""

from dataclasses import replace

from attribution_precompile import declarations as d
from attribution_precompile.declarations import Status
from attribution_precompile.index.endings import note_ending
from attribution_precompile.index.membership import is_in
from attribution_precompile.layout import CONTRIBUTIONS, DEPARTED, DEPARTURES, UPLOADS, Contribution
from attribution_precompile.methods.base import CHAIN_STATUS, extend_chain, require_datanet
from attribution_precompile.methods.money import drop_weight
from evm_runtime.native import Frame
from genesis.chain_spec import AttributionParams


def kill(frame: Frame, params: AttributionParams, contribution_id: int, record: Contribution, status: Status) -> None:
    """From the next block on the contribution owns nothing, and it has no weight from now on.

    Where no version has it yet it also goes: it was never anybody's. Refuses what is dead already.
    """
    slots = frame.storage
    departure = DEPARTURES.load(slots, contribution_id)
    if departure.died_block:
        raise d.WRONG_STATUS(contribution_id, record.status)
    versions = require_datanet(slots, record.datanet_id).versions
    note_ending(slots, params, contribution_id, record, frame.block_number, versions, died=True)
    departed_before = departure.gone
    if not departed_before:
        upload = UPLOADS.load(slots, contribution_id)
        included = versions > 0 and is_in(slots, versions, record, upload, departure)
        departure = replace(departure, gone=not included, left=0 if included else versions)
    DEPARTURES.store(slots, replace(departure, died_block=frame.block_number), contribution_id)
    if record.status != Status.REJECTED:
        record = drop_weight(frame, contribution_id, record)
        depart(frame, contribution_id, replace(record, status=status), again=departed_before)


def depart(frame: Frame, contribution_id: int, record: Contribution, *, again: bool = False) -> None:
    """Store the record of a contribution that leaves, and count it among those that have (once)."""
    CONTRIBUTIONS.store(frame.storage, record, contribution_id)
    if not again:
        DEPARTED.append(frame.storage, contribution_id, record.datanet_id)
    extend_chain(frame, record.datanet_id, CHAIN_STATUS, contribution_id, int(record.status))
