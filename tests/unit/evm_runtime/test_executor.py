"""Packing to the last byte, gas and unit of work, and what a block must be before it is executed."""

from dataclasses import replace

import pytest

from evm_runtime import work
from evm_runtime.header import HEADER_BYTES_MAX, Header
from evm_runtime.transaction import Transaction
from genesis.chain_spec import WORK_LIMIT_MIN, BlockParams
from genesis.codec import encode
from genesis.errors import InvalidBlock
from genesis.primitives import Address
from genesis.types import Block, evidence_hash
from tests.unit.evm_runtime.chain import Chain, contract, make_spec, signed
from tests.unit.evm_runtime.test_blocks import respoken
from tests.unit.evm_runtime.test_work import FOREVER, HUNGRY, outcome_of
from tests.unit.staking.world import duplicate_vote

TO = Address(b"\x22" * 20)


def bounded(bytes_max: int) -> Chain:
    return Chain(make_spec(block=BlockParams(bytes_max=bytes_max)))


def packed(chain: Chain, *candidates: Transaction, **request: int) -> tuple[list[int], list[str]]:
    """The places of the candidates that are packed, and why the others aren't (as far as they were looked at)."""
    built = chain.build(candidates, **request)
    raw = [tx.raw for tx in candidates]
    assert len(encode(built.block)) <= chain.spec.block.bytes_max
    chain.accept(built)
    return [raw.index(each) for each in built.block.transactions], [why for _, why in built.skipped]


def bulky(nonce: int, size: int, key: int = 0) -> Transaction:
    return signed(key, nonce=nonce, to=TO, data=b"\x01" * size, gas=100_000)


def room_for(*transactions: Transaction) -> int:
    """The least size limit at which these fit: an empty block, its withdrawals at 64 bytes, 8 bytes around each transaction."""
    empty = Chain().build([])
    shell = Block(bytes(HEADER_BYTES_MAX), (), (), empty.block.consensus, empty.block.last_commit, ())
    return len(encode(shell)) + 64 * BlockParams().withdrawals_max + sum(len(tx.raw) + 8 for tx in transactions)


def test_transactions_are_packed_to_the_last_byte() -> None:
    first, second = bulky(0, 300), bulky(1, 500)
    room = room_for(first, second)
    assert packed(bounded(room), first, second) == ([0, 1], [])
    left = len(second.raw) + 8 - 1
    assert packed(bounded(room - 1), first, second) == (
        [0],
        [f"block size reached: this proposal has {left} bytes left"],
    )


def test_what_is_left_out_takes_no_room() -> None:
    first, wrong, large, small = bulky(0, 300), bulky(7, 200), bulky(1, 900), bulky(1, 200)
    places, reasons = packed(bounded(room_for(first, small)), first, wrong, large, small)
    assert places == [0, 3]
    assert "nonce too high" in reasons[0] and "block size reached" in reasons[1]


def test_transactions_are_packed_to_the_last_gas() -> None:
    plain = [signed(nonce=nonce, to=TO) for nonce in range(3)]
    assert packed(Chain(), *plain, gas_target=42_000) == ([0, 1], []), (
        "there is no room for a third, so none is looked at"
    )
    assert packed(Chain(), *plain, gas_target=41_999) == ([0], [])
    assert packed(Chain(), *plain, gas_target=62_999) == ([0, 1], [])
    roomy = signed(1, nonce=0, to=TO, gas=21_001)
    places, reasons = packed(Chain(), plain[0], roomy, plain[1], gas_target=42_000)
    assert (places, reasons) == ([0, 2], ["gas limit reached: this proposal has 21000 gas left"])


def test_a_proposal_takes_no_more_gas_than_a_block_whatever_its_target() -> None:
    limit = 1_000_000
    chain = Chain(make_spec(block=BlockParams(gas_limit=limit)))
    wide = [signed(key, nonce=0, to=TO, gas=limit - 21_000) for key in range(3)]
    places, reasons = packed(chain, *wide, gas_target=10 * limit)
    assert places == [0, 1], "gas that a transaction does not use is the next one's"
    assert reasons == [f"gas limit reached: this proposal has {limit - 42_000} gas left"]


