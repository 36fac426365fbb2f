"""How contributions end: what stops claiming windows, what dies, and in which block the index forgets it (rule 5).

The index learns of it from two lists of each datanet, both in the order of blocks: `ENDINGS` of contributions that were
rejected, withdrawn, erased or slashed, and `DEATHS`, the blocks in which any was erased or slashed. Each ending is written
once, with what it means for ever.

What can own or claim nothing any more is taken out of the index, so that no walk meets it. That is work, paid at the upload,
and a block can end much at once: so each ending takes the first block that has room for its tokens, and this block is part of
the state. What no version has leaves as soon as it can. What a version has is asked about by old blocks and stays for
`death_blocks` more; after these, questions about blocks before the death are refused (`span_index.py`).
"""

from typing import Final

from attribution_precompile.declarations import Status
from attribution_precompile.index.membership import is_in
from attribution_precompile.layout import (
    DEATHS,
    DEPARTURES,
    ENDINGS,
    PURGES,
    UPLOADS,
    Contribution,
    Ending,
    PurgeQueue,
)
from evm_runtime.native import Slots
from genesis.chain_spec import AttributionParams

NEVER: Final = (1 << 64) - 1
"""A block that doesn't come."""
STAYS: Final = (1 << 32) - 1
"""In place of the last version that has a contribution: there is none."""
SOON, LATE = 0, 1
"""Queues: of what no version has, and of what has died."""
ENDING_TOKENS: Final = 256
"""What taking out a contribution costs beside its tokens, in tokens."""


def note_ending(
    slots: Slots,
    params: AttributionParams,
    contribution_id: int,
    record: Contribution,
    block: int,
    versions: int,
    *,
    died: bool,
) -> None:
    """Note, before it is stored, that a contribution is rejected, withdrawn or (`died`) erased or slashed in this block. Its
    datanet has `versions`."""
    departure = DEPARTURES.load(slots, contribution_id)
    last = departure.left if departure.gone else versions
    member = last > 0 and is_in(slots, last, record, UPLOADS.load(slots, contribution_id), departure)
    ended_before = departure.gone or record.status == Status.REJECTED
    purge = NEVER
    if member and died:
        purge = _purge_block(slots, params, LATE, block + params.death_blocks, record.tokens)
    elif not member and not ended_before:
        purge = _purge_block(slots, params, SOON, block, record.tokens)
    left = last if member else 0
    if member and died and not departure.gone:
        left = STAYS
    ENDINGS.append(slots, Ending(contribution_id, block, purge, left, died), record.datanet_id)
    if died:
        count = DEATHS.length(slots, record.datanet_id)
        if count == 0 or DEATHS.get(slots, count - 1, record.datanet_id) != block:
            DEATHS.append(slots, block, record.datanet_id)


def first_death_after(slots: Slots, datanet: int, block: int) -> int:
    """The first block after `block` in which a contribution of the datanet died, or NEVER."""
    low, high = 0, DEATHS.length(slots, datanet)
    count = high
    while low < high:
        middle = (low + high) // 2
        if DEATHS.get(slots, middle, datanet) <= block:
            low = middle + 1
        else:
            high = middle
    return DEATHS.get(slots, low, datanet) if low < count else NEVER


def _purge_block(slots: Slots, params: AttributionParams, queue: int, earliest: int, tokens: int) -> int:
    """The first block from `earliest` on at whose end a contribution of so many tokens may leave the index."""
    known = PURGES.load(slots, queue)
    block, taken = (known.block, known.tokens) if known.block >= earliest else (earliest, 0)
    size = min(tokens + ENDING_TOKENS, params.purge_tokens)
    if taken + size > params.purge_tokens:
        block, taken = block + 1, 0
    PURGES.store(slots, PurgeQueue(block, taken + size), queue)
    return block
