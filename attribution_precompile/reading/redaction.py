"""What a node may drop of contributions that died (erased, or lost in a dispute), and what it keeps instead.

The index still needs the windows of such content, so that nobody inherits them. Each segment's record commits to its window
ids by their hash, so a node that puts them in place of the text can prove that they are the right ones: 16 bytes a token, from
which the text can't be read, though a good guess can be checked against them. Vectors leave their digests likewise.

Blobs are shared by all that have the same bytes. What a living contribution needs stays, and so does whatever stands in place
of something: else somebody could give another's content, or the ids that stand for it, once more, erase it, and stop every
node that drops it. What is dropped leaves in its place whatever any of those that had it needs: the same text has other
windows in another datanet.

All of this goes over every contribution there is: upkeep of a node, not work of a block.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from attribution_precompile.index.content import BlobReader
from attribution_precompile.index.vector_index import digests_of
from attribution_precompile.layout import (
    CONTRIBUTION_COUNT,
    DATANET_COUNT,
    DATANETS,
    DEPARTURES,
    HELD,
    SEGMENTS,
    VECTOR_CHUNKS,
    Segment,
    VectorChunk,
)
from attribution_precompile.rules.tokens import tokenize
from evm_runtime.native import Slots
from genesis.primitives import Hash32


@dataclass(frozen=True, slots=True)
class Redaction:
    """Put the blobs `instead` (window ids, vectors' digests), then drop the blob at `content_hash`. The last of those that had
    it died in `died_block`."""

    content_hash: Hash32
    instead: tuple[bytes, ...]
    died_block: int


def died_in(slots: Slots, contribution_id: int) -> int:
    """The block in which a contribution died; 0 while it lives."""
    return int(DEPARTURES.load_field(slots, "died_block", contribution_id))


def contents_of(slots: Slots, blobs: BlobReader, contributions: Collection[int]) -> set[Hash32]:
    """The hashes of the content of these contributions that this node holds."""
    wanted = set(contributions)
    found = {held.content_hash for contribution, held in _held(slots) if contribution in wanted}
    found |= {segment.content_hash for _, segment in _segments(slots) if segment.contribution_id in wanted}
    found |= {chunk.content_hash for contribution, chunk in _vectors(slots) if contribution in wanted}
    return {content_hash for content_hash in found if blobs.get_blob(content_hash) is not None}


def redactions(slots: Slots, blobs: BlobReader, contents: Collection[Hash32], *, through: int) -> Iterator[Redaction]:
    """What to do about these contents, in the order of deaths; nothing for what somebody needs who lives, or lived after block
    `through`, nor for what stands in place of something."""
    leaving = {content_hash: _Leaving() for content_hash in contents}
    deaths: dict[int, int] = {}

    def had_by(contribution: int, content_hash: Hash32) -> _Leaving | None:
        """Note that a contribution has this content; None if that keeps it, or it isn't asked about."""
        if content_hash not in leaving:
            return None
        died = deaths.get(contribution)
        if died is None:
            died = deaths[contribution] = died_in(slots, contribution)
        if not 0 < died <= through:
            del leaving[content_hash]
            return None
        found = leaving[content_hash]
        found.died_block = max(found.died_block, died)
        return found

    for contribution, held in _held(slots):
        had_by(contribution, held.content_hash)
    for datanet, segment in _segments(slots):
        leaving.pop(segment.windows_hash, None)
        found = had_by(segment.contribution_id, segment.content_hash)
        if found:
            found.datanets.add(datanet)
    for contribution, chunk in _vectors(slots):
        leaving.pop(chunk.digests_hash, None)
        found = had_by(contribution, chunk.content_hash)
        if found:
            found.dims.add(chunk.dim)
    for content_hash, found in sorted(leaving.items(), key=lambda item: (item[1].died_block, item[0])):
        content = blobs.get_blob(content_hash) if found.died_block else None
        if content is not None:
            yield Redaction(content_hash, found.instead(slots, content), found.died_block)


@dataclass(slots=True)
class _Leaving:
    """Content that nobody has been found to need: when the last who had it died, and in which forms it counts on."""

    died_block: int = 0
    datanets: set[int] = field(default_factory=set)
    dims: set[int] = field(default_factory=set)

    def instead(self, slots: Slots, content: bytes) -> tuple[bytes, ...]:
        records = [DATANETS.load(slots, datanet) for datanet in sorted(self.datanets)]
        forms = dict.fromkeys((record.tokenizer, record.min_span) for record in records)
        ids = [tokenize(content, tokenizer).window_ids(min_span) for tokenizer, min_span in forms]
        return (*ids, *(digests_of(content, dim) for dim in sorted(self.dims)))


def _segments(slots: Slots) -> Iterator[tuple[int, Segment]]:
    """(datanet, segment) for each segment that stands in a datanet."""
    for datanet in range(1, DATANET_COUNT.get(slots) + 1):
        for i in range(SEGMENTS.length(slots, datanet)):
            yield datanet, SEGMENTS.get(slots, i, datanet)


def _held(slots: Slots) -> Iterator[tuple[int, Segment]]:
    """(contribution, segment) for what is, or was, held until its commitment is found."""
    for contribution in range(1, CONTRIBUTION_COUNT.get(slots) + 1):
        for i in range(HELD.length(slots, contribution)):
            yield contribution, HELD.get(slots, i, contribution)


def _vectors(slots: Slots) -> Iterator[tuple[int, VectorChunk]]:
    """(contribution, vectors) for each call that brought some."""
    for contribution in range(1, CONTRIBUTION_COUNT.get(slots) + 1):
        for i in range(VECTOR_CHUNKS.length(slots, contribution)):
            yield contribution, VECTOR_CHUNKS.get(slots, i, contribution)
