"""The rules of the mempool: which transactions may wait, in which order they leave, and who makes room for whom.

Limits and words are geth's, so tools that parse them work: nonce order inside an account, effective tip across accounts,
+10 % on both fees to replace, `EXECUTABLE_GUARANTEED` executable transactions per account that only a better price displaces,
`SLOTS_MAX` slots of 32 KiB in all, `LIFETIME_S`. A transaction is *pending* if it continues its account's nonces without a
gap, else *queued*. An account that is delegated (EIP-7702) has one pending transaction and none queued: the code that it is
delegated to may empty it at any time. Nothing here is asynchronous or touches the disk beyond reading an account of the
finalized state.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from evm_runtime.transaction import Transaction, check_transaction
from evm_runtime.transition import delegation
from genesis.chain_spec import ChainSpec
from genesis.errors import InvalidTransaction
from genesis.limits import KIB
from genesis.primitives import Address, Hash32, keccak256
from node.interfaces import MempoolContent, MempoolStats

EXECUTABLE_GUARANTEED: Final = 16
QUEUED_PER_ACCOUNT_MAX: Final = 64
SLOTS_MAX: Final = 5_120
SLOT_BYTES: Final = 32 * KIB
REPLACE_BUMP_PERCENT: Final = 10
LIFETIME_S: Final = 3 * 3_600

_QUEUED, _BEYOND_GUARANTEE, _GUARANTEED = range(3)


class AccountReader(Protocol):
    """The part of the finalized state that admission needs."""

    def nonce(self, address: Address) -> int: ...

    def balance(self, address: Address) -> int: ...

    def code(self, address: Address) -> bytes: ...


@dataclass(slots=True)
class _Entry:
    transaction: Transaction
    cost: int
    """The most it can take from its sender, in wei."""
    slots: int
    added_s: float
    arrival: int


class _Account:
    """One sender: its finalized nonce and balance, and what waits, by nonce.

    `cost` and `ready` are kept up to date rather than counted: a sender may have thousands waiting.
    """

    __slots__ = ("balance", "code", "cost", "entries", "nonce", "ready")

    def __init__(self, address: Address, state: AccountReader) -> None:
        self.entries: dict[int, _Entry] = {}
        self.cost = 0
        """The most that all of its transactions together can take, in wei."""
        self.nonce = 0
        self.ready = 0
        """How many transactions follow each other without a gap from `nonce` on."""
        self.refresh(address, state)

    def refresh(self, address: Address, state: AccountReader) -> None:
        ready = range(self.nonce, self.nonce + self.ready)
        self.nonce = state.nonce(address)
        self.balance = state.balance(address)
        self.code = state.code(address)
        self.ready = ready.stop - self.nonce if self.nonce in ready else 0
        self._extend_ready()

    def put(self, entry: _Entry) -> None:
        """Add an entry at a nonce that is free."""
        self.entries[entry.transaction.nonce] = entry
        self.cost += entry.cost
        self._extend_ready()

    def remove(self, entry: _Entry) -> None:
        nonce = entry.transaction.nonce
        del self.entries[nonce]
        self.cost -= entry.cost
        if self.nonce <= nonce < self.nonce + self.ready:
            self.ready = nonce - self.nonce

    def _extend_ready(self) -> None:
        while self.nonce + self.ready in self.entries:
            self.ready += 1

    @property
    def is_delegated(self) -> bool:
        """EIP-7702: it has code, and is its key's own still."""
        return delegation(self.code) is not None

    def gapped(self) -> list[_Entry]:
        """What waits behind a gap."""
        beyond = self.nonce + self.ready
        return [entry for nonce, entry in self.entries.items() if nonce > beyond]

    def executable(self) -> list[_Entry]:
        return [self.entries[nonce] for nonce in range(self.nonce, self.nonce + self.ready)]


