"""Traces of transactions of kept blocks and of calls, in geth's shapes."""

import itertools
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account as Signer

from evm_runtime.calls import CallRequest, ExecutionInterrupted
from evm_runtime.reverts import revert_reason
from evm_runtime.runtime import TraceOptions
from evm_runtime.tracing import UnknownTracer
from evm_runtime.transaction import Transaction
from evm_runtime.transition import contract_address
from genesis.primitives import Address, keccak256
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm, deployer

CODE, OTHER, LIBRARY = (Address(bytes([0xE0 + n]) * 20) for n in range(3))
FRESH = Address(b"\x22" * 20)
LOGGER = asm(7, 0, "MSTORE", 9, 32, 0, "LOG1", 5, 1, "SSTORE")
REASON = bytes.fromhex("08c379a0") + encode(["string"], ["not today"])


def name(address: bytes) -> str:
    return "0x" + address.hex()


def word(number: int) -> str:
    return f"0x{number:064x}"


def call(kind: str, to: bytes, gas: int = 100_000, value: int = 0) -> bytes:
    """Four bytes of input from memory, no output."""
    values = [value] if kind in ("CALL", "CALLCODE") else []
    return asm(0, 0, 4, 28, *values, to, gas, kind, "POP")


def reverting(data: bytes) -> bytes:
    """Code that reverts with `data`."""
    parts = data.ljust((len(data) + 31) // 32 * 32, b"\0")
    stores = b"".join(asm(parts[at : at + 32], at, "MSTORE") for at in range(0, len(parts), 32))
    return stores + asm(len(data), 0, "REVERT")


def kept(*accounts: Any, transactions: list[Transaction]) -> tuple[Chain, Any]:
    """A chain two blocks above the traced one, and that block's trace function."""
    chain = Chain(make_spec(*accounts))
    parent = chain.tip
    executed = chain.advance(*transactions)
    chain.advance(signed(3, nonce=0, to=FRESH, value=1))
    chain.advance()

    def trace(index: int, tracer: str | None = None, **config: Any) -> Any:
        options = {"tracer": tracer, "tracerConfig": config} if tracer else config
        return chain.runtime.trace_transaction(
            parent, executed.header, executed.transactions, index, TraceOptions.from_json(options)
        )

    return chain, (trace, executed)


# ---------------------------------------------------------------- struct logs


def test_struct_logs_of_a_simple_program() -> None:
    code = asm(2, 3, "ADD", 1, "SSTORE", 1, "SLOAD", 0, "MSTORE")  # and an unwritten STOP
    _, (trace, executed) = kept(contract(CODE, code), transactions=[signed(0, nonce=0, to=CODE, gas=100_000)])
    found = trace(0, enableMemory=True)
    assert {key: found[key] for key in ("gas", "failed", "returnValue")} == {
        "gas": executed.results[0].gas_used, "failed": False, "returnValue": "0x",
    }  # fmt: skip
    steps = found["structLogs"]
    assert [(step["pc"], step["op"]) for step in steps] == [
        (0, "PUSH1"), (2, "PUSH1"), (4, "ADD"), (5, "PUSH1"), (7, "SSTORE"), (8, "PUSH1"), (10, "SLOAD"), (11, "PUSH0"),
        (12, "MSTORE"), (13, "STOP"),
    ]  # fmt: skip
    assert [step["gasCost"] for step in steps] == [3, 3, 3, 3, 22_100, 3, 100, 2, 6, 0]
    assert steps[0]["gas"] == 79_000 and all(a["gas"] - a["gasCost"] == b["gas"] for a, b in itertools.pairwise(steps))
    assert steps[2]["stack"] == ["0x2", "0x3"] and {step["depth"] for step in steps} == {1}
    assert steps[4]["storage"] == {word(1): word(5)} == steps[6]["storage"] and "storage" not in steps[5]
    assert steps[9]["memory"] == [word(5)] and steps[8]["memory"] == []
    assert list(steps[4]) == ["pc", "op", "gas", "gasCost", "depth", "stack", "memory", "storage"]
    short = trace(0, disableStack=True, disableStorage=True, limit=3)["structLogs"]
    assert [list(step) for step in short] == [["pc", "op", "gas", "gasCost", "depth"]] * 3


def test_struct_logs_count_what_calls_and_creations_hand_on_as_geth_does() -> None:
    inner = asm(1, 2, "ADD", "POP")
    init = deployer(b"\x00" * 10)
    code = call("CALL", OTHER, gas=50_000) + asm(init[:32], 0, "MSTORE", 32, 0, 0, "CREATE", "POP")
    _, (trace, _) = kept(
        contract(CODE, code), contract(OTHER, inner), transactions=[signed(0, nonce=0, to=CODE, gas=300_000)]
    )
    steps = trace(0)["structLogs"]
    at = next(i for i, step in enumerate(steps) if step["op"] == "CALL")
    assert steps[at]["gasCost"] == 2_600 + 3 + 50_000  # cold account, a word of memory, what is handed on
    assert (steps[at + 1]["depth"], steps[at + 1]["gas"]) == (2, 50_000)
    back = next(step for step in steps[at + 1 :] if step["depth"] == 1)
    assert steps[at]["gas"] - back["gas"] == 2_603 + 3 * 3 + 2
    create = next(step for step in steps if step["op"] == "CREATE")
    assert create["gasCost"] == 32_000 + 2


def test_struct_logs_show_errors_where_geth_does() -> None:
    cases = {
        asm(1, "ADD"): "stack underflow",
        asm(1, 1, "SSTORE"): "out of gas",
        asm(9, "JUMP"): None,
        asm("INVALID"): None,
        b"\x21": None,
    }
    accounts = [contract(bytes([0xD0 + n]) * 20, code) for n, code in enumerate(cases)]
    sent = [signed(0, nonce=n, to=bytes([0xD0 + n]) * 20, gas=30_000) for n in range(len(cases))]
    _, (trace, _) = kept(*accounts, transactions=sent)
    for index, error in enumerate(cases.values()):
        found = trace(index)
        assert found["failed"] and found["gas"] == 30_000 and found["returnValue"] == "0x"
        last = found["structLogs"][-1]
        assert last.get("error") == error, last
    assert last["op"] == "opcode 0x21 not defined"


def test_refunds_and_return_data_are_shown_on_request() -> None:
    code = asm(0, 1, "SSTORE") + call("CALL", OTHER) + asm("STOP")
    _, (trace, _) = kept(
        contract(CODE, code, storage={1: 5}), contract(OTHER, asm(7, 0, "MSTORE", 32, 0, "RETURN")),
        transactions=[signed(0, nonce=0, to=CODE, gas=200_000)],
    )  # fmt: skip
    last = trace(0, enableReturnData=True)["structLogs"][-1]
    assert last["refund"] == 4_800 and last["returnData"] == word(7)


# ---------------------------------------------------------------- callTracer


def tree() -> tuple[Chain, Any]:
    code = asm(0xAABBCCDD, 0, "MSTORE") + call("CALL", OTHER, value=5) + LOGGER + call("STATICCALL", LIBRARY)
    code += call("DELEGATECALL", LIBRARY) + asm(1, 0, "MSTORE", 32, 0, "RETURN")
    return kept(
        contract(CODE, code, 100),
        contract(OTHER, LOGGER + call("CALL", LIBRARY)),
        contract(LIBRARY, reverting(REASON)),
        transactions=[
            signed(0, nonce=0, to=FRESH, value=9),
            signed(1, nonce=0, to=CODE, gas=400_000, data=b"\x01\x02\x03\x04\x05", value=2),
        ],
    )


def test_call_tracer_shows_the_tree() -> None:
    _, (trace, executed) = tree()
    root = trace(1, "callTracer", withLog=True)
    assert list(root) == ["from", "gas", "gasUsed", "to", "input", "output", "calls", "logs", "value", "type"]
    assert (root["from"], root["to"], root["type"]) == (name(ADDRESSES[1]), name(CODE), "CALL")
    assert (root["gas"], root["gasUsed"]) == (hex(400_000), hex(executed.results[1].gas_used))
    assert (root["input"], root["output"], root["value"]) == ("0x0102030405", word(1), "0x2")
    first, static, delegate = root["calls"]
    assert (first["type"], first["from"], first["to"], first["value"]) == ("CALL", name(CODE), name(OTHER), "0x5")
    assert first["gas"] == hex(102_300) and first["input"] == "0xaabbccdd" and "output" not in first
    assert static["type"] == "STATICCALL" and "value" not in static
    assert (delegate["from"], delegate["to"], delegate["value"]) == (name(CODE), name(LIBRARY), "0x2")
    for failed in (static, delegate, first["calls"][0]):
        assert failed["error"] == "execution reverted" and failed["revertReason"] == "not today"
        assert failed["output"] == "0x" + REASON.hex()
    assert root["logs"] == [
        {"address": name(CODE), "topics": [word(9)], "data": word(7), "position": "0x1", "index": "0x1"}
    ]
    assert first["logs"][0]["index"] == "0x0" and first["logs"][0]["position"] == "0x0"


def test_call_tracer_options_and_plain_transfers() -> None:
    _, (trace, _) = tree()
    assert "calls" not in trace(1, "callTracer", onlyTopCall=True) and "logs" not in trace(1, "callTracer")
    assert trace(1, "callTracer", onlyTopCall=True, withLog=True)["logs"][0]["address"] == name(CODE)
    assert trace(0, "callTracer") == {
        "from": name(ADDRESSES[0]), "gas": hex(21_000), "gasUsed": hex(21_000), "to": name(FRESH), "input": "0x",
        "value": "0x9", "type": "CALL",
    }  # fmt: skip


def test_call_tracer_drops_logs_of_what_failed() -> None:
    _, (trace, _) = kept(
        contract(CODE, call("CALL", OTHER) + LOGGER), contract(OTHER, LOGGER + asm(0, 0, "REVERT")),
        transactions=[signed(0, nonce=0, to=CODE, gas=300_000)],
    )  # fmt: skip
    root = trace(0, "callTracer", withLog=True)
    assert "logs" not in root["calls"][0] and [entry["index"] for entry in root["logs"]] == ["0x0"]


def test_call_tracer_creations_and_selfdestruct() -> None:
    dies = asm(FRESH, "SELFDESTRUCT")
    creator = asm(deployer(dies)[:32].ljust(32, b"\0"), 0, "MSTORE", deployer(dies)[32:].ljust(32, b"\0"), 32, "MSTORE")
    creator += asm(len(deployer(dies)), 0, 3, "CREATE", "DUP1", 0, "SSTORE")
    creator += asm(0, 0, 0, 0, 0, 0, "SLOAD", 50_000, "CALL", "POP") + asm(0, 0, 0, "CREATE", "POP")
    sent = [
        signed(0, nonce=0, to=CODE, gas=500_000),
        signed(1, nonce=0, data=deployer(b"\x00\x01"), gas=100_000),
        signed(1, nonce=1, data=asm("INVALID"), gas=100_000),
    ]
    _, (trace, _) = kept(contract(CODE, creator, 10), transactions=sent)
    create, called, _ = trace(0, "callTracer")["calls"]
    created = contract_address(CODE, 1)
    assert (create["type"], create["to"], create["value"], create["output"]) == (
        "CREATE",
        name(created),
        "0x3",
        "0x" + dies.hex(),
    )
    (destruct,) = called["calls"]
    assert destruct == {
        "from": name(created), "gas": "0x0", "gasUsed": "0x0", "to": name(FRESH), "input": "0x", "value": "0x3",
        "type": "SELFDESTRUCT",
    }  # fmt: skip
    root = trace(1, "callTracer")
    assert (root["type"], root["to"], root["output"]) == ("CREATE", name(contract_address(ADDRESSES[1], 0)), "0x0001")
    failed = trace(2, "callTracer")
    assert failed["error"] == "invalid opcode: INVALID"
    assert "to" not in failed and "output" not in failed


def error(size: int, content: bytes, offset: int = 32) -> bytes:
    """`Error(string)` as careless contracts write it."""
    return bytes.fromhex("08c379a0") + offset.to_bytes(32, "big") + size.to_bytes(32, "big") + content


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (REASON, "not today"),
        (error(3, b"abc"), "abc"),  # no padding
        (error(3, b"abc" + b"\xff" * 29), "abc"),  # dirty padding
        (error(0, b""), ""),
        (bytes.fromhex("08c379a0") + bytes(32), ""),  # the offset is its own length
        (error(3, b"\xffa\xe2\x82"), "\ufffda\ufffd"),  # cut in the middle of a character
        (error(5, b"\xffa\xe2\x82b"), "\ufffda\ufffd\ufffdb"),  # each byte by itself, as Go writes it
        (error(3, b"\xed\xa0\x80"), "\ufffd" * 3),
        (error(5_000, b"y" * 5_000), "y" * 5_000),
        (error(5_000, b"\xff" * 5_000), "\ufffd" * 5_000),
        (error(4, b"abc"), None),  # longer than what is there
        (error(3, b"abc", offset=68), None),
        (error(1 << 255, b"abc"), None),
        (bytes.fromhex("4e487b71") + encode(["uint256"], [0x11]), "arithmetic underflow or overflow"),
        (bytes.fromhex("4e487b71") + encode(["uint256"], [0x99]), "unknown panic code: 0x99"),
        (bytes.fromhex("4e487b71") + bytes(31), None),
        (b"", None), (b"\x08", None), (REASON[:4] + b"\xff" * 64, None), (bytes(68), None),
    ],
)  # fmt: skip
def test_revert_reasons(output: bytes, reason: str | None) -> None:
    """As geth's decoder has them, in answers and in traces alike; a trace leaves an empty one out."""
    assert revert_reason(output) == reason
    if len(output) < 1_000:
        sent = [signed(0, nonce=0, to=CODE, gas=1_000_000)]
        _, (trace, _) = kept(contract(CODE, reverting(output)), transactions=sent)
        assert trace(0, "callTracer").get("revertReason") == (reason or None)


