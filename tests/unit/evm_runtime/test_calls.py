"""eth_call, eth_estimateGas, eth_createAccessList and the state readers."""

from typing import Any

import pytest
import rlp
from trie import HexaryTrie

from evm_runtime.calls import AccountOverride, BlockOverrides, CallRequest, ExecutionInterrupted
from evm_runtime.estimate import ExecutionReverted
from evm_runtime.runtime import Runtime
from evm_runtime.state.source import encode_account
from genesis.chain_spec import STAKING_ADDRESS
from genesis.errors import InvalidTransaction, InvariantError
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, keccak256
from tests.fuzz.machines import TIERS
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm, deployer

CODE = Address(b"\xe0" * 20)
OTHER = Address(b"\xe1" * 20)
FRESH = Address(b"\x22" * 20)
COUNTER = asm(0, "SLOAD", 1, "ADD", "DUP1", 0, "SSTORE", 0, "MSTORE", 32, 0, "RETURN")
CAP = 50_000_000


def chain_of(code: bytes, **account: Any) -> Chain:
    return Chain(make_spec(contract(CODE, code, **account), contract(OTHER, COUNTER)))


def word(*items: str | int | bytes) -> bytes:
    """Code that returns the top of the stack."""
    return asm(*items, 0, "MSTORE", 32, 0, "RETURN")


def call(chain: Chain, to: Address | None = CODE, **options: Any) -> Any:
    keywords = {
        name: options.pop(name) for name in ("state_overrides", "block_overrides", "interrupt") if name in options
    }
    return chain.runtime.call(chain.tip, CallRequest(to=to, **options), gas_cap=CAP, **keywords)


def value(result: Any) -> int:
    assert result.status == "success", result
    return int.from_bytes(result.output, "big")


def test_a_call_returns_output_gas_and_logs_and_changes_nothing() -> None:
    chain = chain_of(asm(7, 0, "MSTORE", 9, 32, 0, "LOG1") + COUNTER)
    for _ in range(2):
        result = call(chain)
        assert value(result) == 1 and result.logs[0].address == CODE
        assert 21_000 < result.gas_used < 100_000
    assert chain.runtime.state().storage(CODE, 0) == 0


def test_reverts_and_errors_are_told_apart() -> None:
    reverting = call(chain_of(asm(5, 0, "MSTORE", 32, 0, "REVERT")))
    assert (reverting.status, reverting.error) == ("revert", "execution reverted")
    assert int.from_bytes(reverting.output, "big") == 5
    for code, message in [
        (asm("INVALID"), "invalid opcode: INVALID"),
        (b"\x0c", "invalid opcode: opcode 0xc not defined"),
        (asm("ADD"), "stack underflow"),
        (asm(3, "JUMP"), "invalid jump destination"),
        (asm(1 << 40, "MLOAD"), "out of gas"),
        (asm(1, 0, 0, "RETURNDATACOPY"), "return data out of bounds"),
        (asm(1) * 1_025, "stack limit reached 1024 (1023)"),
    ]:
        result = call(chain_of(code), gas=1_000_000)
        assert (result.status, result.error, result.output) == ("error", message, b"")


def test_a_free_call_sees_no_base_fee_and_a_paid_one_needs_it_and_the_funds() -> None:
    chain = chain_of(word("BASEFEE", "GASPRICE", "ADD"))
    assert value(call(chain)) == 0
    base_fee = chain.tip.base_fee_per_gas
    assert value(call(chain, sender=ADDRESSES[0], gas=100_000, gas_price=base_fee)) == 2 * base_fee
    with pytest.raises(InvalidTransaction, match="max fee per gas less than block base fee"):
        call(chain, sender=ADDRESSES[0], gas_price=1)
    with pytest.raises(InvalidTransaction, match="insufficient funds for gas"):
        call(chain, sender=FRESH, gas=100_000, gas_price=base_fee)
    with pytest.raises(InvalidTransaction, match=r"insufficient funds for gas \* price \+ value"):
        call(chain, sender=FRESH, value=1)
    with pytest.raises(InvalidTransaction, match="intrinsic gas too low"):
        call(chain, gas=20_000)


def test_the_gas_cap_bounds_a_call() -> None:
    chain = chain_of(word("GAS"))
    assert value(call(chain)) < CAP
    assert value(call(chain, gas=10**12)) < CAP
    assert value(call(chain, gas=100_000)) < 100_000


