"""The mempool at work: transactions come in from RPC and from peers, are checked once, and go on to other peers in batches.

A transaction that waits, was refused, or was included lately is not decoded, checked or sent again, so gossip ends by
itself. One that is part of a proposal under execution waits until the next block is final, because executing it recovers its
sender anyway. Each peer may bring in a bounded number a second; what is more is dropped, not answered, and not held against it.
"""

import contextlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from evm_runtime.transaction import Transaction, decode_transaction
from genesis.codec import decode, encode
from genesis.errors import InvalidTransaction, PeerFault, WireError
from genesis.limits import TX_BATCH_BYTES_MAX
from genesis.primitives import Address, Hash32, keccak256
from node.feed import Feed
from node.interfaces import MempoolContent, MempoolStats
from node.mempool.decoding import BatchDecoder
from node.mempool.known_transactions import KnownTransactions, RecentHashes
from node.mempool.pool import AccountReader, TransactionPool
from node.threads import CONSENSUS, GOSSIP

logger = logging.getLogger(__name__)

BATCH_TRANSACTIONS_MAX: Final = 512
BATCH_WAIT_S: Final = 0.01
"""The least time between two batches; what comes meanwhile keeps each other company."""
PEER_RATE_PER_S: Final = 1_000
PEER_BURST: Final = 5_000
REJECTED_REMEMBERED: Final = 8_192
INCLUDED_REMEMBERED: Final = 65_536
GIVEN_UP_REMEMBERED: Final = 8_192
DEFERRED_MAX: Final = 4_096
_BATCH_OVERHEAD_BYTES: Final = 16
_FRAME_PAYLOAD_MAX: Final = TX_BATCH_BYTES_MAX - _BATCH_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class TransactionBatch:
    """What travels on the transaction channel."""

    transactions: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.transactions) <= BATCH_TRANSACTIONS_MAX:
            raise ValueError(f"a batch holds 1 to {BATCH_TRANSACTIONS_MAX} transactions")


class Gossip(Protocol):
    """Where batches go: all peers but one, or one peer alone."""

    def broadcast_transactions(self, payload: bytes, *, exclude: str | None) -> None: ...

    def send_transactions(self, peer_id: str, payload: bytes) -> None: ...


