"""Building and executing blocks: what is left out, what is refused, and in which words."""

from dataclasses import replace
from typing import Any

import pytest

from evm_runtime.block_rules import next_base_fee
from evm_runtime.header import EMPTY_REQUESTS_HASH, Header
from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, HISTORY_ADDRESS
from evm_runtime.transaction import Transaction
from genesis.chain_spec import BlockParams
from genesis.codec import encode
from genesis.errors import InvalidBlock
from genesis.primitives import ZERO_HASH, Address, Height, Round, Wei, keccak256
from genesis.types import EMPTY_COMMIT, Block, Commit, Withdrawal
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm

TO = Address(b"\x22" * 20)


def three_blocks() -> Chain:
    chain = Chain()
    for nonce in range(3):
        chain.advance(signed(nonce=nonce, to=TO, value=1))
    return chain


def test_a_header_says_what_the_rules_say() -> None:
    chain = three_blocks()
    parent, executed = chain.blocks[1].header, chain.blocks[2]
    header, data = executed.header, executed.block.consensus
    assert header.parent_hash == parent.hash and header.number == 3
    assert header.gas_limit == 30_000_000 and header.extra_data == b"" and header.difficulty == 0
    assert header.nonce == bytes(8) and header.blob_gas_used == header.excess_blob_gas == 0
    assert header.requests_hash == EMPTY_REQUESTS_HASH
    assert header.parent_beacon_block_root == data.hash()
    assert header.timestamp == data.time_ms // 1_000
    assert header.prev_randao == keccak256(b"".join(executed.block.last_commit.signatures))
    assert chain.blocks[0].header.prev_randao == chain.identity.genesis_hash
    validators = chain.runtime.state(parent).validators()
    assert header.coinbase == validators.current.members[validators.current.index(data.proposer) or 0].payout
    assert Header.from_rlp(executed.block.header) == header


def test_timestamps_may_repeat_and_opcodes_see_both_ring_buffers() -> None:
    chain = Chain()
    first = chain.advance(signed(nonce=0, to=TO), time_ms=chain.time_ms + 500)
    second = chain.advance(signed(nonce=1, to=TO), time_ms=chain.time_ms + 500)
    third = chain.advance(signed(nonce=2, to=TO), time_ms=chain.time_ms + 500)
    assert first.header.timestamp < second.header.timestamp == third.header.timestamp
    state = chain.runtime.state()
    timestamp = third.header.timestamp
    assert state.storage(BEACON_ROOTS_ADDRESS, timestamp % 8_191) == timestamp
    root = state.storage(BEACON_ROOTS_ADDRESS, timestamp % 8_191 + 8_191)
    assert root.to_bytes(32, "big") == third.header.parent_beacon_block_root
    for executed in (first, second):
        stored = state.storage(HISTORY_ADDRESS, executed.header.number % 8_191)
        assert stored.to_bytes(32, "big") == executed.header.hash


def test_blockhash_reads_the_last_256_blocks() -> None:
    # stores blockhash(number - 1), blockhash(0), blockhash(number) in slots 0..2
    code = asm(
        1, "NUMBER", "SUB", "BLOCKHASH", 0, "SSTORE", 0, "BLOCKHASH", 1, "SSTORE", "NUMBER", "BLOCKHASH", 2, "SSTORE"
    )
    chain = Chain(make_spec(contract(b"\xe0" * 20, code, storage={2: 9})))
    chain.advance()
    chain.advance()
    chain.advance(signed(nonce=0, to=b"\xe0" * 20, gas=200_000))
    state = chain.runtime.state()
    words = [state.storage(Address(b"\xe0" * 20), slot).to_bytes(32, "big") for slot in range(3)]
    assert words == [chain.blocks[1].header.hash, chain.identity.genesis_hash, ZERO_HASH]


