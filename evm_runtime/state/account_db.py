"""The account database under py-evm: caches over a `StateSource`, one undo log, and the write set of a block.

Every change appends (dictionary, key, old value) to the log; a checkpoint is a length of the log, so a snapshot costs nothing
and a revert undoes exactly what came after. What must be undone together lives under the one log: accounts, slots, code,
blobs, warm addresses and slots, transient storage, logs.

A transaction begins with `begin_transaction`, which closes the log: what earlier transactions did can't be undone any more.
"""

from collections.abc import Collection
from typing import Any, Final

from eth.abc import AccountDatabaseAPI, MetaWitnessAPI

from evm_runtime import work
from evm_runtime.fields import UINT64_MAX, UINT256_MAX, int_bytes
from evm_runtime.receipt import Log
from evm_runtime.state import keys, trie
from evm_runtime.state.kv import WriteSet
from evm_runtime.state.node_cache import NodeCache
from evm_runtime.state.source import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, StateSource, encode_account, slot_key
from genesis.codec import encode_rlp
from genesis.errors import InvariantError
from genesis.primitives import Address, Hash32, keccak256

_ABSENT: Final[Any] = object()
"""An undo entry's old value where the key was not in the dictionary."""

Slots = dict[int, int]


class AccountDB(AccountDatabaseAPI):
    """py-evm's account database (see `AccountDatabaseAPI` for the contract of each method), and blobs, logs, finalization."""

    def __init__(self, source: StateSource, state_root: Hash32, node_cache: NodeCache | None = None) -> None:
        """The state under `state_root`, as `source` reads it. `node_cache` outlives this database: it saves reading nodes."""
        self._source = source
        self._root = state_root
        self.begun_on: Final = source, state_root
        self._node_cache = node_cache
        self._accounts: dict[Address, Account | None] = {}
        self._base: dict[Address, Account | None] = {}
        """Accounts as the source holds them, filled when first read."""
        self._slots: dict[Address, Slots] = {}
        self._base_slots: dict[tuple[Address, int], int] = {}
        self._codes: dict[Hash32, bytes] = {EMPTY_CODE_HASH: b""}
        self._new_codes: set[Hash32] = set()
        self._blobs: dict[Hash32, bytes] = {}
        self._transient: dict[tuple[Address, int], bytes] = {}
        self._warm: dict[Any, bool] = {}
        self._original: dict[tuple[Address, int], int] = {}
        """Slots written in this transaction, as they were when it began (EIP-2200)."""
        self._log: list[tuple[dict[Any, Any], Any, Any]] = []
        self._dirty_accounts: dict[Address, None] = {}
        self._dirty_slots: dict[tuple[Address, int], None] = {}
        self._events: dict[int, Log] = {}
        """Logs of this transaction by position, so that a revert takes them out like everything else."""
        self._events_before = 0
        self._accessed: dict[Any, None] | None = None
        self._destroyed: dict[Address, bool] = {}
        self._refund: dict[None, int] = {None: 0}
        self.work_left = work.UNLIMITED
        """What the running transaction may still do; not journaled, for work that is undone was done."""

    # ------------------------------------------------------------ transactions and the undo log

    def begin_transaction(self) -> None:
        """Settle what was done so far and forget what lives for one transaction only."""
        self._log.clear()
        self._warm.clear()
        self._original.clear()
        self._transient.clear()
        self._events_before += len(self._events)
        self._events.clear()
        self._destroyed.clear()
        self._refund[None] = 0
        self.work_left = work.UNLIMITED

    lock_changes = begin_transaction

    def record(self) -> Any:
        """A checkpoint. (py-evm's type for it is a UUID; any value that `discard` takes will do.)"""
        return len(self._log)

    def discard(self, checkpoint: Any) -> None:
        """Undo everything since `checkpoint`."""
        log = self._log
        while len(log) > checkpoint:
            where, key, old = log.pop()
            if old is _ABSENT:
                del where[key]
            else:
                where[key] = old

    def commit(self, checkpoint: Any) -> None:
        """Nothing to do: the enclosing checkpoint covers what was done since this one."""

    def _set(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        self._log.append((where, key, where.get(key, _ABSENT)))
        where[key] = value

    def touched_accounts(self) -> list[Address]:
        """The accounts written or touched, and not reverted, since the transaction began, in order of first touch."""
        accounts = self._accounts
        return list(dict.fromkeys(key for where, key, _ in self._log if where is accounts))

    def accounts_before(self) -> dict[Address, Account | None]:
        """The accounts written or touched, and not reverted, since the transaction began, as they were then."""
        before: dict[Address, Account | None] = {}
        for where, key, old in self._log:
            if where is self._accounts:
                before.setdefault(key, old)
        return before

    def slots_before(self) -> dict[tuple[Address, int], int]:
        """The storage slots written since the transaction began (reverted or not), as they were then."""
        return dict(self._original)

    def code_by_hash(self, code_hash: Hash32) -> bytes:
        """Code that an account of this state has or had."""
        code = self._codes.get(code_hash)
        return self._source.code(code_hash) if code is None else code

    def do_work(self, amount: int) -> None:
        """Count work before it is done. Raises WorkExceeded where the transaction has none left."""
        self.work_left -= amount
        if self.work_left < 0:
            raise work.WorkExceeded

    # ------------------------------------------------------------ accounts

    def _load(self, address: Address) -> Account | None:
        try:
            return self._accounts[address]
        except KeyError:
            account = self._source.account(address)
            self._base[address] = self._accounts[address] = account
            return account

    def _store(self, address: Address, account: Account | None) -> None:
        self._log.append((self._accounts, address, self._load(address)))
        self._accounts[address] = account
        self._dirty_accounts[address] = None

    def get_account(self, address: Address) -> Account | None:
        return self._load(address)

    def set_account(self, address: Address, account: Account) -> None:
        """Replace all of an account at once. Raises ValueError for a nonce or balance out of range."""
        nonce, balance, _, _ = account
        if not 0 <= balance <= UINT256_MAX:
            raise ValueError(f"the balance of 0x{address.hex()} would become {balance}")
        if not 0 <= nonce <= UINT64_MAX:
            raise ValueError(f"the nonce of 0x{address.hex()} would become {nonce}")
        self._store(address, account)

    def get_balance(self, address: Any) -> int:
        account = self._load(address)
        return account.balance if account else 0

    def set_balance(self, address: Any, balance: int) -> None:
        if not 0 <= balance <= UINT256_MAX:
            raise ValueError(f"the balance of 0x{address.hex()} would become {balance}")
        nonce, _, root, code_hash = self._load(address) or EMPTY_ACCOUNT
        self._store(address, Account(nonce, balance, root, code_hash))

    def get_nonce(self, address: Any) -> int:
        account = self._load(address)
        return account.nonce if account else 0

    def set_nonce(self, address: Any, nonce: int) -> None:
        if not 0 <= nonce <= UINT64_MAX:
            raise ValueError(f"the nonce of 0x{address.hex()} would become {nonce}")
        _, balance, root, code_hash = self._load(address) or EMPTY_ACCOUNT
        self._store(address, Account(nonce, balance, root, code_hash))

    def increment_nonce(self, address: Any) -> None:
        self.set_nonce(address, self.get_nonce(address) + 1)

    def account_exists(self, address: Any) -> bool:
        return self._load(address) is not None

    def account_is_empty(self, address: Any) -> bool:
        """EIP-161: no nonce, no balance, no code."""
        account = self._load(address)
        return account is None or (account.nonce == 0 and account.balance == 0 and account.code_hash == EMPTY_CODE_HASH)

    def account_has_code_or_nonce(self, address: Any) -> bool:
        """Whether a contract can't be created here (EIP-684, and EIP-7610 for storage left behind)."""
        account = self._load(address)
        if account is None:
            return False
        return account.nonce != 0 or account.code_hash != EMPTY_CODE_HASH or account.storage_root != trie.EMPTY_ROOT

    def touch_account(self, address: Any) -> None:
        """Mark for EIP-161's sweep; an absent account exists, empty, until then."""
        self._store(address, self._load(address) or EMPTY_ACCOUNT)

    def delete_account(self, address: Any) -> None:
        self.delete_storage(address)
        self._store(address, None)

    # ------------------------------------------------------------ code and blobs

    def get_code_hash(self, address: Any) -> Any:
        account = self._load(address)
        return account.code_hash if account else EMPTY_CODE_HASH

    def get_code(self, address: Any) -> bytes:
        code_hash = self.get_code_hash(address)
        code = self._codes.get(code_hash)
        if code is None:
            code = self._codes[code_hash] = self._source.code(code_hash)
        return code

    def set_code(self, address: Any, code: bytes) -> None:
        code_hash = keccak256(code)
        self._codes[code_hash] = code
        self._new_codes.add(code_hash)
        nonce, balance, root, _ = self._load(address) or EMPTY_ACCOUNT
        self._store(address, Account(nonce, balance, root, code_hash))

    def delete_code(self, address: Any) -> None:
        self.set_code(address, b"")

    def put_blob(self, content: bytes) -> Hash32:
        """Keep `content` by its keccak; undone on revert. Also what the store has already: it may drop that before this block
        is stored."""
        blob_hash = keccak256(content)
        if blob_hash not in self._blobs:
            self._set(self._blobs, blob_hash, content)
        return blob_hash

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        content = self._blobs.get(blob_hash)
        return self._source.blob(blob_hash) if content is None else content

    # ------------------------------------------------------------ storage

    def get_storage(self, address: Any, slot: int, from_journal: bool = True) -> int:
        """The value now, or (from_journal=False) as it was when the transaction began."""
        if not from_journal:
            original = self._original.get((address, slot))
            if original is not None:
                return original
        try:
            return self._slots[address][slot]
        except KeyError:
            return self._load_slot(address, slot)

    def _load_slot(self, address: Address, slot: int) -> int:
        account = self._load(address)
        # An account without stored slots, new or wiped, needs no look-up.
        root = account.storage_root if account else trie.EMPTY_ROOT
        value = 0 if root == trie.EMPTY_ROOT else self._source.storage(address, root, slot)
        self._slots.setdefault(address, {})[slot] = value
        if not self._is_wiped(address):
            self._base_slots[address, slot] = value
        return value

    def _is_wiped(self, address: Address) -> bool:
        """Whether slots that the source holds for this account are gone."""
        before, now = self._base[address], self._accounts[address]
        if before is None or before.storage_root == trie.EMPTY_ROOT:
            return False
        return now is None or now.storage_root != before.storage_root

    def set_storage(self, address: Any, slot: int, value: int) -> None:
        if not 0 <= value <= UINT256_MAX:
            raise ValueError(f"storage slot {slot:#x} of 0x{address.hex()} would become {value}")
        old = self.get_storage(address, slot)
        key = (address, slot)
        self._original.setdefault(key, old)
        slots = self._slots[address]
        self._log.append((slots, slot, old))
        slots[slot] = value
        self._dirty_slots[key] = None

    def delete_storage(self, address: Any) -> None:
        """Forget all slots of an account: those of the source by resetting the account's storage root."""
        account = self._load(address)
        self._set(self._slots, address, {})
        if account is not None and account.storage_root != trie.EMPTY_ROOT:
            self._store(address, account._replace(storage_root=trie.EMPTY_ROOT))

    def get_transient_storage(self, address: Address, slot: int) -> bytes:
        return self._transient.get((address, slot), b"")

    def set_transient_storage(self, address: Address, slot: int, value: bytes) -> None:
        self._set(self._transient, (address, slot), value)

    # ------------------------------------------------------------ EIP-2929, and logs

    def is_storage_warm(self, address: Any, slot: int) -> bool:
        if self._accessed is not None:
            self._accessed[address, slot] = None
        return (address, slot) in self._warm

    def mark_storage_warm(self, address: Any, slot: int) -> None:
        if (address, slot) not in self._warm:
            self._set(self._warm, (address, slot), True)

    def warm_storage(self, address: Any, slot: int) -> bool:
        """Whether a slot was warm already; it is from now on."""
        key = (address, slot)
        if self._accessed is not None:
            self._accessed[key] = None
        if key in self._warm:
            return True
        self._log.append((self._warm, key, _ABSENT))
        self._warm[key] = True
        return False

    def is_address_warm(self, address: Any) -> bool:
        if self._accessed is not None:
            self._accessed[address] = None
        return address in self._warm

    def mark_address_warm(self, address: Any) -> None:
        if address not in self._warm:
            self.do_work(work.COLD_WORK)
            self._set(self._warm, address, True)

    def trace_access(self) -> Collection[Any]:
        """Collect from now on what opcodes access, reverted or not: addresses, and (address, slot) pairs, as they come."""
        self._accessed = {}
        return self._accessed.keys()

    @property
    def traces_access(self) -> bool:
        return self._accessed is not None

    def add_refund(self, amount: int) -> None:
        """Count towards the transaction's gas refund (the amount may be negative, EIP-2200)."""
        self._set(self._refund, None, self._refund[None] + amount)

    @property
    def refund(self) -> int:
        return self._refund[None]

    def mark_destroyed(self, address: Address) -> None:
        """SELFDESTRUCT of a contract that this transaction created (EIP-6780): it goes when the transaction ends."""
        self._set(self._destroyed, address, True)

    def destroyed_accounts(self) -> list[Address]:
        return list(self._destroyed)

    def add_event(self, event: Log) -> None:
        self._set(self._events, len(self._events), event)

    def events(self) -> tuple[Log, ...]:
        """The logs of this transaction, in order."""
        return tuple(self._events.values())

    # ------------------------------------------------------------ the end of a block

    @property
    def log_count(self) -> int:
        """Logs of the block so far, not counting what was reverted: the index that the next one will have."""
        return self._events_before + len(self._events)

    def balance_change(self) -> int:
        """The sum of all balances now, less that of the source: what the block minted less what it burned."""
        change = 0
        for address in self._dirty_accounts:
            now, before = self._accounts[address], self._base[address]
            change += (now[1] if now else 0) - (before[1] if before else 0)
        return change

    def finalize(self) -> tuple[Hash32, WriteSet]:
        """The new state root, and everything that the store must take over: flat entries, code, blobs and trie nodes."""
        writes: WriteSet = {}
        accounts: dict[bytes, bytes | None] = {}
        accounts_before: dict[bytes, bytes] = {}
        for address, slots in self._changed_slots().items():
            self._finalize_storage(address, slots, writes)
        for address in self._dirty_accounts:
            account, before = self._accounts[address], self._base[address]
            if account == before:
                continue
            encoded = encode_account(account) if account else None
            key = keccak256(address)
            accounts[key] = encoded
            if before:
                accounts_before[key] = encode_account(before)
            writes[keys.account(address)] = encoded
            if account and account.code_hash in self._new_codes and account.code_hash != EMPTY_CODE_HASH:
                writes[keys.code(account.code_hash)] = self._codes[account.code_hash]
        for blob_hash, content in self._blobs.items():
            writes[keys.blob(blob_hash)] = content
        root, nodes = trie.update(self._source.node, self._root, accounts, accounts_before, self._node_cache)
        writes.update({keys.node(node_hash): node for node_hash, node in nodes.items()})
        writes[keys.STATE_ROOT] = root
        return root, writes

    def _changed_slots(self) -> dict[Address, Slots]:
        """Slots that differ from the source's by address; also the (address, no slots) of accounts that were wiped."""
        changed: dict[Address, Slots] = {}
        for address in self._dirty_accounts:
            if self._is_wiped(address):
                changed[address] = {}
        for address, slot in self._dirty_slots:
            value = self._slots.get(address, {}).get(slot)
            if address in changed or (value is not None and value != self._base_slots.get((address, slot), value)):
                changed.setdefault(address, {})[slot] = value or 0
        return changed

    def _finalize_storage(self, address: Address, slots: Slots, writes: WriteSet) -> None:
        """Write one account's slots and put the new storage root into its account."""
        now = self._load(address)
        root = now[2] if now else trie.EMPTY_ROOT
        if self._is_wiped(address):
            for key in self._source.storage_keys(address):
                writes[key] = None
        changes: dict[bytes, bytes | None] = {}
        before: dict[bytes, bytes] = {}
        for slot, value in slots.items():
            data, key = int_bytes(value), slot_key(slot)
            changes[key] = encode_rlp(data) if value else None
            before[key] = encode_rlp(int_bytes(self._base_slots.get((address, slot), 0)))
            writes[keys.storage(address, slot)] = data if value else None
        new_root, nodes = trie.update(self._source.node, root, changes, before, self._node_cache)
        writes.update({keys.node(node_hash): node for node_hash, node in nodes.items()})
        if now is not None:
            self._accounts[address] = now._replace(storage_root=new_root)
            self._dirty_accounts[address] = None
        elif new_root != trie.EMPTY_ROOT:
            raise InvariantError(f"the deleted account 0x{address.hex()} keeps storage")

    # ------------------------------------------------------------ what py-evm's own block logic would use, and ours doesn't

    @property
    def state_root(self) -> Any:
        return self._root

    @state_root.setter
    def state_root(self, value: Any) -> None:
        if value != self._root:
            raise InvariantError("the state root changes only at the end of a block")

    def has_root(self, state_root: bytes) -> bool:
        return state_root == self._root

    def make_state_root(self) -> Any:
        raise InvariantError("the state root is made by finalize()")

    def persist(self) -> MetaWitnessAPI:
        raise InvariantError("a block is persisted through its write set")
