"""The final chain on disk: what one batch per block writes, and how it is read back and checked at start.

A block is final for this node once `append` has returned: block, commit, receipts, indexes, state, blobs and tip have then
reached the disk together, or none of them has. Readers see the chain of one moment: `runtime` reads from a snapshot taken at
the tip, so a call that runs while the next block is written never mixes two states.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from attribution_precompile.reading.redaction import Redaction
from evm_runtime.genesis_block import build_genesis
from evm_runtime.header import Header
from evm_runtime.runtime import ExecutedBlock, Runtime
from evm_runtime.state.keys import STATE_ROOT, blob
from evm_runtime.state.kv import KeyValueReader, WriteSet
from evm_runtime.transaction import decode_transaction
from genesis.chain_spec import ChainSpec
from genesis.errors import InvalidTransaction, InvariantError, LocalError, StorageCorrupt, WireError
from genesis.limits import MIB
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, Height, Round, keccak256
from genesis.types import EMPTY_COMMIT, Block, ChainIdentity, Commit, ConsensusData
from node.interfaces import EventList, EventPlace, StoredBlock
from node.storage import keys, records
from node.storage.database import Database
from node.storage.events import event_writes
from node.storage.view import SnapshotView, StateView, state_key, state_writes

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

BLOCKS_CACHED: Final = 128
BLOCK_CACHE_BYTES: Final = 64 * MIB
"""About what the cached blocks may hold in memory: some forty of nothing but transfers, or all 128 if they are not full."""
HEADERS_CACHED: Final = 4_096
_TRANSACTION_BYTES: Final = 1_000
_LOG_BYTES: Final = 500
"""Bytes of the objects that a decoded transaction with its receipt, and a log, are made of (measured, rounded)."""


class RuntimeFactory(Protocol):
    """How the composition root builds a runtime (with its native contracts) over a view of the state."""

    def __call__(self, spec: ChainSpec, identity: ChainIdentity, store: KeyValueReader, /) -> Runtime: ...

    def attach(self, store: "ChainStore") -> None:
        """Told once, before anything is asked of a runtime: whose final blocks native contracts learn from."""
        ...


class ChainStore:
    """A ChainReader that the application appends to. Methods may be called from any thread; `append` from one at a time."""

    def __init__(self, database: Database, spec: ChainSpec, identity: ChainIdentity, runtimes: RuntimeFactory) -> None:
        """Use `open_chain`, which checks what is stored first."""
        self.spec = spec
        self.identity = identity
        self._database = database
        self._runtimes = runtimes
        self._blocks: _Cache[Height, StoredBlock] = _Cache(BLOCKS_CACHED, BLOCK_CACHE_BYTES)
        self._headers: _Cache[Height, Header] = _Cache(HEADERS_CACHED)
        self._live = runtimes(spec, identity, StateView(database))
        height, block_hash = records.read_tip(_needed(database.get(keys.META_TIP), "tip"))
        tip = self.block(height)
        if tip is None or tip.hash != block_hash:
            raise StorageCorrupt(f"the tip is block {block_hash.hex()} at height {height}, which is not stored")
        self._tip = tip
        self._writing = threading.Lock()
        self._leaving: set[bytes] = set()
        self._reading = self._snapshot_runtime()
        runtimes.attach(self)

    # ------------------------------------------------------------ ChainReader

    @property
    def runtime(self) -> Runtime:
        """For readers: state as of the tip at this moment. Take it once per request."""
        return self._reading

    @property
    def live_runtime(self) -> Runtime:
        """For execution, on the one thread that also appends."""
        return self._live

    def tip(self) -> StoredBlock:
        return self._tip

    def block(self, height: Height) -> StoredBlock | None:
        cached = self._blocks.get(height)
        if cached is not None:
            return cached
        data = self._database.get(keys.block_key(height))
        if data is None:
            return None
        stored = self._read_block(height, data)
        self._blocks.put(height, stored, _memory_of(stored))
        return stored

    def block_by_hash(self, block_hash: Hash32) -> StoredBlock | None:
        height = self.height_of(block_hash)
        return None if height is None else self.block(height)

    def header(self, height: Height) -> Header | None:
        cached = self._headers.get(height)
        if cached is not None:
            return cached
        data = self._database.get(keys.header_key(height))
        if data is None:
            return None
        header = records.read_header(data, f"header {height}")
        self._headers.put(height, header)
        return header

    def height_of(self, block_hash: Hash32) -> Height | None:
        data = self._database.get(keys.block_hash_key(block_hash))
        return None if data is None else records.read_height(data, f"height of block {block_hash.hex()}")

    def transaction_place(self, transaction_hash: Hash32) -> tuple[Height, int] | None:
        data = self._database.get(keys.transaction_key(transaction_hash))
        return None if data is None else records.read_place(data)

    def transactions_of(self, sender: Address, first_nonce: int) -> Iterator[tuple[int, Height, int]]:
        if first_nonce >= keys.NUMBER_MAX:  # EIP-2681: no account has that nonce
            return
        scan = self._database.scan(keys.sender_key(sender, first_nonce), keys.sender_key(sender, keys.NUMBER_MAX))
        for key, value in scan:
            yield int.from_bytes(key[-8:], "big"), *records.read_place(value)

    def log_heights(self, place: int, value: bytes, heights: range) -> Iterator[Height]:
        first, beyond = (keys.log_key(place, value, height) for height in (heights.start, heights.stop))
        for key, _ in self._database.scan(first, beyond):
            yield Height(int.from_bytes(key[-8:], "big"))

    def events(self, which: EventList, subject: Hash32, first: EventPlace, beyond: EventPlace) -> Iterator[EventPlace]:
        scan = self._database.scan(keys.event_key(which, subject, first), keys.event_key(which, subject, beyond))
        for key, _ in scan:
            yield EventPlace(*records.read_place(key[-12:]))

    def inference(self, receipt_id: Hash32) -> tuple[EventPlace, Hash32] | None:
        data = self._database.get(keys.inference_key(receipt_id))
        return None if data is None else records.read_inference(data)

    def payouts_named(self, payout: Address) -> Iterator[tuple[EventPlace, int]]:
        for key, contribution in self._database.iterate(keys.payout_key(payout, EventPlace(Height(0), 0))[:-12]):
            yield EventPlace(*records.read_place(key[-12:])), int.from_bytes(contribution, "big")

    def commit(self, height: Height) -> Commit | None:
        data = self._database.get(keys.commit_key(height))
        return None if data is None else records.read_commit(data, f"commit {height}")

    def block_bytes(self, height: Height) -> bytes | None:
        """The block in the wire codec, as peers are sent it."""
        return self._database.get(keys.block_key(height)) if height else None

    def commit_bytes(self, height: Height) -> bytes | None:
        return self._database.get(keys.commit_key(height))

    # ------------------------------------------------------------ writing

    def append(self, executed: ExecutedBlock, commit: Commit) -> StoredBlock:
        """Make the block that follows the tip final: one synchronous batch. Raises InvariantError if it does not follow."""
        header, tip = executed.header, self._tip
        if header.number != tip.height + 1 or header.parent_hash != tip.hash:
            raise InvariantError(f"block {header.number} was to be stored on top of block {tip.height}")
        if commit.block_hash != executed.block.hash or commit.height != header.number:
            raise InvariantError(f"block {header.number} was to be stored with the commit of another")
        block_bytes = records.encode_block(executed.block)
        stored = StoredBlock(
            block=executed.block,
            header=header,
            transactions=executed.transactions,
            receipts=executed.receipts,
            results=executed.results,
            commit=commit,
            size=len(block_bytes),
        )
        writes = _block_writes(stored, block_bytes, executed.writes) | event_writes(stored, self)
        with self._writing:
            self._database.write_batch(writes, sync=True)
            self._leaving.difference_update(writes)
            self._blocks.put(stored.height, stored, _memory_of(stored))
            self._headers.put(stored.height, header)
            self._reading = self._snapshot_runtime()
            self._tip = stored
        return stored

    # ------------------------------------------------------------ dropping erased content (`eraser.py`)

    def begin_redaction(self, contents: Collection[Hash32]) -> Runtime:
        """Note which of these contents blocks bring again from now on: `redact` spares them. Returns the state of now."""
        with self._writing:
            self._leaving = {state_key(blob(content)) for content in contents}
            return self._reading

    def redact(self, redactions: Collection[Redaction]) -> int:
        """Do what `redactions` says, in one synchronous batch, from any thread; returns how many contents are dropped."""
        with self._writing:
            leaving = [r for r in redactions if state_key(blob(r.content_hash)) in self._leaving]
            if not leaving:
                return 0
            writes: dict[bytes, bytes | None] = {}
            for redaction in leaving:
                writes[state_key(blob(redaction.content_hash))] = None
                writes |= {state_key(blob(keccak256(kept))): kept for kept in redaction.instead}
            height = max(self.redacted, *(r.died_block for r in leaving))
            writes[keys.META_REDACTED] = keys.height_bytes(height)
            self._database.write_batch(writes, sync=True)
            self._reading = self._snapshot_runtime()
        return len(leaving)

    @property
    def redacted(self) -> Height:
        """The newest block in which somebody died whose content was dropped; 0 if nothing was."""
        return Height(int.from_bytes(self._database.get(keys.META_REDACTED) or b"", "big"))

    def compact(self, content: Hash32) -> None:
        """Let the bytes of a dropped content leave the disk's files."""
        self._database.compact(state_key(blob(content)))

    def rollback(self) -> StoredBlock:
        """Take the last block back, state and indexes and all, in one synchronous batch; returns the new tip.

        Raises LocalError if there is none to take back, or if somebody would live again whose content was dropped;
        StorageCorrupt if what is stored contradicts itself.
        """
        tip = self._tip
        if tip.height == 0:
            raise LocalError("the chain holds its genesis block alone: there is nothing to take back")
        if tip.height <= self.redacted:
            raise LocalError(
                f"this node has dropped content that was erased in block {self.redacted}, so it can't go back before that; "
                "sync again into a new data directory"
            )
        parent = self.block(Height(tip.height - 1))
        if parent is None:
            raise StorageCorrupt(f"block {tip.height - 1}, the parent of the tip, is missing")
        state = self._live.undo_block(parent.header, parent.time_ms, tip.header, tip.block, tip.transactions)
        written = _block_writes(tip, b"", {}) | event_writes(tip, self)
        writes: dict[bytes, bytes | None] = {key: None for key in written if key != keys.META_TIP}
        writes |= state_writes(state)
        writes[keys.META_TIP] = keys.tip_bytes(parent.height, parent.hash)
        self._database.write_batch(writes, sync=True)
        self._blocks, self._headers = _Cache(BLOCKS_CACHED), _Cache(HEADERS_CACHED)
        self._reading = self._snapshot_runtime()
        self._tip = parent
        return parent

    def close(self) -> None:
        """Wait for readers, then close the database."""
        self._database.close()

    # ------------------------------------------------------------ inside

    def _snapshot_runtime(self) -> Runtime:
        # The old snapshot is released when the last reader drops its runtime.
        return self._runtimes(self.spec, self.identity, SnapshotView(self._database.snapshot()))

    def _read_block(self, height: Height, data: bytes) -> StoredBlock:
        block = records.read_block(data, f"block {height}")
        header = records.read_header(block.header, f"header of block {height}")
        receipts, results = records.read_execution(
            _needed(self._database.get(keys.receipts_key(height)), f"receipts {height}"), f"receipts {height}"
        )
        try:
            transactions = tuple(decode_transaction(raw, chain_id=self.spec.chain_id) for raw in block.transactions)
        except (WireError, InvalidTransaction) as error:
            raise StorageCorrupt(f"a transaction of stored block {height} is garbled: {error}") from None
        if header.number != height or not len(receipts) == len(results) == len(transactions):
            raise StorageCorrupt(f"block {height} and its receipts do not fit together")
        size = len(data) if height else 0
        return StoredBlock(block, header, transactions, receipts, results, self.commit(height), size)


