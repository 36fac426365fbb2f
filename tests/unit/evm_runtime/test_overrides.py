"""State and block overrides of calls, as geth has them: precompiles that move or vanish, hashes and fees that are made up."""

import hashlib
import random
from typing import Any

import pytest

from evm_runtime.overrides import AccountOverride, BlockOverrides
from evm_runtime.runtime import CallRequest
from genesis.chain_spec import ForkActivation
from genesis.errors import InvalidTransaction
from genesis.primitives import Address, Hash32
from tests.fuzz.messages import NATIVE, Ledger
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm
from tests.unit.evm_runtime.test_calls import CAP, CODE, COUNTER, FRESH, OTHER, call, chain_of, value, word

SHA256, IDENTITY = (Address(bytes(19) + bytes([number])) for number in (2, 4))
DIGEST = hashlib.sha256(b"OpenLedger").digest()


def test_a_precompile_moves_and_is_gone_where_it_was() -> None:
    chain = chain_of(b"")
    moved = {SHA256: AccountOverride(move_precompile_to=FRESH)}
    assert call(chain, FRESH, data=b"OpenLedger", state_overrides=moved).output == DIGEST
    assert call(chain, SHA256, data=b"OpenLedger", state_overrides=moved).output == b""
    assert call(chain, SHA256, data=b"OpenLedger").output == DIGEST, "only in that call"
    assert call(chain, FRESH, data=b"OpenLedger").output == b""


def test_a_moved_precompile_makes_room_for_code_that_calls_it() -> None:
    """The usual use: put code in front of a precompile."""
    code = asm(
        "CALLDATASIZE", 0, 0, "CALLDATACOPY", 32, 0, "CALLDATASIZE", 0, FRESH, "GAS", "STATICCALL", 0, "MLOAD", 1, "ADD"
    )
    overrides = {SHA256: AccountOverride(move_precompile_to=FRESH, code=code + asm(0, "MSTORE", 32, 0, "RETURN"))}
    result = call(chain_of(b""), SHA256, data=b"OpenLedger", state_overrides=overrides)
    assert value(result) == int.from_bytes(DIGEST, "big") + 1


def test_moving_makes_nothing_warm_or_cold() -> None:
    """Gas is geth's: the fork's own precompiles are warm from the start, wherever a call moves them."""
    gas_of = asm("GAS", 0, "CALLDATALOAD", "BALANCE", "POP", "GAS", "SWAP1", "SUB", 0, "MSTORE", 32, 0, "RETURN")
    chain = Chain(make_spec(contract(CODE, gas_of)))
    moved = {SHA256: AccountOverride(move_precompile_to=FRESH)}

    def cost(address: Address) -> int:
        return value(call(chain, data=bytes(12) + address, state_overrides=moved))

    assert cost(FRESH) - cost(SHA256) == 2_500 and cost(SHA256) == cost(IDENTITY)


def test_a_precompile_whose_account_is_overridden_is_none() -> None:
    chain = chain_of(b"")
    assert value(call(chain, SHA256, state_overrides={SHA256: AccountOverride(code=word(77))})) == 77
    assert call(chain, SHA256, data=b"x", state_overrides={SHA256: AccountOverride(balance=5)}).output == b""
    assert call(chain, IDENTITY, data=b"x", state_overrides={SHA256: AccountOverride(balance=5)}).output == b"x"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({CODE: AccountOverride(move_precompile_to=FRESH)}, "is not a precompile"),
        (
            {SHA256: AccountOverride(move_precompile_to=FRESH), FRESH: AccountOverride(balance=1)},
            "is already overridden",
        ),
        ({Address(b"\x77" * 20): AccountOverride(move_precompile_to=FRESH)}, "is not a precompile"),
        ({SHA256: AccountOverride(move_precompile_to=IDENTITY), IDENTITY: AccountOverride()}, "already overridden"),
        ({SHA256: AccountOverride(move_precompile_to=SHA256)}, "referenced itself in replacement"),
        (
            {each: AccountOverride(move_precompile_to=FRESH) for each in (SHA256, IDENTITY)},
            "referencing the same address to replace",
        ),
    ],
)
def test_impossible_moves_are_refused(overrides: Any, message: str) -> None:
    with pytest.raises(InvalidTransaction, match=message):
        call(chain_of(b""), FRESH, state_overrides=overrides)


def test_no_precompile_takes_the_place_of_a_native_contract() -> None:
    chain = Chain(make_spec(), natives=(Ledger(),))
    overrides = {SHA256: AccountOverride(move_precompile_to=NATIVE)}
    with pytest.raises(InvalidTransaction, match="is a native contract"):
        call(chain, FRESH, state_overrides=overrides)


def test_a_precompile_can_take_the_place_of_another() -> None:
    overrides = {SHA256: AccountOverride(move_precompile_to=IDENTITY)}
    assert call(chain_of(b""), IDENTITY, data=b"OpenLedger", state_overrides=overrides).output == DIGEST


