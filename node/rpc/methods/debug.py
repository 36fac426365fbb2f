"""debug: blocks, receipts and transactions as bytes."""

from genesis.codec import encode_rlp
from genesis.primitives import Hash32
from node.interfaces import StoredBlock
from node.rpc.context import Context
from node.rpc.reads.lookup import block_at, transaction_at
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.errors import header_not_found
from node.rpc.schema.format import data
from node.rpc.schema.params import BLOCK_REF, HASH, BlockRef

_BLOCK = Param("block", BLOCK_REF)


def _stored(context: Context, ref: BlockRef) -> StoredBlock:
    stored = block_at(context.chain, ref)
    if stored is None:
        raise header_not_found()
    return stored


@method("debug_getRawHeader", _BLOCK, result="data", runs=Runs.READ)
def raw_header(context: Context, ref: BlockRef) -> str:
    """A header as RLP; its keccak is the block's hash."""
    return data(_stored(context, ref).block.header)


@method("debug_getRawBlock", _BLOCK, result="data", runs=Runs.READ)
def raw_block(context: Context, ref: BlockRef) -> str:
    """A block as Ethereum's RLP: [header, transactions, no uncles, withdrawals]."""

    stored = _stored(context, ref)
    # A legacy transaction is a list of its own (its first byte says so); a typed one stands in the block as a string.
    transactions = [raw if raw[0] >= _LIST else encode_rlp(raw) for raw in stored.block.transactions]
    withdrawals = [encode_rlp(each.to_rlp()) for each in stored.block.withdrawals]
    parts = (stored.block.header, _list(b"".join(transactions)), _list(b""), _list(b"".join(withdrawals)))
    return data(_list(b"".join(parts)))


_LIST = 0xC0


def _list(payload: bytes) -> bytes:
    """The RLP list of items that are encoded already."""
    if len(payload) < 56:
        return bytes((_LIST + len(payload),)) + payload
    size = len(payload).to_bytes((len(payload).bit_length() + 7) // 8, "big")
    return bytes((_LIST + 55 + len(size),)) + size + payload


@method("debug_getRawReceipts", _BLOCK, result="data[]", runs=Runs.READ)
def raw_receipts(context: Context, ref: BlockRef) -> list[str]:
    """The receipts of a block, each in its consensus encoding."""
    return [data(receipt.encode()) for receipt in _stored(context, ref).receipts]


@method("debug_getRawTransaction", Param("hash", HASH), result="data or null", runs=Runs.READ)
def raw_transaction(context: Context, transaction_hash: Hash32) -> str | None:
    """A final transaction as it stands on the wire."""
    found = transaction_at(context.chain, transaction_hash)
    return None if found is None else data(found[0].transactions[found[1]].raw)


@method("debug_getBadBlocks", result="anything[]")
def bad_blocks(context: Context) -> list[str]:
    """Empty: a proposal that breaks a rule is never voted for, and this node keeps none."""
    return []
