"""The fork schedule, and what Osaka changes for code on a chain."""

from dataclasses import replace

import pytest

from evm_runtime.calls import CallRequest
from evm_runtime.hardforks import OSAKA, PRAGUE, TRANSACTION_GAS_MAX, fork_at
from genesis.chain_spec import BlockParams, ChainSpec, ForkActivation
from genesis.codec import decode_rlp, encode, encode_rlp
from genesis.errors import InvalidBlock, InvalidTransaction, LocalError
from genesis.primitives import Address
from tests.unit.evm_runtime.chain import Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm

CODE = Address(b"\xe0" * 20)
CLZ = b"\x1e"
SCHEDULE = (ForkActivation("prague"), ForkActivation("osaka", 2))


@pytest.mark.parametrize(("word", "zeros"), [(0, 256), (1, 255), (1 << 255, 0), ((1 << 256) - 1, 0), (0xFF00, 240)])
def test_clz_counts_leading_zeros(word: int, zeros: int) -> None:
    chain = Chain(make_spec(contract(CODE, asm(word.to_bytes(32, "big")) + CLZ + asm(0, "MSTORE", 32, 0, "RETURN"))))
    result = chain.runtime.call(chain.tip, CallRequest(to=CODE), gas_cap=100_000)
    assert int.from_bytes(result.output, "big") == zeros
    assert result.gas_used == 21_000 + 3 + 5 + 2 + 6 + 3 + 2


def test_a_chain_changes_its_rules_at_the_height_of_its_schedule() -> None:
    chain = Chain(make_spec(contract(CODE, asm(1) + CLZ + asm(0, "SSTORE")), forks=SCHEDULE))
    statuses = [chain.advance(signed(0, nonce=nonce, to=CODE, gas=100_000)).receipts[0].status for nonce in range(3)]
    assert statuses == [0, 1, 1]
    assert [fork_at(SCHEDULE, height) for height in (0, 1, 2, 99)] == [PRAGUE, PRAGUE, OSAKA, OSAKA]


def test_an_estimate_stays_below_the_transaction_gas_cap() -> None:
    burner = asm("JUMPDEST", 17_000_000, "GAS", "LT", 0, "JUMPI", "STOP")  # loops while less than this is left
    spec = make_spec(contract(CODE, burner))
    chain = Chain(spec)
    with pytest.raises(InvalidTransaction, match="gas required exceeds allowance"):
        chain.runtime.estimate_gas(chain.tip, CallRequest(to=CODE), gas_cap=50_000_000)


@pytest.mark.parametrize(
    ("forks", "message"),
    [
        ((), "height 0"),
        ((ForkActivation("osaka", 1),), "height 0"),
        ((ForkActivation("tokyo"),), "does not know"),
        ((ForkActivation("osaka"), ForkActivation("prague", 5)), "in their order"),
        ((ForkActivation("prague"), ForkActivation("osaka")), "must rise"),
        ((ForkActivation("osaka"), ForkActivation("osaka", 3)), "each once"),
    ],
)
def test_impossible_schedules_are_refused(forks: tuple[ForkActivation, ...], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        make_spec(forks=forks)


def test_the_schedule_is_in_the_spec_and_its_hash() -> None:
    spec = make_spec(forks=SCHEDULE)
    assert ChainSpec.from_json(spec.to_json()) == spec and spec.hash() != make_spec().hash()
    assert make_spec().forks == (ForkActivation("osaka"),), "chains start on the newest fork"


# ---------------------------------------------------------------- EIP-7825


def test_a_transaction_above_the_gas_cap_is_in_no_block() -> None:
    chain = Chain()
    above = signed(0, nonce=0, to=CODE, gas=TRANSACTION_GAS_MAX + 1)
    executed = chain.build([above, signed(0, nonce=0, to=CODE, gas=TRANSACTION_GAS_MAX)])
    assert [reason for _, reason in executed.skipped] == [
        "transaction gas limit too high (cap: 16777216, tx: 16777217)"
    ]
    assert [tx.gas_limit for tx in executed.transactions] == [1 << 24]
    forged = replace(executed.block, transactions=(above.raw,))
    with pytest.raises(InvalidBlock, match=r"transaction 0 .*transaction gas limit too high"):
        chain.runtime.execute_block(chain.tip, chain.time_ms, forged)
    chain.accept(executed)


def test_the_gas_cap_begins_with_osaka() -> None:
    chain = Chain(make_spec(forks=SCHEDULE))
    before = chain.advance(signed(0, nonce=0, to=CODE, gas=TRANSACTION_GAS_MAX + 1))
    assert len(before.transactions) == 1, "block 1 is still on Prague"
    assert chain.build([signed(0, nonce=1, to=CODE, gas=TRANSACTION_GAS_MAX + 1)]).skipped


# ---------------------------------------------------------------- EIP-7934


def test_no_spec_allows_blocks_above_the_size_cap() -> None:
    make_spec(block=BlockParams(bytes_max=8 * 1024 * 1024))
    with pytest.raises(LocalError, match="EIP-7934"):
        make_spec(block=BlockParams(bytes_max=8 * 1024 * 1024 + 1))


def test_a_block_above_its_chains_size_is_neither_built_nor_executed() -> None:
    size = 50_000
    chain = Chain(make_spec(block=BlockParams(bytes_max=size)))
    large = [signed(0, nonce=nonce, to=CODE, data=bytes(9_000), gas=200_000) for nonce in range(8)]
    executed = chain.build(large)
    assert 0 < len(executed.transactions) < len(large)
    assert "block size reached" in executed.skipped[0][1]
    kept_free = 64 * 64 + 9_200  # for withdrawals, and what one more transaction would have needed
    assert size - kept_free < len(encode(executed.block)) <= size
    forged = replace(executed.block, transactions=tuple(tx.raw for tx in large))
    with pytest.raises(InvalidBlock, match=rf"the block has 7[0-9]* bytes, at most {size} are allowed"):
        chain.runtime.execute_block(chain.tip, chain.time_ms, forged)
    chain.accept(executed)


def test_a_block_is_never_larger_in_ethereums_encoding_than_in_ours() -> None:
    """So the cap, which counts our own encoding, is never laxer than EIP-7934's, which counts the RLP."""
    chain = Chain()
    legacy = [signed(0, nonce=nonce, to=CODE, gasPrice=10**10) for nonce in range(50)]
    typed = [signed(1, nonce=nonce, to=CODE, data=bytes(nonce * 7), gas=200_000) for nonce in range(50)]
    for _ in range(3):  # withdrawals begin with the first rewards
        block = chain.advance(*legacy, *typed).block
        legacy, typed = [], []
        body = [decode_rlp(raw, size_max=1 << 20) if raw[0] >= 0xC0 else raw for raw in block.transactions]
        header = decode_rlp(block.header, size_max=1 << 20)
        rlp = encode_rlp([header, body, [], [withdrawal.to_rlp() for withdrawal in block.withdrawals]])
        assert len(rlp) <= len(encode(block))
    assert block.withdrawals
