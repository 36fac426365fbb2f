"""Blocks on the block channel: cut into chunks, and put together again within bounds.

A block's chunks come in order on one stream, so a peer has at most one block under way; a chunk that doesn't continue it means
that the sender's queue dropped some, and the block is given up (it is asked for again). The size is announced, checked against
the chain's limit before anything is kept, and all peers together may keep so much and no more.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from genesis.codec import decode, encode
from genesis.errors import PeerFault, WireError
from genesis.limits import BLOCK_BYTES_MAX, BLOCK_CHUNK_BYTES, FRAME_BYTES_MAX, MIB
from genesis.primitives import Hash32
from genesis.types import Block

ASSEMBLING_BYTES_MAX: Final = 32 * MIB


@dataclass(frozen=True, slots=True)
class BlockChunk:
    """`data` stands at `offset` of a block's `total` bytes in the wire codec."""

    block_hash: Hash32
    total: int
    offset: int
    data: bytes

    def __post_init__(self) -> None:
        if not 0 < self.total <= BLOCK_BYTES_MAX or self.offset < 0 or self.offset % BLOCK_CHUNK_BYTES:
            raise ValueError("a chunk lies outside any block")
        if len(self.data) != min(BLOCK_CHUNK_BYTES, self.total - self.offset):
            raise ValueError("a chunk has the wrong size")


def split(block: Block) -> Iterator[bytes]:
    """The frames that carry a block."""
    data = encode(block)
    for offset in range(0, len(data), BLOCK_CHUNK_BYTES):
        yield encode(BlockChunk(block.hash, len(data), offset, data[offset : offset + BLOCK_CHUNK_BYTES]))


@dataclass(slots=True)
class _Assembly:
    block_hash: Hash32
    total: int
    data: bytearray


class BlockAssembler:
    """Puts chunks together, one block per peer at a time."""

    def __init__(self, block_bytes_max: int, assembling_bytes_max: int = ASSEMBLING_BYTES_MAX) -> None:
        self._block_bytes_max = min(block_bytes_max, BLOCK_BYTES_MAX)
        self._assembling_bytes_max = assembling_bytes_max
        self._assemblies: OrderedDict[str, _Assembly] = OrderedDict()  # the one that waits longest comes first
        self._bytes = 0

    @property
    def assembling_bytes(self) -> int:
        """What is kept of unfinished blocks."""
        return self._bytes

    def take(self, peer_id: str, frame: bytes) -> Block | None:
        """The block that this chunk completes, or None. Raises WireError or PeerFault if no honest peer sends such a chunk."""
        chunk = decode(BlockChunk, frame, size_max=FRAME_BYTES_MAX)
        if chunk.total > self._block_bytes_max:
            raise PeerFault(f"a block of {chunk.total} bytes, at most {self._block_bytes_max} are allowed")
        if chunk.offset == 0:
            self.forget(peer_id)
            self._assemblies[peer_id] = _Assembly(chunk.block_hash, chunk.total, bytearray())
        assembly = self._assemblies.get(peer_id)
        if assembly is None:
            return None
        if (assembly.block_hash, assembly.total, len(assembly.data)) != (chunk.block_hash, chunk.total, chunk.offset):
            self.forget(peer_id)
            return None
        assembly.data += chunk.data
        self._bytes += len(chunk.data)
        self._assemblies.move_to_end(peer_id)
        if len(assembly.data) == assembly.total:
            self.forget(peer_id)
            return self._finish(assembly)
        while self._bytes > self._assembling_bytes_max:
            self.forget(next(iter(self._assemblies)))
        return None

    def forget(self, peer_id: str) -> None:
        """Drop what a peer has begun."""
        assembly = self._assemblies.pop(peer_id, None)
        if assembly is not None:
            self._bytes -= len(assembly.data)

    def _finish(self, assembly: _Assembly) -> Block:
        try:
            block = decode(Block, bytes(assembly.data), size_max=self._block_bytes_max)
        except WireError as error:
            raise PeerFault(f"the chunks make no block: {error}") from None
        if block.hash != assembly.block_hash:
            raise PeerFault("the chunks make another block than they said")
        return block
