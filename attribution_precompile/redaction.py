"""What a node may drop of an erased contribution, and what it keeps instead.

The index still needs the windows of erased content, so that nobody inherits them. Each segment's record commits to its
window ids by their hash, so a node that puts them in place of the text can prove that they are the right ones: 16 bytes a
token, from which the text can't be read, though a good guess can be checked against them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from attribution_precompile.layout import CONTRIBUTIONS, DATANETS, DEPARTURES, HELD, SEGMENTS, VECTOR_CHUNKS
from attribution_precompile.span_index import BlobReader
from attribution_precompile.tokens import tokenize
from attribution_precompile.vector_index import digests_of
from evm_runtime.native import Slots
from genesis.primitives import Hash32


@dataclass(frozen=True, slots=True)
class Redaction:
    """Put the blob `window_ids` (of vectors: their digests; empty: none is needed), then drop the blob at `content_hash`."""

    content_hash: Hash32
    window_ids: bytes


def redactions(slots: Slots, blobs: BlobReader, contribution_id: int) -> Iterator[Redaction]:
    """What to do for an erased contribution; nothing for others, nor for what is dropped already. Another contribution with the
    same bytes is served by the window ids as well."""
    record = CONTRIBUTIONS.load(slots, contribution_id)
    if not DEPARTURES.load_field(slots, "died_block", contribution_id):
        return
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
            yield Redaction(segment.content_hash, b"".join(ids))
    for i in range(VECTOR_CHUNKS.length(slots, contribution_id)):
        chunk = VECTOR_CHUNKS.get(slots, i, contribution_id)
        vectors = blobs.get_blob(chunk.content_hash)
        if vectors is not None:
            yield Redaction(chunk.content_hash, digests_of(vectors, chunk.dim))
