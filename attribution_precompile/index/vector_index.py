"""The local index of int8 vectors: all products of a query with a datanet's vectors, exact and in any order (DOT).

It is never hashed and can be thrown away at any time: all of it follows from the contract's final states, which it opens
itself (`gateway.py`). A datanet's vectors stand in one array in the order in which their contributions were accepted; each
version is a prefix of it, so the array only grows, and only by what versions have. Products are int32: components are at least
-128 and there are at most 65,535 of them, so no sum leaves the type and the order of addition can't matter.

Of equal vectors in a version the one that came in first counts, as with windows (rule 5): copies are worth nothing. What has
died is passed over as what the version doesn't have. A vector whose content a node has dropped (`redaction.py`) is a row of
zeros: states in which it was alive can't be asked any more.
"""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution_precompile.index.content import BlobReader, FinalState, FinalStates
from attribution_precompile.index.endings import NEVER, STAYS
from attribution_precompile.index.gateway import Gateway, Standing
from attribution_precompile.index.segment_log import Column
from attribution_precompile.layout import (
    CONTRIBUTIONS,
    DATANETS,
    ENDINGS,
    VECTOR_CHUNKS,
    VECTOR_SPACES,
    VECTORED,
    VERSIONS,
    VectorChunk,
)
from evm_runtime.native import DIGEST_BYTES, Base, digests
from genesis.chain_spec import AttributionParams
from genesis.errors import ErasedContent, StorageCorrupt
from genesis.primitives import Hash32


def digests_of(content: bytes, dim: int) -> bytes:
    """The BLAKE2b-128 digests of the vectors in `content`, one after the other."""
    starts = np.arange(0, len(content), dim, dtype=np.int64)
    return digests(content, starts, np.minimum(starts + dim, len(content)))


@dataclass(frozen=True, slots=True)
class Products:
    """Contributions whose best vector has a positive product with the query: ids, products and priorities, by place."""

    contributions: NDArray[np.int64]
    scores: NDArray[np.int64]
    priorities: NDArray[np.uint64]


class VectorIndex:
    """The vectors of one chain. Several threads may use it; products are taken without the lock."""

    def __init__(
        self,
        lock: AbstractContextManager[object],
        states: FinalStates,
        death_blocks: int = AttributionParams().death_blocks,
    ) -> None:
        self._gateway: Final[Gateway[Bank]] = Gateway(lock, states, death_blocks, Bank)

    def at(self, base: Base) -> "VectorView":
        """What an execution that stands on `base` may know. Raises LocalError for a block that the chain doesn't have."""
        return VectorView(self._gateway.at(base))

    def warm(self, block_hash: Hash32, datanet: int) -> bool:
        """Do one step towards a final block, off the critical path; False if nothing is left."""
        return self._gateway.warm(block_hash, datanet)


class VectorView:
    """The vectors as they are seen from one base."""

    def __init__(self, standing: Standing["Bank"]) -> None:
        self._standing = standing

    def products(self, datanet: int, version: int, query: bytes) -> Products:
        """The query's products with the vectors of a version's living contributions. `query` has the datanet's dimension.
        Raises ErasedContent as `Gateway.check_reach` does."""
        state = self._standing.state
        vectored = VERSIONS.load_field(state, "vectored", datanet, version)
        return self._standing.part(datanet).products(vectored, version, state.number, query)


