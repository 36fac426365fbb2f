"""The local index of int8 vectors: all products of a query with a datanet's vectors, exact and in any order (DOT).

It is never hashed and can be thrown away at any time: all of it follows from the contract's storage and blobs. A datanet's
vectors stand in one array in the order in which their contributions were accepted; each version is a prefix of it, so the
array only grows, and only by what versions of earlier blocks have. Products are int32: components are at least -128 and there
are at most 65,535 of them, so no sum leaves the type and the order of addition can't matter.

Of equal vectors in a version the one that came in first counts, as with windows (rule 5): copies are worth nothing. A vector
whose content a node has dropped (`redaction.py`) is a row of zeros that still holds its place among its equals. Products over a
state in which it was alive are then not to be had: `ErasedContent`.
"""

from collections.abc import Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution_precompile.layout import (
    CONTRIBUTIONS,
    DATANETS,
    VECTOR_CHUNKS,
    VECTOR_SPACES,
    VECTORED,
    VERSIONS,
    VectorChunk,
)
from attribution_precompile.span_index import BlobReader
from evm_runtime.native import DIGEST_BYTES, Slots, digests
from genesis.errors import ErasedContent, StorageCorrupt


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
    """The vectors of one chain. `lock` is held during each operation, so several threads may share it."""

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._datanets: dict[int, _Bank] = {}

    def products(
        self,
        slots: Slots,
        blobs: BlobReader,
        datanet: int,
        vectored: int,
        query: bytes,
        *,
        left: Set[int],
        dead: Set[int],
    ) -> Products:
        """The query's products with the vectors of the first `vectored` contributions that brought any (a version's prefix).

        Those of contributions in `left`, gone before the version, are passed over; those in `dead` hold their place among their
        equals and score nothing. `query` has the datanet's dimension. Raises ErasedContent where this node has dropped vectors
        of others.
        """
        with self._locked(slots, datanet) as bank:
            bank.ingest(slots, blobs, vectored)
            return bank.products(vectored, query, left, dead)

    def warm(self, slots: Slots, blobs: BlobReader, datanet: int, block_number: int) -> None:
        """Ingest what versions of blocks before `block_number` have, off the critical path: at start, or after each commit."""
        version = DATANETS.load_field(slots, "versions", datanet)
        while version and VERSIONS.load_field(slots, "block_number", datanet, version) >= block_number:
            version -= 1
        vectored = VERSIONS.load_field(slots, "vectored", datanet, version)
        if vectored:
            with self._locked(slots, datanet) as bank:
                bank.ingest(slots, blobs, vectored)

    @contextmanager
    def _locked(self, slots: Slots, datanet: int) -> "Iterator[_Bank]":
        """A datanet's vectors under the lock. Work that fails halfway leaves nothing half-built behind."""
        with self._lock:
            bank = self._datanets.pop(datanet, None)
            if bank is None:
                bank = _Bank(datanet, VECTOR_SPACES.load_field(slots, "dim", datanet))
            yield bank
            self._datanets[datanet] = bank


class _Bank:
    """One datanet's vectors, a row each. Arrays grow by doubling; `_rows` of them are in use."""

    def __init__(self, datanet: int, dim: int) -> None:
        self._datanet: Final = datanet
        self._dim: Final = dim
        self._rows = 0
        self._matrix = np.zeros((64, dim), np.int8)
        self._orders = np.zeros(64, np.uint64)
        self._groups = np.zeros(64, np.int64)
        """Equal vectors have the same number; `_group_of` finds it by digest."""
        self._group_of: dict[bytes, int] = {}
        self._repeated = np.zeros(64, np.bool_)
        self._starts: list[int] = []
        self._ids: list[int] = []
        self._priorities: list[int] = []
        self._dropped: dict[int, int] = {}
        """Contributions whose vectors this node doesn't hold, and their places."""

    def ingest(self, slots: Slots, blobs: BlobReader, vectored: int) -> None:
        """Read the vectors of contributions up to the `vectored`th."""
        while len(self._ids) < vectored:
            contribution = VECTORED.get(slots, len(self._ids), self._datanet)
            start = self._rows
            for i in range(VECTOR_CHUNKS.length(slots, contribution)):
                if not self._add(blobs, VECTOR_CHUNKS.get(slots, i, contribution)):
                    self._dropped[contribution] = len(self._ids)
            self._starts.append(start)
            self._ids.append(contribution)
            self._priorities.append(CONTRIBUTIONS.load_field(slots, "first_order", contribution))

    def _add(self, blobs: BlobReader, chunk: VectorChunk) -> bool:
        """Take in the vectors of one call; False if only their digests are held."""
        content, digests = blobs.get_blob(chunk.content_hash), b""
        if content is None:
            kept = blobs.get_blob(chunk.digests_hash)
            if kept is None:
                raise StorageCorrupt(f"vectors {chunk.content_hash.hex()} are missing: this node can't recompute DOT")
            digests = kept
        vectors = bytes(chunk.count * self._dim) if content is None else content
        digests = digests or digests_of(vectors, self._dim)
        self._reserve(self._rows + chunk.count)
        end = self._rows + chunk.count
        self._matrix[self._rows : end] = np.frombuffer(vectors, np.int8).reshape(chunk.count, self._dim)
        self._orders[self._rows : end] = chunk.order
        for row in range(self._rows, end):
            at = (row - self._rows) * DIGEST_BYTES
            first = self._group_of.setdefault(digests[at : at + DIGEST_BYTES], row)
            self._groups[row] = first
            if first != row:
                self._repeated[first] = self._repeated[row] = True
        self._rows = end
        return content is not None

    def _reserve(self, rows: int) -> None:
        capacity = len(self._orders)
        if rows <= capacity:
            return
        more = max(rows, 2 * capacity) - capacity
        self._matrix = np.concatenate([self._matrix, np.zeros((more, self._dim), np.int8)])
        self._orders = np.concatenate([self._orders, np.zeros(more, np.uint64)])
        self._groups = np.concatenate([self._groups, np.zeros(more, np.int64)])
        self._repeated = np.concatenate([self._repeated, np.zeros(more, np.bool_)])

    def products(self, vectored: int, query: bytes, left: Set[int], dead: Set[int]) -> Products:
        for contribution, place in self._dropped.items():
            if place < vectored and contribution not in left and contribution not in dead:
                raise ErasedContent(
                    f"contribution {contribution} was erased later, and this node has dropped its vectors: it can't tell "
                    "any more what they scored before"
                )
        starts = np.array(self._starts[:vectored], np.int64)
        end = self._starts[vectored] if vectored < len(self._starts) else self._rows
        ids = np.array(self._ids[:vectored], np.int64)
        here = ~np.isin(ids, list(left)) if left else np.ones(vectored, np.bool_)
        components = np.frombuffer(query, np.int8)
        scores = np.einsum("ij,j->i", self._matrix[:end], components, dtype=np.int32, casting="unsafe")
        counted = np.repeat(here, np.diff(np.append(starts, end))) & self._first_of_equals(end, starts, here)
        best = np.maximum.reduceat(np.where(counted, scores, 0), starts) if vectored else np.zeros(0, np.int32)
        if dead:
            best = np.where(np.isin(ids, list(dead)), 0, best)
        found = np.flatnonzero(best > 0)
        priorities = np.array(self._priorities[:vectored], np.uint64)
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
