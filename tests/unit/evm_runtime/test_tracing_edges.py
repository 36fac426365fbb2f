"""Where traces of py-evm and geth part easily: messages that never begin, opcodes that run out of gas, delegations, indexes."""

from typing import Any

from eth_account import Account as Signer

from evm_runtime.transition import contract_address
from genesis.primitives import keccak256
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, contract, signed
from tests.unit.evm_runtime.programs import asm, deployer
from tests.unit.evm_runtime.test_tracing import CODE, FRESH, LOGGER, OTHER, call, kept, name, word


def traced(code: bytes, *accounts: Any, gas: int = 500_000, balance: int = 0) -> Any:
    """The trace function of a block with one call of `code`."""
    _, (trace, _) = kept(contract(CODE, code, balance), *accounts, transactions=[signed(0, nonce=0, to=CODE, gas=gas)])
    return lambda tracer=None, **config: trace(0, tracer, **config)


def test_a_call_without_funds_is_a_frame() -> None:
    trace = traced(asm(0x01020304, 0, "MSTORE") + call("CALL", OTHER, gas=30_000, value=7) + asm("STOP"), balance=6)
    (frame,) = trace("callTracer")["calls"]
    assert frame == {
        "from": name(CODE), "gas": hex(32_300), "gasUsed": "0x0", "to": name(OTHER), "input": "0x01020304",
        "error": "insufficient balance for transfer", "value": "0x7", "type": "CALL",
    }  # fmt: skip
    steps = trace()["structLogs"]
    at = next(place for place, step in enumerate(steps) if step["op"] == "CALL")
    assert steps[at]["gasCost"] == 2_600 + 9_000 + 25_000 + 30_000, "cold, value, new account, what was handed on"
    assert steps[at]["gas"] - steps[at + 1]["gas"] == 2_600 + 9_000 + 25_000 - 2_300, (
        "the stipend is the caller's to keep"
    )
    assert trace("4byteTracer") == {"0x01020304-0": 1}


