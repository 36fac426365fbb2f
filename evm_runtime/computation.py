"""Prague on py-evm: our State and Computation classes over the flat account database. (`hardforks.py` has what came later.)

py-evm's opcodes and precompiles are the reference for what code does. Ours is what surrounds them: messages, snapshots,
creation, the loop, native contracts. Where this differs from py-evm's own classes it is to avoid its traps:

- Logs, refunds and destroyed accounts live in the account database under its undo log; finished child computations are
  dropped. py-evm keeps the whole call tree and walks it anew at each depth, which is quadratic in time and unbounded in memory.
- Initcode gas is part of the intrinsic gas of a transaction; py-evm charges it again to any CREATE made in the sender's name.
- The coinbase is warmed once per transaction, not once per call.
- System contracts are part of the genesis state; py-evm's `set_system_contracts` has its condition inverted.

Native contracts (and nothing else of ours) are dispatched by code address. DELEGATECALL, CALLCODE and delegated code run in
another account's name: there a native contract does nothing and succeeds with empty output.

Stack: a message at depth 1024 needs about 10,000 Python frames, which py-evm's import allows (`sys.setrecursionlimit`), and
1 MB or more of C stack: whoever runs this in a thread sets `threading.stack_size` (64 MiB is plenty) before starting it.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, Protocol, cast

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.exceptions import Halt, InsufficientFunds, StackDepthLimit, VMError
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth.vm.gas_meter import GasMeter
from eth.vm.memory import Memory
from eth.vm.stack import Stack

from evm_runtime import (
    keccak_backend,  # noqa: F401  # chooses the keccak back end before py-evm hashes
    work,
)
from evm_runtime.blobs import blob_base_fee
from evm_runtime.code import Code
from evm_runtime.gas import CODE_BYTES_MAX, INITCODE_BYTES_MAX
from evm_runtime.hardforks import PRAGUE, BlobSchedule, Fork
from evm_runtime.native.base import Base
from evm_runtime.precompiles import Precompile
from evm_runtime.receipt import Log
from evm_runtime.state.account_db import AccountDB
from evm_runtime.system_contracts import HISTORY_ADDRESS, HISTORY_WINDOW
from evm_runtime.vm_errors import CodeDepositOutOfGas, CodeTooLarge, InitcodeTooLarge
from genesis.primitives import Address, Hash32

CALL_DEPTH_MAX: Final = 1_024
CODE_DEPOSIT_GAS: Final = 200
BLOCKHASH_WINDOW: Final = 256

StepHook = Callable[["Computation", int], None]
"""Called with each opcode before it runs, the program counter just behind it: for tracers. Such frames are interpreted."""
Poll = Callable[[], None]
"""Called now and then in every frame and every loop, by any tier: the place of interrupts. It may raise."""


class Tier(Protocol):
    """Something faster than the reference loop that does exactly the same."""

    def run(self, computation: "Computation") -> None:
        """Run a new frame to its end, as `interpret` would."""
        ...


class Computation(PragueComputation):
    """One call frame. Subclassed by `computation_class` with a fork and the native contracts of a chain."""

    opcodes = cast(Any, PRAGUE.opcodes)
    natives: ClassVar[Mapping[Address, Precompile]] = {}
    tier: ClassVar[Tier | None] = None
    blobs: ClassVar[BlobSchedule] = PRAGUE.blobs
    _precompiles = cast(Any, PRAGUE.precompiles)
    warm: ClassVar[frozenset[Address]] = frozenset(PRAGUE.precompiles)
    """The addresses that every transaction finds warm: precompiles and natives, also where a call takes them away."""
    tells_movements: ClassVar[bool] = False
    """Whether movements of wei are logged (`tracing/transfers.py`)."""
    state: "State"

    def __init__(self, state: StateAPI, message: MessageAPI, transaction_context: TransactionContextAPI) -> None:
        """What py-evm's own does, but that the stack's methods are put in their places at once.

        py-evm finds each by a cached property, whose first use costs more than the opcode that needs it, in every frame.
        """
        self.state = cast(State, state)
        self.msg = message
        self.transaction_context = transaction_context
        self.code = Code(message.code)
        self._gas_meter = GasMeter(message.gas)
        self.children, self.accounts_to_delete, self.beneficiaries, self._log_entries = [], [], [], []
        self.data_floor_cost = 0
        self._memory = Memory()
        self._stack = stack = Stack()
        places = self.__dict__
        places["stack_pop_ints"], places["stack_pop_bytes"] = stack.pop_ints, stack.pop_bytes
        places["stack_pop_any"], places["stack_pop1_any"] = stack.pop_any, stack.pop1_any
        places["stack_pop1_int"], places["stack_pop1_bytes"] = stack.pop1_int, stack.pop1_bytes
        places["stack_push_int"], places["stack_push_bytes"] = stack.push_int, stack.push_bytes

    # ------------------------------------------------------------ messages

    @classmethod
    def apply_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        """Move the value, run the code; an error undoes both."""
        db = cast(State, state).account_db
        if message.depth > CALL_DEPTH_MAX:
            raise StackDepthLimit("stack depth limit reached")
        if message.depth:
            moves = message.value and message.should_transfer_value
            db.do_work(work.FRAME_WORK + message.depth * work.DEPTH_WORK + (work.ACCOUNT_WRITE_WORK if moves else 0))
        checkpoint = db.record()
        if message.value and message.should_transfer_value:
            balance = db.get_balance(message.sender)
            if balance < message.value:
                raise InsufficientFunds(f"insufficient funds for transfer: have {balance}, want {message.value}")
            db.set_balance(message.sender, balance - message.value)
            db.set_balance(message.storage_address, db.get_balance(message.storage_address) + message.value)
        db.touch_account(message.storage_address)
        computation = cls.apply_computation(state, message, transaction_context, parent_computation)
        if computation.is_error:
            db.discard(checkpoint)
        return computation

    @classmethod
    def apply_create_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        """Run initcode and keep what it returns as code (EIP-161 nonce, EIP-170 size, EIP-3541 first byte, EIP-3860)."""
        if len(message.code) > INITCODE_BYTES_MAX:
            # Raised into the creator's own frame, which fails as a whole.
            raise InitcodeTooLarge(f"initcode of {len(message.code)} bytes is above the limit of {INITCODE_BYTES_MAX}")
        db = cast(State, state).account_db
        db.do_work(work.CREATION_WORK + (len(message.code) + 31) // 32 * work.INITCODE_WORD_WORK)
        checkpoint = db.record()
        db.increment_nonce(message.storage_address)
        computation = cls.apply_message(state, message, transaction_context, parent_computation)
        if computation.is_error:
            db.discard(checkpoint)
            return computation
        code = computation.output
        try:
            if code:
                cls.validate_contract_code(code)
                if computation.get_gas_remaining() < len(code) * CODE_DEPOSIT_GAS:
                    raise CodeDepositOutOfGas(f"{len(code)} bytes of code can't be paid for")
                computation.consume_gas(len(code) * CODE_DEPOSIT_GAS, reason="code deposit")
                db.set_code(message.storage_address, code)
        except VMError as error:
            computation.error = error
            db.discard(checkpoint)
        return computation

    @classmethod
    def apply_computation(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        """Run a precompile, a native contract, or code. VM errors end up in the computation, nothing else is caught."""
        with cls(state, message, transaction_context) as computation:
            created: Any = parent_computation.contracts_created if parent_computation is not None else set()
            computation.contracts_created = created
            if message.is_create:
                created.add(message.storage_address)
            function = computation.precompiles.get(message.code_address)
            if function is None:
                _run(cast(Computation, computation))
            elif not message.is_delegation and _in_own_name(message, cls.natives):
                cast(Computation, computation).run_counted(function)
        return computation

    def add_child_computation(self, child_computation: ComputationAPI) -> None:
        """Take the child's return data (a successful creation returns none), and let go of the child."""
        created = child_computation.msg.is_create and not child_computation.is_error
        self.return_data = b"" if created else child_computation.output

    def run_counted(self, function: Callable[[ComputationAPI], Any]) -> None:
        """Run a precompile or native; what it charges counts as work at its rate (what its failure burns does not)."""
        if self.state.poll is not None:
            self.state.poll()
        charge, do_work = self._gas_meter.consume_gas, self.state.account_db.do_work
        do_work(work.PRECOMPILE_WORK)
        rate = work.PRECOMPILE_GAS_WORK.get(Address(self.msg.code_address), work.NATIVE_GAS_WORK)

        def consume_gas(amount: int, reason: str) -> None:
            charge(amount, reason)
            do_work(amount * rate)

        self.consume_gas = consume_gas  # type: ignore[method-assign]  # of this frame alone
        try:
            function(self)
        finally:
            del self.consume_gas

    @classmethod
    def validate_contract_code(cls, contract_code: bytes) -> None:
        """EIP-170, EIP-3541. Raises CodeTooLarge, ReservedBytesInCode."""
        if len(contract_code) > CODE_BYTES_MAX:
            raise CodeTooLarge(f"code of {len(contract_code)} bytes is above the limit of {CODE_BYTES_MAX}")
        super().validate_contract_code(contract_code)

    # ------------------------------------------------------------ effects under the undo log

    def add_log_entry(self, account: Any, topics: Iterable[int], data: bytes) -> None:
        words = tuple(Hash32(topic.to_bytes(32, "big")) for topic in topics)
        self.state.account_db.add_event(Log(Address(account), words, bytes(data)))

    def refund_gas(self, amount: int) -> None:
        self.state.account_db.add_refund(amount)

    def before_selfdestruct(self) -> None:
        """Called by SELFDESTRUCT before it does anything, the beneficiary on top of the stack if it is there."""

    def register_account_for_deletion(self, beneficiary: Any) -> None:
        self.state.account_db.mark_destroyed(Address(self.msg.storage_address))


