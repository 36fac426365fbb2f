"""A chain of one validator with everything real but consensus and the network: LevelDB, runtime, native contracts, mempool."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from eth_account import Account

from attribution_precompile.index.span_index import SpanIndex
from evm_runtime.runtime import BuildRequest
from genesis.chain_spec import AttributionParams, BlockParams, ChainSpec, GenesisAccount
from genesis.crypto import address_of_private_key, sign
from genesis.primitives import ZERO_ADDRESS, Address, Height, Power, Round, Signature, Wei
from genesis.types import EMPTY_COMMIT, Commit, Validator, Vote, VoteType
from node.feed import Feed
from node.interfaces import StoredBlock
from node.mempool.pool import TransactionPool
from node.mempool.service import MempoolService
from node.node import Indexes
from node.rpc.backend import Backend
from node.storage.chain_store import ChainStore, open_chain
from node.storage.database import LevelDatabase
from tests.unit.rpc.fakes import CHAIN_ID, FakeStatus

VALIDATOR_KEY = b"\x05" * 32
VALIDATOR = address_of_private_key(VALIDATOR_KEY)
KEYS = ["0x" + f"{number:02x}" * 32 for number in (0x21, 0x22, 0x23)]
ACCOUNTS = [Account.from_key(key) for key in KEYS]
ADDRESSES = [Address(bytes.fromhex(account.address[2:])) for account in ACCOUNTS]

SPEC = ChainSpec(
    name="rpc-real",
    chain_id=CHAIN_ID,
    genesis_time_ms=1_700_000_000_000,
    validators=(Validator(VALIDATOR, Power(10), Address(b"\x51" * 20)),),
    treasury=Address(b"\x52" * 20),
    alloc=tuple(GenesisAccount(address, Wei(10**22)) for address in ADDRESSES),
    block=BlockParams(interval_ms=250),
    attribution=AttributionParams(council=ADDRESSES[2]),
)


class RealNode:
    """Finalizes a block whenever `produce` is called; `produce_forever` does so when transactions wait."""

    def __init__(self, store: ChainStore, index: SpanIndex) -> None:
        self.chain = store
        self.index = index
        self.feed = Feed()
        tip = store.tip()
        pool = TransactionPool(SPEC, store.runtime.state(), store.runtime.next_base_fee(tip.header))
        self.mempool = MempoolService(pool, self.feed, CHAIN_ID, time.monotonic)
        self.status = FakeStatus()
        self.now_ms: int | None = None
        """What the clock shows; None is the time that the next block will have, an empty interval after the last."""

    @property
    def backend(self) -> Backend:
        return Backend(self.chain, self.mempool, self.feed, self.status, self.index, self._clock)

    def _clock(self) -> int:
        return self._next_ms() if self.now_ms is None else self.now_ms

    def _next_ms(self) -> int:
        return max(self.chain.tip().time_ms + SPEC.block.empty_interval_ms, self.now_ms or 0)

    async def produce(self) -> StoredBlock:
        """Build a block from the mempool and make it final."""
        candidates = list(self.mempool.pool.candidates())
        stored = await trio.to_thread.run_sync(self._append, candidates)
        runtime = self.chain.runtime
        self.mempool.update(runtime.state(), runtime.next_base_fee(stored.header), stored.transactions)
        self.feed.publish_block(stored)
        return stored

    async def produce_forever(self) -> None:
        while True:
            await self.mempool.wait_executable()
            await self.produce()

    def _append(self, candidates: list) -> StoredBlock:  # type: ignore[type-arg]  # of transactions
        tip = self.chain.tip()
        members = self.chain.live_runtime.state().validators().current
        request = BuildRequest(
            height=Height(tip.height + 1),
            time_ms=self._next_ms(),
            round=Round(0),
            proposer=VALIDATOR,
            coinbase=members.members[0].payout,
            last_commit=tip.commit or EMPTY_COMMIT,
            evidence=(),
            gas_target=SPEC.block.gas_limit,
        )
        executed = self.chain.live_runtime.build_block(tip.header, tip.time_ms, request, candidates)
        block_hash, height = executed.block.hash, Height(executed.header.number)
        vote = Vote(VoteType.PRECOMMIT, height, Round(0), block_hash, VALIDATOR, Signature(bytes(65)))
        signature = sign(VALIDATOR_KEY, vote.digest(self.chain.identity, members.hash()))
        return self.chain.append(executed, Commit(height, Round(0), block_hash, (signature,)))


@contextmanager
def real_node(folder: Path) -> Iterator[RealNode]:
    indexes = Indexes()
    store = open_chain(LevelDatabase(folder / "chain", create=True), SPEC, indexes)
    try:
        yield RealNode(store, indexes.spans)
    finally:
        store.close()


__all__ = ["ACCOUNTS", "ADDRESSES", "KEYS", "SPEC", "VALIDATOR", "ZERO_ADDRESS", "RealNode", "real_node"]