class TransactionPool:
    """The transactions that wait on one finalized state. Call `update` after every block."""

    def __init__(self, spec: ChainSpec, state: AccountReader, base_fee: int, *, slots_max: int = SLOTS_MAX) -> None:
        self._spec = spec
        self._state = state
        self._base_fee = base_fee
        self._slots_max = slots_max
        self._accounts: dict[Address, _Account] = {}
        self._by_hash: dict[Hash32, _Entry] = {}  # in order of arrival, so the oldest come first
        self._slots = 0
        self._arrivals = 0
        self._prices: list[tuple[int, int, int, Hash32]] | None = None

    def __len__(self) -> int:
        return len(self._by_hash)

    def __contains__(self, transaction_hash: object) -> bool:
        return transaction_hash in self._by_hash

    def get(self, transaction_hash: Hash32) -> Transaction | None:
        entry = self._by_hash.get(transaction_hash)
        return entry.transaction if entry else None

    def transactions(self) -> list[Transaction]:
        """All that waits, in order of arrival."""
        return [entry.transaction for entry in self._by_hash.values()]

    def pending_nonce(self, address: Address) -> int:
        account = self._accounts.get(address)
        return self._state.nonce(address) if account is None else account.nonce + account.ready

    def stats(self) -> MempoolStats:
        pending = sum(account.ready for account in self._accounts.values())
        return MempoolStats(pending, len(self._by_hash) - pending)

    def content(self) -> MempoolContent:
        pending: dict[Address, list[Transaction]] = {}
        queued: dict[Address, list[Transaction]] = {}
        for address, account in self._accounts.items():
            for nonce in sorted(account.entries):
                group = pending if nonce < account.nonce + account.ready else queued
                group.setdefault(address, []).append(account.entries[nonce].transaction)
        return MempoolContent(pending, queued)

    # ------------------------------------------------------------ leaving, in order

    def has_executable(self) -> bool:
        """True if the next block could hold one of them at its base fee."""
        return any(
            account.ready and account.entries[account.nonce].transaction.max_fee_per_gas >= self._base_fee
            for account in self._accounts.values()
        )

    def candidates(self) -> Iterator[Transaction]:
        """Executable transactions: best effective tip first, nonce order inside an account, then order of arrival."""
        waiting = [account.executable() for account in self._accounts.values() if account.ready]
        heap: list[tuple[int, int, int]] = []
        for which, entries in enumerate(waiting):
            self._push_head(heap, which, entries[0])
        places = [0] * len(waiting)
        while heap:
            _, _, which = heapq.heappop(heap)
            entries = waiting[which]
            yield entries[places[which]].transaction
            places[which] += 1
            if places[which] < len(entries):
                self._push_head(heap, which, entries[places[which]])

    def _push_head(self, heap: list[tuple[int, int, int]], which: int, entry: _Entry) -> None:
        tip = self._tip(entry.transaction)
        if tip >= 0:  # else the account waits for a lower base fee
            heapq.heappush(heap, (-tip, entry.arrival, which))

    def _tip(self, transaction: Transaction) -> int:
        """What the proposer earns per gas at the next base fee; negative if the transaction cannot pay the base fee."""
        return min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - self._base_fee)

    # ------------------------------------------------------------ coming in

    def add(self, transaction: Transaction, now_s: float) -> None:
        """Admit a transaction. Raises InvalidTransaction, in geth's words, and changes nothing then."""
        if transaction.hash in self._by_hash:
            raise InvalidTransaction("already known")
        check_transaction(transaction, self._spec)
        floor = self._spec.block.base_fee_floor
        if transaction.max_fee_per_gas < floor:
            raise InvalidTransaction(
                f"transaction underpriced: max fee per gas {transaction.max_fee_per_gas}, minimum needed {floor}"
            )
        sender = transaction.sender
        account = self._accounts.get(sender) or _Account(sender, self._state)
        self._check_account(account, transaction)
        cost = transaction.gas_limit * transaction.max_fee_per_gas + transaction.value
        replaced = account.entries.get(transaction.nonce)
        self._check_cost(account, cost, replaced)
        if replaced is not None:
            _check_replacement(replaced.transaction, transaction)
        else:
            self._check_account_limits(account, transaction)
        slots = max(1, -(-len(transaction.raw) // SLOT_BYTES))
        self._make_room(account, transaction, slots - (replaced.slots if replaced else 0))
        if replaced is not None:
            self._remove(replaced)
        self._arrivals += 1
        self._insert(account, _Entry(transaction, cost, slots, now_s, self._arrivals))

    def _check_account(self, account: _Account, transaction: Transaction) -> None:
        if transaction.nonce < account.nonce:
            raise InvalidTransaction(f"nonce too low: next nonce {account.nonce}, tx nonce {transaction.nonce}")
        if account.code and not account.is_delegated:  # EIP-3607
            address, code_hash = transaction.sender.hex(), keccak256(account.code).hex()
            raise InvalidTransaction(f"sender not an eoa: address 0x{address}, codehash: 0x{code_hash}")

    @staticmethod
    def _check_cost(account: _Account, cost: int, replaced: _Entry | None) -> None:
        if cost > account.balance:
            raise InvalidTransaction(
                f"insufficient funds for gas * price + value: balance {account.balance}, tx cost {cost}, "
                f"overshot {cost - account.balance}"
            )
        others = account.cost - (replaced.cost if replaced else 0)
        if others + cost > account.balance:
            raise InvalidTransaction(
                f"insufficient funds for gas * price + value: balance {account.balance}, queued cost {others}, "
                f"tx cost {cost}, overshot {others + cost - account.balance}"
            )

    @staticmethod
    def _check_account_limits(account: _Account, transaction: Transaction) -> None:
        is_queued = transaction.nonce > account.nonce + account.ready
        if account.is_delegated and is_queued:
            raise InvalidTransaction("gapped-nonce tx from delegated accounts")
        if account.is_delegated and account.ready:
            raise InvalidTransaction("in-flight transaction limit reached for delegated accounts")
        if is_queued and len(account.entries) - account.ready >= QUEUED_PER_ACCOUNT_MAX:
            raise InvalidTransaction(f"account limit exceeded: {QUEUED_PER_ACCOUNT_MAX} transactions wait behind a gap")

    # ------------------------------------------------------------ making room

    def _make_room(self, account: _Account, newcomer: Transaction, slots: int) -> None:
        """Displace the cheapest others until `slots` fit. Raises InvalidTransaction if the newcomer isn't better."""
        if self._slots + slots <= self._slots_max:
            return
        worth = (self._rank(account, newcomer.nonce), self._tip(newcomer))
        victims: list[_Entry] = []
        freed = 0
        while self._slots - freed + slots > self._slots_max:
            victim = self._cheapest(newcomer)
            if victim is None or self._worth(victim) >= worth:
                for entry in victims:  # nothing is displaced for one that doesn't get in
                    self._note_price(entry)
                if victim is not None:
                    self._note_price(victim)
                raise InvalidTransaction("txpool is full" if worth[0] == _QUEUED else "transaction underpriced")
            victims.append(victim)
            freed += victim.slots
        for entry in victims:
            self._remove(entry)

    def _rank(self, account: _Account, nonce: int) -> int:
        place = nonce - account.nonce
        if place > account.ready:
            return _QUEUED
        return _GUARANTEED if place < EXECUTABLE_GUARANTEED else _BEYOND_GUARANTEE

    def _worth(self, entry: _Entry) -> tuple[int, int]:
        """Who must leave first: what waits behind a gap, then what is beyond an account's guarantee, then the cheapest."""
        transaction = entry.transaction
        account = self._accounts[transaction.sender]
        rank = self._rank(account, transaction.nonce)
        return rank, self._tip(transaction)

    def _note_price(self, entry: _Entry) -> None:
        if self._prices is not None:
            rank, tip = self._worth(entry)
            heapq.heappush(self._prices, (rank, tip, -entry.arrival, entry.transaction.hash))

    def _cheapest(self, newcomer: Transaction) -> _Entry | None:
        """Take the entry of least worth off the heap, which is corrected lazily; never one of the newcomer's own account."""
        if self._prices is None:
            self._prices = []
            for entry in self._by_hash.values():
                self._note_price(entry)
        own: list[_Entry] = []
        found: _Entry | None = None
        while self._prices and found is None:
            rank, tip, arrival, transaction_hash = heapq.heappop(self._prices)
            candidate = self._by_hash.get(transaction_hash)
            if candidate is None or candidate.arrival != -arrival:
                continue
            if self._worth(candidate) != (rank, tip):
                self._note_price(candidate)
            elif candidate.transaction.sender == newcomer.sender:
                own.append(candidate)
            else:
                found = candidate
        for entry in own:
            self._note_price(entry)
        return found

    # ------------------------------------------------------------ the books

    def _insert(self, account: _Account, entry: _Entry) -> None:
        transaction = entry.transaction
        self._accounts[transaction.sender] = account
        account.put(entry)
        self._by_hash[transaction.hash] = entry
        self._slots += entry.slots
        self._note_price(entry)

    def _remove(self, entry: _Entry) -> None:
        transaction = entry.transaction
        del self._by_hash[transaction.hash]
        self._slots -= entry.slots
        account = self._accounts[transaction.sender]
        account.remove(entry)
        if not account.entries:
            del self._accounts[transaction.sender]

    # ------------------------------------------------------------ after a block

    def update(self, state: AccountReader, base_fee: int, included: Iterable[Transaction], now_s: float) -> None:
        """Move to a new finalized state: drop what was included, what it made impossible, and what has waited too long."""
        self._state = state
        self._base_fee = base_fee
        self._prices = None
        changed: set[Address] = set()
        for transaction in included:
            changed.add(transaction.sender)
            authorities = (item.authority() for item in transaction.authorizations)
            changed.update(address for address in authorities if address is not None)
        delegated = [address for address, account in self._accounts.items() if account.is_delegated]
        self.recheck(changed.union(delegated))
        while self._by_hash:
            oldest = next(iter(self._by_hash.values()))
            if now_s - oldest.added_s < LIFETIME_S:
                break
            self._remove(oldest)

    def recheck(self, addresses: Iterable[Address]) -> None:
        """Read these accounts anew and drop their transactions that can no longer be executed."""
        for address in addresses:
            account = self._accounts.get(address)
            if account is None:
                continue
            account.refresh(address, self._state)
            is_contract = bool(account.code) and not account.is_delegated
            for nonce, entry in list(account.entries.items()):
                if nonce < account.nonce or entry.cost > account.balance or is_contract:
                    self._remove(entry)
            if account.is_delegated:  # what would be refused today doesn't wait either
                for entry in account.gapped():
                    self._remove(entry)

    def drop(self, transaction_hash: Hash32) -> None:
        """Forget a transaction that block building found impossible."""
        entry = self._by_hash.get(transaction_hash)
        if entry is not None:
            self._remove(entry)


def _check_replacement(old: Transaction, new: Transaction) -> None:
    """Both the fee and the tip must rise by the bump, rounded down to a wei, so that replacing always costs its sender."""
    for before, after in (
        (old.max_fee_per_gas, new.max_fee_per_gas),
        (old.max_priority_fee_per_gas, new.max_priority_fee_per_gas),
    ):
        if after <= before or after < before * (100 + REPLACE_BUMP_PERCENT) // 100:
            raise InvalidTransaction("replacement transaction underpriced")
