"""A chain, a mempool and a node in memory, made of the real value types, for tests of JSON-RPC without an executor."""

import dataclasses
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import trio
from eth_account import Account
from eth_utils.address import to_checksum_address

from attribution_precompile.index.span_index import SpanIndex
from evm_runtime.header import EMPTY_OMMERS_HASH, EMPTY_REQUESTS_HASH, EMPTY_TRIE_ROOT, Header
from evm_runtime.receipt import ExecutedTransaction, Log, Receipt, bloom_of, bloom_union
from evm_runtime.staking.layout import VALIDATORS, ValidatorRecord
from evm_runtime.staking.sets import ValidatorsState
from evm_runtime.staking.supply import StakeBooks, SupplyState
from evm_runtime.transaction import Transaction, decode_transaction
from genesis.chain_spec import ChainSpec, GenesisAccount, Parameters
from genesis.errors import InvalidTransaction, LocalError
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Power, Round, Wei
from genesis.proposers import initial_priorities
from genesis.types import (
    EMPTY_COMMIT,
    Block,
    ChainIdentity,
    Commit,
    ConsensusData,
    Validator,
    Withdrawal,
)
from node.chain.fair_lock import FairLock
from node.feed import Feed
from node.interfaces import EventList, EventPlace, MempoolContent, MempoolStats, PeerStatus, StoredBlock, SyncStatus
from node.rpc.backend import Backend
from node.rpc.config import RpcConfig, RpcLimits
from node.rpc.methods import declared
from node.rpc.schema.document import document
from node.rpc.server import Page, serve
from tests.unit.native.harness import Finals
from tests.unit.rpc.schema_check import check

RESULTS = {each["name"]: each["result"]["schema"] for each in document(declared())["methods"]}
"""What each method is declared to answer; every result that a test sees is checked against it."""
CHAIN_ID = 31_337
KEY = "0x" + "11" * 32
SENDER = Address(bytes.fromhex(Account.from_key(KEY).address[2:]))
TARGET = Address(b"\xbb" * 20)
TOKEN = Address(b"\xcc" * 20)
TOPIC = Hash32(b"\x01" * 32)
OTHER_TOPIC = Hash32(b"\x02" * 32)
VALIDATOR = Address(b"\xaa" * 20)

SPEC = ChainSpec(
    name="rpc-test",
    chain_id=CHAIN_ID,
    genesis_time_ms=1_700_000_000_000,
    validators=(Validator(VALIDATOR, Power(10), TARGET),),
    treasury=Address(b"\xdd" * 20),
    alloc=(GenesisAccount(SENDER, Wei(10**24)),),
)