def test_code_takes_the_place_of_a_native_contract_and_nothing_else_does() -> None:
    chain = Chain(make_spec(), natives=(Ledger(),))
    asked = next(found.signature.selector for found in Ledger.methods.values() if found.signature.name == "noted")
    plain = call(chain, NATIVE, data=asked)
    assert plain.status == "success" and plain.output
    assert call(chain, NATIVE, data=asked, state_overrides={NATIVE: AccountOverride(balance=5)}).output == plain.output
    replaced = {NATIVE: AccountOverride(code=word(77))}
    assert value(call(chain, NATIVE, data=asked, state_overrides=replaced)) == 77
    assert call(chain, NATIVE, data=asked, state_overrides={NATIVE: AccountOverride(code=b"")}).output == b""
    assert call(chain, NATIVE, data=asked).output == plain.output, "only in that call"


def test_replacing_a_native_contract_makes_nothing_cold() -> None:
    costs = asm("GAS", NATIVE, "BALANCE", "POP", "GAS", "SWAP1", "SUB", 0, "MSTORE", 32, 0, "RETURN")
    chain = Chain(make_spec(contract(CODE, costs)), natives=(Ledger(),))
    assert value(call(chain)) == value(call(chain, state_overrides={NATIVE: AccountOverride(code=b"\x00")}))


def test_block_hashes_and_the_blob_base_fee_are_taken_as_given() -> None:
    chain = Chain(make_spec(contract(CODE, word(0, "CALLDATALOAD", "BLOCKHASH")), contract(OTHER, word("BLOBBASEFEE"))))
    for nonce in range(3):
        chain.advance(signed(0, nonce=nonce, to=FRESH))
    made_up = BlockOverrides(block_hashes={1: Hash32(b"\x11" * 32), 9: Hash32(b"\x99" * 32)})

    def blockhash(number: int, **overrides: Any) -> int:
        return value(call(chain, data=number.to_bytes(32, "big"), **overrides))

    assert blockhash(1, block_overrides=made_up) == int.from_bytes(b"\x11" * 32, "big")
    assert blockhash(2, block_overrides=made_up) == blockhash(2) != 0
    assert blockhash(9, block_overrides=made_up) == 0, "not yet an ancestor"
    later = BlockOverrides(number=10, block_hashes=made_up.block_hashes)
    assert blockhash(9, block_overrides=later) == int.from_bytes(b"\x99" * 32, "big")
    assert value(call(chain, OTHER)) == 1
    assert value(call(chain, OTHER, block_overrides=BlockOverrides(blob_base_fee=12_345))) == 12_345


def test_the_forks_rules_are_those_of_the_overridden_height() -> None:
    forks = (ForkActivation("prague"), ForkActivation("osaka", 100))
    clz = asm(1) + b"\x1e" + asm(0, "MSTORE", 32, 0, "RETURN")
    chain = Chain(make_spec(contract(CODE, clz), forks=forks))
    assert call(chain).status == "error"
    assert value(call(chain, block_overrides=BlockOverrides(number=100))) == 255


def test_access_lists_and_estimates_take_overrides() -> None:
    chain = chain_of(b"")
    overrides = {FRESH: AccountOverride(code=COUNTER, state={0: 5})}
    request = CallRequest(sender=ADDRESSES[0], to=FRESH)
    entries, result = chain.runtime.create_access_list(chain.tip, request, gas_cap=CAP, state_overrides=overrides)
    assert entries == ((FRESH, (0,)),) and int.from_bytes(result.output, "big") == 6
    gas = chain.runtime.estimate_gas(chain.tip, request, gas_cap=CAP, state_overrides=overrides)
    assert call(chain, FRESH, sender=ADDRESSES[0], gas=gas, state_overrides=overrides).status == "success"
    assert call(chain, FRESH, sender=ADDRESSES[0], gas=gas - 1, state_overrides=overrides).status == "error"


@pytest.mark.parametrize("seed", range(3))
def test_no_overrides_make_a_call_raise_anything_else(seed: int) -> None:
    rng = random.Random(seed)
    chain = chain_of(asm(0, 0, "REVERT"))
    accounts = [*(Address(bytes(19) + bytes([number])) for number in range(20)), CODE, FRESH]
    words = [None, None, 0, 1, (1 << 64) - 1, 1 << 255, (1 << 256) - 1]
    ran = refused = 0
    for _ in range(150):
        overrides = {
            rng.choice(accounts): AccountOverride(
                balance=rng.choice(words),
                nonce=rng.choice(words[:5]),
                code=rng.choice([None, b"", b"\x5b\x5f\x56", b"\xef\x01\x00" + rng.choice(accounts)]),
                state=rng.choice([None, {}, {1: 2}]),
                move_precompile_to=rng.choice([None, None, rng.choice(accounts)]),
            )
            for _ in range(rng.randrange(4))
        }
        small = {name: rng.choice(words[:5]) for name in ("number", "time", "gas_limit")}
        around = BlockOverrides(**small, base_fee=rng.choice(words), blob_base_fee=rng.choice(words))
        try:
            call(
                chain,
                rng.choice(accounts),
                sender=rng.choice(accounts),
                value=rng.choice([0, 1]),
                gas=50_000,
                state_overrides=overrides,
                block_overrides=around,
            )
            ran += 1
        except InvalidTransaction:
            refused += 1
    assert ran > 10 and refused > 10, f"seed {seed}: {ran} ran, {refused} were refused"