# ---------------------------------------------------------------- prestateTracer, 4byteTracer, muxTracer


def test_prestate_is_that_before_the_transaction() -> None:
    chain, (trace, executed) = tree()
    state = trace(1, "prestateTracer")
    sender, coinbase = name(ADDRESSES[1]), name(executed.header.coinbase)
    assert set(state) == {sender, coinbase, name(CODE), name(OTHER), name(LIBRARY)}
    assert state[sender] == {"balance": hex(1_000 * 10**18)}
    code = chain.runtime.state().code(CODE)
    assert state[name(CODE)] == {
        "balance": hex(100), "code": "0x" + code.hex(), "codeHash": "0x" + keccak256(code).hex(), "nonce": 1,
        "storage": {word(1): word(0)},
    }  # fmt: skip
    tip = executed.results[0].gas_used * (executed.results[0].effective_gas_price - executed.header.base_fee_per_gas)
    assert state[coinbase] == {"balance": hex(tip)}, "the transaction before it in the block has paid"
    bare = trace(1, "prestateTracer", disableCode=True, disableStorage=True)
    assert bare[name(CODE)] == {"balance": hex(100), "codeHash": "0x" + keccak256(code).hex(), "nonce": 1}


def test_prestate_holds_the_implementation_that_the_transaction_itself_delegates_to() -> None:
    """A sponsor's transaction that delegates an account and calls it at once: a fork of that state needs the code."""
    authorization = Signer.sign_authorization({"chainId": CHAIN_ID, "address": name(OTHER), "nonce": 0}, KEYS[4])
    sent = [signed(0, nonce=0, to=ADDRESSES[4], gas=200_000, authorizationList=[authorization])]
    code = asm(1, 1, "SSTORE")
    _, (trace, executed) = kept(contract(OTHER, code, balance=3), transactions=sent)
    assert executed.receipts[0].status == 1
    found = trace(0, "prestateTracer")
    assert found[name(OTHER)]["code"] == "0x" + code.hex() and found[name(OTHER)]["balance"] == "0x3"
    assert found[name(ADDRESSES[4])] == {"balance": hex(1_000 * 10**18), "storage": {word(1): word(0)}}