def _in_own_name(message: MessageAPI, natives: Mapping[Address, Precompile]) -> bool:
    """False for native code that would run on another account's storage and balance."""
    return Address(message.code_address) not in natives or message.storage_address == message.code_address


def _run(computation: Computation) -> None:
    """The frame's code, by the reference loop where somebody watches its opcodes."""
    tier = computation.tier
    try:
        if tier is None or computation.state.step_hook is not None:
            interpret(computation)
        elif computation.msg.code:
            tier.run(computation)
        elif computation.state.poll is not None:
            computation.state.poll()  # a tier asks for each frame with code
    except Halt:
        pass


def interpret(computation: Computation) -> None:
    """The reference: py-evm's opcode loop, from the program counter on. Ends by Halt or a VM error.

    Opcodes are objects. Calling one goes through C, whose depth CPython 3.12 limits to less than 1,024 calls need; calling its
    method `__call__` does not, and is a fifth faster.
    """
    opcodes = computation.opcodes
    hook, poll = computation.state.step_hook, computation.state.poll
    if hook is None and poll is None:
        for opcode in computation.code:
            opcodes[opcode].__call__(computation=computation)
    else:
        for opcode in computation.code:
            if hook is not None:
                hook(computation, opcode)
            if poll is not None:
                poll()
            opcodes[opcode].__call__(computation=computation)


