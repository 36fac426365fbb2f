"""A small chain for native contracts: real py-evm Prague computations over py-evm's own state, one call at a time."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth.vm.message import Message
from eth_abi import abi as eth_abi

from evm_runtime.native import Base, NativeContract
from genesis.primitives import Address, Hash32, keccak256

CHAIN_ID = 7117
START_TIME = 1_700_000_000


class BlobState(PragueState):
    """py-evm's Prague state, and blobs that are undone on revert."""

    blobs: dict[bytes, bytes]
    base: Base
    """The block before."""

    def put_blob(self, content: bytes) -> Hash32:
        blob_hash = keccak256(content)
        self.blobs = self.blobs | {blob_hash: content}
        return blob_hash

    def get_block_hash(self, block_number: int) -> Hash32 | None:
        """Made up, of the last blocks that EIP-2935 keeps."""
        known = max(0, self.block_number - 8_191) <= block_number < self.block_number
        return keccak256(b"block %d" % block_number) if known else None

    def get_blob(self, blob_hash: bytes) -> bytes | None:
        return self.blobs.get(blob_hash)

    def snapshot(self) -> Any:
        return super().snapshot(), self.blobs

    def revert(self, snapshot: Any) -> None:
        super().revert(snapshot[0])
        self.blobs = snapshot[1]

    def commit(self, snapshot: Any) -> None:
        super().commit(snapshot[0])


@dataclass(frozen=True)
class Result:
    output: bytes
    error: Exception | None
    logs: tuple[Any, ...]
    gas_used: int

    @property
    def ok(self) -> bool:
        return self.error is None


class Reverted(Exception):
    """A call that failed: the error's name and values, as tools decode them."""

    def __init__(self, name: str, values: tuple[Any, ...], result: Result) -> None:
        super().__init__(f"{name}{values}")
        self.name = name
        self.values = values
        self.result = result


class Finals:
    """The final blocks of a made-up chain, as a contract's indexes open them."""

    def __init__(self) -> None:
        self._states: dict[Hash32, Any] = {}
        """The newest last."""
        self._made = 0

    def add(self, state: Any) -> Base:
        """Another block; `state` has `number`, `load` and `get_blob`. It may leave numbers out."""
        self._made += 1
        self._states[keccak256(self._made.to_bytes(8, "big"))] = state
        return Base(self.tip())

    def take_back(self, number: int) -> Base:
        """To the newest block of at most that number."""
        while self._states[self.tip()].number > number:
            self._states.popitem()
        return Base(self.tip())

    def tip(self) -> Hash32:
        return next(reversed(self._states))

    def number_of(self, block_hash: Hash32) -> int | None:
        state = self._states.get(block_hash)
        return None if state is None else int(state.number)

    def open(self, block_hash: Hash32) -> Any:
        return self._states[block_hash]


@dataclass(frozen=True)
class RootState:
    """One account's storage under a state root, and the chain's blobs as they are whenever one is asked for."""

    number: int
    state: Any
    address: Address
    chain: "Chain"

    def load(self, slot: int) -> int:
        return int(self.state.get_storage(self.address, slot))

    def store(self, slot: int, value: int) -> None:
        raise AssertionError("an index writes storage")

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self.chain.state.blobs.get(blob_hash)


