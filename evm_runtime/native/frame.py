"""One call of a native contract: who calls with what, the metered storage, logs, wei and blobs.

Everything written through a frame goes through py-evm's state, so it is journaled: when the enclosing EVM frame reverts, or
this call raises, py-evm rolls all of it back.
"""

from typing import Any, Final, Protocol, cast

from eth.abc import ComputationAPI

from evm_runtime.native import gas
from evm_runtime.native.abi import Signature, encode
from evm_runtime.native.base import Base
from genesis.errors import InvariantError, StorageCorrupt
from genesis.primitives import Address, Hash32, Wei, keccak256


class NativeState(Protocol):
    """What a native contract needs of the state; py-evm's State offers it, and ours adds the blobs.

    Blobs are content-addressed by keccak, journaled like code, and referenced from storage.
    """

    @property
    def block_number(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def base(self) -> Base: ...

    def get_storage(self, address: Any, slot: int) -> int: ...

    def set_storage(self, address: Any, slot: int, value: int) -> None: ...

    def is_storage_warm(self, address: Any, slot: int) -> bool: ...

    def mark_storage_warm(self, address: Any, slot: int) -> None: ...

    def get_balance(self, address: Any) -> int: ...

    def set_balance(self, address: Any, balance: int) -> None: ...

    def account_exists(self, address: Any) -> bool: ...

    def get_block_hash(self, block_number: int) -> Hash32 | None: ...

    def put_blob(self, content: bytes) -> Hash32: ...

    def get_blob(self, blob_hash: Hash32) -> bytes | None: ...


class PlainSlots:
    """A contract's storage without gas: for end-of-block operations, and for work whose gas is charged by formula."""

    def __init__(self, state: NativeState, address: Address) -> None:
        self._state = state
        self._address = address

    def load(self, slot: int) -> int:
        return self._state.get_storage(self._address, slot)

    def store(self, slot: int, value: int) -> None:
        _check_word(slot, value)
        self._state.set_storage(self._address, slot, value)


class MeteredSlots:
    """A contract's storage within a call: each access is charged before it is made."""

    def __init__(self, computation: ComputationAPI, state: NativeState, address: Address, *, read_only: bool) -> None:
        self._consume = computation.consume_gas
        self._is_warm, self._mark_warm = state.is_storage_warm, state.mark_storage_warm
        self._get, self._set = state.get_storage, state.set_storage
        self._address = address
        self._read_only = read_only

    def load(self, slot: int) -> int:
        self._consume(self._touch(slot) or gas.WARM_SLOT, "native storage read")
        return self._get(self._address, slot)

    def store(self, slot: int, value: int) -> None:
        if self._read_only:
            raise InvariantError("a view method of a native contract writes storage")
        _check_word(slot, value)
        touch = self._touch(slot)
        current = self._get(self._address, slot)
        if current == value:
            cost = gas.WARM_SLOT
        elif current == 0:
            cost = gas.SET_SLOT
        else:
            cost = gas.RESET_SLOT
        self._consume(touch + cost, "native storage write")
        self._set(self._address, slot, value)

    def _touch(self, slot: int) -> int:
        if self._is_warm(self._address, slot):
            return 0
        self._mark_warm(self._address, slot)
        return gas.COLD_SLOT


def _check_word(slot: int, value: int) -> None:
    if not 0 <= value < 1 << 256:
        raise InvariantError(f"storage slot {slot:#x} would be set to {value}, which is no 256-bit word")


class Event:
    """A log declared as `Name(type indexed name, type name, …)`. Indexed places hold static types only."""

    def __init__(self, text: str, signature: Signature) -> None:
        self.text: Final = text
        self.signature: Final = signature
        self.topic_word: Final = keccak256(signature.canonical.encode())
        """As logs hold it; `topic` is the same as py-evm has it."""
        self.topic: Final = int.from_bytes(self.topic_word, "big")
        self.indexed: Final = tuple(i for i, p in enumerate(signature.inputs) if p.indexed)
        self.plain: Final = tuple(i for i, p in enumerate(signature.inputs) if not p.indexed)
        self.plain_types: Final = tuple(signature.inputs[i].type for i in self.plain)
        self._indexed_writes: Final = tuple((i, signature.inputs[i].type.write) for i in self.indexed)
        if len(self.indexed) > 3 or any(signature.inputs[i].type.dynamic for i in self.indexed):
            raise ValueError(f"{text}: at most three static values can be indexed")

    def encode(self, values: tuple[Any, ...]) -> tuple[tuple[int, ...], bytes]:
        """Topics (as integers, py-evm's form) and data."""
        topics = [int.from_bytes(write(values[i]), "big") for i, write in self._indexed_writes]
        return (self.topic, *topics), encode(self.plain_types, [values[i] for i in self.plain])


class Frame:
    """The call that a method handles. `sender` and `value` are msg.sender and msg.value, already moved to the contract."""

    def __init__(self, computation: ComputationAPI, address: Address, *, read_only: bool) -> None:
        self._computation = computation
        self._read_only = read_only
        self.address: Final = address
        self.state: Final = cast(NativeState, computation.state)
        self.sender: Final = Address(computation.msg.sender)
        self.value: Final = Wei(computation.msg.value)
        self.storage: Final = MeteredSlots(computation, self.state, address, read_only=read_only)
        self.plain: Final = PlainSlots(self.state, address)
        """Unmetered storage: only for work that a gas formula of the method has paid for."""

    @property
    def block_number(self) -> int:
        return self.state.block_number

    @property
    def timestamp(self) -> int:
        """Seconds since 1970."""
        return self.state.timestamp

    @property
    def balance(self) -> Wei:
        """What the contract itself has, in wei."""
        return Wei(self.state.get_balance(self.address))

    def charge(self, amount: int, reason: str) -> None:
        """Take gas for the work that follows. Raises OutOfGas."""
        self._computation.consume_gas(amount, reason)

    def emit(self, event: Event, *values: Any) -> None:
        """Write a log of this contract."""
        self._check_writable()
        topics, data = event.encode(values)
        self.charge(gas.log_gas(len(topics), len(data)), event.signature.name)
        self._computation.add_log_entry(cast(Any, self.address), topics, data)

    def pay(self, to: Address, amount: Wei) -> None:
        """Move wei from the contract's balance to `to` without running its code."""
        self._check_writable()
        cost = gas.TRANSFER
        if amount and not self.state.account_exists(to):
            cost += gas.NEW_ACCOUNT
        self.charge(cost, "native transfer")
        self.burn(amount)
        self.state.set_balance(to, self.state.get_balance(to) + amount)

    def burn(self, amount: Wei) -> None:
        """Take wei out of the contract's balance and out of existence: whoever calls this keeps the count."""
        self._check_writable()
        balance = self.state.get_balance(self.address)
        if amount < 0 or balance < amount:
            raise InvariantError(f"a native contract owes {amount} wei and has {balance}")
        self.state.set_balance(self.address, balance - amount)

    def block_hash(self, block_number: int) -> Hash32 | None:
        """The hash of one of the last 8,191 blocks before this one, out of the state; None of any other."""
        self.charge(gas.COLD_SLOT, "block hash")
        return self.state.get_block_hash(block_number)

    def put_blob(self, content: bytes) -> Hash32:
        """Keep content beside the state, addressed by its keccak."""
        self._check_writable()
        return self.state.put_blob(content)

    def get_blob(self, blob_hash: Hash32) -> bytes:
        """Content that storage refers to. Raises StorageCorrupt if this node has lost it."""
        content = self.state.get_blob(blob_hash)
        if content is None:
            raise StorageCorrupt(f"the content {blob_hash.hex()} is missing: restore the node from a complete copy")
        return content

    def _check_writable(self) -> None:
        if self._read_only:
            raise InvariantError("a view method of a native contract writes")