def open_chain(database: Database, spec: ChainSpec | None, runtimes: RuntimeFactory) -> ChainStore:
    """Open the chain in `database`, or start the chain of `spec` if the database is empty; check what is stored.

    Raises LocalError if the stored chain is another one, or if there is none and `spec` is None; StorageCorrupt if tip, block,
    commit and state root contradict each other.
    """
    schema = database.get(keys.META_SCHEMA)
    if schema is None:
        if next(database.iterate(b""), None) is not None:
            raise StorageCorrupt("the chain database holds data but no schema version")
        if spec is None:
            raise LocalError("there is no chain here yet; give its genesis file with --genesis")
        database.write_batch(_genesis_writes(spec), sync=True)
    elif schema != keys.SCHEMA_VERSION.to_bytes(4, "big"):
        raise LocalError(_explain_schema(int.from_bytes(schema, "big")))
    stored_spec = _stored_spec(database)
    if spec is not None and stored_spec != spec:
        lines = "\n  ".join(spec.differences(stored_spec))
        raise LocalError(
            f"the data directory holds another chain; genesis given (here) and stored (there) differ:\n  {lines}"
        )
    genesis = records.read_header(_needed(database.get(keys.header_key(Height(0))), "genesis header"), "genesis header")
    store = ChainStore(database, stored_spec, ChainIdentity(stored_spec.chain_id, genesis.hash), runtimes)
    _check_tip(database, store)
    return store