def test_state_and_block_overrides() -> None:
    chain = chain_of(word(1, "SLOAD", 2, "SLOAD", "ADD", "SELFBALANCE", "ADD"), storage={1: 10, 2: 20})
    assert value(call(chain)) == 30
    assert value(call(chain, state_overrides={CODE: AccountOverride(balance=100)})) == 130
    assert value(call(chain, state_overrides={CODE: AccountOverride(state_diff={2: 5})})) == 15
    assert value(call(chain, state_overrides={CODE: AccountOverride(state={2: 5})})) == 5
    block_code = AccountOverride(code=word("NUMBER", "TIMESTAMP", "ADD", "GASLIMIT", "ADD", "BASEFEE", "ADD"))
    block = BlockOverrides(number=1, time=2, gas_limit=4, base_fee=8, coinbase=FRESH)
    assert value(call(chain, FRESH, state_overrides={FRESH: block_code}, block_overrides=block)) == 15
    coinbase = AccountOverride(code=word("COINBASE"))
    assert value(call(chain, FRESH, state_overrides={FRESH: coinbase}, block_overrides=block)) == int.from_bytes(
        FRESH, "big"
    )
    assert (
        value(call(chain, FRESH, sender=FRESH, state_overrides={FRESH: AccountOverride(nonce=7, code=word("CALLER"))}))
        > 0
    )
    with pytest.raises(InvalidTransaction, match="state override"):
        call(chain, state_overrides={CODE: AccountOverride(balance=1 << 256)})
    assert value(call(chain)) == 30


def test_balances_that_only_overrides_can_make_stop_a_call_and_not_the_node() -> None:
    chain = chain_of(b"")
    rich = AccountOverride(balance=(1 << 256) - 1)
    with pytest.raises(InvalidTransaction, match="execution failed"):
        call(chain, FRESH, sender=OTHER, value=1, state_overrides={FRESH: rich, OTHER: AccountOverride(balance=5)})
    emptied = AccountOverride(balance=0, nonce=0, code=b"")
    assert call(chain_of(b"\x00", storage={1: 1}), state_overrides={CODE: emptied}).status == "success"


def test_an_endless_call_is_interrupted_from_outside() -> None:
    chain = chain_of(asm("JUMPDEST", 0, "JUMP"))
    asked = []

    def interrupt() -> bool:
        asked.append(None)
        return len(asked) >= 2

    with pytest.raises(ExecutionInterrupted, match="execution aborted"):
        call(chain, interrupt=interrupt)
    with pytest.raises(ExecutionInterrupted):
        chain.runtime.estimate_gas(chain.tip, CallRequest(to=CODE), gas_cap=CAP, interrupt=lambda: True)
    assert value(call(chain_of(COUNTER), interrupt=lambda: False)) == 1


