"""Single transactions: the traps of py-evm, native dispatch, EIP-7702, creation, destruction, transient storage."""

import hashlib
import threading
from typing import Any

import pytest
from eth.abc import ComputationAPI
from eth.exceptions import Revert
from eth_account import Account

from evm_runtime import transition
from evm_runtime.computation import computation_class
from evm_runtime.precompiles import OSAKA_PRECOMPILES, PRAGUE_PRECOMPILES
from evm_runtime.runtime import CallRequest
from evm_runtime.transaction import decode_transaction
from evm_runtime.transition import DELEGATION_PREFIX, contract_address
from genesis.chain_spec import ATTRIBUTION_ADDRESS, ForkActivation
from genesis.crypto import address_of_private_key
from genesis.errors import InvalidTransaction, InvariantError
from genesis.primitives import Address, Hash32, Wei, keccak256
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm, deployer

CODE = Address(b"\xe0" * 20)
OTHER = Address(b"\xe1" * 20)
FRESH = Address(b"\x22" * 20)


class Recorder:
    """A native contract: stores the caller, keeps its input as a blob, logs, and reverts on an input that says so."""

    address = ATTRIBUTION_ADDRESS

    def __call__(self, computation: ComputationAPI) -> ComputationAPI:
        state: Any = computation.state
        data = bytes(computation.msg.data)
        state.set_storage(self.address, 0, int.from_bytes(computation.msg.sender, "big"))
        blob = state.put_blob(data)
        computation.consume_gas(1_000, "recording")
        computation.add_log_entry(self.address, (7,), data)
        computation.output = blob
        if data[:1] == b"R":
            computation.output = b"no"
            raise Revert(b"no")
        return computation

    def end_block(self, state: Any) -> Wei:
        return Wei(0)


def run(code: bytes, *, value: int = 0, gas: int = 500_000, data: bytes = b"", **account: Any) -> tuple[Chain, Any]:
    """A block with one call to a contract of `code`."""
    chain = Chain(
        make_spec(contract(CODE, code, **account), contract(OTHER, asm(1, 0, "SSTORE"))), natives=(Recorder(),)
    )
    executed = chain.advance(signed(0, nonce=0, to=CODE, value=value, gas=gas, data=data))
    return chain, executed


def authorize(key: int, target: bytes, nonce: int = 0, chain_id: int = CHAIN_ID) -> Any:
    return Account.sign_authorization({"chainId": chain_id, "address": "0x" + target.hex(), "nonce": nonce}, KEYS[key])


# ------------------------------------------------------------ the traps


def test_trap_1_native_accounts_outlive_being_touched() -> None:
    chain = Chain()
    chain.advance(signed(0, nonce=0, to=ATTRIBUTION_ADDRESS, gas=100_000))
    account = chain.runtime.state().account(ATTRIBUTION_ADDRESS)
    assert account is not None and account[0] == 1 and chain.runtime.state().code(ATTRIBUTION_ADDRESS) == b"\xfe"


def test_trap_2_the_calldata_floor_is_checked_before_and_charged_after() -> None:
    chain = Chain()
    data = b"\x01" * 1_000
    short = signed(0, nonce=0, to=FRESH, data=data, gas=60_999)
    executed = chain.build([short, signed(0, nonce=0, to=FRESH, data=data, gas=100_000)])
    assert "floor data gas cost: have 60999, want 61000" in executed.skipped[0][1]
    assert executed.results[0].gas_used == 61_000
    chain.accept(executed)


