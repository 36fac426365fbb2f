"""What opcodes do that touch memory, storage or logs, gas and work included, for the tiers that run code without py-evm's loop.

Each function does what py-evm's opcode of that name does, on plain ints. Those that charge take the gas that is left and return
it; they raise OutOfGas as the opcode would. Whether that is exactly the opcode at which the reference runs out does not matter:
a frame that runs out of gas leaves nothing behind, and the error is the same.
"""

from typing import Any, Final

from eth.exceptions import OutOfGas, WriteProtection
from eth.vm.forks.london.storage import GAS_SCHEDULE_EIP3529
from sha3 import keccak_256

from evm_runtime import work
from evm_runtime.receipt import Log
from genesis.primitives import Hash32

COLD_SLOT_GAS: Final = 2_100
WARM_SLOT_GAS: Final = 100
_KECCAK_WORD_GAS: Final = 6
_LOG_BYTE_GAS: Final = 8
_LOG_TOPIC_GAS: Final = 375
_SSTORE_SENTRY_GAS: Final = 2_300


def grow(computation: Any, memory: bytearray, offset: int, size: int, gas: int) -> tuple[int, bytearray, int]:
    """Make memory reach to offset + size. Returns (gas left, memory, its size); raises OutOfGas."""
    if size == 0 or offset + size <= len(memory):
        return gas, memory, len(memory)
    words, before = (offset + size + 31) >> 5, len(memory) >> 5
    gas -= 3 * (words - before) + (words * words >> 9) - (before * before >> 9)
    if gas < 0:
        raise OutOfGas("memory")
    computation._memory.extend(offset, size)
    memory = computation._memory._bytes
    return gas, memory, len(memory)


def keccak(computation: Any, memory: bytearray, offset: int, size: int, gas: int) -> tuple[int, int, bytearray, int]:
    """(hash, gas left, memory, its size)"""
    gas, memory, length = grow(computation, memory, offset, size, gas)
    gas -= _KECCAK_WORD_GAS * ((size + 31) >> 5)
    if gas < 0:
        raise OutOfGas("KECCAK256")
    computation.state.account_db.do_work(work.opcode_work(work.KECCAK256, 0, size))
    return int.from_bytes(keccak_256(memory[offset : offset + size]).digest(), "big"), gas, memory, length


def sload(computation: Any, slot: int, gas: int) -> tuple[int, int]:
    """(value, gas left), EIP-2929."""
    db, address = computation.state.account_db, computation.msg.storage_address
    warm = db.warm_storage(address, slot)
    gas -= WARM_SLOT_GAS if warm else COLD_SLOT_GAS
    if gas < 0:
        raise OutOfGas("SLOAD")
    db.do_work(work.SLOAD_WORK if warm else work.SLOAD_WORK + work.COLD_WORK)
    return db.get_storage(address, slot), gas


def sstore(computation: Any, slot: int, value: int, gas: int) -> int:
    """The gas left, EIP-2200 with EIP-2929 and EIP-3529."""
    if computation.msg.is_static:
        raise WriteProtection("SSTORE in a static call")
    if gas <= _SSTORE_SENTRY_GAS:
        raise OutOfGas("SSTORE with no more than the stipend")
    db, address = computation.state.account_db, computation.msg.storage_address
    current = db.get_storage(address, slot)
    cost, refund = (WARM_SLOT_GAS, 0)
    if current != value:
        cost, refund = _net_cost(db.get_storage(address, slot, from_journal=False), current, value)
    if gas < cost:  # before the slot is touched, as in the reference: access lists tell
        raise OutOfGas("SSTORE")
    if not db.warm_storage(address, slot):
        cost += COLD_SLOT_GAS
    gas -= cost
    if gas < 0:
        raise OutOfGas("SSTORE of a cold slot")
    if refund:
        db.add_refund(refund)
    db.do_work(work.SSTORE_WORK + work.sstore_extra_work(cost))
    db.set_storage(address, slot, value)
    return gas


def _net_cost(original: int, current: int, value: int) -> tuple[int, int]:
    """(gas, refund) of a slot that changes; `original` is its value at the start of the transaction."""
    schedule = GAS_SCHEDULE_EIP3529
    first = schedule.sstore_set_gas if original == 0 else schedule.sstore_reset_gas
    cleared = schedule.sstore_clears_schedule if original else 0
    if original == current:
        return first, cleared if value == 0 else 0
    refund = 0
    if current == 0:
        refund -= cleared
    if value == 0:
        refund += cleared
    if original == value:
        refund += first - schedule.sload_gas
    return schedule.sload_gas, refund


def tload(computation: Any, slot: int) -> int:
    computation.state.account_db.do_work(work.TRANSIENT_WORK)
    stored = computation.state.account_db.get_transient_storage(computation.msg.storage_address, slot)
    return int.from_bytes(stored, "big")


def tstore(computation: Any, slot: int, value: int) -> None:
    if computation.msg.is_static:
        raise WriteProtection("TSTORE in a static call")
    db = computation.state.account_db
    db.do_work(work.TRANSIENT_WORK)
    db.set_transient_storage(computation.msg.storage_address, slot, value.to_bytes(32, "big"))


def log(
    computation: Any, memory: bytearray, place: tuple[int, int], topics: tuple[int, ...], gas: int
) -> tuple[int, bytearray, int]:
    """LOG0 to LOG4: `place` is (offset in memory, size); the opcode's own 375 are charged already."""
    message = computation.msg
    if message.is_static:
        raise WriteProtection("LOG in a static call")
    offset, size = place
    gas -= _LOG_BYTE_GAS * size + _LOG_TOPIC_GAS * len(topics)
    if gas < 0:
        raise OutOfGas("LOG")
    gas, memory, length = grow(computation, memory, offset, size, gas)
    words = tuple([Hash32(topic.to_bytes(32, "big")) for topic in topics])
    db = computation.state.account_db
    db.do_work(work.LOG_WORK + work.LOG_TOPIC_WORK * len(topics))
    db.add_event(Log(message.storage_address, words, bytes(memory[offset : offset + size])))
    return gas, memory, length
