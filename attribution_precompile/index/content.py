"""What the index reads: final states, content as nodes keep it, and the windows of a stored segment."""

from typing import Protocol

from attribution_precompile.layout import Segment
from attribution_precompile.rules.tokens import TextError, tokenize
from evm_runtime.native import Slots
from genesis.errors import StorageCorrupt
from genesis.primitives import Hash32


class BlobReader(Protocol):
    """Content by its keccak, or None where this node doesn't hold it."""

    def get_blob(self, blob_hash: Hash32) -> bytes | None: ...


class FinalState(Slots, BlobReader, Protocol):
    """The contract's storage and content after block `number`, which nothing changes any more."""

    @property
    def number(self) -> int: ...


class FinalStates(Protocol):
    """The final blocks of a chain, whose states can be opened."""

    def tip(self) -> Hash32:
        """The newest block."""
        ...

    def number_of(self, block_hash: Hash32) -> int | None:
        """A block's height; None if the chain doesn't have it, or has it no more."""
        ...

    def open(self, block_hash: Hash32) -> FinalState:
        """The state after a block of the chain."""
        ...


def stored_window_ids(blobs: BlobReader, segment: Segment, tokenizer: Hash32, k: int) -> bytes:
    """The window ids of a stored segment, 16 bytes each: from its content, or where that is not kept, from the ids in its place
    (`redaction.py`).

    Raises StorageCorrupt where this node has neither: it must not compute something else than the others. Content was checked
    when it came in.
    """
    content = blobs.get_blob(segment.content_hash)
    if content is None:
        kept = blobs.get_blob(segment.windows_hash)
        if kept is None:
            raise StorageCorrupt(
                f"content {segment.content_hash.hex()} is missing: this node can't recompute attribution"
            )
        return kept
    try:
        return tokenize(content, tokenizer).window_ids(k)
    except TextError as error:
        raise StorageCorrupt(f"content {segment.content_hash.hex()}: {error}") from None