def test_trap_2_the_floor_counts_after_the_refund() -> None:
    """Clearing slots earns a refund, but never takes the transaction below its floor."""
    clear = b"".join(asm(0, slot, "SSTORE") for slot in range(10))
    _, executed = run(clear, data=b"\x01" * 3_500, storage=dict.fromkeys(range(10), 1))
    assert executed.results[0].gas_used == 21_000 + 10 * 4 * 3_500
    _, executed = run(clear, storage=dict.fromkeys(range(10), 1))
    spent = 21_000 + 10 * (5_000 + 3 + 2)
    assert executed.results[0].gas_used == spent - min(48_000, spent // 5)


def test_trap_3_oversized_initcode_is_refused_before_execution() -> None:
    chain = Chain()
    executed = chain.build([signed(0, nonce=0, data=bytes(49_153), gas=2_000_000)])
    assert "max initcode size exceeded" in executed.skipped[0][1]
    chain.accept(executed)
    assert chain.runtime.state().nonce(ADDRESSES[0]) == 0


def test_trap_3_create_with_oversized_initcode_fails_its_own_frame() -> None:
    chain, executed = run(asm(49_153, 0, 0, "CREATE", 0, "SSTORE"), gas=5_000_000)
    assert executed.receipts[0].status == 0 and executed.results[0].gas_used == 5_000_000
    assert chain.runtime.state().nonce(CODE) == 1


def test_trap_4_the_checks_that_py_evm_leaves_out() -> None:
    chain = Chain(make_spec(contract(CODE, b"\x00")))
    other_chain = Account.sign_transaction(
        {"chainId": 1, "nonce": 0, "to": "0x" + "22" * 20, "gas": 21_000, "gasPrice": 10**10, "value": 0}, KEYS[0]
    )
    with pytest.raises(InvalidTransaction, match="invalid chain id"):
        decode_transaction(bytes(other_chain.raw_transaction), chain_id=CHAIN_ID)
    tipsy = signed(0, nonce=0, to=FRESH, maxFeePerGas=10**9, maxPriorityFeePerGas=10**10)
    assert "max priority fee" in chain.build([tipsy]).skipped[0][1]


def test_trap_5_a_delegated_sender_that_creates_pays_initcode_once() -> None:
    creates = asm(64, 0, 0, "CREATE", "GAS", 0, "SSTORE")
    chain = Chain(make_spec(contract(CODE, creates)))
    first = signed(0, nonce=0, to=ADDRESSES[0], gas=500_000, authorizationList=[authorize(0, CODE, 1)])
    other = signed(1, nonce=0, to=CODE, gas=500_000)
    chain.advance(first, other)
    state = chain.runtime.state()
    # The gas left after CREATE differs by what the messages paid before it: the authorization and the code's delegation.
    assert state.storage(CODE, 0) - state.storage(ADDRESSES[0], 0) == 25_000


def test_trap_6_a_failing_call_changes_nothing() -> None:
    chain = Chain(make_spec(contract(CODE, asm(5, 0, "SSTORE", "INVALID"))))
    result = chain.runtime.call(chain.tip, CallRequest(to=CODE), gas_cap=100_000)
    assert (result.status, result.gas_used, result.error) == ("error", 100_000, "invalid opcode: INVALID")
    assert chain.runtime.state().storage(CODE, 0) == 0


def test_trap_9_a_wrong_kzg_proof_fails_whatever_python_optimizes() -> None:
    """The known point-evaluation vector: the zero polynomial's commitment is the point at infinity."""
    infinity = b"\xc0" + bytes(47)
    versioned = b"\x01" + hashlib.sha256(infinity).digest()[1:]
    good = versioned + bytes(32) + bytes(32) + infinity + infinity
    wrong_y = good[:64] + bytes(31) + b"\x01" + good[96:]
    chain = Chain()
    target = Address(bytes(19) + b"\x0a")
    result = chain.runtime.call(chain.tip, CallRequest(to=target, data=good), gas_cap=200_000)
    assert result.status == "success" and result.output[:32] == (4_096).to_bytes(32, "big")
    for data in (wrong_y, b"\x02" + good[1:], good[:-1], good[:96] + b"\xff" * 48 + good[144:], b""):
        assert chain.runtime.call(chain.tip, CallRequest(to=target, data=data), gas_cap=200_000).status == "error"


@pytest.mark.parametrize("opcode", ["CALL", "STATICCALL"])
def test_traps_10_and_11_deep_recursion_is_linear_and_fits_a_thread_of_64_mib(opcode: str) -> None:
    value = [0] if opcode == "CALL" else []
    code = asm(0, 0, 0, 0, *value, "ADDRESS", "GAS", opcode, "POP", FRESH, "BALANCE")
    chain = Chain(make_spec(contract(CODE, code)))
    results: list[Any] = []

    def work() -> None:
        results.append(chain.runtime.call(chain.tip, CallRequest(to=CODE), gas_cap=30_000_000 * 1_000))

    previous = threading.stack_size(64 * 1024 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(previous)
    thread.join()
    assert results[0].status == "success"


# ------------------------------------------------------------ native contracts


def test_a_native_contract_runs_when_called_and_its_effects_are_journaled() -> None:
    chain, executed = run(asm(0x41, 0, "MSTORE8", 32, 0, 1, 0, 0, ATTRIBUTION_ADDRESS, "GAS", "CALL", 0, "SSTORE"))
    state = chain.runtime.state()
    assert state.storage(CODE, 0) == 1
    assert state.storage(ATTRIBUTION_ADDRESS, 0) == int.from_bytes(CODE, "big")
    assert state.blob(keccak256(b"A")) == b"A"
    assert executed.receipts[0].logs[0].data == b"A" and executed.receipts[0].logs[0].topics == (
        Hash32(bytes(31) + b"\x07"),
    )


def test_a_native_contract_that_reverts_leaves_nothing() -> None:
    chain, executed = run(
        asm(
            0x52,
            0,
            "MSTORE8",
            32,
            0,
            1,
            0,
            0,
            ATTRIBUTION_ADDRESS,
            "GAS",
            "CALL",
            "RETURNDATASIZE",
            1,
            "SSTORE",
            "ISZERO",
            0,
            "SSTORE",
        )
    )
    state = chain.runtime.state()
    assert (state.storage(CODE, 0), state.storage(CODE, 1)) == (1, 2)
    assert state.storage(ATTRIBUTION_ADDRESS, 0) == 0
    assert state.blob(keccak256(b"R")) is None and executed.receipts[0].logs == ()


def test_effects_of_a_native_contract_are_undone_with_its_caller() -> None:
    chain, executed = run(asm(0x41, 0, "MSTORE8", 32, 0, 1, 0, 0, ATTRIBUTION_ADDRESS, "GAS", "CALL", 0, 0, "REVERT"))
    state = chain.runtime.state()
    assert executed.receipts[0].status == 0 and executed.receipts[0].logs == ()
    assert state.storage(ATTRIBUTION_ADDRESS, 0) == 0 and state.blob(keccak256(b"A")) is None


@pytest.mark.parametrize("opcode", ["DELEGATECALL", "CALLCODE"])
def test_a_native_contract_in_another_name_does_nothing_and_succeeds(opcode: str) -> None:
    value = [0] if opcode == "CALLCODE" else []
    chain, executed = run(
        asm(
            0x41,
            0,
            "MSTORE8",
            0,
            0,
            1,
            0,
            *value,
            ATTRIBUTION_ADDRESS,
            "GAS",
            opcode,
            "RETURNDATASIZE",
            1,
            "SSTORE",
            0,
            "SSTORE",
        )
    )
    state = chain.runtime.state()
    assert (state.storage(CODE, 0), state.storage(CODE, 1)) == (1, 0)
    assert state.storage(ATTRIBUTION_ADDRESS, 0) == 0 and executed.receipts[0].logs == ()


def test_delegating_to_a_native_contract_does_nothing_and_succeeds() -> None:
    chain = Chain(
        make_spec(contract(CODE, asm(0, 0, 0, 0, 0, ADDRESSES[1], "GAS", "CALL", 0, "SSTORE"))), natives=(Recorder(),)
    )
    authorization = [authorize(1, ATTRIBUTION_ADDRESS)]
    executed = chain.advance(
        signed(0, nonce=0, to=ADDRESSES[1], value=9, data=b"A", gas=200_000, authorizationList=authorization),
        signed(0, nonce=1, to=CODE, gas=200_000),
    )
    state = chain.runtime.state()
    assert [receipt.status for receipt in executed.receipts] == [1, 1]
    assert all(receipt.logs == () for receipt in executed.receipts)
    assert state.code(ADDRESSES[1]) == DELEGATION_PREFIX + ATTRIBUTION_ADDRESS
    assert state.storage(ADDRESSES[1], 0) == 0 and state.storage(CODE, 0) == 1


def test_native_contracts_are_warm_and_may_not_sit_on_a_precompile() -> None:
    chain, _ = run(asm("GAS", ATTRIBUTION_ADDRESS, "BALANCE", "POP", "GAS", "SWAP1", "SUB", 0, "SSTORE"))
    assert chain.runtime.state().storage(CODE, 0) == 100 + 3 + 2 + 2

    class Squatter(Recorder):
        address = Address(bytes(19) + b"\x01")

    with pytest.raises(ValueError, match="address of a precompile"):
        computation_class({Squatter.address: Squatter()}, None)


def test_a_native_contract_can_stop_the_node_but_not_fail_a_block() -> None:
    class Fatal(Recorder):
        def __call__(self, computation: ComputationAPI) -> ComputationAPI:
            raise InvariantError("books don't balance")

    class Buggy(Recorder):
        def __call__(self, computation: ComputationAPI) -> ComputationAPI:
            computation.state.set_balance(computation.msg.sender, 5)
            raise KeyError("oops")

    tx = signed(0, nonce=0, to=ATTRIBUTION_ADDRESS, gas=100_000)
    with pytest.raises(InvariantError, match="books"):
        Chain(natives=(Fatal(),)).build([tx])
    chain = Chain(natives=(Buggy(),))
    executed = chain.build([tx, signed(1, nonce=0, to=FRESH)])
    assert executed.skipped[0][1].startswith("execution failed: KeyError") and len(executed.transactions) == 1
    chain.accept(executed)
    assert chain.runtime.state().balance(ADDRESSES[0]) == 1_000 * 10**18


# ------------------------------------------------------------ EIP-7702


def test_authorizations_are_set_cleared_and_skipped_one_by_one() -> None:
    chain = Chain(make_spec(contract(CODE, asm("ADDRESS", 0, "SSTORE"))))
    chain.advance(
        signed(
            0,
            nonce=0,
            to=ADDRESSES[1],
            gas=500_000,
            authorizationList=[
                authorize(1, CODE),
                authorize(2, CODE, nonce=5),
                authorize(3, CODE, chain_id=0),
                authorize(4, CODE, chain_id=9),
            ],
        )
    )
    state = chain.runtime.state()
    delegated = DELEGATION_PREFIX + CODE
    assert [state.code(ADDRESSES[i]) for i in range(1, 5)] == [delegated, b"", delegated, b""]
    assert [state.nonce(ADDRESSES[i]) for i in range(1, 5)] == [1, 0, 1, 0]
    assert state.storage(ADDRESSES[1], 0) == int.from_bytes(ADDRESSES[1], "big")
    chain.advance(signed(1, nonce=1, to=FRESH, gas=100_000, authorizationList=[authorize(1, bytes(20), nonce=2)]))
    assert chain.runtime.state().code(ADDRESSES[1]) == b"" and chain.runtime.state().nonce(ADDRESSES[1]) == 3


def test_an_authority_with_code_of_its_own_is_skipped() -> None:
    key = b"\x09" * 32
    authority, code = address_of_private_key(key), asm(7, 0, "SSTORE")
    chain = Chain(make_spec(contract(CODE, asm(1, 0, "SSTORE")), contract(authority, code)))
    given = Account.sign_authorization({"chainId": CHAIN_ID, "address": "0x" + CODE.hex(), "nonce": 1}, key)
    chain.advance(signed(0, nonce=0, to=authority, gas=200_000, authorizationList=[given]))
    state = chain.runtime.state()
    assert (state.code(authority), state.nonce(authority), state.storage(authority, 0)) == (code, 1, 7)


@pytest.mark.parametrize("lack", [MemoryError, RecursionError])
def test_a_machine_that_can_not_execute_stops_and_gives_no_outcome(
    monkeypatch: pytest.MonkeyPatch, lack: type[Exception]
) -> None:
    """Another machine may have the memory: an outcome here would differ from its."""

    def fail(*_arguments: object) -> None:
        raise lack

    chain = Chain(make_spec(contract(CODE, asm(1, 0, "SSTORE"))))
    monkeypatch.setattr(transition, "_execute", fail)
    with pytest.raises(InvariantError, match=f"this machine can't execute transaction 0x.*: {lack.__name__}"):
        chain.build([signed(0, nonce=0, to=CODE, gas=100_000)])


def test_authorizations_outlive_a_reverting_message() -> None:
    chain = Chain(make_spec(contract(CODE, asm(0, 0, "REVERT"))))
    executed = chain.advance(signed(0, nonce=0, to=ADDRESSES[1], gas=100_000, authorizationList=[authorize(1, CODE)]))
    assert executed.receipts[0].status == 0
    assert chain.runtime.state().code(ADDRESSES[1]) == DELEGATION_PREFIX + CODE
    # 12,500 comes back for an authority that exists, up to a fifth of the gas.
    assert executed.results[0].gas_used == 46_004 - 46_004 // 5


# ------------------------------------------------------------ creation, destruction, transient storage


def test_creating_transactions_give_the_address_and_deposit_the_code() -> None:
    chain = Chain()
    executed = chain.advance(signed(0, nonce=0, data=deployer(asm(7, 0, "SSTORE")), gas=200_000))
    created = executed.results[0].contract_address
    assert created == contract_address(ADDRESSES[0], 0)
    state = chain.runtime.state()
    assert created and state.code(created) == asm(7, 0, "SSTORE") and state.nonce(created) == 1
    failed = chain.advance(signed(0, nonce=1, data=asm(0, 0, "REVERT"), gas=200_000))
    assert failed.receipts[0].status == 0 and failed.results[0].contract_address == contract_address(ADDRESSES[0], 1)
    assert chain.runtime.state().account(contract_address(ADDRESSES[0], 1)) is None


@pytest.mark.parametrize("storage", [{}, {1: 1}])
def test_creation_does_not_overwrite_an_account_with_nonce_or_storage(storage: dict[int, int]) -> None:
    taken = contract_address(ADDRESSES[0], 0)
    chain = Chain(make_spec(contract(taken, b"", storage=storage)))
    executed = chain.advance(signed(0, nonce=0, data=deployer(b"\x00"), gas=200_000))
    assert executed.receipts[0].status == 0 and executed.results[0].gas_used == 200_000


@pytest.mark.parametrize("code", [b"\xef\x00", bytes(24_577)])
def test_code_that_may_not_be_deployed_fails_and_takes_the_gas(code: bytes) -> None:
    init = (
        asm(len(code).to_bytes(2, "big"), 0, "RETURN")
        if code[:1] == b"\x00"
        else asm(0xEF, 0, "MSTORE8", 2, 0, "RETURN")
    )
    chain = Chain()
    executed = chain.advance(signed(0, nonce=0, data=init, gas=6_000_000))
    assert executed.receipts[0].status == 0 and executed.results[0].gas_used == 6_000_000


def test_selfdestruct_only_removes_what_this_transaction_created() -> None:
    old = contract(CODE, asm(FRESH, "SELFDESTRUCT"), balance=50, storage={1: 2})
    chain = Chain(make_spec(old))
    executed = chain.advance(
        signed(0, nonce=0, to=CODE, gas=100_000),
        signed(0, nonce=1, data=asm(FRESH, "SELFDESTRUCT"), value=7, gas=100_000),
    )
    state = chain.runtime.state()
    assert state.code(CODE) and state.balance(CODE) == 0 and state.storage(CODE, 1) == 2
    assert state.balance(FRESH) == 57
    created = executed.results[1].contract_address
    assert created and state.account(created) is None


def test_transient_storage_lives_for_one_transaction_and_reverts() -> None:
    code = asm(0, "TLOAD", "DUP1", 1, "SLOAD", "ADD", 1, "SSTORE", 1, "ADD", 0, "TSTORE", 0, "TLOAD", 0, "SSTORE")
    chain = Chain(make_spec(contract(CODE, code)))
    chain.advance(signed(0, nonce=0, to=CODE, gas=100_000), signed(0, nonce=1, to=CODE, gas=100_000))
    assert (chain.runtime.state().storage(CODE, 0), chain.runtime.state().storage(CODE, 1)) == (1, 0)


def test_empty_accounts_are_swept() -> None:
    chain, _ = run(asm(0, 0, 0, 0, 0, FRESH, "GAS", "CALL", "POP", 0, 0, 0, 0, 5, OTHER, "GAS", "CALL"), value=9)
    assert chain.runtime.state().account(FRESH) is None
    assert chain.runtime.state().balance(OTHER) == 5


def test_jumps_into_push_data_and_past_the_end_fail() -> None:
    into_data = bytes([0x60, 4, 0x56, 0x60, 0x5B, 0x00])
    assert run(into_data)[1].receipts[0].status == 0
    assert run(asm(99, "JUMP"))[1].receipts[0].status == 0
    fine = bytes([0x60, 4, 0x56, 0xFE, 0x5B, 0x00])
    assert run(fine)[1].receipts[0].status == 1
    truncated_push = bytes([0x60, 3, 0x56, 0x5B, 0x7F, 0x5B])
    assert run(truncated_push)[1].receipts[0].status == 1


@pytest.mark.parametrize(
    ("sizes", "body", "expected"),
    [
        ((1, 1, 1), b"\x03\x05\x07", b"\x05"),
        ((0, 0, 1), b"\x05", b"\x01"),
        ((0, 1, 1), b"\x02\x05", b"\x00"),
        ((1, 1, 0), b"\x03\x05", b""),
        ((1, 1, 2), b"\x03\x05\x00\x01", b"\x00\x00"),
        ((1, 1, 2), b"\x03\x05\x00", b"\x00\x00"),
        ((0, 1 << 200, 0), b"", b""),
    ],
)
def test_modexp(sizes: tuple[int, int, int], body: bytes, expected: bytes) -> None:
    data = b"".join(size.to_bytes(32, "big") for size in sizes) + body
    chain = Chain(make_spec(forks=(ForkActivation("prague"),)))
    result = chain.runtime.call(chain.tip, CallRequest(to=Address(bytes(19) + b"\x05"), data=data), gas_cap=1_000_000)
    assert (result.status, result.output) == ("success", expected)


def test_every_precompile_of_prague_is_there() -> None:
    assert sorted(int.from_bytes(address, "big") for address in PRAGUE_PRECOMPILES) == list(range(1, 18))
    assert set(OSAKA_PRECOMPILES) - set(PRAGUE_PRECOMPILES) == {Address(bytes(18) + b"\x01\x00")}
