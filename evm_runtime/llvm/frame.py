"""A frame's buffer as Python sees it, and the going in and out: what a frame is given, memory, gas, the stack.

Buffers are pooled: a frame's costs more to make than to run it. Any thread may take any buffer, for taking one out of the
pool is one step under the interpreter's lock; while it is out, it is one frame's alone. What an earlier frame left in it is
never seen: the stack is written before it is read, all else is set anew.
"""

import struct
from typing import Any, Final, cast

from evm_runtime.code import Code
from evm_runtime.computation import Computation
from evm_runtime.llvm.engine import Engine, address_of_bytearray, address_of_bytes
from evm_runtime.llvm.layout import ENVIRONMENT, FIELDS, FRAME_BYTES, FRAME_WORDS, STACK, WORD_BYTES, Field

SLICE_GAS: Final = 200_000
"""What native code may use before it comes back to Python: at most about a millisecond."""
POLLED_SLICE_GAS: Final = 50_000
"""The same where somebody wants to be asked (`State.poll`)."""

_FIRST_MEMORY: Final = bytes(1_024)
_MORE_MEMORY: Final = bytes(16_384)
"""Memory's capacity grows by so much. Every word costs at least 3 gas, so leaving for it costs 1 ns or so per gas."""

_FIELDS: Final = struct.Struct(f"<{FIELDS}q")
_FRAME_WORDS: Final = struct.Struct("12x20s12x20s32s")
_SHARED_WORDS_AT: Final = ENVIRONMENT + WORD_BYTES * len(FRAME_WORDS)
_POOLED_MAX: Final = 64


class Surroundings:
    """What the frames of one state share: the block's words, the transaction's, the jump destinations of each code.

    Those are kept as long as the state is, which holds the codes anyway: so no code is scanned twice in a block, however many
    it calls. Initcode, which nobody else holds, is not kept.
    """

    def __init__(self, state: Any, engine: Engine) -> None:
        self._engine: Final = engine
        self._codes: Final[dict[bytes, tuple[int, int, tuple[bytes, bytearray]]]] = {}
        self._transaction: Any = None
        self._words = b""
        self._block_words: Final = b"".join(
            (
                bytes(12) + state.coinbase,
                *(number.to_bytes(WORD_BYTES, "big") for number in (state.timestamp, state.block_number)),
                state.mix_hash,
                *(
                    number.to_bytes(WORD_BYTES, "big")
                    for number in (
                        state.gas_limit,
                        state.execution_context.chain_id,
                        state.base_fee,
                        state.blob_base_fee,
                    )
                ),
            )
        )

    def words(self, transaction: Any) -> bytes:
        """The words from ORIGIN to BLOBBASEFEE, in layout's order."""
        if transaction is not self._transaction:
            self._transaction = transaction
            gas_price = transaction.gas_price.to_bytes(WORD_BYTES, "big")
            self._words = bytes(12) + transaction.origin + gas_price + self._block_words
        return self._words

    def addresses(self, code: bytes, *, is_initcode: bool) -> tuple[int, int, tuple[bytes, bytearray]]:
        """(address of the code, address of the bitmap of its jump destinations, both: they must outlive their addresses)"""
        found = None if is_initcode else self._codes.get(code)
        if found is None:
            bitmap = self._engine.jump_bitmap(code)
            found = address_of_bytes(code), address_of_bytearray(bitmap), (code, bitmap)
            if not is_initcode:
                self._codes[code] = found
        return found