def test_a_part_of_the_gas_is_the_same_part_of_the_work_to_the_last_unit() -> None:
    even = BlockParams(gas_limit=WORK_LIMIT_MIN, work_limit=WORK_LIMIT_MIN, transaction_work_limit=25_000_000)
    spec = make_spec(contract(HUNGRY, FOREVER), block=even)
    hungry = [signed(key, nonce=0, to=HUNGRY, gas=60_000) for key in range(3)]
    done = outcome_of(Chain(spec), hungry[0], work.allowance(hungry[0].gas_limit, even))[0].work
    assert 2 * 60_000 < done < WORK_LIMIT_MIN // 3, "so the gas is not what bounds it"
    full = f"work limit reached: this proposal has done {done} of {done}"
    assert packed(Chain(spec), *hungry, gas_target=done) == ([0], [full, full])
    assert packed(Chain(spec), *hungry, gas_target=done + 1)[0] == [0, 1]


# ---------------------------------------------------------------- before anything is executed


def refusal(chain: Chain, block: Block, parent: Header | None = None) -> str:
    """In which words a block is refused; empty if it isn't."""
    try:
        chain.runtime.execute_block(parent or chain.tip, chain.time_ms, block)
    except InvalidBlock as error:
        return str(error)
    return ""


def test_a_block_may_have_the_greatest_size_and_not_a_byte_more() -> None:
    block = Chain().build([bulky(0, 300)]).block
    size = len(encode(block))
    assert "bytes" not in refusal(bounded(size), block)
    assert refusal(bounded(size - 1), block) == f"the block has {size} bytes, at most {size - 1} are allowed"


@pytest.mark.parametrize("step", [-1, 1])
def test_a_block_has_the_number_after_its_parents(step: int) -> None:
    chain = Chain()
    chain.advance()
    built = chain.build([])
    header = built.header.replace(number=built.header.number + step)
    expected = f"header: number is {2 + step}, expected 2"
    assert refusal(chain, replace(built.block, header=header.to_rlp())) == expected


def test_a_transaction_that_cannot_be_decoded_is_named_by_its_place() -> None:
    chain = Chain()
    block = chain.build([signed(nonce=0, to=TO), signed(nonce=1, to=TO)]).block
    for raw in (b"\x02\xc0", b"", b"\x7f" * 40):
        assert refusal(chain, replace(block, transactions=(block.transactions[0], raw))).startswith("transaction 1: ")


def test_a_wrong_header_is_refused_before_anything_is_executed() -> None:
    chain = Chain()
    built = chain.build([signed(nonce=0, to=TO)])
    header = built.header.replace(gas_limit=built.header.gas_limit + 1)
    both = replace(built.block, header=header.to_rlp(), transactions=built.block.transactions * 2)
    assert refusal(chain, both).startswith("header: gas_limit is ")


def test_evidence_is_asked_for_its_place_and_offender_by_builder_and_verifier_alike() -> None:
    chain = Chain()
    chain.advance()
    known, stranger = chain.spec.validators[0].address, Address(b"\x01" * 20)
    for item, why in (
        (duplicate_vote(stranger, 1), "never was a validator"),
        (duplicate_vote(known, 2), "evidence of height 2 in block 2"),
    ):
        with pytest.raises(InvalidBlock, match=why):
            chain.build([], evidence=(item,))
        built = chain.build([])
        block = respoken(built.block, built.header, evidence_hash=evidence_hash((item,)))
        assert why in refusal(chain, replace(block, evidence=(item,)))


def test_the_same_block_gives_the_same_words_a_second_time() -> None:
    """Nothing of an execution stays behind: neither of one that was refused nor of one that was taken."""
    chain = Chain()
    block = chain.build([signed(nonce=0, to=TO, value=5)]).block
    twice = replace(block, transactions=block.transactions * 2)
    assert refusal(chain, twice) == refusal(chain, twice) != ""
    assert refusal(chain, block) == refusal(chain, block) == ""