def signed(nonce: int, *, kind: int = 2, to: Address | None = TARGET, **changes: Any) -> bytes:
    """A raw transaction of SENDER."""
    fields: dict[str, Any] = {"nonce": nonce, "gas": 100_000, "value": 7, "data": "0x", "chainId": CHAIN_ID}
    if to is not None:
        fields["to"] = to_checksum_address(to)
    if kind in (0, 1):
        fields["gasPrice"] = 2 * 10**9
    else:
        fields |= {"maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 10**7}
    if kind:
        fields["type"] = kind
        fields["accessList"] = [{"address": to_checksum_address(TOKEN), "storageKeys": ["0x" + "00" * 31 + "05"]}]
    if kind == 4:
        authorization = Account.from_key(KEY).sign_authorization(
            {"chainId": CHAIN_ID, "address": to_checksum_address(TOKEN), "nonce": nonce + 1}
        )
        fields["authorizationList"] = [authorization]
    return bytes(Account.from_key(KEY).sign_transaction(fields | changes).raw_transaction)


def decoded(raw: bytes) -> Transaction:
    return decode_transaction(raw, chain_id=CHAIN_ID)


def make_block(
    parent: StoredBlock | None, raws: Sequence[bytes] = (), logs: Sequence[tuple[Log, ...]] = ()
) -> StoredBlock:
    """A final block of `raws`; `logs` are those of each transaction. Roots are not real, everything else is."""
    height = Height(parent.height + 1 if parent else 0)
    transactions = tuple(decoded(raw) for raw in raws)
    base_fee = 10**9
    receipts, results, gas = [], [], 0
    for place, tx in enumerate(transactions):
        own = logs[place] if place < len(logs) else ()
        gas += 21_000
        receipts.append(Receipt(tx.kind, 1, gas, bloom_of(own), own))
        contract = TOKEN if tx.to is None else None
        results.append(ExecutedTransaction(21_000, contract, tx.effective_gas_price(base_fee)))
    time_ms = SPEC.genesis_time_ms + 500 * height
    consensus = ConsensusData(time_ms, Round(0), VALIDATOR, EMPTY_COMMIT.hash(), ZERO_HASH, ZERO_HASH, ZERO_HASH)
    header = Header(
        parent_hash=parent.hash if parent else ZERO_HASH,
        ommers_hash=EMPTY_OMMERS_HASH,
        coinbase=TARGET,
        state_root=EMPTY_TRIE_ROOT,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        bloom=bloom_union(receipt.bloom for receipt in receipts),
        difficulty=0,
        number=height,
        gas_limit=SPEC.block.gas_limit,
        gas_used=gas,
        timestamp=time_ms // 1000,
        extra_data=b"",
        prev_randao=Hash32(b"\x07" * 32),
        nonce=bytes(8),
        base_fee_per_gas=base_fee,
        withdrawals_root=EMPTY_TRIE_ROOT,
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_block_root=consensus.hash() if parent else ZERO_HASH,
        requests_hash=EMPTY_REQUESTS_HASH,
    )
    withdrawals = (Withdrawal(height, 0, VALIDATOR, 5),) if parent else ()
    last = Commit(parent.height, Round(0), parent.hash, (b"\x09" * 65,)) if parent else EMPTY_COMMIT
    block = Block(header.to_rlp(), tuple(raws), withdrawals, consensus, last, ())
    commit = Commit(height, Round(0), header.hash, (b"\x09" * 65,)) if parent else None
    return StoredBlock(block, header, transactions, tuple(receipts), tuple(results), commit, len(block.header))


@dataclass
class FakeState:
    """Accounts that are the same at every height."""

    def balance(self, address: Address) -> int:
        return 10**18 if address == SENDER else 0

    def nonce(self, address: Address) -> int:
        return 3 if address == SENDER else 0

    def code(self, address: Address) -> bytes:
        return b"\x60\x00" if address == TOKEN else b""

    root = EMPTY_TRIE_ROOT

    def storage(self, address: Address, slot: int) -> int:
        return slot + 1 if address == TOKEN else 0

    def blob(self, blob_hash: Hash32) -> bytes | None:
        return None

    def validators(self) -> ValidatorsState:
        members = SPEC.validator_set
        return ValidatorsState(members, members, initial_priorities(members), members)

    def supply(self) -> SupplyState:
        return SupplyState(*(Wei(0) for _ in dataclasses.fields(SupplyState)))

    def stake_books(self) -> StakeBooks:
        return StakeBooks(*(Wei(0) for _ in dataclasses.fields(StakeBooks)))

    def validator_record(self, validator: Address) -> ValidatorRecord:
        return VALIDATORS.load(DictSlots(), validator)


class DictSlots:
    def load(self, slot: int) -> int:
        return 0

    def store(self, slot: int, value: int) -> None:
        raise AssertionError("a reader writes")


class FakeRuntime:
    def state(self, header: Header | None = None) -> FakeState:
        return FakeState()

    def parameters(self, header: Header | None = None) -> Parameters:
        return SPEC.parameters

    def next_base_fee(self, header: Header) -> int:
        return header.base_fee_per_gas + 1


class FakeChain:
    """Blocks in a list."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.blocks = [make_block(None)]
        self.identity = ChainIdentity(CHAIN_ID, self.blocks[0].hash)
        self.runtime: Any = FakeRuntime()
        self.bug: Exception | None = None

    def tip(self) -> StoredBlock:
        return self.blocks[-1]

    def block(self, height: Height) -> StoredBlock | None:
        if self.bug is not None:
            raise self.bug
        return self.blocks[height] if height < len(self.blocks) else None

    def block_by_hash(self, block_hash: Hash32) -> StoredBlock | None:
        return next((each for each in self.blocks if each.hash == block_hash), None)

    def header(self, height: Height) -> Header | None:
        stored = self.block(height)
        return None if stored is None else stored.header

    def height_of(self, block_hash: Hash32) -> Height | None:
        stored = self.block_by_hash(block_hash)
        return None if stored is None else stored.height

    def transaction_place(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        for stored in self.blocks:
            for place, tx in enumerate(stored.transactions):
                if tx.hash == transaction_hash:
                    return stored.height, place
        return None

    def transactions_of(self, sender: Address, first_nonce: int) -> Iterator[tuple[int, Height, int]]:
        for stored in self.blocks:
            for place, tx in enumerate(stored.transactions):
                if tx.sender == sender and tx.nonce >= first_nonce:
                    yield tx.nonce, stored.height, place

    def log_heights(self, place: int, value: bytes, heights: range) -> Iterator[Height]:
        for stored in self.blocks[heights.start : heights.stop]:
            logs = [log for receipt in stored.receipts for log in receipt.logs]
            if any(value == entry for log in logs for entry in (log.address, *log.topics)[place : place + 1]):
                yield stored.height

    def events(self, which: EventList, subject: Hash32, first: EventPlace, beyond: EventPlace) -> Iterator[EventPlace]:
        return iter(())

    def inference(self, receipt_id: Hash32) -> tuple[EventPlace, Hash32] | None:
        return None

    def payouts_named(self, payout: Address) -> Iterator[tuple[EventPlace, int]]:
        return iter(())

    def commit(self, height: Height) -> Commit | None:
        return self.blocks[height].commit

    def append(self, raws: Sequence[bytes] = (), logs: Sequence[tuple[Log, ...]] = ()) -> StoredBlock:
        self.blocks.append(make_block(self.tip(), raws, logs))
        return self.tip()


@dataclass
class FakeMempool:
    """Admits what decodes and has nonce 3 or more."""

    feed: Feed
    waiting: dict[Hash32, Transaction] = field(default_factory=dict)

    async def add(self, raw: bytes) -> Hash32:
        tx = decoded(raw)
        if tx.nonce < 3:
            raise InvalidTransaction(f"nonce too low: next nonce 3, tx nonce {tx.nonce}")
        self.waiting[tx.hash] = tx
        self.feed.publish_pending(tx.hash)
        return tx.hash

    def get(self, transaction_hash: Hash32) -> Transaction | None:
        return self.waiting.get(transaction_hash)

    def pending_nonce(self, address: Address) -> int:
        return 3 + sum(tx.sender == address for tx in self.waiting.values())

    def content(self) -> MempoolContent:
        by_sender: dict[Address, list[Transaction]] = {}
        for tx in self.waiting.values():
            by_sender.setdefault(tx.sender, []).append(tx)
        return MempoolContent(by_sender, {})

    def stats(self) -> MempoolStats:
        return MempoolStats(len(self.waiting), 0)


@dataclass
class FakeStatus:
    progress: SyncStatus | None = None
    is_validator: bool = True
    validator_address: Address | None = VALIDATOR
    added: list[PeerStatus] = field(default_factory=list)

    def add_peer(self, address: str) -> None:
        if not address.startswith("/ip4/"):
            raise LocalError(f"{address} is no peer address")
        self.added.append(PeerStatus("peer-2", address, "outbound", None))

    def peer_count(self) -> int:
        return len(self.peers())

    def peers(self) -> Sequence[PeerStatus]:
        return (
            *self.added,
            PeerStatus("peer-1", "/ip4/127.0.0.1/tcp/1", "outbound", VALIDATOR),
        )

    def syncing(self) -> SyncStatus | None:
        return self.progress

    def client_version(self) -> str:
        return "openledger/test"

    def p2p_address(self) -> str | None:
        return "/ip4/127.0.0.1/tcp/1/p2p/me"

    def listening(self) -> bool:
        return True


class FakeNode:
    """The parts together."""

    def __init__(self) -> None:
        self.chain = FakeChain()
        self.feed = Feed()
        self.mempool = FakeMempool(self.feed)
        self.status = FakeStatus()

    @property
    def backend(self) -> Backend:
        return Backend(self.chain, self.mempool, self.feed, self.status, SpanIndex(FairLock(), Finals()))

    def finalize(self, raws: Sequence[bytes] = (), logs: Sequence[tuple[Log, ...]] = ()) -> StoredBlock:
        """One more block, and the news of it."""
        stored = self.chain.append(raws, logs)
        for tx in stored.transactions:
            self.mempool.waiting.pop(tx.hash, None)
        self.feed.publish_block(stored)
        return stored


class Client:
    """A JSON-RPC client over HTTP."""

    def __init__(self, port: int, http: httpx.AsyncClient) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        self.http = http
        self._next_id = 0

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        return await self.http.post(self.url, content=body, headers={"content-type": "application/json", **headers})

    async def ask(self, method: str, *params: Any) -> dict[str, Any]:
        """The whole answer."""
        self._next_id += 1
        own_id = self._next_id
        request = {"jsonrpc": "2.0", "id": own_id, "method": method, "params": list(params)}
        answer: dict[str, Any] = orjson.loads((await self.post(orjson.dumps(request))).content)
        assert answer["id"] == own_id
        assert answer["jsonrpc"] == "2.0"
        assert ("result" in answer) != ("error" in answer)
        if "result" in answer:
            check(answer["result"], RESULTS[method], document(declared())["components"]["schemas"], method)
        return answer

    async def call(self, method: str, *params: Any) -> Any:
        """The result; fails on an error."""
        answer = await self.ask(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, *params: Any) -> tuple[int, str]:
        """(code, message); fails on a result."""
        answer = await self.ask(method, *params)
        assert "error" in answer, answer
        return answer["error"]["code"], answer["error"]["message"]


@asynccontextmanager
async def running(
    node: Any, limits: Mapping[str, Any] | None = None, pages: Mapping[str, Page] | None = None, **config: Any
) -> AsyncIterator[Client]:
    """A server on a free port of loopback."""
    settings = RpcConfig(port=0, limits=RpcLimits(**(limits or {})), **config)
    async with trio.open_nursery() as nursery, httpx.AsyncClient(timeout=30) as http:
        addresses = await nursery.start(
            lambda task_status: serve(node.backend, settings, pages=pages, task_status=task_status)
        )
        yield Client(addresses[0][1], http)
        nursery.cancel_scope.cancel()
