"""Many transactions decoded at once are those that are decoded one by one."""

import random

import pytest

from evm_runtime.transaction import Transaction, decode_transaction
from genesis.codec import encode
from genesis.errors import InvalidTransaction, PeerFault, WireError
from genesis.primitives import keccak256
from node.mempool.decoding import INLINE_MAX, BatchDecoder
from node.mempool.service import TransactionBatch
from tests.unit.node.local_chain import CHAIN_ID, KEYS, transfer
from tests.unit.node.test_mempool_service import service

SEED = 20261124
MANY = 5 * INLINE_MAX


def one_by_one(raws: list[bytes]) -> list[Transaction]:
    found = []
    for raw in raws:
        try:
            found.append(decode_transaction(raw, chain_id=CHAIN_ID))
        except (WireError, InvalidTransaction):
            continue
    return found


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """No transaction, another one, or one whose signature recovers nothing."""
    place = rng.randrange(len(raw))
    return rng.choice([b"", raw[:-1], raw[:place] + bytes([raw[place] ^ (1 << rng.randrange(8))]) + raw[place + 1 :]])


@pytest.mark.parametrize("threads", [1, 2, 3, None])
async def test_a_batch_gives_what_each_alone_gives(threads: int | None) -> None:
    rng = random.Random(SEED)
    decoder = BatchDecoder(CHAIN_ID, threads=threads)
    left_out = 0
    for count in (0, 1, INLINE_MAX, INLINE_MAX + 1, MANY):
        raws = [transfer(place % len(KEYS), place, value=place).raw for place in range(count)]
        raws = [damaged(raw, rng) if rng.random() < 0.3 else raw for raw in raws]
        expected = one_by_one(raws)
        assert decoder.decode(raws) == expected == await decoder.decode_soon(raws), SEED
        left_out += len(raws) - len(expected)
    assert left_out > 5, SEED


def test_a_batch_of_nothing_but_rubbish_is_empty() -> None:
    assert BatchDecoder(CHAIN_ID, threads=2).decode([b"\x02junk"] * MANY) == []


async def test_a_large_gossip_batch_is_admitted_in_its_order() -> None:
    mempool, _ = service()
    transactions = [transfer(0, nonce) for nonce in range(MANY)]
    await mempool.receive("a", encode(TransactionBatch(tuple(tx.raw for tx in transactions))))
    assert mempool.pool.transactions() == transactions


async def test_rubbish_in_a_large_gossip_batch_is_its_peers_fault() -> None:
    mempool, _ = service()
    transactions = [transfer(0, nonce) for nonce in range(MANY)]
    raws = (*(tx.raw for tx in transactions), b"\x02junk")
    with pytest.raises(PeerFault, match="no transaction"):
        await mempool.receive("a", encode(TransactionBatch(raws)))
    assert mempool.pool.transactions() == transactions


async def test_what_is_decoded_ahead_is_known_afterwards() -> None:
    mempool, _ = service()
    transactions = {tx.hash: tx for tx in (transfer(place % len(KEYS), place) for place in range(MANY))}
    raws = {value: tx.raw for value, tx in transactions.items()} | {keccak256(b"junk"): b"junk"}
    assert await mempool.decode_ahead(raws) == transactions
    assert mempool.known(raws) == transactions
