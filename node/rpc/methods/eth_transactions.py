"""eth: transactions, sent and looked up."""

import itertools
from typing import TYPE_CHECKING, Final

import trio

from genesis.errors import InvalidTransaction, StorageCorrupt, WireError
from genesis.primitives import Address, Hash32, Height
from node.interfaces import ChainReader, StoredBlock
from node.rpc.context import Context
from node.rpc.reads.lookup import block_at, transaction_at
from node.rpc.schema.declare import Keeps, Param, Runs, method
from node.rpc.schema.errors import SYNC_TIMEOUT, RpcError, invalid_params, server_error
from node.rpc.schema.format import Json, data, quantity, receipt_json, transaction_json
from node.rpc.schema.params import ADDRESS, BLOCK_NUMBER, COUNT, DATA, HASH, UINT64, BlockRef

if TYPE_CHECKING:
    from evm_runtime.transaction import Transaction

_NUMBER = Param("block", BLOCK_NUMBER)
_HASH = Param("hash", HASH)
_INDEX = Param("index", UINT64)

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000


@method("eth_sendRawTransaction", Param("transaction", DATA), result="hash")
async def send_raw(context: Context, raw: bytes) -> str:
    """Admit a signed transaction to the mempool; answers its hash."""
    return data(await _admit(context, raw))


@method(
    "eth_sendRawTransactionSync", Param("transaction", DATA), Param("timeout ms", COUNT, default=None), result="receipt"
)
async def send_raw_sync(context: Context, raw: bytes, timeout_ms: int | None) -> Json:
    """Admit a signed transaction and answer with its receipt once it is final (EIP-7966)."""
    transaction_hash = await _admit(context, raw)
    seconds = context.limits.sync_wait_s if timeout_ms is None else timeout_ms / 1000
    with trio.move_on_after(min(seconds, context.limits.sync_wait_s)):
        while True:
            next_block = context.services.hub.next_block
            found = await context.read(transaction_at, context.chain, transaction_hash)
            if found is not None:
                return receipt_json(*found)
            await next_block.wait()
    raise RpcError(
        SYNC_TIMEOUT, "the transaction was added to the mempool but is not final yet", data(transaction_hash)
    )


async def _admit(context: Context, raw: bytes) -> Hash32:
    try:
        return await context.mempool.add(raw)
    except (InvalidTransaction, WireError) as error:
        raise server_error(str(error)) from None


@method("eth_getTransactionByHash", _HASH, result="transaction or null")
async def by_hash(context: Context, transaction_hash: Hash32) -> Json | None:
    """A transaction, final or waiting."""
    waiting, found = await _find(context, transaction_hash)
    if found is not None:
        return transaction_json(found[0].transactions[found[1]], found[0].header, found[1])
    return None if waiting is None else transaction_json(waiting, None)


@method("eth_getRawTransactionByHash", _HASH, result="data or null")
async def raw_by_hash(context: Context, transaction_hash: Hash32) -> str | None:
    """A transaction as it stands on the wire."""
    waiting, found = await _find(context, transaction_hash)
    if found is not None:
        return data(found[0].transactions[found[1]].raw)
    return None if waiting is None else data(waiting.raw)


async def _find(
    context: Context, transaction_hash: Hash32
) -> "tuple[Transaction | None, tuple[StoredBlock, int] | None]":
    """The mempool first: what leaves it for a block has reached the chain before, so it is seen in one or the other."""
    waiting = context.mempool.get(transaction_hash)
    return waiting, await context.read(transaction_at, context.chain, transaction_hash)


@method("eth_getTransactionReceipt", _HASH, result="receipt or null", runs=Runs.READ, keeps=Keeps.FINAL)
def receipt(context: Context, transaction_hash: Hash32) -> Json | None:
    """The receipt of a final transaction."""
    found = transaction_at(context.chain, transaction_hash)
    return None if found is None else receipt_json(*found)


@method(
    "eth_getTransactionByBlockNumberAndIndex",
    _NUMBER,
    _INDEX,
    result="transaction or null",
    runs=Runs.READ,
    keeps=Keeps.FINAL,
)
def by_number_and_index(context: Context, ref: BlockRef, index: int) -> Json | None:
    """The transaction at a place of a block."""
    stored = _holding(context, ref, index)
    return None if stored is None else transaction_json(stored.transactions[index], stored.header, index)


@method(
    "eth_getTransactionByBlockHashAndIndex",
    _HASH,
    _INDEX,
    result="transaction or null",
    runs=Runs.READ,
    keeps=Keeps.FINAL,
)
def by_block_hash_and_index(context: Context, block_hash: Hash32, index: int) -> Json | None:
    """The transaction at a place of a block, by the block's hash."""
    return by_number_and_index(context, BlockRef(hash=block_hash), index)


@method("eth_getRawTransactionByBlockNumberAndIndex", _NUMBER, _INDEX, result="data or null", runs=Runs.READ)
def raw_by_number_and_index(context: Context, ref: BlockRef, index: int) -> str | None:
    """The transaction at a place of a block, as it stands on the wire."""
    stored = _holding(context, ref, index)
    return None if stored is None else data(stored.transactions[index].raw)


@method("eth_getRawTransactionByBlockHashAndIndex", _HASH, _INDEX, result="data or null", runs=Runs.READ)
def raw_by_block_hash_and_index(context: Context, block_hash: Hash32, index: int) -> str | None:
    """The transaction at a place of a block, as it stands on the wire, by the block's hash."""
    return raw_by_number_and_index(context, BlockRef(hash=block_hash), index)


@method(
    "eth_getTransactionBySenderAndNonce",
    Param("sender", ADDRESS),
    Param("nonce", UINT64),
    result="transaction or null",
    runs=Runs.READ,
    keeps=Keeps.TIP,
)
def by_sender_and_nonce(context: Context, sender: Address, nonce: int) -> Json | None:
    """The final transaction that a sender signed with a nonce."""
    for found, height, place in context.chain.transactions_of(sender, nonce):
        return transaction_at_place(context.chain, height, place) if found == nonce else None
    return None


@method(
    "open_transactionsOf",
    Param("sender", ADDRESS),
    Param("cursor", COUNT, default=0),
    Param("limit", COUNT, default=PAGE_DEFAULT),
    result="page of transactions",
    runs=Runs.READ,
    keeps=Keeps.TIP,
)
def of_sender(context: Context, sender: Address, cursor: int, limit: int) -> Json:
    """The final transactions of a sender by nonce, `cursor` being the first; `next` is the cursor of the page after it."""
    if not 1 <= limit <= PAGE_MAX:
        raise invalid_params(f"limit is 1 to {PAGE_MAX}")
    found = list(itertools.islice(context.chain.transactions_of(sender, cursor), limit + 1))
    items = [transaction_at_place(context.chain, height, place) for _, height, place in found[:limit]]
    return {"items": items, "next": quantity(found[limit][0]) if len(found) > limit else None}


def transaction_at_place(chain: ChainReader, height: Height, place: int) -> Json:
    stored = chain.block(height)
    if stored is None or place >= len(stored.transactions):
        raise StorageCorrupt(f"the index places a transaction in block {height}, which does not hold it")
    return transaction_json(stored.transactions[place], stored.header, place)


def _holding(context: Context, ref: BlockRef, index: int) -> StoredBlock | None:
    """The block, if it has a transaction at `index`."""
    stored = block_at(context.chain, ref)
    return stored if stored is not None and index < len(stored.transactions) else None
