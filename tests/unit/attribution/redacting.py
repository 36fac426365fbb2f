"""Dropping what erased contributions leave behind, in a test's state."""

from typing import Protocol

from attribution_precompile.index.content import BlobReader
from attribution_precompile.reading.redaction import Redaction, contents_of, redactions
from evm_runtime.native import Slots
from genesis.primitives import Hash32, keccak256

ALL = 1 << 62


class _State(BlobReader, Protocol):
    blobs: dict[Hash32, bytes]


def droppable(slots: Slots, blobs: BlobReader, *contributions: int, through: int = ALL) -> list[Redaction]:
    """What may be dropped of contributions."""
    contents = contents_of(slots, blobs, contributions)
    return list(redactions(slots, blobs, contents, through=through))


def drop(slots: Slots, state: _State, *contributions: int) -> list[Redaction]:
    """Drop it, in a new dictionary of blobs: snapshots share the old one."""
    found = droppable(slots, state, *contributions)
    put = {keccak256(blob): blob for redaction in found for blob in redaction.instead}
    gone = {redaction.content_hash for redaction in found}
    state.blobs = {key: blob for key, blob in (state.blobs | put).items() if key not in gone}
    return found