def _explain_schema(found: int) -> str:
    if found <= keys.SCHEMA_OF_SPEC_1:
        return (
            f"the data directory holds a chain of version 1 of the chain spec (OpenLedger 0.1, schema version {found}), whose "
            "rules this node no longer follows; keep it for the node that wrote it, and start anew in a new data directory"
        )
    return (
        f"the chain database has schema version {found}, this node knows {keys.SCHEMA_VERSION}; use the version of the node "
        "that wrote it, or sync again into a new data directory"
    )


def _stored_spec(database: Database) -> ChainSpec:
    content = _needed(database.get(keys.META_SPEC), "chain spec")
    try:
        return ChainSpec.from_json(content)
    except LocalError as error:
        raise StorageCorrupt(f"the stored chain spec is garbled: {error}") from None


def _check_tip(database: Database, store: ChainStore) -> None:
    """Tip, block, commit and state root come from one batch; where they contradict each other, something was lost."""
    tip = store.tip()
    height = tip.height
    if store.height_of(tip.hash) != height or store.header(height) != tip.header:
        raise StorageCorrupt(f"the indexes of block {height}, the tip, do not lead to it")
    if height and (tip.commit is None or (tip.commit.height, tip.commit.block_hash) != (height, tip.hash)):
        raise StorageCorrupt(f"block {height}, the tip, has no commit or that of another block")
    state_root = database.get(keys.STATE_PREFIX + STATE_ROOT)
    if state_root != tip.header.state_root:
        found = "none" if state_root is None else state_root.hex()
        raise StorageCorrupt(
            f"the stored state has root {found}, but block {height}, the tip, has {tip.header.state_root.hex()}"
        )
    if database.get(keys.block_key(Height(height + 1))) is not None:
        raise StorageCorrupt(f"block {height + 1} is stored beyond the tip {height}")
    parent = store.header(Height(height - 1)) if height else None
    if height and (parent is None or parent.hash != tip.header.parent_hash):
        raise StorageCorrupt(f"block {height - 1} is not stored as the parent of the tip")


