"""The opcodes that Python runs for native code: those that touch the state, other accounts, and logs.

Each takes its arguments from the frame's stack, charges what py-evm's opcode charges, static gas included, and leaves the
frame at the next instruction. VM errors and Halt are raised as the opcodes raise them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from eth.exceptions import OutOfGas
from eth.vm.stack import to_int

from evm_runtime.llvm.frame import Frame
from evm_runtime.llvm.layout import ENVIRONMENT_OFFSETS, SELFBALANCE, WORD_BYTES, Field
from evm_runtime.opcode_effects import keccak, log, sload, sstore, tload, tstore
from evm_runtime.opcodes import STACK_EFFECT

Exit = Callable[[Frame], None]

_SELFDESTRUCT: Final = 0xFF
_CALLS: Final = frozenset({0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA})
"""CREATE, CALL, CALLCODE, DELEGATECALL, CREATE2, STATICCALL."""
_EXTCODECOPY: Final = 0x3C


def make_exits(opcodes: Mapping[int, Any]) -> dict[int, Exit]:
    """What runs each opcode of a fork that native code leaves for."""
    exits: dict[int, Exit] = {op: _by_reference(op, opcodes[op]) for op in STACK_EFFECT}
    exits[0x20] = _keccak(int(opcodes[0x20].gas_cost))
    exits[0x54] = _sload
    exits[0x55] = _sstore
    exits[0x5C] = _tload(int(opcodes[0x5C].gas_cost))
    exits[0x5D] = _tstore(int(opcodes[0x5D].gas_cost))
    for topics in range(5):
        exits[0xA0 + topics] = _log(topics, int(opcodes[0xA0 + topics].gas_cost))
    exits[SELFBALANCE] = _own_balance
    return exits


def _sload(frame: Frame) -> None:
    fields, buffer = frame.fields, frame.buffer
    end = fields[Field.SP]
    at = end - WORD_BYTES
    value, frame.gas = sload(frame.computation, int.from_bytes(buffer[at:end], "little"), frame.gas)
    buffer[at:end] = value.to_bytes(WORD_BYTES, "little")
    fields[Field.PC] += 1


def _sstore(frame: Frame) -> None:
    fields, buffer = frame.fields, frame.buffer
    end = fields[Field.SP]
    middle, start = end - WORD_BYTES, end - 2 * WORD_BYTES
    slot, value = int.from_bytes(buffer[middle:end], "little"), int.from_bytes(buffer[start:middle], "little")
    frame.gas = sstore(frame.computation, slot, value, frame.gas)
    fields[Field.SP] = start
    fields[Field.PC] += 1


def _charged(frame: Frame, gas: int) -> int:
    """The gas that is left after an opcode's static gas."""
    left = frame.gas - gas
    if left < 0:
        raise OutOfGas("no gas for an opcode")
    return left


def _tload(gas: int) -> Exit:
    def run(frame: Frame) -> None:
        fields, buffer = frame.fields, frame.buffer
        frame.gas = _charged(frame, gas)
        end = fields[Field.SP]
        at = end - WORD_BYTES
        value = tload(frame.computation, int.from_bytes(buffer[at:end], "little"))
        buffer[at:end] = value.to_bytes(WORD_BYTES, "little")
        fields[Field.PC] += 1

    return run


def _tstore(gas: int) -> Exit:
    def run(frame: Frame) -> None:
        fields, buffer = frame.fields, frame.buffer
        frame.gas = _charged(frame, gas)
        end = fields[Field.SP]
        middle, start = end - WORD_BYTES, end - 2 * WORD_BYTES
        slot, value = int.from_bytes(buffer[middle:end], "little"), int.from_bytes(buffer[start:middle], "little")
        tstore(frame.computation, slot, value)
        fields[Field.SP] = start
        fields[Field.PC] += 1

    return run


def _log(topics: int, gas: int) -> Exit:
    def run(frame: Frame) -> None:
        computation = frame.computation
        left = _charged(frame, gas)
        frame.give_items(topics + 2)
        values = computation._stack.values  # type: ignore[attr-defined]
        size, offset = values[-2], values[-1]
        items = tuple(values[-3 : -3 - topics : -1])
        values.clear()
        frame.trim_memory()
        frame.gas = log(computation, frame.memory, (offset, size), items, left)[0]
        frame.spare_memory()
        frame.fields[Field.PC] += 1

    return run


def _keccak(gas: int) -> Exit:
    """KECCAK256 of so much that it has to be counted before it is done."""

    def run(frame: Frame) -> None:
        fields, buffer = frame.fields, frame.buffer
        end = fields[Field.SP]
        middle, start = end - WORD_BYTES, end - 2 * WORD_BYTES
        offset, size = int.from_bytes(buffer[middle:end], "little"), int.from_bytes(buffer[start:middle], "little")
        left = _charged(frame, gas)
        word, frame.gas, _, _ = keccak(frame.computation, frame.memory, offset, size, left)
        buffer[start:middle] = word.to_bytes(WORD_BYTES, "little")
        fields[Field.SP] = middle
        fields[Field.PC] += 1

    return run


def _own_balance(frame: Frame) -> None:
    """SELFBALANCE: fetched here, and from then on known until the frame calls somebody. Native code begins it anew."""
    computation = frame.computation
    balance = computation.state.account_db.get_balance(computation.msg.storage_address)
    at = ENVIRONMENT_OFFSETS[SELFBALANCE]
    frame.buffer[at : at + WORD_BYTES] = balance.to_bytes(WORD_BYTES, "big")
    frame.fields[Field.BALANCE_KNOWN] = 1
    frame.gas = frame.gas  # to begin a slice anew, as every exit does


def _by_reference(op: int, opcode: Any) -> Exit:
    """By py-evm's own function."""
    pops, pushes = STACK_EFFECT[op]
    calls = op in _CALLS
    call = opcode.__call__  # as in `fork.interpret`
    uses_memory = calls or op == _EXTCODECOPY

    def run(frame: Frame) -> None:
        computation, fields, buffer = frame.computation, frame.fields, frame.buffer
        values, meter = computation._stack.values, computation._gas_meter  # type: ignore[attr-defined]
        end = fields[Field.SP]
        start = end - WORD_BYTES * pops
        for at in range(start, end, WORD_BYTES):
            values.append(int.from_bytes(buffer[at : at + WORD_BYTES], "little"))
        if uses_memory:
            frame.trim_memory()
        meter.gas_remaining = fields[Field.GAS] + fields[Field.RESERVE]
        call(computation=computation)
        frame.gas = meter.gas_remaining
        if pushes:
            buffer[start : start + WORD_BYTES] = to_int(values.pop()).to_bytes(WORD_BYTES, "little")
        fields[Field.SP] = start + WORD_BYTES * pushes
        if uses_memory:
            frame.spare_memory()
        if calls:
            frame.after_call()
        fields[Field.PC] += 1

    return run