def test_prestate_diff_shows_what_changed() -> None:
    _, (trace, executed) = tree()
    found = trace(1, "prestateTracer", diffMode=True)
    assert list(found) == ["post", "pre"]
    assert name(LIBRARY) not in found["pre"] and name(LIBRARY) not in found["post"]
    assert found["post"][name(CODE)] == {"balance": hex(97), "storage": {word(1): word(5)}}
    assert found["pre"][name(CODE)]["balance"] == hex(100) and "storage" not in found["pre"][name(CODE)]
    sender = name(ADDRESSES[1])
    spent = executed.results[1].gas_used * executed.results[1].effective_gas_price + 2
    assert found["post"][sender] == {"balance": hex(1_000 * 10**18 - spent), "nonce": 1}
    transfer = trace(0, "prestateTracer", diffMode=True)
    assert name(FRESH) not in transfer["pre"] and transfer["post"][name(FRESH)] == {"balance": "0x9"}
    assert transfer["pre"][name(ADDRESSES[0])] == {"balance": hex(1_000 * 10**18)}


def test_prestate_of_creations_and_of_cleared_slots() -> None:
    sent = [
        signed(0, nonce=0, data=asm(6, 2, "SSTORE") + deployer(b"\x00")[:0] + asm(0, 0, "RETURN"), gas=200_000),
        signed(0, nonce=1, to=CODE, gas=100_000),
    ]
    _, (trace, _) = kept(contract(CODE, asm(0, 4, "SSTORE"), storage={4: 8}), transactions=sent)
    created = name(contract_address(ADDRESSES[0], 0))
    assert created not in trace(0, "prestateTracer")
    diff = trace(0, "prestateTracer", diffMode=True)
    assert created not in diff["pre"] and diff["post"][created] == {"nonce": 1, "storage": {word(2): word(6)}}
    diff = trace(1, "prestateTracer", diffMode=True)
    assert diff["pre"][name(CODE)]["storage"] == {word(4): word(8)} and diff["post"][name(CODE)] == {}