def genesis_stored_block(spec: ChainSpec, header: Header) -> StoredBlock:
    """Block 0. It has no proposer and no commit; its time is the spec's."""
    consensus = ConsensusData(spec.genesis_time_ms, Round(0), ZERO_ADDRESS, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)
    block = Block(header.to_rlp(), (), (), consensus, EMPTY_COMMIT, ())
    return StoredBlock(block, header, (), (), (), None, 0)


def _genesis_writes(spec: ChainSpec) -> dict[bytes, bytes | None]:
    genesis = build_genesis(spec)
    stored = genesis_stored_block(spec, genesis.header)
    writes = _block_writes(stored, records.encode_block(stored.block), genesis.writes)
    writes[keys.META_SCHEMA] = keys.SCHEMA_VERSION.to_bytes(4, "big")
    writes[keys.META_SPEC] = spec.to_json()
    return writes


def _block_writes(stored: StoredBlock, block_bytes: bytes, state: WriteSet) -> dict[bytes, bytes | None]:
    height = stored.height
    writes = state_writes(state)
    writes[keys.block_key(height)] = block_bytes
    writes[keys.header_key(height)] = stored.block.header
    writes[keys.receipts_key(height)] = records.encode_execution(stored.receipts, stored.results)
    writes[keys.block_hash_key(stored.hash)] = keys.height_bytes(height)
    writes[keys.META_TIP] = keys.tip_bytes(height, stored.hash)
    if stored.commit is not None:
        writes[keys.commit_key(height)] = records.encode_commit(stored.commit)
    for index, transaction in enumerate(stored.transactions):
        place = keys.place_bytes(height, index)
        writes[keys.transaction_key(transaction.hash)] = place
        writes[keys.sender_key(transaction.sender, transaction.nonce)] = place
    for receipt in stored.receipts:
        for log in receipt.logs:
            for log_place, value in enumerate((log.address, *log.topics), keys.LOG_ADDRESS):
                writes[keys.log_key(log_place, value, height)] = b""
    return writes


def _needed(value: bytes | None, what: str) -> bytes:
    if value is None:
        raise StorageCorrupt(f"the chain database has no {what}")
    return value


def _memory_of(stored: StoredBlock) -> int:
    """About the bytes that a block takes in memory."""
    logs = [log for receipt in stored.receipts for log in receipt.logs]
    objects = _TRANSACTION_BYTES * len(stored.transactions) + _LOG_BYTES * len(logs)
    return stored.size + objects + sum(len(log.data) for log in logs)


class _Cache(Generic[K, T]):
    """The most recently used values, up to a number and, if they are given with their bytes, up to a size. From any thread."""

    def __init__(self, count_max: int, bytes_max: int = 0) -> None:
        self._entries: OrderedDict[K, tuple[T, int]] = OrderedDict()
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> T | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: T, size: int = 0) -> None:
        """Keep `value`; the oldest make way for it, itself not."""
        with self._lock:
            _, before = self._entries.pop(key, (None, 0))
            self._entries[key] = value, size
            self._bytes += size - before
            while len(self._entries) > self._count_max or (self._bytes > self._bytes_max and len(self._entries) > 1):
                _, (_, dropped) = self._entries.popitem(last=False)
                self._bytes -= dropped