class Bank:
    """One datanet's vectors, a row each. Arrays grow by doubling; `_rows` of them are in use."""

    def __init__(self, datanet: int, state: FinalState) -> None:
        self.known = -1
        self.changed = -1
        self._datanet: Final = datanet
        self._dim = 0
        self._rows = 0
        self._matrix = np.zeros((64, 0), np.int8)
        self._orders = np.zeros(64, np.uint64)
        self._groups = np.zeros(64, np.int64)
        """Equal vectors have the same number; `_group_of` finds it by digest."""
        self._group_of: dict[bytes, int] = {}
        self._repeated = np.zeros(64, np.bool_)
        self._starts: list[int] = []
        self._ids, self._priorities = Column(np.int64), Column(np.uint64)
        self._left, self._died = Column(np.uint32), Column(np.uint64)
        """As in `segment_log.py`."""
        self._place_of: dict[int, int] = {}
        self._dropped: dict[int, int] = {}
        """Contributions whose vectors this node doesn't hold, and their places."""
        self._ended: dict[int, tuple[int, int]] = {}
        """(left, died) of contributions."""
        self._endings_read = 0

    def answers(self, block: int) -> bool:
        """Always: nothing is ever taken out."""
        return True

    def forked(self) -> "Bank":
        return copy.deepcopy(self)

    def step(self, state: FinalState) -> bool:
        """Take in the vectors of one more contribution that a version has, or what has ended; False if all is known."""
        if self.known >= state.number:
            return False
        vectored = VERSIONS.load_field(
            state, "vectored", self._datanet, DATANETS.load_field(state, "versions", self._datanet)
        )
        endings = ENDINGS.length(state, self._datanet)
        if len(self._starts) < vectored or self._endings_read < endings:
            self.changed = state.number
        while self._endings_read < endings:
            ending = ENDINGS.get(state, self._endings_read, self._datanet)
            left, died = self._ended.get(ending.contribution_id, (STAYS, NEVER))
            left, died = min(left, ending.left), min(died, ending.block_number if ending.died else NEVER)
            self._ended[ending.contribution_id] = left, died
            place = self._place_of.get(ending.contribution_id)
            if place is not None:
                self._left.view[place], self._died.view[place] = left, died
            self._endings_read += 1
        if len(self._starts) < vectored:
            self._take_in(state)
            return True
        self.known = state.number
        return True

    def _take_in(self, state: FinalState) -> None:
        """The vectors of the next contribution. Rows that were begun by a step that failed are written over."""
        place = len(self._starts)
        contribution = VECTORED.get(state, place, self._datanet)
        if not self._dim:
            self._dim = VECTOR_SPACES.load_field(state, "dim", self._datanet)
            self._matrix = np.zeros((64, self._dim), np.int8)
        chunks = [VECTOR_CHUNKS.get(state, i, contribution) for i in range(VECTOR_CHUNKS.length(state, contribution))]
        read = [(chunk, *_read(state, chunk, self._dim)) for chunk in chunks]
        if any(state.get_blob(chunk.content_hash) is None for chunk in chunks):
            self._dropped[contribution] = place
        priority = CONTRIBUTIONS.load_field(state, "first_order", contribution)
        start = self._rows
        for chunk, vectors, names in read:
            self._add(chunk, vectors, names)
        left, died = self._ended.get(contribution, (STAYS, NEVER))
        for column, value in (
            (self._priorities, priority),
            (self._left, left),
            (self._died, died),
            (self._ids, contribution),
        ):
            column.append(value)
        self._place_of[contribution] = place
        self._starts.append(start)

    def _add(self, chunk: VectorChunk, vectors: bytes, names: bytes) -> None:
        """Take in the vectors of one call, and their digests."""
        end = self._rows + chunk.count
        self._reserve(end)
        self._matrix[self._rows : end] = np.frombuffer(vectors, np.int8).reshape(chunk.count, self._dim)
        self._orders[self._rows : end] = chunk.order
        for row in range(self._rows, end):
            at = (row - self._rows) * DIGEST_BYTES
            first = self._group_of.setdefault(names[at : at + DIGEST_BYTES], row)
            self._groups[row] = first
            if first != row:
                self._repeated[first] = self._repeated[row] = True
        self._rows = end

    def _reserve(self, rows: int) -> None:
        capacity = len(self._orders)
        if rows <= capacity:
            return
        more = max(rows, 2 * capacity) - capacity
        self._matrix = np.concatenate([self._matrix, np.zeros((more, self._dim), np.int8)])
        self._orders = np.concatenate([self._orders, np.zeros(more, np.uint64)])
        self._groups = np.concatenate([self._groups, np.zeros(more, np.int64)])
        self._repeated = np.concatenate([self._repeated, np.zeros(more, np.bool_)])

    # ---------------------------------------------------------------- look-ups

    def products(self, vectored: int, version: int, block: int, query: bytes) -> Products:
        """The query's products with the first `vectored` contributions' vectors, in a version and after a block."""
        starts = np.array(self._starts[:vectored], np.int64)
        end = self._starts[vectored] if vectored < len(self._starts) else self._rows
        ids, priorities = self._ids.view[:vectored], self._priorities.view[:vectored]
        here = (self._left.view[:vectored] >= version) & (self._died.view[:vectored] > block)
        lacking = next((who for who, place in self._dropped.items() if place < vectored and here[place]), None)
        if lacking is not None:  # dropped before it had to be
            raise ErasedContent(f"contribution {lacking} was erased later, and this node has dropped its vectors")
        components = np.frombuffer(query, np.int8)
        scores = np.einsum("ij,j->i", self._matrix[:end], components, dtype=np.int32, casting="unsafe")
        counted = np.repeat(here, np.diff(np.append(starts, end))) & self._first_of_equals(end, starts, here)
        best = np.maximum.reduceat(np.where(counted, scores, 0), starts) if vectored else np.zeros(0, np.int32)
        found = np.flatnonzero(best > 0)
        return Products(ids[found], best[found].astype(np.int64), priorities[found])

    def _first_of_equals(self, end: int, starts: NDArray[np.int64], here: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows are the first to come in of those equal to them, among the contributions that are here."""
        counted = np.ones(end, np.bool_)
        rows = np.flatnonzero(self._repeated[:end])
        if len(rows):
            counted[rows] = False
            rows = rows[here[np.searchsorted(starts, rows, side="right") - 1]]
            rows = rows[np.lexsort((rows, self._orders[rows], self._groups[rows]))]
            groups = self._groups[rows]
            counted[rows[np.append(True, groups[1:] != groups[:-1])] if len(rows) else rows] = True
        return counted


def _read(blobs: BlobReader, chunk: VectorChunk, dim: int) -> tuple[bytes, bytes]:
    """The vectors of one call and their digests; zeros in place of vectors of which only the digests are held."""
    content = blobs.get_blob(chunk.content_hash)
    if content is not None:
        return content, digests_of(content, dim)
    kept = blobs.get_blob(chunk.digests_hash)
    if kept is None:
        raise StorageCorrupt(f"vectors {chunk.content_hash.hex()} are missing: this node can't recompute DOT")
    return bytes(chunk.count * dim), kept
