"""Transactions between RPC, peers and the pool."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from evm_runtime.transaction import Transaction, decode_transaction
from genesis.codec import decode, encode
from genesis.errors import InvalidTransaction, PeerFault, WireError
from genesis.limits import TRANSACTION_BYTES_MAX, TX_BATCH_BYTES_MAX
from genesis.primitives import keccak256
from node.feed import Feed
from node.mempool.known_transactions import KnownTransactions, RecentHashes
from node.mempool.pool import TransactionPool
from node.mempool.service import BATCH_TRANSACTIONS_MAX, PEER_BURST, MempoolService, TransactionBatch
from tests.unit.node.local_chain import ADDRESSES, CHAIN_ID, GWEI, make_spec, transfer
from tests.unit.node.test_mempool import Accounts


@dataclass
class Wire:
    """Records what is sent."""

    broadcasts: list[tuple[TransactionBatch, str | None]] = field(default_factory=list)
    sent: list[tuple[str, TransactionBatch]] = field(default_factory=list)

    def broadcast_transactions(self, payload: bytes, *, exclude: str | None) -> None:
        self.broadcasts.append((decode(TransactionBatch, payload, size_max=TX_BATCH_BYTES_MAX), exclude))

    def send_transactions(self, peer_id: str, payload: bytes) -> None:
        self.sent.append((peer_id, decode(TransactionBatch, payload, size_max=TX_BATCH_BYTES_MAX)))


@dataclass
class Clock:
    now: float = 0

    def __call__(self) -> float:
        return self.now


def service(clock: Callable[[], float] | None = None, accounts: Accounts | None = None) -> tuple[MempoolService, Wire]:
    pool = TransactionPool(make_spec(), accounts or Accounts(), GWEI)
    made, wire = MempoolService(pool, Feed(), CHAIN_ID, clock or Clock()), Wire()
    made.attach(wire)
    return made, wire


async def flushed(mempool: MempoolService) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mempool.run)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()


async def test_what_rpc_brings_goes_to_all_peers_in_one_batch() -> None:
    mempool, wire = service()
    wanted = [transfer(0, nonce) for nonce in range(5)]
    for tx in wanted:
        await mempool.add(tx.raw)
    await flushed(mempool)
    assert wire.broadcasts == [(TransactionBatch(tuple(tx.raw for tx in wanted)), None)]
    with pytest.raises(InvalidTransaction, match="already known"):
        await mempool.add(wanted[0].raw)


async def test_what_a_peer_brings_goes_to_the_others_once() -> None:
    mempool, wire = service()
    batch = TransactionBatch((transfer(0, 0).raw, transfer(1, 0).raw))
    for peer in ("a", "b", "a"):
        await mempool.receive(peer, encode(batch))
    await flushed(mempool)
    assert wire.broadcasts == [(batch, "a")]


async def test_a_new_peer_gets_what_waits() -> None:
    mempool, wire = service()
    txs = [transfer(key, nonce) for key in range(7) for nonce in range(90)]
    for tx in txs:
        await mempool.add(tx.raw)
    mempool.greet("new")
    assert [raw for _, batch in wire.sent for raw in batch.transactions] == [tx.raw for tx in txs]
    assert len(wire.sent) > 1
    assert all(len(batch.transactions) <= BATCH_TRANSACTIONS_MAX for _, batch in wire.sent)


async def test_large_transactions_are_split_over_frames() -> None:
    mempool, wire = service()
    for key in range(6):
        await mempool.add(transfer(key, 0, data=bytes(120_000), gas=8_000_000).raw)
    await flushed(mempool)
    assert sum(len(batch.transactions) for batch, _ in wire.broadcasts) == 6
    assert len(wire.broadcasts) == 3


async def test_refused_transactions_of_peers_are_no_fault_and_not_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accounts = Accounts(nonces={ADDRESSES[0]: 5})
    mempool, wire = service(accounts=accounts)
    batch = encode(TransactionBatch((transfer(0, 0).raw,)))
    await mempool.receive("a", batch)

    def never(*_args: object) -> None:
        raise AssertionError("looked at again")

    monkeypatch.setattr(TransactionPool, "add", never)
    await mempool.receive("b", batch)
    await flushed(mempool)
    assert wire.broadcasts == []


@pytest.mark.parametrize("payload", [b"", b"\x91\x90", encode(TransactionBatch((b"x",))) + b"\x00", bytes(300_000)])
async def test_a_batch_that_is_none_is_a_wire_error(payload: bytes) -> None:
    mempool, _ = service()
    with pytest.raises(WireError):
        await mempool.receive("a", payload)


async def test_bytes_that_are_no_transaction_are_a_fault() -> None:
    mempool, _ = service()
    with pytest.raises(PeerFault, match="no transaction"):
        await mempool.receive("a", encode(TransactionBatch((b"\xc0nonsense",))))


async def test_an_oversized_transaction_is_refused_unread() -> None:
    mempool, _ = service()
    with pytest.raises(InvalidTransaction, match="oversized data"):
        await mempool.add(bytes(TRANSACTION_BYTES_MAX + 1))


async def test_a_flood_is_cut_to_the_peers_share_and_others_are_served() -> None:
    clock = Clock()
    mempool, _ = service(clock)
    junk = [i.to_bytes(4, "big") for i in range(500)]
    mempool._allowances["flood"] = (3.0, 0.0)
    txs = [transfer(0, nonce).raw for nonce in range(10)]
    await mempool.receive("flood", encode(TransactionBatch(tuple(txs))))
    assert len(mempool.pool) == 3
    await mempool.receive("calm", encode(TransactionBatch(tuple(txs))))
    assert len(mempool.pool) == 10
    clock.now = 1_000
    assert mempool._allow("flood", 10**9) == PEER_BURST
    assert mempool._allow("flood", len(junk)) == 0
    mempool.forget_peer("flood")
    assert mempool._allow("flood", 1) == 1


async def test_pending_subscribers_hear_of_each_admitted_transaction(tmp_path: Path) -> None:
    feed = Feed()
    pool = TransactionPool(make_spec(), Accounts(), GWEI)
    mempool = MempoolService(pool, feed, CHAIN_ID, Clock())
    async with feed.subscribe_pending() as hashes:
        tx = transfer()
        await mempool.add(tx.raw)
        assert await hashes.receive() == tx.hash


def counted_decodes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    decoded: list[bytes] = []

    def counting(raw: bytes, *, chain_id: int) -> Transaction:
        decoded.append(raw)
        return decode_transaction(raw, chain_id=chain_id)

    for module in ("service", "decoding"):
        monkeypatch.setattr(f"node.mempool.{module}.decode_transaction", counting)
    return decoded


async def test_gossip_of_what_was_included_lately_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = counted_decodes(monkeypatch)
    accounts = Accounts()
    mempool, wire = service(accounts=accounts)
    tx = transfer(0, 0)
    accounts.nonces[ADDRESSES[0]] = 1
    mempool.update(accounts, GWEI, (tx,))
    mempool.update(accounts, GWEI, ())
    await mempool.receive("a", encode(TransactionBatch((tx.raw,))))
    await flushed(mempool)
    assert (decoded, len(mempool.pool), wire.broadcasts) == ([], 0, [])


async def test_a_sender_is_recovered_once_though_refused_and_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = counted_decodes(monkeypatch)
    accounts = Accounts(balances={ADDRESSES[0]: 1})
    mempool, _ = service(accounts=accounts)
    tx = transfer(0, 0)
    await mempool.receive("a", encode(TransactionBatch((tx.raw,))))
    assert len(mempool.pool) == 0
    del accounts.balances[ADDRESSES[0]]
    mempool.update(accounts, GWEI, ())
    await mempool.receive("a", encode(TransactionBatch((tx.raw,))))
    assert mempool.pool.get(tx.hash) == tx
    assert decoded == [tx.raw]
    assert mempool.known([tx.hash, keccak256(b"other")]) == {tx.hash: tx}


async def test_what_is_being_executed_waits_for_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = counted_decodes(monkeypatch)
    accounts = Accounts()
    mempool, wire = service(accounts=accounts)
    included, left_out, other = transfer(0, 0), transfer(1, 0), transfer(2, 0)
    mempool.executing([included.hash, left_out.hash])
    await mempool.receive("a", encode(TransactionBatch((included.raw, left_out.raw, other.raw))))
    assert mempool.pool.transactions() == [other]
    mempool.remember([included])
    accounts.nonces[ADDRESSES[0]] = 1
    mempool.update(accounts, GWEI, (included,))
    await flushed(mempool)
    assert mempool.pool.transactions() == [other, left_out]
    assert decoded == [other.raw, left_out.raw]
    assert [raw for batch, _ in wire.broadcasts for raw in batch.transactions] == [other.raw, left_out.raw]


async def test_the_first_after_a_pause_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.mempool.service.BATCH_WAIT_S", 1_000)
    mempool, wire = service()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mempool.run)
        for place in range(3):
            await mempool.add(transfer(place, 0).raw)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [len(batch.transactions) for batch, _ in wire.broadcasts] == [1]


def test_what_is_known_is_bounded_in_number_and_bytes() -> None:
    txs = [transfer(0, nonce) for nonce in range(5)]
    known = KnownTransactions(count_max=3)
    for tx in (*txs, txs[-1]):
        known.put(tx)
    assert [known.get(tx.hash) for tx in txs] == [None, None, *txs[2:]]
    large = transfer(1, 0, data=bytes(1_000), gas=100_000)
    known = KnownTransactions(bytes_max=len(large.raw) + len(txs[0].raw))
    for tx in (txs[0], txs[1], large):
        known.put(tx)
    assert (len(known), known.get(large.hash)) == (2, large)
    recent = RecentHashes(2)
    recent.add(tx.hash for tx in txs[:3])
    assert [tx.hash in recent for tx in txs[:3]] == [False, True, True]
