"""What a node may drop of an erased contribution, and what it keeps instead.

The index still needs the windows of erased content, so that nobody inherits them. Each segment's record commits to its
window ids by their hash, so a node that puts them in place of the text can prove that they are the right ones: 16 bytes a
token, from which the text can't be read, though a good guess can be checked against them. Vectors leave their digests likewise.

Blobs are shared by all that have the same bytes. What a living contribution needs stays, and so does whatever stands in place
of something: else somebody could give another's content, or the ids that stand for it, once more, erase it, and stop every
node that drops it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from attribution_precompile.layout import (
    CONTRIBUTION_COUNT,
    CONTRIBUTIONS,
    DATANET_COUNT,
    DATANETS,
    DEPARTURES,
    HELD,
    SEGMENTS,
    VECTOR_CHUNKS,
)
from attribution_precompile.span_index import BlobReader
from attribution_precompile.tokens import tokenize
from attribution_precompile.vector_index import digests_of
from evm_runtime.native import Slots
from genesis.primitives import Hash32


@dataclass(frozen=True, slots=True)
class Redaction:
    """Put the blob `instead` (window ids, or vectors' digests; empty: none is needed), then drop the blob at `content_hash`."""

    content_hash: Hash32
    instead: bytes


def redactions(slots: Slots, blobs: BlobReader, contribution_id: int) -> Iterator[Redaction]:
    """What to do for an erased contribution; nothing for others, nor for what is dropped already or needed elsewhere.

    Goes over every contribution there is: upkeep of a node, not work of a block.
    """
    if not _dead(slots, contribution_id):
        return
    needed = _needed(slots)
    for found in _candidates(slots, blobs, contribution_id):
        if found.content_hash not in needed:
            yield found


def _dead(slots: Slots, contribution_id: int) -> bool:
    return bool(DEPARTURES.load_field(slots, "died_block", contribution_id))


def _candidates(slots: Slots, blobs: BlobReader, contribution_id: int) -> Iterator[Redaction]:
    record = CONTRIBUTIONS.load(slots, contribution_id)
    datanet = DATANETS.load(slots, record.datanet_id)
    for i in range(HELD.length(slots, contribution_id)):
        held = HELD.get(slots, i, contribution_id).content_hash
        if record.first_order == 0 and blobs.get_blob(held) is not None:
            yield Redaction(held, b"")
    for i in range(SEGMENTS.length(slots, record.datanet_id)):
        segment = SEGMENTS.get(slots, i, record.datanet_id)
        content = blobs.get_blob(segment.content_hash) if segment.contribution_id == contribution_id else None
        if content is not None:
            ids = tokenize(content, datanet.tokenizer).window_ids(datanet.min_span)
            yield Redaction(segment.content_hash, ids)
    for i in range(VECTOR_CHUNKS.length(slots, contribution_id)):
        chunk = VECTOR_CHUNKS.get(slots, i, contribution_id)
        vectors = blobs.get_blob(chunk.content_hash)
        if vectors is not None:
            yield Redaction(chunk.content_hash, digests_of(vectors, chunk.dim))


def _needed(slots: Slots) -> set[Hash32]:
    """Blobs that must stay: content of the living, and all that may stand in place of content."""
    needed: set[Hash32] = set()
    for datanet_id in range(1, DATANET_COUNT.get(slots) + 1):
        for i in range(SEGMENTS.length(slots, datanet_id)):
            segment = SEGMENTS.get(slots, i, datanet_id)
            needed.add(segment.windows_hash)
            if not _dead(slots, segment.contribution_id):
                needed.add(segment.content_hash)
    for contribution_id in range(1, CONTRIBUTION_COUNT.get(slots) + 1):
        alive = not _dead(slots, contribution_id)
        for i in range(VECTOR_CHUNKS.length(slots, contribution_id)):
            chunk = VECTOR_CHUNKS.get(slots, i, contribution_id)
            needed.add(chunk.digests_hash)
            if alive:
                needed.add(chunk.content_hash)
        if alive:
            for i in range(HELD.length(slots, contribution_id)):
                needed.add(HELD.get(slots, i, contribution_id).content_hash)
    return needed
