"""Passages: consecutive windows that stand in two contributions. How the contract sees by itself who came first, and what a
segment has lost of its window places to who did.

Windows are compared by their ids, so the datanets must split text alike (tokenizer and window length). They are read from the
content of both segments, and paid by their tokens.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.layout import LOSING, LOSSES, SEGMENTS, Contribution, Loss, Segment
from attribution_precompile.methods.base import check, places_of, require_datanet
from attribution_precompile.rules.tokens import WINDOW_ID_BYTES, split_ids, tokenize
from evm_runtime.native import Frame, Slots


@dataclass(frozen=True, slots=True)
class Place:
    """A window of a contribution: the place of a segment of it in its datanet, and the window's number in that segment."""

    contribution_id: int
    record: Contribution
    segment: int
    window: int


def same_passage(frame: Frame, later: Place, earlier: Place, windows: int, least: int) -> None:
    """Raises `NotDecidable`, saying why, unless `windows` in a row are the same from both places on, and are enough: `least`,
    or all of a contribution that is one shorter segment. What the earlier one has lost of them shows nothing."""
    mine, theirs = (require_datanet(frame.storage, place.record.datanet_id) for place in (later, earlier))
    if mine.tokenizer != theirs.tokenizer:
        raise d.NOT_DECIDABLE("the two datanets read content with different tokenizers")
    if mine.min_span != theirs.min_span:
        raise d.NOT_DECIDABLE("the two datanets have windows of different lengths")
    segment, source = _segment(frame, later), _segment(frame, earlier)
    if source.order >= segment.order:
        raise d.NOT_DECIDABLE("the earlier contribution's segment came in later")
    if segment.tokens == later.record.tokens:
        least = min(least, places_of(later.record, mine.min_span))
    if windows < least:
        raise d.NOT_DECIDABLE(f"a passage has {least} windows")
    found, shown = (_windows(frame, s, p, mine.min_span, windows) for s, p in ((segment, later), (source, earlier)))
    if len(found) < windows or len(shown) < windows:
        raise d.NOT_DECIDABLE(f"there are no {windows} windows in a row from there on")
    if found != shown:
        raise d.NOT_DECIDABLE("the passages differ")
    require_whole(frame.storage, earlier, windows)


def require_whole(slots: Slots, earlier: Place, windows: int) -> None:
    """Raises `NotDecidable` if the earlier contribution has lost a part of the passage itself: that shows nothing."""
    if touches(losses_of(slots, earlier.record.datanet_id, earlier.segment), _range(earlier, windows)):
        raise d.NOT_DECIDABLE("the earlier contribution has lost a part of the passage itself")


def _range(place: Place, windows: int) -> Loss:
    return Loss(place.window, place.window + windows)


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


# ---------------------------------------------------------------- places lost


def losses_of(slots: Slots, datanet_id: int, segment: int) -> list[Loss]:
    """What a segment has lost: disjoint ranges in order, none adjoining another."""
    count = LOSSES.length(slots, datanet_id, segment)
    return [LOSSES.get(slots, i, datanet_id, segment) for i in range(count)]


def touches(losses: Sequence[Loss], places: Loss) -> bool:
    """Whether any of these places is lost."""
    return any(loss.start < places.end and places.start < loss.end for loss in losses)


def joined(losses: Sequence[Loss], places: Loss) -> tuple[list[Loss], int]:
    """The ranges with these places in them, and how many of these weren't lost before."""
    first = bisect_left(losses, places.start, key=lambda loss: loss.end)
    last = bisect_right(losses, places.end, key=lambda loss: loss.start)
    met = losses[first:last]
    known = sum(min(loss.end, places.end) - max(loss.start, places.start) for loss in met)
    whole = Loss(min([places.start, *(loss.start for loss in met)]), max([places.end, *(loss.end for loss in met)]))
    return [*losses[:first], whole, *losses[last:]], places.end - places.start - known


def lose(slots: Slots, later: Place, windows: int, losses_max: int) -> int:
    """Record the places of a passage as lost, from the next block on: how many are lost newly. None is where the segment would
    have lost more than `losses_max` ranges then."""
    before = losses_of(slots, later.record.datanet_id, later.segment)
    after, fresh = joined(before, _range(later, windows))
    if fresh == 0 or len(after) > losses_max:
        return 0
    LOSING.append(slots, later.segment, later.record.datanet_id)
    LOSSES.replace(slots, after, later.record.datanet_id, later.segment)
    return fresh
