"""Whether a contribution has a passage of an earlier one: the evidence of a priority challenge.

A passage lies inside one segment of each. From the two places named, `least` consecutive windows must be equal (all, if the
later one is a contribution of one segment with fewer), and the segment of the earlier one must stand before that of the later
one in the chain's order. Windows are compared by their ids, so a text that was erased or never shown is as good as another;
ids of different lengths can't be compared.
"""

from dataclasses import dataclass

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.base import check, require_datanet
from attribution_precompile.layout import SEGMENTS, Contribution, Segment
from attribution_precompile.tokens import WINDOW_ID_BYTES, split_ids, tokenize
from evm_runtime.native import Frame


@dataclass(frozen=True, slots=True)
class Place:
    """A window of a contribution: the place of a segment of it in its datanet, and the window's number in that segment."""

    contribution_id: int
    record: Contribution
    segment: int
    window: int


def same_passage(frame: Frame, later: Place, earlier: Place, least: int) -> None:
    """Raises `NotDecidable`, saying why, unless `earlier` shows a passage of `later`."""
    mine, theirs = (require_datanet(frame.storage, place.record.datanet_id) for place in (later, earlier))
    if mine.tokenizer != theirs.tokenizer:
        raise d.NOT_DECIDABLE("the two datanets read content with different tokenizers")
    if mine.min_span != theirs.min_span:
        raise d.NOT_DECIDABLE("the two datanets have windows of different lengths")
    segment, source = _segment(frame, later), _segment(frame, earlier)
    if source.order >= segment.order:
        raise d.NOT_DECIDABLE("the earlier contribution's segment came in later")
    windows = segment.tokens - mine.min_span + 1
    if windows < least and segment.tokens == later.record.tokens:
        least = windows
    found, shown = (_windows(frame, s, p, mine.min_span, least) for s, p in ((segment, later), (source, earlier)))
    if len(found) < least or len(shown) < least:
        raise d.NOT_DECIDABLE(f"a passage has {least} windows")
    if found != shown:
        raise d.NOT_DECIDABLE("the passages differ")


def _segment(frame: Frame, place: Place) -> Segment:
    datanet_id = place.record.datanet_id
    known = place.segment < SEGMENTS.length(frame.storage, datanet_id)
    check(known, "segment", "the datanet has no such segment")
    segment = SEGMENTS.get(frame.storage, place.segment, datanet_id)
    check(segment.contribution_id == place.contribution_id, "segment", "it is another contribution's")
    return segment


def _windows(frame: Frame, segment: Segment, place: Place, k: int, count: int) -> list[bytes]:
    """From the content, or from the ids that stand in place of what was erased or is off chain: every node has one of them."""
    frame.charge(gas.passage_gas(segment.tokens, segment.further_blocks), "comparing passages")
    content = frame.state.get_blob(segment.content_hash)
    if content is None:
        ids = frame.get_blob(segment.windows_hash)
    else:
        tokenizer = require_datanet(frame.plain, place.record.datanet_id).tokenizer
        ids = tokenize(content, tokenizer).window_ids(k)
    return split_ids(ids[place.window * WINDOW_ID_BYTES : (place.window + count) * WINDOW_ID_BYTES])