def computation_class(
    natives: Mapping[Address, Precompile],
    tier: Tier | None,
    fork: Fork = PRAGUE,
    precompiles: Mapping[Address, Precompile] | None = None,
    replaced: Container[Address] = (),
) -> type[Computation]:
    """A Computation class of a fork that knows `natives`, and runs code in `tier` where it can.

    Who means the reference loop says so with None: it is a hundred times slower.
    Natives count as precompiles: warm from the start (EIP-2929). `precompiles` are what a call takes them to be instead of the
    fork's, `replaced` are natives in whose place it has code run; what is warm does not change by either.
    """
    clash = sorted(address.hex() for address in natives if address in fork.precompiles)
    if clash:
        raise ValueError(f"0x{clash[0]} is the address of a precompile")
    left = {at: native for at, native in natives.items() if at not in replaced}
    members = {
        "natives": left,
        "tier": tier,
        "opcodes": fork.opcodes,
        "blobs": fork.blobs,
        "_precompiles": {**(fork.precompiles if precompiles is None else precompiles), **left},
        "warm": frozenset((*fork.precompiles, *natives)),
    }
    return type("ChainComputation", (Computation,), members)


class State(PragueState):
    """py-evm's view of the state within one block: the account database and the block's context."""

    def __init__(self, db: AccountDB, context: ExecutionContext, computation: type[Computation], base: Base) -> None:
        """`base` is what the state stood on before anything was executed in it."""
        self._base: Final = base
        self._account_db = db
        self.account_db: Final = db
        self.execution_context = context
        self.computation_class = computation
        self._always_warm: Final = computation.warm
        self.step_hook: StepHook | None = None
        self.poll: Poll | None = None
        self.tier_data: Any = None
        """What the computation's tier keeps for as long as this state is used."""
        self.made_up_hashes: Mapping[int, Hash32] = {}
        """The hashes of ancestors, for calls with block overrides."""
        self.newest_ancestor: int | None = None
        """The last block whose hash the ring holds, where that is not the one before this: for calls with a height made up."""
        self.made_up_blob_base_fee: int | None = None

    @property
    def base(self) -> Base:
        """What natives may learn from."""
        return replace(self._base, poll=self.poll)

    @property
    def blob_base_fee(self) -> int:
        """Wei per blob gas (EIP-7516)."""
        if self.made_up_blob_base_fee is not None:
            return self.made_up_blob_base_fee
        return blob_base_fee(cast(int, self.execution_context.excess_blob_gas), self.blob_schedule)

    @property
    def block_base_fee(self) -> int:
        """Wei per gas."""
        return cast(int, self.execution_context.base_fee_per_gas)

    @property
    def blob_schedule(self) -> BlobSchedule:
        return cast(type[Computation], self.computation_class).blobs

    def snapshot(self) -> Any:
        return self.account_db.record()

    def revert(self, snapshot: Any) -> None:
        self.account_db.discard(snapshot)

    def commit(self, snapshot: Any) -> None:
        self.account_db.commit(snapshot)

    def is_address_warm(self, address: Any) -> bool:
        return self.account_db.is_address_warm(address) or address in self._always_warm

    def get_transient_storage(self, address: Any, slot: int) -> bytes:
        return self.account_db.get_transient_storage(address, slot)

    def set_transient_storage(self, address: Any, slot: int, value: bytes) -> None:
        self.account_db.set_transient_storage(address, slot, value)

    def get_ancestor_hash(self, block_number: int) -> Any:
        """BLOCKHASH, from EIP-2935's ring in the state: the last 256 blocks, empty bytes (zero) for any other."""
        if block_number < self.block_number - BLOCKHASH_WINDOW:
            return b""
        return self.get_block_hash(block_number) or b""

    def get_block_hash(self, block_number: int) -> Hash32 | None:
        """An earlier block's hash, for native contracts: what EIP-2935's ring has of the last 8,191, None of any other."""
        if not max(0, self.block_number - HISTORY_WINDOW) <= block_number < self.block_number:
            return None
        if block_number in self.made_up_hashes:
            return self.made_up_hashes[block_number]
        if self.newest_ancestor is not None and block_number > self.newest_ancestor:
            return None  # the ring holds a block of 8,191 heights before in that place
        stored = self.account_db.get_storage(HISTORY_ADDRESS, block_number % HISTORY_WINDOW)
        return Hash32(stored.to_bytes(32, "big")) if stored else None

    def put_blob(self, content: bytes) -> Hash32:
        """Keep content by its keccak, journaled like code (for native contracts)."""
        return self.account_db.put_blob(content)

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self.account_db.get_blob(blob_hash)
