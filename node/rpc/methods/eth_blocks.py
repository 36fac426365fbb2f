"""eth: blocks, and what is counted in them."""

from genesis.primitives import Hash32
from node.rpc.context import Context
from node.rpc.reads.lookup import block_at
from node.rpc.schema.declare import Keeps, Param, Runs, method
from node.rpc.schema.format import Json, block_json, quantity, receipt_json
from node.rpc.schema.params import BLOCK_NUMBER, BLOCK_REF, BOOLEAN, HASH, UINT64, BlockRef

_NUMBER = Param("block", BLOCK_NUMBER)
_HASH = Param("hash", HASH)
_INDEX = Param("index", UINT64)


@method("eth_blockNumber", result="quantity")
def block_number(context: Context) -> str:
    """The height of the last final block."""
    return quantity(context.chain.tip().height)


@method("eth_chainId", result="quantity")
def chain_id(context: Context) -> str:
    """The EIP-155 chain id."""
    return quantity(context.chain.spec.chain_id)


@method("eth_syncing", result="false or progress")
def syncing(context: Context) -> bool | Json:
    """False if the node is not behind, else the heights."""
    progress = context.status.syncing()
    if progress is None:
        return False
    return {
        "startingBlock": quantity(progress.start),
        "currentBlock": quantity(progress.current),
        "highestBlock": quantity(progress.highest),
    }


@method(
    "eth_getBlockByNumber",
    _NUMBER,
    Param("full", BOOLEAN, default=False),
    result="block or null",
    runs=Runs.READ,
    keeps=Keeps.FINAL,
)
def block_by_number(context: Context, ref: BlockRef, full: bool) -> Json | None:
    """A block by height or tag, with its transactions whole or as hashes."""
    stored = block_at(context.chain, ref)
    return None if stored is None else block_json(stored, full=full)


@method(
    "eth_getBlockByHash",
    _HASH,
    Param("full", BOOLEAN, default=False),
    result="block or null",
    runs=Runs.READ,
    keeps=Keeps.FINAL,
)
def block_by_hash(context: Context, block_hash: Hash32, full: bool) -> Json | None:
    """A block by hash."""
    return block_by_number(context, BlockRef(hash=block_hash), full)


@method("eth_getHeaderByNumber", _NUMBER, result="header or null", runs=Runs.READ, keeps=Keeps.FINAL)
def header_by_number(context: Context, ref: BlockRef) -> Json | None:
    """A header by height or tag."""
    block = block_by_number(context, ref, False)
    if block is not None:
        for name in ("transactions", "uncles", "withdrawals", "size"):
            del block[name]
    return block


@method("eth_getHeaderByHash", _HASH, result="header or null", runs=Runs.READ, keeps=Keeps.FINAL)
def header_by_hash(context: Context, block_hash: Hash32) -> Json | None:
    """A header by hash."""
    return header_by_number(context, BlockRef(hash=block_hash))


@method("eth_getBlockReceipts", Param("block", BLOCK_REF), result="receipts or null", runs=Runs.READ, keeps=Keeps.FINAL)
def block_receipts(context: Context, ref: BlockRef) -> list[Json] | None:
    """All receipts of a block, in order."""
    stored = block_at(context.chain, ref)
    return None if stored is None else [receipt_json(stored, place) for place in range(len(stored.transactions))]


@method("eth_getBlockTransactionCountByNumber", _NUMBER, result="quantity or null", runs=Runs.READ, keeps=Keeps.TIP)
def transaction_count_by_number(context: Context, ref: BlockRef) -> str | None:
    """How many transactions a block has."""
    stored = block_at(context.chain, ref)
    return None if stored is None else quantity(len(stored.transactions))


@method("eth_getBlockTransactionCountByHash", _HASH, result="quantity or null", runs=Runs.READ, keeps=Keeps.TIP)
def transaction_count_by_hash(context: Context, block_hash: Hash32) -> str | None:
    """How many transactions a block has, by its hash."""
    return transaction_count_by_number(context, BlockRef(hash=block_hash))


@method("eth_getUncleCountByBlockNumber", _NUMBER, result="quantity or null", runs=Runs.READ)
def uncle_count_by_number(context: Context, ref: BlockRef) -> str | None:
    """Zero: this chain has no uncles."""
    return None if block_at(context.chain, ref) is None else "0x0"


@method("eth_getUncleCountByBlockHash", _HASH, result="quantity or null", runs=Runs.READ)
def uncle_count_by_hash(context: Context, block_hash: Hash32) -> str | None:
    """Zero: this chain has no uncles."""
    return uncle_count_by_number(context, BlockRef(hash=block_hash))


@method("eth_getUncleByBlockNumberAndIndex", _NUMBER, _INDEX, result="null")
def uncle_by_number(context: Context, ref: BlockRef, index: int) -> None:
    """Null: this chain has no uncles."""


@method("eth_getUncleByBlockHashAndIndex", _HASH, _INDEX, result="null")
def uncle_by_hash(context: Context, block_hash: Hash32, index: int) -> None:
    """Null: this chain has no uncles."""