LEAVING = {
    "a precompile": asm(0, 0, 0, 0, 4, "GAS", "STATICCALL", "POP"),
    "nobody": asm(0, 0, 0, 0, FRESH, "GAS", "STATICCALL", "POP"),
    "a balance": asm("ADDRESS", "BALANCE", "POP"),
    "a slot": asm(0, "SLOAD", "POP"),
    "a log": asm(0, 0, "LOG0"),
    "a hash": asm("NUMBER", "BLOCKHASH", "POP"),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("leaves", LEAVING)
def test_code_that_leaves_its_tier_all_the_time_is_interrupted_too(leaves: str, tier: str) -> None:
    """Such a loop never comes to the end of a slice of gas: 50 million would last for most of a minute."""
    chain = chain_of(asm("JUMPDEST") + LEAVING[leaves] + asm(0, "JUMP"))
    runtime = Runtime(chain.spec, chain.identity, chain.store, tiers=TIERS[tier])
    with pytest.raises(ExecutionInterrupted):
        runtime.call(chain.tip, CallRequest(to=CODE), gas_cap=1_000_000, interrupt=lambda: True)


def brief(chain: Chain, polls: int = 10, **options: Any) -> Any:
    """A call that may do a million work and be asked about `polls` times."""
    asked = iter(range(polls))
    return chain.runtime.call_briefly(
        chain.tip,
        CallRequest(to=CODE, **options),
        gas_cap=CAP,
        work_max=1_000_000,
        interrupt=lambda: next(asked, None) is None,
    )


def test_a_brief_call_answers_as_any_other() -> None:
    for code in (COUNTER, asm("GAS") + word(), asm(5, 0, "MSTORE", 32, 0, "REVERT"), asm("INVALID")):
        chain = chain_of(code)
        assert brief(chain, polls=100) == call(chain)


def test_a_brief_call_gives_up_what_takes_long() -> None:
    assert brief(chain_of(asm("JUMPDEST", 0, "JUMP"))) is None
    calls = asm(0, 0, 0, 0, 0, OTHER, "GAS", "CALL", "POP")
    assert brief(chain_of(calls * 10), polls=1_000) is not None
    assert brief(chain_of(calls * 30), polls=1_000) is None
    blake2 = asm(100_000 << 224, 0, "MSTORE", 0, 0, 213, 0, 9, "GAS", "STATICCALL") + word()
    assert value(call(chain_of(blake2))) == 1
    assert brief(chain_of(blake2), polls=1_000) is None, "it counts before it is computed"
    staking = chain_of(asm(0, 0, 0, 0, STAKING_ADDRESS, "GAS", "STATICCALL", "ISZERO") + word())
    assert value(call(staking)) == 1
    assert brief(staking, polls=1_000) is None, "a native contract may wait for its index"


def estimate(chain: Chain, **options: Any) -> int:
    return chain.runtime.estimate_gas(chain.tip, CallRequest(sender=ADDRESSES[0], **options), gas_cap=CAP)


def test_an_estimate_is_enough_and_one_less_is_not() -> None:
    forwards = asm(0, 0, 0, 0, 0, OTHER, "GAS", "CALL", "ISZERO", b"\x00\x20", "JUMPI")
    forwards = forwards + asm("STOP").ljust(32 - len(forwards), b"\x00") + asm("JUMPDEST", 0, 0, "REVERT")
    refunds = b"".join(asm(0, slot, "SSTORE") for slot in range(4))
    for code, storage in ((COUNTER, {}), (forwards, {}), (refunds, dict.fromkeys(range(4), 1))):
        chain = chain_of(code, storage=storage)
        gas = estimate(chain, to=CODE)
        request = {"nonce": 0, "to": CODE}
        enough = chain.build([signed(0, gas=gas, **request)])
        assert enough.receipts[0].status == 1
        assert chain.build([signed(0, gas=gas - 1, **request)]).receipts[0].status == 0
    chain = chain_of(b"")
    assert estimate(chain, to=FRESH, value=1) == 21_000
    assert estimate(chain, to=FRESH, data=b"\x01" * 100) == 21_000 + 4_000
    creation = estimate(chain, data=deployer(COUNTER))
    assert chain.build([signed(0, nonce=0, data=deployer(COUNTER), gas=creation)]).receipts[0].status == 1


def test_estimates_that_cannot_succeed_say_why() -> None:
    with pytest.raises(ExecutionReverted) as caught:
        estimate(chain_of(asm(5, 0, "MSTORE", 32, 0, "REVERT")), to=CODE)
    assert caught.value.data == bytes(31) + b"\x05" and str(caught.value) == "execution reverted"
    with pytest.raises(InvalidTransaction, match=r"gas required exceeds allowance \(300000\)"):
        estimate(chain_of(asm("JUMPDEST", 0, "JUMP")), to=CODE, gas=300_000)
    with pytest.raises(InvalidTransaction, match="invalid opcode"):
        estimate(chain_of(asm("INVALID")), to=CODE)
    with pytest.raises(InvalidTransaction, match=r"gas required exceeds allowance \(21500\)"):
        estimate(chain_of(COUNTER), to=CODE, gas=21_500)
    with pytest.raises(InvalidTransaction, match="insufficient funds"):
        estimate(chain_of(COUNTER), to=CODE, value=10**30)
    for size, words in ((24_577, "^max code size exceeded$"), (24_576, "^contract creation code storage out of gas$")):
        with pytest.raises(InvalidTransaction, match=words):
            estimate(chain_of(b""), data=asm(size, 0, "RETURN"), gas=None if size > 24_576 else 1_000_000)
    creator = asm(49_153, 0, 0, "CREATE")
    with pytest.raises(InvalidTransaction, match=r"^max initcode size exceeded$"):
        estimate(chain_of(creator), to=CODE)
    poor = AccountOverride(balance=25_000 * 10**9)
    chain = chain_of(COUNTER)
    with pytest.raises(InvalidTransaction, match=r"gas required exceeds allowance \(25000\)"):
        chain.runtime.estimate_gas(
            chain.tip, CallRequest(sender=FRESH, to=CODE, gas_price=10**9), gas_cap=CAP, state_overrides={FRESH: poor}
        )


def test_an_access_list_holds_what_the_call_touches_and_saves_its_gas() -> None:
    code = asm(
        3, "SLOAD", "POP", OTHER, "BALANCE", "POP", 0, 0, 0, 0, 0, OTHER, "GAS", "CALL", "POP", "CALLER", "BALANCE"
    )
    chain = chain_of(code)
    found, result = chain.runtime.create_access_list(chain.tip, CallRequest(sender=ADDRESSES[0], to=CODE), gas_cap=CAP)
    assert found == ((CODE, (3,)), (OTHER, (0,)))
    assert result.status == "success"
    listed = call(chain, sender=ADDRESSES[0], access_list=found)
    assert listed.gas_used == result.gas_used


def test_calls_on_old_blocks_run_on_their_own_state() -> None:
    chain = chain_of(word(0, "SLOAD", "NUMBER", "ADD"), storage={0: 100})
    genesis = chain.tip
    chain.advance(signed(0, nonce=0, to=OTHER, gas=100_000))
    middle = chain.tip
    chain.advance(signed(0, nonce=1, to=OTHER, gas=100_000), signed(0, nonce=2, to=FRESH, value=5))
    for header, count in ((genesis, 0), (middle, 1), (chain.tip, 2)):
        assert value(chain.runtime.call(header, CallRequest(to=OTHER), gas_cap=CAP)) == count + 1
        assert value(chain.runtime.call(header, CallRequest(to=CODE), gas_cap=CAP)) == 100 + header.number
        reader = chain.runtime.state(header)
        assert reader.storage(OTHER, 0) == count and reader.storage(OTHER, 99) == 0
        assert reader.nonce(ADDRESSES[0]) == (0, 1, 3)[count]
        assert reader.code(OTHER) == COUNTER and reader.balance(FRESH) == (5 if count == 2 else 0)
        assert reader.validators().current == chain.spec.validator_set
        assert reader.supply().total == reader.supply().genesis + reader.supply().minted - reader.supply().burned
    with pytest.raises(InvariantError):
        chain.runtime.state().slots(OTHER).store(0, 1)


def test_flat_and_trie_state_agree_account_for_account() -> None:
    chain = chain_of(COUNTER)
    for nonce in range(3):
        chain.advance(signed(0, nonce=nonce, to=CODE, gas=100_000))
    flat, through_trie = chain.runtime.state(), chain.runtime.state(chain.tip)
    for key, _ in chain.store.iterate(b"a"):
        assert flat.account(Address(key[1:])) == through_trie.account(Address(key[1:]))
    for key, _ in chain.store.iterate(b"s"):
        address, slot = Address(key[1:21]), int.from_bytes(key[21:], "big")
        assert flat.storage(address, slot) == through_trie.storage(address, slot) != 0


def test_proofs_verify_against_the_header() -> None:
    chain = chain_of(COUNTER, storage={5: 6})
    chain.advance(signed(0, nonce=0, to=CODE, gas=100_000))
    for reader in (chain.runtime.state(), chain.runtime.state(chain.tip)):
        for address in (CODE, ADDRESSES[0], FRESH):
            proof = reader.proof(address, (0, 5, 77))
            nodes = [rlp.decode(node) for node in proof.account_proof]
            leaf = HexaryTrie.get_from_proof(chain.tip.state_root, keccak256(address), nodes)
            account = reader.account(address)
            assert leaf == (encode_account(account) if account else b"")
            if account is None:
                assert proof.code_hash == proof.storage_hash == ZERO_HASH, "nothing has a hash where nothing is"
            for entry in proof.storage_proof:
                if account is None or proof.storage_hash == HexaryTrie({}).root_hash:
                    assert entry.proof == () and entry.value == 0
                    continue
                key = keccak256(entry.slot.to_bytes(32, "big"))
                found = HexaryTrie.get_from_proof(proof.storage_hash, key, [rlp.decode(node) for node in entry.proof])
                assert (int.from_bytes(rlp.decode(found), "big") if found else 0) == entry.value
        assert [entry.value for entry in reader.proof(CODE, (0, 5, 77)).storage_proof] == [1, 6, 0]


def test_a_creation_can_be_called() -> None:
    result = call(chain_of(b""), None, sender=ZERO_ADDRESS, data=deployer(COUNTER))
    assert result.status == "success" and result.output == COUNTER