class Frame:
    """One call frame while it runs natively. `fields` are the numbers that `layout.Field` names, `buffer` is all of it."""

    __slots__ = (
        "address",
        "buffer",
        "code",
        "computation",
        "data",
        "fields",
        "memory",
        "returned",
        "slice_gas",
        "words",
    )

    def __init__(self) -> None:
        self.buffer: Final = bytearray(FRAME_BYTES)
        self.fields: Final = memoryview(self.buffer)[: 8 * FIELDS].cast("q")
        self.address: Final[int] = address_of_bytearray(self.buffer)
        self.computation: Computation
        self.code = b"", bytearray()
        self.memory = bytearray()
        self.data = self.returned = self.words = b""
        self.slice_gas = SLICE_GAS

    def begin(self, computation: Computation, table: int, surroundings: Surroundings) -> None:
        """Make it the frame of a computation that has not run yet."""
        message, transaction = computation.msg, computation.transaction_context
        self.computation = computation
        data = message.data
        self.data = data = data if type(data) is bytes else bytes(data)
        self.memory = memory = computation._memory._bytes  # type: ignore[attr-defined]
        memory.extend(_FIRST_MEMORY)
        self.slice_gas = SLICE_GAS if computation.state.poll is None else POLLED_SLICE_GAS
        gas = computation._gas_meter.gas_remaining
        first = min(gas, self.slice_gas)
        code, jumps, self.code = surroundings.addresses(message.code, is_initcode=message.is_create)
        _FIELDS.pack_into(
            self.buffer, 0,
            0, STACK, first, gas - first, table,
            code, len(message.code), jumps,
            address_of_bytes(data), len(data), 0, 0,
            address_of_bytearray(memory), 0, len(memory), 0,
            0, 0, 0, len(transaction.blob_versioned_hashes), 0,
        )  # fmt: skip
        sender, value = message.sender, message.value.to_bytes(WORD_BYTES, "big")
        _FRAME_WORDS.pack_into(self.buffer, ENVIRONMENT, message.storage_address, sender, value)
        words = surroundings.words(transaction)
        if words is not self.words:
            self.words = words
            self.buffer[_SHARED_WORDS_AT : _SHARED_WORDS_AT + len(words)] = words

    def end(self) -> None:
        del self.computation
        self.memory = bytearray()
        self.data = self.returned = b""

    # ------------------------------------------------------------ gas

    @property
    def gas(self) -> int:
        return self.fields[Field.GAS] + self.fields[Field.RESERVE]

    @gas.setter
    def gas(self, gas: int) -> None:
        first = gas if gas < self.slice_gas else self.slice_gas
        self.fields[Field.GAS] = first
        self.fields[Field.RESERVE] = gas - first

    def use_reserve(self) -> None:
        """Let the run go on: to its end, or for another slice where somebody wants to be asked first."""
        poll = self.computation.state.poll
        reserve, more = self.fields[Field.RESERVE], self.fields[Field.RESERVE]
        if poll is not None:
            poll()
            more = min(reserve, self.slice_gas)
        self.fields[Field.GAS] += more
        self.fields[Field.RESERVE] = reserve - more

    def after_call(self) -> None:
        """Take over what a call or creation has changed: return data, and maybe the own balance."""
        returned, fields = bytes(self.computation.return_data), self.fields
        self.returned = returned
        fields[Field.RETURNED] = address_of_bytes(returned)
        fields[Field.RETURNED_SIZE] = len(returned)
        fields[Field.BALANCE_KNOWN] = 0

    def count_work(self) -> None:
        """Count what native code has done since it was last asked. Raises WorkExceeded."""
        amount = self.fields[Field.WORK]
        self.fields[Field.WORK] = 0
        self.computation.state.account_db.do_work(amount)

    # ------------------------------------------------------------ memory

    def trim_memory(self) -> None:
        """Give memory the size that the EVM takes it to have, for Python to work on."""
        size = self.fields[Field.MEMORY_SIZE]
        try:
            del self.memory[size:]
        except BufferError:  # py-evm left a view of it behind
            self._take_memory(self.memory[:size])

    def spare_memory(self) -> None:
        """After Python has worked on it: there is room again, for most frames need little."""
        memory = self.computation._memory._bytes  # type: ignore[attr-defined]
        self.fields[Field.MEMORY_SIZE] = len(memory)
        self._extend_memory(memory, _FIRST_MEMORY)

    def grow_memory(self) -> None:
        """Give memory the capacity that native code left for. It has paid for the growth already, or will before it uses it."""
        missing = self.fields[Field.REACH] - len(self.memory)
        self._extend_memory(self.memory, _MORE_MEMORY if missing <= len(_MORE_MEMORY) else bytes(missing))

    def _extend_memory(self, memory: bytearray, zeros: bytes) -> None:
        try:
            memory.extend(zeros)
        except BufferError:
            memory = memory + zeros
        self._take_memory(memory)

    def _take_memory(self, memory: bytearray) -> None:
        self.memory = self.computation._memory._bytes = memory  # type: ignore[attr-defined]
        self.fields[Field.MEMORY] = address_of_bytearray(memory)
        self.fields[Field.MEMORY_CAPACITY] = len(memory)

    # ------------------------------------------------------------ the stack

    def give_items(self, count: int) -> None:
        """Move the `count` topmost items to py-evm's stack."""
        end = self.fields[Field.SP]
        start = end - WORD_BYTES * count
        raw = bytes(self.buffer[start:end])
        self.computation._stack.values.extend(  # type: ignore[attr-defined]
            [int.from_bytes(raw[at : at + WORD_BYTES], "little") for at in range(0, len(raw), WORD_BYTES)]
        )
        self.fields[Field.SP] = start

    def retreat(self) -> None:
        """Put everything where py-evm's loop expects it, before the instruction."""
        computation, fields = self.computation, self.fields
        self.give_items((fields[Field.SP] - STACK) // WORD_BYTES)
        self.trim_memory()
        computation._gas_meter.gas_remaining = self.gas
        computation.code.program_counter = fields[Field.PC]
        cast(Code, computation.code).jump_bitmap = self.code[1]

    def output(self) -> bytes:
        """What RETURN and REVERT point at."""
        start = self.fields[Field.OFFSET]
        return bytes(self.memory[start : start + self.fields[Field.SIZE]])


_pool: Final[list[Frame]] = []


def take_frame() -> Frame:
    try:
        return _pool.pop()
    except IndexError:
        return Frame()


def give_back(frame: Frame) -> None:
    """For the next one to use, unless there are many."""
    frame.end()
    if len(_pool) < _POOLED_MAX:
        _pool.append(frame)
