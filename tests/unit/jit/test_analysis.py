"""Blocks, what they need of the stack, where they jump, and how their gas is cut into segments."""

import pytest

from evm_runtime.hardforks import OSAKA
from evm_runtime.jit.analysis import COST_MAX, Program, make_plan, segments
from evm_runtime.jit.templates import BY_REFERENCE, SEGMENT_ENDS
from evm_runtime.opcodes import STACK_EFFECT
from tests.unit.evm_runtime.programs import OPS, asm

STATIC_GAS = {op: OSAKA.opcodes[op].gas_cost for op in STACK_EFFECT}


def ops(program: Program, start: int) -> list[int]:
    return [instruction.op for instruction in program.block(start).instructions]


def test_a_block_ends_at_a_jump_an_end_or_before_a_destination() -> None:
    program = Program(asm(1, 6, "JUMPI", "STOP", "JUMPDEST", 2, "JUMPDEST", "ADD"))
    assert ops(program, 0) == [0x60, 0x60, OPS["JUMPI"]]
    assert (program.block(0).target, program.block(0).next_start) == (6, 5)
    assert ops(program, 5) == [OPS["STOP"]]
    assert program.block(5).next_start is None
    assert ops(program, 6) == [OPS["JUMPDEST"], 0x60]
    assert program.block(6).next_start == 9
    assert ops(program, 9) == [OPS["JUMPDEST"], OPS["ADD"], OPS["STOP"]], "past the end there is a STOP"
    assert program.destinations == {6, 9}


def test_a_push_at_the_end_reads_zeros_and_hides_what_it_covers() -> None:
    program = Program(b"\x62\x5b\x01")
    assert program.block(0).instructions[0].argument == 0x5B0100
    assert not program.destinations


@pytest.mark.parametrize(
    ("code", "needs", "grows", "delta"),
    [
        (asm("ADD"), 2, 0, -1),
        (asm("POP", 1, 2, 3), 1, 2, 2),
        (asm("DUP16"), 16, 1, 1),
        (asm("SWAP16"), 17, 0, 0),
        (asm(1, 2, "ADD", "POP"), 0, 2, 0),
        (asm("CALL"), 7, 0, -6),
        (b"\x5f" * 5, 0, 5, 5),
    ],
)
def test_what_a_block_does_to_the_stack(code: bytes, needs: int, grows: int, delta: int) -> None:
    block = Program(code).block(0)
    assert (block.needs, block.grows, block.delta) == (needs, grows, delta)
    assert block.fits(needs) and not (needs and block.fits(needs - 1))
    assert block.fits(1024 - grows) and not block.fits(1025 - grows)


@pytest.mark.parametrize(
    ("code", "target"),
    [
        (asm(7, "JUMP"), 7),
        (asm(1, 7, "JUMPI"), 7),
        (asm(7, "DUP1", "POP", "JUMP"), 7),
        (asm(1, 7, "SWAP1", "DUP2", "JUMP"), 7),
        (asm("JUMP"), None),
        (asm(3, 4, "ADD", "JUMP"), None),
        (asm("SWAP1", "JUMP"), None),
        (asm(7, "CALLER", "SWAP1", "JUMP"), 7),
    ],
)
def test_a_jump_whose_target_the_block_pushes_is_known(code: bytes, target: int | None) -> None:
    assert Program(code).block(0).target == target


def test_segments_end_where_gas_is_seen_and_leave_out_what_charges_itself() -> None:
    code = asm(1, 2, "ADD", "GAS", "POP", 0, "SSTORE", 5, "BALANCE", "POP", "STOP")
    block = Program(code).block(0)
    found = segments(block, STATIC_GAS, BY_REFERENCE, SEGMENT_ENDS)
    # PUSH PUSH ADD GAS | POP PUSH0 SSTORE | PUSH | (BALANCE) POP STOP
    assert found == {0: 3 + 3 + 3 + 2, 4: 2 + 2 + 0, 7: 3, 9: 2}
    everything = sum(STATIC_GAS[op] for _, op, _ in block.instructions if op not in BY_REFERENCE)
    assert sum(found.values()) == everything


def test_the_stack_effects_are_those_of_every_opcode_of_the_newest_fork() -> None:
    known = {op for op, function in OSAKA.opcodes.items() if function.mnemonic != "INVALID"}
    assert known == set(STACK_EFFECT)


def test_long_straight_code_is_cut_and_a_plan_ends_at_its_price() -> None:
    program = Program(asm("GAS", "POP") * 12_000)
    assert len(program.block(0).instructions) == 256
    assert program.block(0).next_start == 256
    plan = make_plan(program, (0, 0), 96)
    assert COST_MAX <= plan.cost < COST_MAX + 2_000


def test_a_plan_counts_arrivals() -> None:
    # 0: if (calldata) goto 6; 5: fall into 6; 6: loop back to 6
    code = asm("CALLVALUE", 5, "JUMPI", "STOP", "JUMPDEST", 5, "JUMP")
    plan = make_plan(Program(code), (0, 0), 96)
    assert plan.arrivals == {(0, 0): 1, (5, 0): 2, (4, 0): 1}
