"""What the parts of the node share: the chain as it is stored, the mempool, the feed of new blocks, the node's status.

JSON-RPC, block sync and the application are written against these ports, never against each other.
The runtime's types are imported for the type checker only: py-evm takes seconds to import, the command line should not.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from genesis.chain_spec import ChainSpec
from genesis.primitives import Address, Hash32, Height
from genesis.types import Block, ChainIdentity, Commit

if TYPE_CHECKING:
    import trio

    from evm_runtime.header import Header
    from evm_runtime.receipt import ExecutedTransaction, Receipt
    from evm_runtime.runtime import Runtime
    from evm_runtime.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A final block with all that its execution gave. `transactions`, `receipts` and `results` stand in block order."""

    block: Block
    header: "Header"
    transactions: tuple["Transaction", ...]
    receipts: tuple["Receipt", ...]
    results: tuple["ExecutedTransaction", ...]
    commit: Commit | None
    """The commit that made this block final; None for the genesis block alone."""
    size: int
    """Bytes of the block in the wire codec (0 for genesis)."""

    @property
    def height(self) -> Height:
        return Height(self.header.number)

    @property
    def hash(self) -> Hash32:
        return self.block.hash

    @property
    def time_ms(self) -> int:
        """Consensus time; the header's timestamp is its floor in seconds."""
        return self.block.consensus.time_ms


class EventList(IntEnum):
    """Lists of the attribution contract's events. Each belongs to a subject, which is a topic of the event; NO_SUBJECT where
    there is one list of all. The numbers are stored."""

    INFERENCES = 0
    """Every `Inferred`."""
    OF_MODEL = 1
    """`Inferred`, by model."""
    OF_PAYER = 2
    """`Inferred`, by payer."""
    PAID_BY_MODEL = 3
    """`Attributed`, by the model of its receipt (as a topic would hold it; the event itself has none)."""
    PAID_FOR_CONTRIBUTION = 4
    """`Attributed` and `PoolClaimed`, by contribution."""
    PAID_TO = 5
    """`Attributed` and `PoolClaimed`, by payout address."""


NO_SUBJECT: Final = Hash32(bytes(32))


class EventPlace(NamedTuple):
    """Where an event stands: its block, and its place among all logs of the block."""

    height: Height
    log: int


class ChainReader(Protocol):
    """The final chain as this node holds it. Every method but `tip` may read the disk: call them off the event loop.

    All are safe to call from several threads. Raises StorageCorrupt if what is stored cannot be read.
    """

    @property
    def spec(self) -> ChainSpec: ...

    @property
    def identity(self) -> ChainIdentity: ...

    @property
    def runtime(self) -> "Runtime":
        """For state, calls and gas estimates on any header that was stored when this was taken: so look up the header first,
        then take the runtime, once per request. It keeps reading the state of that moment."""
        ...

    def tip(self) -> StoredBlock:
        """The last final block. Memory only."""
        ...

    def block(self, height: Height) -> StoredBlock | None: ...

    def block_by_hash(self, block_hash: Hash32) -> StoredBlock | None: ...

    def header(self, height: Height) -> "Header | None":
        """Cheaper than `block`: nothing but the header is decoded."""
        ...

    def height_of(self, block_hash: Hash32) -> Height | None: ...

    def transaction_place(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        """(height, index in the block) of a final transaction."""
        ...

    def transactions_of(self, sender: Address, first_nonce: int) -> Iterator[tuple[int, Height, int]]:
        """(nonce, height, index in the block) of the final transactions that `sender` signed, from `first_nonce` on."""
        ...

    def log_heights(self, place: int, value: bytes, heights: range) -> Iterator[Height]:
        """Those of `heights` whose block has a log with `value` at `place`: 0 for the address, 1 to 4 for the topics."""
        ...

    def events(self, which: EventList, subject: Hash32, first: EventPlace, beyond: EventPlace) -> Iterator[EventPlace]:
        """The events of a list from `first` up to but not including `beyond`, in the chain's order."""
        ...

    def inference(self, receipt_id: Hash32) -> tuple[EventPlace, Hash32] | None:
        """The `Inferred` event of a receipt, and its model as a topic."""
        ...

    def payouts_named(self, payout: Address) -> Iterator[tuple[EventPlace, int]]:
        """The events `Contributed` and `PayoutSet` that name a payout address, in order, each with its contribution's id."""
        ...

    def commit(self, height: Height) -> Commit | None:
        """The commit that made the block at `height` final."""
        ...


class Mempool(Protocol):
    """Transactions that wait. Everything but `add` is synchronous and quick: call it on the event loop only."""

    async def add(self, raw: bytes) -> Hash32:
        """Admit a transaction and gossip it; returns its hash.

        Raises WireError for bytes that are no transaction; InvalidTransaction, with geth's wording, for one refused.
        """
        ...

    def get(self, transaction_hash: Hash32) -> "Transaction | None": ...

    def pending_nonce(self, address: Address) -> int:
        """The nonce after the last executable transaction of `address`; its account's nonce if none waits."""
        ...

    def content(self) -> "MempoolContent":
        """Everything that waits, by sender, in nonce order."""
        ...

    def stats(self) -> "MempoolStats": ...


class MempoolContent(NamedTuple):
    pending: Mapping[Address, Sequence["Transaction"]]
    """Executable in nonce order from the account's nonce on."""
    queued: Mapping[Address, Sequence["Transaction"]]
    """Behind a gap in the nonces."""


class MempoolStats(NamedTuple):
    pending: int
    queued: int


class BlockFeed(Protocol):
    """News of the chain for subscribers. Channels are bounded; one whose reader is too slow is closed by the node."""

    def subscribe(self) -> "AbstractAsyncContextManager[trio.MemoryReceiveChannel[StoredBlock]]":
        """Every final block from now on, in order."""
        ...

    def subscribe_pending(self) -> "AbstractAsyncContextManager[trio.MemoryReceiveChannel[Hash32]]":
        """The hash of every transaction that the mempool admits from now on."""
        ...


class PeerStatus(NamedTuple):
    """One connected peer."""

    peer_id: str
    address: str
    direction: str
    """`inbound` or `outbound`."""
    validator: Address | None
    """The consensus key that the peer proved in its handshake."""


class SyncStatus(NamedTuple):
    """Heights while the node catches up."""

    start: Height
    current: Height
    highest: Height


class NodeStatus(Protocol):
    """How this node is, for `net_*`, `web3_*`, `eth_syncing` and `open_*`. Memory only."""

    def peer_count(self) -> int: ...

    def peers(self) -> Sequence[PeerStatus]: ...

    def add_peer(self, address: str) -> None:
        """Dial this peer now and whenever it is lost. Raises LocalError for a malformed address."""
        ...

    def syncing(self) -> SyncStatus | None:
        """None if the node is not behind."""
        ...

    def client_version(self) -> str:
        """Such as `openledger/0.1.0/linux-x86_64/python3.11.4`."""
        ...

    @property
    def is_validator(self) -> bool:
        """True if this node holds a consensus key (whether or not it is in today's set)."""
        ...

    @property
    def validator_address(self) -> Address | None: ...

    def p2p_address(self) -> str | None:
        """`/ip4/…/tcp/…/p2p/…` for `--peer` on another node; None before the node listens."""
        ...

    def listening(self) -> bool:
        """True once the node accepts peers (`net_listening`)."""
        ...
