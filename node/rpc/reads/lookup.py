"""From what a caller names (`latest`, a height, a hash) to what this node holds. Reads the disk: call it in a worker thread.

Blocks are final at once, so `latest`, `safe` and `finalized` are one block; `pending` is the state of that block, too.
"""

from typing import TYPE_CHECKING

from genesis.errors import StorageCorrupt
from genesis.primitives import Hash32, Height
from node.interfaces import ChainReader, StoredBlock
from node.rpc.schema.errors import header_not_found
from node.rpc.schema.params import BlockRef

if TYPE_CHECKING:
    from evm_runtime.header import Header
    from evm_runtime.views import StateReader


def height_of(chain: ChainReader, ref: BlockRef) -> Height | None:
    """The height that `ref` names; None if this node has no such block."""
    if ref.hash is not None:
        return chain.height_of(ref.hash)
    tip = chain.tip().height
    if ref.height is not None:
        return Height(ref.height) if ref.height <= tip else None
    return Height(0) if ref.tag == "earliest" else tip


def block_at(chain: ChainReader, ref: BlockRef) -> StoredBlock | None:
    """The block that `ref` names, or None."""
    tip = chain.tip()
    height = height_of(chain, ref)
    if height is None:
        return None
    return tip if height == tip.height else chain.block(height)


def stored_at(chain: ChainReader, height: Height) -> StoredBlock:
    """The block at a height that the chain has. Raises StorageCorrupt if it is missing."""
    stored = chain.block(height)
    if stored is None:
        raise StorageCorrupt(f"block {height} is missing below the tip")
    return stored


def header_at(chain: ChainReader, ref: BlockRef) -> "Header":
    """The header that `ref` names. Raises RpcError ("header not found")."""
    tip = chain.tip()
    height = height_of(chain, ref)
    if height == tip.height:
        return tip.header
    header = None if height is None else chain.header(height)
    if header is None:
        raise header_not_found()
    return header


def next_header(chain: ChainReader, now_ms: int) -> "Header":
    """The block that a transaction which is sent now would run in, for the runtime's calls."""
    tip = chain.tip()
    return chain.runtime.next_block(tip.header, tip.time_ms, now_ms)


def state_at(chain: ChainReader, ref: BlockRef) -> "StateReader":
    """The state after the block that `ref` names. Raises RpcError ("header not found")."""
    if ref.is_tip:
        return chain.runtime.state()
    header = header_at(chain, ref)
    runtime = chain.runtime
    latest = runtime.state()
    return latest if latest.root == header.state_root else runtime.state(header)


def transaction_at(chain: ChainReader, transaction_hash: Hash32) -> tuple[StoredBlock, int] | None:
    """The block that holds a final transaction, and its place there."""
    place = chain.transaction_place(transaction_hash)
    if place is None:
        return None
    stored = chain.block(place[0])
    if stored is None or place[1] >= len(stored.transactions):
        raise StorageCorrupt(f"the index places a transaction in block {place[0]}, which does not hold it")
    return stored, place[1]
