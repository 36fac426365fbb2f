"""What a tracer hears, and the computation class that tells it.

A trace is a second execution with a `Recorder` around it. The traced class says when frames begin and end, the state's step
hook says before each opcode that it is about to run. Code in traced frames is interpreted by the reference loop; a trace never
changes a result.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, cast

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.exceptions import VMError

from evm_runtime.computation import Computation, State
from evm_runtime.tracing.frames import CALL_KINDS, Attempt, Ending, Frame, address_of_word, stack_of
from evm_runtime.transaction import Transaction
from evm_runtime.transition import Outcome
from evm_runtime.vm_errors import OutOfWork
from evm_runtime.work import WorkExceeded
from genesis.primitives import Address

STOP, SELFDESTRUCT = 0x00, 0xFF
_PUSH1, _PUSH32 = 0x60, 0x7F


class Tracer:
    """Hears of everything, in order, and answers with JSON. All methods but `result` do nothing by default."""

    def begin(self, state: State, tx: Transaction) -> None:
        """The transaction is about to run."""

    def step(self, computation: Computation, opcode: int, place: int) -> None:
        """The opcode at `place` is about to run; nothing of it has been charged."""

    def enter(self, frame: Frame) -> None:
        """A message begins: a call, a creation, or a SELFDESTRUCT's transfer. (Not for the transaction's own.)"""

    def leave(self, ending: Ending) -> None:
        """The innermost message has ended."""

    def log(self, address: Address, topics: Sequence[int], data: bytes) -> None:
        """A log entry, maybe reverted later."""

    def finish(self, ending: Ending) -> None:
        """The transaction's own message has ended."""

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        """The trace, as JSON values. `state` is that after the transaction."""
        raise NotImplementedError


class Recorder(Tracer):
    """Passes what happens on to several tracers, and knows the opcode that is running.

    A message that is refused before it begins (too deep, no funds, an address that is taken) is a frame for geth and none for
    py-evm: it is told of once the next opcode shows that nothing came of the call. A SELFDESTRUCT is told of when its frame
    has ended well.
    """

    def __init__(self, tracers: Sequence[Tracer]) -> None:
        self._tracers: Final = tracers
        self.opcode = 0
        self._calls: list[Attempt | None] = [None]
        """For each frame: the call or creation that is running, until a message comes of it."""
        self._destruction: Frame | None = None

    def on_step(self, computation: Computation, opcode: int) -> None:
        """The state's step hook."""
        code = computation.msg.code
        place = computation.code.program_counter
        if opcode != STOP or place < len(code) or _ends_in_stop(code):
            place -= 1  # else it is the STOP that stands, unwritten, behind every code
        elif not code:
            return
        attempt = self._calls[-1]
        if attempt is not None:
            self._tell_refused(attempt, computation)
        self.opcode = opcode
        for tracer in self._tracers:
            tracer.step(computation, opcode, place)
        if opcode in CALL_KINDS:
            self._calls[-1] = Attempt(computation, opcode)
        elif opcode == SELFDESTRUCT:
            self._destruction = _destruction(computation)

    def enter(self, frame: Frame) -> None:
        self._calls[-1] = None
        self._calls.append(None)
        for tracer in self._tracers:
            tracer.enter(frame)

    def leave(self, ending: Ending) -> None:
        self._tell_destruction(ending)
        self._calls.pop()
        for tracer in self._tracers:
            tracer.leave(ending)

    def log(self, address: Address, topics: Sequence[int], data: bytes) -> None:
        for tracer in self._tracers:
            tracer.log(address, topics, data)

    def finish(self, ending: Ending) -> None:
        self._tell_destruction(ending)
        for tracer in self._tracers:
            tracer.finish(ending)

    def _tell_refused(self, attempt: "Attempt", computation: Computation) -> None:
        frame, ending = attempt.refused(computation)
        self.enter(frame)
        self.leave(ending)

    def _tell_destruction(self, ending: Ending) -> None:
        frame, self._destruction = self._destruction, None
        if frame is not None and ending.error is None:
            for tracer in self._tracers:
                tracer.enter(frame)
                tracer.leave(Ending(0, b"", None))


def traced_class(computation: type[Computation], recorder: Recorder) -> type[Computation]:
    """`computation`, telling `recorder` of its frames and logs."""
    return type("TracedComputation", (_Traced, computation), {"recorder": recorder})


class _Traced(Computation):
    recorder: Recorder

    @classmethod
    def apply_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        if message.is_create:  # within apply_create_message, which tells of it
            return super().apply_message(state, message, transaction_context, parent_computation)
        run = super().apply_message
        return cls._told(message, lambda: run(state, message, transaction_context, parent_computation))

    @classmethod
    def apply_create_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        run = super().apply_create_message
        return cls._told(message, lambda: run(state, message, transaction_context, parent_computation))

    @classmethod
    def _told(cls, message: MessageAPI, run: Any) -> ComputationAPI:
        recorder, inner = cls.recorder, message.depth > 0
        if inner:
            recorder.enter(_frame(message, recorder.opcode))
        tell = recorder.leave if inner else recorder.finish
        try:
            computation = cast(ComputationAPI, run())
        except VMError as error:
            tell(Ending(message.gas, b"", error))
            raise
        except WorkExceeded:
            tell(Ending(message.gas, b"", OutOfWork("the transaction passed its limit of work")))
            raise
        failure = computation.error if computation.is_error else None
        tell(Ending(computation.get_gas_used(), computation.output, failure))
        return computation

    def add_log_entry(self, account: Any, topics: Any, data: bytes) -> None:
        super().add_log_entry(account, topics, data)
        self.recorder.log(Address(account), list(topics), bytes(data))


def _destruction(computation: Computation) -> Frame | None:
    stack = stack_of(computation)
    if not stack or computation.msg.is_static:
        return None
    address = Address(computation.msg.storage_address)
    balance = computation.state.account_db.get_balance(address)
    return Frame("SELFDESTRUCT", address, address_of_word(stack[-1]), balance, 0, b"")


@lru_cache(maxsize=256)
def _ends_in_stop(code: bytes) -> bool:
    """Whether the last byte is a STOP, rather than another opcode or data of a PUSH."""
    place, last = 0, 0
    while place < len(code):
        last = place
        place += code[place] - _PUSH1 + 2 if _PUSH1 <= code[place] <= _PUSH32 else 1
    return bool(code) and last == len(code) - 1 and code[last] == STOP


def _frame(message: MessageAPI, opcode: int) -> Frame:
    kind = CALL_KINDS.get(opcode, "CALL")
    sender, to, data = message.sender, message.to, bytes(message.data)
    if message.is_create:
        to, data = message.storage_address, bytes(message.code)
    elif kind in ("DELEGATECALL", "CALLCODE"):
        sender, to = message.storage_address, message.code_address
    value = None if kind == "STATICCALL" else message.value
    return Frame(kind, Address(sender), Address(to), value, message.gas, data)