class MempoolService:
    """Implements the Mempool port. Runs on the event loop; `run` sends the batches."""

    def __init__(self, pool: TransactionPool, feed: Feed, chain_id: int, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._feed = feed
        self._chain_id = chain_id
        self._clock = clock
        self._gossip: Gossip | None = None
        self._outgoing: list[tuple[bytes, str | None]] = []
        self._outgoing_event = trio.Event()
        self._executable = trio.Event()
        self._last_sent_s = -math.inf
        self._rejected = RecentHashes(REJECTED_REMEMBERED)
        self._included = RecentHashes(INCLUDED_REMEMBERED)
        self._known = KnownTransactions()
        self._decoder, self._proposal_decoder = BatchDecoder(chain_id, GOSSIP), BatchDecoder(chain_id, CONSENSUS)
        self._given_up = RecentHashes(GIVEN_UP_REMEMBERED)
        self._proposed: frozenset[Hash32] = frozenset()
        self._deferred: OrderedDict[Hash32, tuple[bytes, str]] = OrderedDict()
        self._allowances: dict[str, tuple[float, float]] = {}

    def attach(self, gossip: Gossip) -> None:
        """Tell it where batches go; before that nothing is sent."""
        self._gossip = gossip

    # ------------------------------------------------------------ the Mempool port

    async def add(self, raw: bytes) -> Hash32:
        await trio.lowlevel.checkpoint()
        return self._admit(raw, source=None).hash

    def get(self, transaction_hash: Hash32) -> Transaction | None:
        return self._pool.get(transaction_hash)

    def pending_nonce(self, address: Address) -> int:
        return self._pool.pending_nonce(address)

    def content(self) -> MempoolContent:
        return self._pool.content()

    def stats(self) -> MempoolStats:
        return self._pool.stats()

    # ------------------------------------------------------------ the application

    @property
    def pool(self) -> TransactionPool:
        return self._pool

    def has_executable(self) -> bool:
        return self._pool.has_executable()

    async def wait_executable(self) -> None:
        """Return once the next block could hold one of the transactions."""
        while not self._pool.has_executable():
            if self._executable.is_set():
                self._executable = trio.Event()
            await self._executable.wait()

    def update(self, state: AccountReader, base_fee: int, included: tuple[Transaction, ...]) -> None:
        """After a block: the state it gave, the base fee of the next, and what it included."""
        self._pool.update(state, base_fee, included, self._clock())
        self._rejected.clear()  # what was too early, too poor or too cheap may not be so any more
        self._included.add(transaction.hash for transaction in included)
        self._proposed = frozenset()
        if self._deferred:
            self._outgoing_event.set()  # `run` looks at those that the block did not include
        self._executable.set()

    def give_up(self, transaction_hash: Hash32) -> None:
        """Drop a transaction for good: it kept blocks from being decided, and peers would only bring it again."""
        self._given_up.add([transaction_hash])
        self._pool.drop(transaction_hash)

    def known(self, hashes: Iterable[Hash32]) -> dict[Hash32, Transaction]:
        """Those of `hashes` whose transactions are decoded already, whether they wait or not."""
        found = ((value, self._pool.get(value) or self._known.get(value)) for value in hashes)
        return {value: transaction for value, transaction in found if transaction is not None}

    async def decode_ahead(self, raws: Mapping[Hash32, bytes], *, proposed: bool = False) -> dict[Hash32, Transaction]:
        """Decode what is not decoded yet, many at once, and keep it. Returns all but those that are no transactions.

        What is `proposed` does not wait for what peers send.
        """
        found = self.known(raws)
        missing = [raw for value, raw in raws.items() if value not in found]
        for transaction in await (self._proposal_decoder if proposed else self._decoder).decode_soon(missing):
            found[transaction.hash] = transaction
            self._known.put(transaction)
        return found

    def executing(self, hashes: Iterable[Hash32]) -> None:
        """A proposal of these is about to be executed. What peers send of them waits for the next final block."""
        self._proposed = frozenset(hashes)

    def remember(self, transactions: Iterable[Transaction]) -> None:
        """Keep what executing decoded, should it come again."""
        for transaction in transactions:
            self._known.put(transaction)

    def _admit(self, raw: bytes, source: str | None) -> Transaction:
        transaction_hash = keccak256(raw)
        if transaction_hash in self._pool:
            raise InvalidTransaction("already known")
        if transaction_hash in self._given_up:
            raise InvalidTransaction("the transaction was dropped: proposals that had it took too long to execute")
        transaction = self._known.get(transaction_hash)
        if transaction is None:
            transaction = decode_transaction(raw, chain_id=self._chain_id)
            self._known.put(transaction)
        self._pool.add(transaction, self._clock())
        self._feed.publish_pending(transaction.hash)
        self._executable.set()
        if self._gossip is not None:
            self._outgoing.append((raw, source))
            self._outgoing_event.set()
        return transaction

    # ------------------------------------------------------------ peers

    async def receive(self, peer_id: str, payload: bytes) -> None:
        """A batch from a peer. Raises WireError or PeerFault if no honest node would have sent it."""
        batch = decode(TransactionBatch, payload, size_max=TX_BATCH_BYTES_MAX)
        fresh: dict[Hash32, bytes] = {}
        for raw in batch.transactions[: self._allow(peer_id, len(batch.transactions))]:
            transaction_hash = keccak256(raw)
            if transaction_hash in self._proposed and transaction_hash not in self._pool:
                self._defer(transaction_hash, raw, peer_id)
            elif not self._is_settled(transaction_hash):
                fresh[transaction_hash] = raw
        await self.decode_ahead(fresh)
        for transaction_hash, raw in fresh.items():
            self._take(raw, transaction_hash, peer_id)
            await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    def _is_settled(self, transaction_hash: Hash32) -> bool:
        return (
            transaction_hash in self._pool
            or transaction_hash in self._included
            or transaction_hash in self._rejected
            or transaction_hash in self._given_up
        )

    def _take(self, raw: bytes, transaction_hash: Hash32, peer_id: str) -> None:
        """Admit what a peer sent if it is new. Raises PeerFault for bytes that are no transaction."""
        if self._is_settled(transaction_hash):
            return
        try:
            self._admit(raw, source=peer_id)
        except WireError as error:
            raise PeerFault(f"sent bytes that are no transaction: {error}") from None
        except InvalidTransaction as error:
            self._rejected.add([transaction_hash])
            logger.debug("transaction %s from %s refused: %s", transaction_hash.hex(), peer_id, error)

    def _defer(self, transaction_hash: Hash32, raw: bytes, peer_id: str) -> None:
        if len(self._deferred) < DEFERRED_MAX:
            self._deferred.setdefault(transaction_hash, (raw, peer_id))

    def greet(self, peer_id: str) -> None:
        """Send what waits here to a peer that has just connected."""
        if self._gossip is not None:
            for payload in _batches([transaction.raw for transaction in self._pool.transactions()]):
                self._gossip.send_transactions(peer_id, payload)

    def forget_peer(self, peer_id: str) -> None:
        self._allowances.pop(peer_id, None)

    async def run(self) -> None:
        """Send what was admitted on to the peers, in batches, until cancelled."""
        while True:
            await self._outgoing_event.wait()
            self._outgoing_event = trio.Event()
            await self._take_deferred()
            # The first after a pause leaves at once: the next proposer may wait for just this one.
            await trio.sleep(max(0.0, self._last_sent_s + BATCH_WAIT_S - trio.current_time()))
            outgoing, self._outgoing = self._outgoing, []
            if outgoing:
                self._last_sent_s = trio.current_time()
            by_source: dict[str | None, list[bytes]] = {}
            for raw, source in outgoing:
                by_source.setdefault(source, []).append(raw)
            for source, transactions in by_source.items():
                for payload in _batches(transactions):
                    if self._gossip is not None:
                        self._gossip.broadcast_transactions(payload, exclude=source)

    async def _take_deferred(self) -> None:
        deferred = [item for item in self._deferred.items() if item[0] not in self._proposed]
        await self.decode_ahead({value: raw for value, (raw, _) in deferred if not self._is_settled(value)})
        for transaction_hash, (raw, peer_id) in deferred:
            self._deferred.pop(transaction_hash, None)
            with contextlib.suppress(PeerFault):  # too late to tell whether its peer is still there
                self._take(raw, transaction_hash, peer_id)
            await trio.lowlevel.checkpoint()

    def _allow(self, peer_id: str, wanted: int) -> int:
        """A token bucket per peer: how many of `wanted` transactions are looked at."""
        now = self._clock()
        tokens, since = self._allowances.get(peer_id, (float(PEER_BURST), now))
        tokens = min(float(PEER_BURST), tokens + (now - since) * PEER_RATE_PER_S)
        allowed = min(wanted, int(tokens))
        self._allowances[peer_id] = (tokens - allowed, now)
        return allowed


def _batches(transactions: list[bytes]) -> list[bytes]:
    """Frames that hold `transactions` in order, each within the limits of a batch."""
    groups: list[list[bytes]] = []
    size = 0
    for raw in transactions:
        cost = len(raw) + 5
        if not groups or size + cost > _FRAME_PAYLOAD_MAX or len(groups[-1]) == BATCH_TRANSACTIONS_MAX:
            groups.append([])
            size = 0
        groups[-1].append(raw)
        size += cost
    return [encode(TransactionBatch(tuple(group))) for group in groups]