def test_four_byte_and_mux_tracers() -> None:
    _, (trace, _) = tree()
    counts = trace(1, "4byteTracer")
    assert counts == {"0x01020304-1": 1, "0xaabbccdd-0": 1, "0x00000007-0": 3}
    both = trace(1, "muxTracer", **{"4byteTracer": None, "callTracer": {"onlyTopCall": True}, "noopTracer": {}})
    assert both == {"4byteTracer": counts, "callTracer": trace(1, "callTracer", onlyTopCall=True), "noopTracer": {}}


@pytest.mark.parametrize(
    "options",
    [
        {"tracer": "jsTracer"},
        {"tracer": 5},
        {"tracer": "callTracer", "tracerConfig": 1},
        {"limit": -1},
        {"limit": "x"},
        {"tracer": "muxTracer", "tracerConfig": {"muxTracer": {}}},
        {"tracer": "muxTracer", "tracerConfig": {"callTracer": 1}},
        {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True, "includeEmpty": True}},
    ],
)
def test_wrong_options_are_refused(options: Any) -> None:
    with pytest.raises(UnknownTracer):
        TraceOptions.from_json(options)


# ---------------------------------------------------------------- blocks and calls


def test_a_block_is_traced_in_order_and_execution_is_unchanged_by_it() -> None:
    chain = Chain(make_spec(contract(CODE, LOGGER)))
    parent = chain.tip
    executed = chain.advance(*(signed(0, nonce=n, to=CODE, gas=100_000) for n in range(3)))
    before = dict(chain.store.entries)
    traces = list(chain.runtime.trace_block(parent, executed.header, executed.transactions, TraceOptions("callTracer")))
    assert [tx_hash for tx_hash, _ in traces] == [tx.hash for tx in executed.transactions]
    assert [trace["gasUsed"] for _, trace in traces] == [hex(result.gas_used) for result in executed.results]
    assert chain.store.entries == before
    with pytest.raises(IndexError):
        chain.runtime.trace_transaction(parent, executed.header, executed.transactions, 3, TraceOptions())


def test_calls_are_traced_and_can_be_interrupted() -> None:
    chain = Chain(make_spec(contract(CODE, reverting(REASON)), contract(OTHER, asm("JUMPDEST", 0, "JUMP"))))
    request = CallRequest(sender=ADDRESSES[0], to=CODE)
    root = chain.runtime.trace_call(chain.tip, request, TraceOptions("callTracer"), gas_cap=100_000)
    assert (root["error"], root["revertReason"], root["gas"]) == ("execution reverted", "not today", hex(100_000))
    logs = chain.runtime.trace_call(chain.tip, request, TraceOptions(), gas_cap=100_000)
    assert logs["failed"] and logs["returnValue"] == "0x" + REASON.hex()
    with pytest.raises(ExecutionInterrupted):
        chain.runtime.trace_call(
            chain.tip, CallRequest(to=OTHER), TraceOptions("callTracer"), gas_cap=10**7, interrupt=lambda: True
        )