def test_a_creation_without_funds_is_a_frame_with_its_initcode() -> None:
    init = deployer(b"\x00")
    code = asm(init.ljust(32, b"\0"), 0, "MSTORE", len(init), 0, 9, "CREATE", "POP", "STOP")
    trace = traced(code, balance=8)
    (frame,) = trace("callTracer")["calls"]
    steps = trace()["structLogs"]
    at = next(place for place, step in enumerate(steps) if step["op"] == "CREATE")
    left = steps[at + 1]["gas"]
    assert steps[at]["gasCost"] == 32_000 + 2 == steps[at]["gas"] - left
    assert frame == {
        "from": name(CODE), "gas": hex(left - left // 64), "gasUsed": "0x0", "input": "0x" + init.hex(),
        "error": "insufficient balance for transfer", "value": "0x9", "type": "CREATE",
    }  # fmt: skip


def test_a_creation_at_an_address_that_is_taken_uses_all_that_it_was_handed() -> None:
    init = deployer(b"\x00")
    once = asm(5, len(init), 0, 0, "CREATE2", "POP")
    trace = traced(asm(init.ljust(32, b"\0"), 0, "MSTORE") + once + once + asm("STOP"))
    first, second = trace("callTracer")["calls"]
    assert "error" not in first and first["to"]
    assert second["error"] == "contract address collision" and "to" not in second
    assert second["gas"] == second["gasUsed"]
    steps = [step for step in trace()["structLogs"] if step["depth"] == 1]
    at = [place for place, step in enumerate(steps) if step["op"] == "CREATE2"][1]
    assert steps[at]["gasCost"] == 32_000 + 2 + 6
    assert steps[at]["gas"] - steps[at]["gasCost"] - int(second["gas"], 16) == steps[at + 1]["gas"]


def test_a_selfdestruct_that_runs_out_of_gas_is_none() -> None:
    dying = asm(FRESH, "SELFDESTRUCT")
    accounts = [contract(OTHER, dying, 5)]
    code = call("CALL", OTHER, gas=7_000) + call("CALL", OTHER, gas=60_000) + asm("STOP")
    failed, died = traced(code, *accounts)("callTracer")["calls"]
    assert failed["error"] == "out of gas" and "calls" not in failed
    assert [inner["type"] for inner in died["calls"]] == ["SELFDESTRUCT"]


def test_prestate_shows_nothing_of_an_opcode_that_ran_out_of_gas() -> None:
    accounts = [contract(OTHER, asm(1, "SLOAD", 2, "SLOAD"), storage={1: 10, 2: 20})]
    found = traced(call("CALL", OTHER, gas=4_000) + asm("STOP"), *accounts)("prestateTracer")
    assert found[name(OTHER)]["storage"] == {word(1): word(10)}
    found = traced(call("CALL", OTHER, gas=5_000) + asm("STOP"), *accounts)("prestateTracer")
    assert found[name(OTHER)]["storage"] == {word(1): word(10), word(2): word(20)}


def test_prestate_leaves_out_what_was_not_there_unless_asked() -> None:
    trace = traced(asm(FRESH, "BALANCE", "POP", "STOP"))
    assert name(FRESH) not in trace("prestateTracer")
    assert trace("prestateTracer", includeEmpty=True)[name(FRESH)] == {"balance": "0x0"}


def test_prestate_knows_whom_an_account_has_delegated_to() -> None:
    authorization = Signer.sign_authorization({"chainId": CHAIN_ID, "address": name(OTHER), "nonce": 0}, KEYS[4])
    accounts = [contract(OTHER, asm(1, 1, "SSTORE")), contract(CODE, call("CALL", ADDRESSES[4]) + asm("STOP"))]
    sent = [
        signed(0, nonce=0, to=FRESH, gas=100_000, authorizationList=[authorization]),
        signed(0, nonce=1, to=CODE, gas=200_000),
        signed(0, nonce=2, to=ADDRESSES[4], gas=200_000),
    ]
    _, (trace, _) = kept(*accounts, transactions=sent)
    authority, designator = name(ADDRESSES[4]), b"\xef\x01\x00" + OTHER
    assert trace(0, "prestateTracer")[authority] == {"balance": hex(1_000 * 10**18)}
    post = trace(0, "prestateTracer", diffMode=True)["post"][authority]
    assert post == {"code": "0x" + designator.hex(), "codeHash": "0x" + keccak256(designator).hex(), "nonce": 1}
    for index in (1, 2):
        found = trace(index, "prestateTracer")
        assert found[authority]["code"] == "0x" + designator.hex() and found[name(OTHER)]["nonce"] == 1
    assert trace(0)["structLogs"] == []


def test_what_is_created_and_destroyed_at_once_is_in_no_diff() -> None:
    init = asm(FRESH, "SELFDESTRUCT")
    code = asm(init.ljust(32, b"\0"), 0, "MSTORE", len(init), 0, 3, "CREATE", "POP", "STOP")
    diff = traced(code, balance=10)("prestateTracer", diffMode=True)
    created = name(contract_address(CODE, 1))
    assert created not in diff["pre"] and created not in diff["post"]
    assert diff["post"][name(FRESH)] == {"balance": "0x3"}
    assert diff["post"][name(CODE)] == {"balance": "0x7", "nonce": 2}


def test_logs_are_numbered_through_the_block_and_reverted_ones_not_counted() -> None:
    reverting = LOGGER + asm(0, 0, "REVERT")
    accounts = [contract(CODE, call("CALL", OTHER) + LOGGER + LOGGER), contract(OTHER, reverting)]
    sent = [signed(0, nonce=nonce, to=CODE, gas=200_000) for nonce in range(2)]
    _, (trace, executed) = kept(*accounts, transactions=sent)
    assert [len(receipt.logs) for receipt in executed.receipts] == [2, 2]
    for index, expected in enumerate((["0x0", "0x1"], ["0x2", "0x3"])):
        root = trace(index, "callTracer", withLog=True)
        assert [entry["index"] for entry in root["logs"]] == expected
        assert [entry["position"] for entry in root["logs"]] == ["0x1", "0x1"] and "logs" not in root["calls"][0]


def test_errors_of_creations_have_names_of_their_own() -> None:
    cases = {
        asm(0, 0, "MSTORE", 24_577, 0, "RETURN"): "max code size exceeded",
        asm(0xEF, 0, "MSTORE8", 1, 0, "RETURN"): "invalid code: must not begin with 0xef",
        asm(0, 0, "MSTORE", 20_000, 0, "RETURN"): "contract creation code storage out of gas",
    }
    sent = [signed(0, nonce=nonce, data=init, gas=2_000_000) for nonce, init in enumerate(cases)]
    _, (trace, executed) = kept(transactions=sent)
    for index, error in enumerate(cases.values()):
        root = trace(index, "callTracer")
        assert root["error"] == error and executed.receipts[index].status == 0
        assert root["gasUsed"] == hex(2_000_000)
        last = trace(index)["structLogs"][-1]
        assert (last["op"], "error" in last) == ("RETURN", False), "the opcode ran well"
        assert last["gasCost"] == (3_459, 0, 2_634)[index], "what memory cost, whatever is burned after it"


def test_authorizations_show_in_the_refund_counter() -> None:
    authorization = Signer.sign_authorization({"chainId": CHAIN_ID, "address": name(OTHER), "nonce": 0}, KEYS[4])
    sent = [signed(0, nonce=0, to=CODE, gas=200_000, authorizationList=[authorization])]
    _, (trace, _) = kept(contract(CODE, asm(0, 5, "SSTORE", 1), storage={5: 1}), transactions=sent)
    assert [step["refund"] for step in trace(0)["structLogs"]] == [12_500] * 3 + [17_300] * 2
