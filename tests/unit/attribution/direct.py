"""The contract's real handlers on a plain dictionary state, without py-evm: fast enough for tens of thousands of steps."""

from bisect import bisect_right
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

from attribution_precompile.contract import AttributionContract
from attribution_precompile.index.span_index import IndexView, SpanIndex
from attribution_precompile.index.vector_index import VectorIndex
from evm_runtime.native import Base, Frame, gas
from evm_runtime.native.reserve import DRAWN
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS
from genesis.primitives import Address, Hash32, keccak256
from tests.unit.attribution.world import make_spec
from tests.unit.native.harness import CHAIN_ID, START_TIME, Finals


class DictState:
    """A journaled state of slots, balances and blobs. Satisfies NativeState."""

    def __init__(self) -> None:
        self.block_number, self.timestamp = 1, START_TIME
        self.slots: dict[int, int] = {}
        self.changed: set[int] = set()
        """Slots written, or written back, since somebody emptied this."""
        self.elsewhere: dict[tuple[bytes, int], int] = {}
        """Slots of other accounts."""
        self.balances: dict[bytes, int] = {}
        self.blobs: dict[bytes, bytes] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self.finals = Finals()
        self._history: dict[int, list[tuple[int, int]]] = {}
        """By slot: (block, value at its end) for each block that changed it."""
        self._unsettled: set[int] = set()
        self.base: Base
        self.finalize()

    def finalize(self) -> None:
        """End the block before `block_number`."""
        number = self.block_number - 1
        for slot in self._unsettled:
            self._history.setdefault(slot, []).append((number, self.slots.get(slot, 0)))
        self._unsettled.clear()
        self.base = self.finals.add(PastState(number, self))

    def take_back(self, number: int, time: int) -> None:
        """Forget the blocks from `number` on, which have been undone."""
        self.block_number, self.timestamp = number, time
        for known in self._history.values():
            while known and known[-1][0] >= number:
                known.pop()
        self._unsettled.clear()
        self.base = self.finals.take_back(number - 1)

    def at_block(self, slot: int, number: int) -> int:
        """A slot's value at the end of a block."""
        known = self._history.get(slot, ())
        place = bisect_right(known, number, key=lambda entry: entry[0])
        return known[place - 1][1] if place else 0

    def _set(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((where, key, where.get(key)))
        where[key] = value

    def mark(self) -> int:
        return len(self._undo)

    def undo(self, mark: int) -> None:
        while len(self._undo) > mark:
            where, key, value = self._undo.pop()
            if where is self.slots:
                self.changed.add(key)
                self._unsettled.add(key)
            if value is None:
                where.pop(key, None)
            else:
                where[key] = value

    def get_storage(self, address: bytes, slot: int) -> int:
        if address == ATTRIBUTION_ADDRESS:
            return self.slots.get(slot, 0)
        return self.elsewhere.get((address, slot), 0)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        if address == ATTRIBUTION_ADDRESS:
            self._set(self.slots, slot, value)
            self.changed.add(slot)
            self._unsettled.add(slot)
        else:
            self._set(self.elsewhere, (address, slot), value)

    def is_storage_warm(self, _address: bytes, _slot: int) -> bool:
        return True

    def mark_storage_warm(self, _address: bytes, _slot: int) -> None:
        pass

    def get_balance(self, address: bytes) -> int:
        return self.balances.get(address, 0)

    def set_balance(self, address: bytes, balance: int) -> None:
        if balance < 0:
            raise AssertionError("a negative balance")
        self._set(self.balances, address, balance)

    def account_exists(self, address: bytes) -> bool:
        return address in self.balances

    def put_blob(self, content: bytes) -> Hash32:
        self._set(self.blobs, keccak256(content), content)
        return keccak256(content)

    def get_block_hash(self, block_number: int) -> Hash32 | None:
        known = max(0, self.block_number - 8_191) <= block_number < self.block_number
        return keccak256(b"block %d" % block_number) if known else None

    def get_blob(self, blob_hash: bytes) -> bytes | None:
        return self.blobs.get(blob_hash)

    # StorageReader
    def storage(self, address: Address, slot: int) -> int:
        assert address == ATTRIBUTION_ADDRESS
        return self.slots.get(slot, 0)


class PastState:
    """What a state had at the end of a block; blobs as they are now."""

    def __init__(self, number: int, state: DictState) -> None:
        self.number = number
        self._state = state

    def load(self, slot: int) -> int:
        return self._state.at_block(slot, self.number)

    def store(self, slot: int, value: int) -> None:
        raise AssertionError("an index writes storage")

    def get_blob(self, blob_hash: bytes) -> bytes | None:
        return self._state.blobs.get(blob_hash)


class Direct:
    """`call(sender, "infer", …)` runs a handler as a transaction: undone if it raises."""

    def __init__(self, state: DictState | None = None, **params: Any) -> None:
        self.state = state or DictState()
        spec = make_spec(**params)
        self._death_blocks = spec.attribution.death_blocks
        self.contract = AttributionContract(spec, CHAIN_ID, self.fresh_index(), self.fresh_vectors())
        self.logs: list[Any] = []
        self.done: Counter[str] = Counter()
        """How often each method was called with success."""
        self.gas_used = 0
        """Of the last call, but for its calldata; every slot counts as warm."""
        self._handlers = {found.signature.name: found for found in self.contract.methods.values()}

    def _consume(self, amount: int, _reason: str) -> None:
        self.gas_used += amount

    def next_block(self, seconds: int = 1) -> None:
        self.state.block_number += 1
        self.state.timestamp += seconds
        self.state.finalize()

    def take_back(self, mark: int, number: int, time: int) -> None:
        """To the beginning of an earlier block, whose mark is given."""
        self.state.undo(mark)
        self.state.take_back(number, time)

    def fresh_index(self) -> SpanIndex:
        """An index that has seen nothing yet."""
        return SpanIndex(nullcontext(), self.state.finals, self._death_blocks)

    def fresh_vectors(self) -> VectorIndex:
        return VectorIndex(nullcontext(), self.state.finals, self._death_blocks)

    def view(self, index: SpanIndex | None = None) -> IndexView:
        """What the block that is being executed may know."""
        return (index or self.contract.index).at(self.state.base)

    def receive_drawn(self) -> None:
        """What the end of a block does for what was drawn from the reserve: it arrives."""
        state = self.state
        drawn = state.get_storage(STAKING_ADDRESS, DRAWN.slot)
        state.set_storage(STAKING_ADDRESS, DRAWN.slot, 0)
        state.set_balance(ATTRIBUTION_ADDRESS, state.get_balance(ATTRIBUTION_ADDRESS) + drawn)

    def call(self, sender: bytes, name: str, *arguments: Any, value: int = 0) -> Any:
        state, found = self.state, self._handlers[name]
        mark, logged = state.mark(), len(self.logs)
        state.set_balance(sender, state.get_balance(sender) - value)
        state.set_balance(ATTRIBUTION_ADDRESS, state.get_balance(ATTRIBUTION_ADDRESS) + value)
        self.gas_used = gas.CALL_BASE + found.gas(*arguments)
        computation = SimpleNamespace(
            msg=SimpleNamespace(sender=sender, value=value),
            state=state,
            consume_gas=self._consume,
            add_log_entry=lambda *entry: self.logs.append(entry),
        )
        frame = Frame(computation, ATTRIBUTION_ADDRESS, read_only=found.view)  # type: ignore[arg-type]  # a stand-in
        try:
            result = found.handler(self.contract, frame, *arguments)
        except Exception:
            state.undo(mark)
            del self.logs[logged:]
            raise
        self.done[name] += 1
        return result