@pytest.mark.parametrize(
    ("gas_used", "base_fee", "expected"),
    [
        (15_000_000, 10**9, 10**9),
        (30_000_000, 10**9, 10**9 + 10**9 // 128),
        (0, 10**9, 10**9 - 10**9 // 128),
        (15_000_001, 10**6, 10**6 + 1),
        (0, 10**6, 10**6),
        (0, 10**6 + 1, 10**6),
    ],
)
def test_the_base_fee_follows_eip_1559_with_denominator_128_and_a_floor(
    gas_used: int, base_fee: int, expected: int
) -> None:
    parent = Chain().tip.replace(gas_used=gas_used, base_fee_per_gas=base_fee)
    assert next_base_fee(parent, BlockParams()) == expected


def test_what_cannot_be_packed_is_left_out_with_a_reason_and_the_rest_goes_on() -> None:
    chain = Chain()
    candidates = [
        signed(0, nonce=1, to=TO),
        signed(0, nonce=0, to=TO),
        signed(0, nonce=0, to=TO),
        signed(1, nonce=0, to=TO, maxFeePerGas=1, maxPriorityFeePerGas=1),
        signed(2, nonce=0, to=TO, value=10**40),
        signed(3, nonce=0, to=TO, gas=20_000),
        signed(4, nonce=0, to=TO, value=3),
    ]
    executed = chain.build(candidates)
    assert executed.transactions == (candidates[1], candidates[6])
    reasons = [reason for _, reason in executed.skipped]
    assert [tx for tx, _ in executed.skipped] == [candidates[i] for i in (0, 2, 3, 4, 5)]
    for reason, words in zip(
        reasons,
        [
            "nonce too high: address",
            "nonce too low: address",
            "max fee per gas less than block base fee",
            "insufficient funds for gas * price + value: address",
            "intrinsic gas too low: have 20000, want 21000",
        ],
        strict=True,
    ):
        assert words in reason
    chain.accept(executed)


def test_a_transaction_from_a_contract_is_refused() -> None:
    """EIP-3607."""
    spec = make_spec()
    with_code = replace(spec, alloc=(*spec.alloc[1:], replace(spec.alloc[0], code=b"\x00")))
    executed = Chain(with_code).build([signed(0, nonce=0, to=TO)])
    assert "sender not an eoa" in executed.skipped[0][1]


def test_the_gas_target_and_the_size_bound_what_is_packed() -> None:
    chain = Chain()
    candidates = [signed(0, nonce=nonce, to=TO) for nonce in range(4)]
    assert len(chain.build(candidates, gas_target=50_000).transactions) == 2
    thirsty = signed(1, nonce=0, to=TO, gas=50_000)
    packed = chain.build([candidates[0], thirsty, candidates[1]], gas_target=50_000)
    assert packed.transactions == (candidates[0], candidates[1])
    assert packed.skipped == ((thirsty, "gas limit reached: this proposal has 29000 gas left"),)
    assert len(chain.build(candidates, gas_target=0).transactions) == 0
    small = Chain(make_spec(block=BlockParams(bytes_max=9_000)))
    bulky = [signed(0, nonce=nonce, to=TO, data=b"\x01" * 600, gas=100_000) for nonce in range(8)]
    packed = small.build(bulky)
    assert 0 < len(packed.transactions) < 8
    assert "block size reached" in packed.skipped[0][1]
    assert len(encode(packed.block)) <= 9_000
    small.accept(packed)


def test_times_between_blocks() -> None:
    chain = three_blocks()
    now = chain.time_ms
    tx = signed(nonce=3, to=TO)
    with pytest.raises(InvalidBlock, match="time: a block after"):
        chain.build([tx], time_ms=now + 499)
    chain.accept(chain.build([tx], time_ms=now + 500))
    early = chain.build([], time_ms=chain.time_ms + 4_999)
    with pytest.raises(InvalidBlock, match="time: an empty block"):
        chain.runtime.execute_block(chain.tip, chain.time_ms, early.block)
    chain.accept(chain.build([], time_ms=chain.time_ms + 500, round_=1))


def spoil(header: Header, name: str) -> Header:
    value = getattr(header, name)
    if isinstance(value, int):
        return header.replace(**{name: value + 1})
    return header.replace(**{name: bytes([value[0] ^ 1]) + value[1:] if value else b"\x01"})


@pytest.mark.parametrize("name", list(Header.__dataclass_fields__))
def test_each_spoiled_header_field_is_named(name: str) -> None:
    chain = three_blocks()
    executed = chain.build([signed(nonce=3, to=TO)])
    header = spoil(executed.header, name)
    with pytest.raises(InvalidBlock, match=f"header: {name} is "):
        chain.runtime.execute_block(chain.tip, chain.time_ms, replace(executed.block, header=header.to_rlp()))


def respoken(executed_block: Block, header: Header, **data: Any) -> Block:
    """A block whose ConsensusData was changed, its header's root with it."""
    consensus = replace(executed_block.consensus, **data)
    return replace(
        executed_block, consensus=consensus, header=header.replace(parent_beacon_block_root=consensus.hash()).to_rlp()
    )


@pytest.mark.parametrize(
    "name", ["proposer", "last_commit_hash", "evidence_hash", "validators_hash", "next_validators_hash"]
)
def test_each_spoiled_field_of_the_consensus_data_is_named(name: str) -> None:
    chain = three_blocks()
    executed = chain.build([signed(nonce=3, to=TO)])
    size = 20 if name == "proposer" else 32
    block = respoken(executed.block, executed.header, **{name: b"\x01" * size})
    with pytest.raises(InvalidBlock, match=f"consensus data: {name}"):
        chain.runtime.execute_block(chain.tip, chain.time_ms, block)


def test_another_round_needs_its_own_proposer_and_coinbase() -> None:
    chain = three_blocks()
    executed = chain.build([signed(nonce=3, to=TO)])
    with pytest.raises(InvalidBlock, match="consensus data: proposer"):
        chain.runtime.execute_block(chain.tip, chain.time_ms, respoken(executed.block, executed.header, round=Round(1)))
    with pytest.raises(InvalidBlock, match="does not propose in round 0"):
        chain.build([], proposer=chain.request(round_=1).proposer, coinbase=chain.request(round_=1).coinbase)
    with pytest.raises(InvalidBlock, match="payout address"):
        chain.build([], coinbase=TO)
    with pytest.raises(InvalidBlock, match="not a validator"):
        chain.build([], proposer=TO)


def test_bodies_that_do_not_fit_are_refused() -> None:
    chain = three_blocks()
    executed = chain.build([signed(nonce=3, to=TO)])
    block = executed.block
    extra = Withdrawal(99, 0, TO, 5)

    def run(**changes: Any) -> None:
        chain.runtime.execute_block(chain.tip, chain.time_ms, replace(block, **changes))

    with pytest.raises(InvalidBlock, match="header: transactions_root"):
        run(transactions=(signed(nonce=3, to=ADDRESSES[4]).raw,))
    with pytest.raises(InvalidBlock, match=r"transaction 1 .*nonce too low"):
        run(transactions=block.transactions * 2)
    with pytest.raises(InvalidBlock, match="transaction 0: "):
        run(transactions=(block.transactions[0] + b"\x00",))
    with pytest.raises(InvalidBlock, match="withdrawals"):
        run(withdrawals=(*block.withdrawals, extra))
    with pytest.raises(InvalidBlock, match="header: "):
        run(header=b"\x01\x02")
    other = chain.commit_of(chain.blocks[-1], frozenset({0}))
    with pytest.raises(InvalidBlock, match="last_commit_hash"):
        run(last_commit=other)
    with pytest.raises(InvalidBlock, match="last commit: it is for height 0"):
        run(last_commit=EMPTY_COMMIT)
    for elsewhere in (
        replace(block.last_commit, block_hash=chain.blocks[0].header.hash),
        replace(other, block_hash=ZERO_HASH),
    ):
        with pytest.raises(InvalidBlock, match="last commit: it is for height 3, block 0x"):
            run(last_commit=elsewhere)
        with pytest.raises(InvalidBlock, match="last commit: it is for height 3, block 0x"):
            chain.build([], last_commit=elsewhere)
    with pytest.raises(InvalidBlock, match="one place per validator"):
        run(last_commit=replace(block.last_commit, signatures=block.last_commit.signatures[:3]))
    first = Chain()
    commit = Commit(Height(0), Round(0), ZERO_HASH, (bytes(65),))
    with pytest.raises(InvalidBlock, match="block 1 carries an empty commit"):
        first.build([], last_commit=commit)


def test_a_block_on_another_parent_is_refused() -> None:
    chain = three_blocks()
    executed = chain.build([])
    with pytest.raises(InvalidBlock, match="not the finalized tip"):
        chain.runtime.execute_block(chain.blocks[0].header, chain.time_ms, executed.block)
    with pytest.raises(InvalidBlock, match="does not follow"):
        chain.build([], height=Height(9))


def test_a_block_above_the_size_limit_is_refused() -> None:
    chain = Chain(make_spec(block=BlockParams(bytes_max=3_000)))
    roomy = Chain(make_spec(block=BlockParams(bytes_max=30_000)))
    executed = roomy.build([signed(0, nonce=0, to=TO, data=bytes(4_000), gas=100_000)])
    with pytest.raises(InvalidBlock, match="at most 3000 are allowed"):
        chain.runtime.execute_block(chain.tip, chain.time_ms, executed.block)


def test_known_transactions_are_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain()
    tx = signed(nonce=0, to=TO)
    executed = chain.build([tx])

    def refuse(*_args: Any, **_kw: Any) -> Transaction:
        raise RuntimeError("decoded again")

    monkeypatch.setattr("evm_runtime.executor.decode_transaction", refuse)
    again = chain.runtime.execute_block(chain.tip, chain.time_ms, executed.block, {tx.hash: tx})
    assert again.header == executed.header


def test_base_fee_is_burned_and_the_tip_goes_to_the_coinbase() -> None:
    chain = Chain(make_spec(block=BlockParams(base_fee_initial=Wei(10**9))))
    executed = chain.advance(signed(0, nonce=0, to=TO, maxFeePerGas=3 * 10**9, maxPriorityFeePerGas=10**9, value=5))
    base_fee = executed.header.base_fee_per_gas
    state = chain.runtime.state()
    assert executed.results[0].effective_gas_price == base_fee + 10**9
    assert state.balance(executed.header.coinbase) == 21_000 * 10**9
    assert state.balance(ADDRESSES[0]) == 1_000 * 10**18 - 5 - 21_000 * (base_fee + 10**9)
    assert state.supply().burned == 21_000 * base_fee