class Chain:
    """Accounts, blocks and calls. Each `call` is a transaction of its own, without intrinsic gas or fees."""

    def __init__(self, *contracts: NativeContract, finals: Finals | None = None) -> None:
        """Where the first contract's indexes are to open final states, it is told of each block by `finals`."""
        self.contracts = contracts
        self.finals = finals
        natives = {contract.address: contract for contract in contracts}
        computation = type(
            "HarnessComputation", (PragueComputation,), {"_precompiles": {**PragueComputation._precompiles, **natives}}
        )
        self.number, self.time = 1, START_TIME
        self._state_class = type("HarnessState", (BlobState,), {"computation_class": computation})
        self._db = AtomicDB()
        self.state: Any = None
        self._open(BLANK_ROOT_HASH, {})
        for contract in contracts:
            self.state.set_nonce(contract.address, 1)
            self.state.set_code(contract.address, b"\xfe")
        self._finalize()

    def _context(self) -> ExecutionContext:
        return ExecutionContext(b"\xcc" * 20, self.time, self.number, 0, bytes(32), 30_000_000, [], CHAIN_ID, 10**9, 0)

    def _open(self, state_root: bytes, blobs: dict[bytes, bytes]) -> None:
        self.state = self._state_class(self._db, self._context(), state_root)
        self.state.blobs = blobs

    def checkpoint(self) -> Callable[[], None]:
        """A function that takes the chain back to this state: what was executed since belongs to a block that lost."""
        self.state.persist()
        root, blobs, number, time = self.state.state_root, self.state.blobs, self.number, self.time

        def go_back() -> None:
            self.number, self.time = number, time
            self._open(root, blobs)
            if self.finals is not None:
                self.state.base = self.finals.take_back(number - 1)

        return go_back

    def next_block(self, seconds: int = 1, blocks: int = 1) -> None:
        self.number += blocks
        self.time += seconds
        self.state.execution_context = self._context()
        self._finalize()

    def _finalize(self) -> None:
        if self.finals is not None:
            self.state.persist()
            state = self._state_class(self._db, self._context(), self.state.state_root)
            self.state.base = self.finals.add(RootState(self.number - 1, state, self.contracts[0].address, self))

    def fund(self, who: bytes, amount: int) -> None:
        self.state.set_balance(who, self.state.get_balance(who) + amount)

    def call(
        self, sender: bytes, to: bytes, data: bytes = b"", value: int = 0, gas: int = 100_000_000, static: bool = False
    ) -> Result:
        self.state.lock_changes()
        self.state._account_db._accessed_accounts = type(self.state._account_db._accessed_accounts)()
        self.state.mark_address_warm(sender)
        message = Message(gas, to, sender, value, data, self.state.get_code(to), is_static=static)
        context = CancunTransactionContext(0, sender)
        done = self.state.computation_class.apply_message(self.state, message, context)
        error = done.error if done.is_error else None
        return Result(done.output, error, done.get_log_entries(), done.get_gas_used())

    def deploy(self, address: bytes, initcode: bytes, sender: bytes = b"\xdd" * 20) -> bytes:
        message = Message(100_000_000, b"", sender, 0, b"", initcode, create_address=address)
        context = CancunTransactionContext(0, sender)
        done = self.state.computation_class.apply_create_message(self.state, message, context)
        done.raise_if_error()
        return address


class Bound:
    """A native contract on a chain, called by method name: `bound.add(5, sender=…)` gives the decoded result or `Reverted`."""

    def __init__(self, chain: Chain, contract: NativeContract, sender: bytes) -> None:
        self.chain = chain
        self.contract = contract
        self.sender = sender
        self._methods = {found.signature.name: found for found in contract.methods.values()}
        self.last: Result | None = None

    def data(self, name: str, *values: Any) -> bytes:
        signature = self._methods[name].signature
        types = [parameter.type.canonical for parameter in signature.inputs]
        return signature.selector + eth_abi.encode(types, values)

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name)

    def _call(self, name: str, *values: Any, sender: bytes | None = None, value: int = 0, **options: Any) -> Any:
        result = self.chain.call(
            sender or self.sender, self.contract.address, self.data(name, *values), value, **options
        )
        self.last = result
        if not result.ok:
            raise self.decode_error(result)
        outputs = [parameter.type.canonical for parameter in self._methods[name].signature.outputs]
        decoded = eth_abi.decode(outputs, result.output)
        return decoded[0] if len(decoded) == 1 else decoded

    def decode_error(self, result: Result) -> Reverted:
        for error in (*self.contract.errors, *framework_errors()):
            if result.output[:4] == error.signature.selector:
                types = [parameter.type.canonical for parameter in error.signature.inputs]
                return Reverted(error.signature.name, eth_abi.decode(types, result.output[4:]), result)
        return Reverted(type(result.error).__name__, (), result)

    def events(self, name: str, result: Result | None = None) -> list[dict[str, Any]]:
        """The logs of one event, decoded with eth_abi."""
        declared = next(event for event in self.contract.events if event.signature.name == name)
        found = []
        for address, topics, data in (result or self.last).logs:  # type: ignore[union-attr]  # there was a call
            if address != self.contract.address or topics[0] != declared.topic:
                continue
            inputs = declared.signature.inputs
            plain = eth_abi.decode([inputs[i].type.canonical for i in declared.plain], data)
            indexed = [
                eth_abi.decode([inputs[i].type.canonical], topic.to_bytes(32, "big"))[0]
                for i, topic in zip(declared.indexed, topics[1:], strict=True)
            ]
            by_place = dict(zip(declared.indexed, indexed, strict=True)) | dict(zip(declared.plain, plain, strict=True))
            found.append({parameter.name: by_place[i] for i, parameter in enumerate(inputs)})
        return found


def framework_errors() -> tuple[Any, ...]:
    from evm_runtime.native.contract import FRAMEWORK_ERRORS

    return FRAMEWORK_ERRORS


def address(number: int) -> Address:
    """A made-up account."""
    return Address(number.to_bytes(20, "big"))
