"""The rules of a native call, through py-evm: dispatch, gas first, static calls, wei, errors, storage, undoing."""

from dataclasses import dataclass
from typing import Any

import pytest
import vyper
from eth.exceptions import OutOfGas, WriteProtection
from eth_abi import encode

from evm_runtime.native import (
    U8,
    U64,
    U128,
    Account,
    ContractError,
    Flag,
    Frame,
    NativeContract,
    RecordLists,
    Records,
    Texts,
    Uint64Lists,
    Value,
    abi_json,
    array_slot,
    event,
    mapping_slot,
    method,
)
from evm_runtime.native import gas as gas_costs
from genesis.errors import InvariantError, StorageCorrupt
from genesis.primitives import Address, Hash32, Wei, keccak256
from tests.unit.native.harness import Bound, Chain, Reverted, address

BOX = address(0xA00)
USER, FRIEND = address(0x7001), address(0x7002)
COLD_WRITE = gas_costs.COLD_SLOT + gas_costs.SET_SLOT


@dataclass(frozen=True, slots=True)
class Item:
    owner: Account
    count: U64
    open: Flag
    total: U128
    small: U8


COUNTER, ITEMS, LISTS, NUMBERS, TEXTS = Value(0), Records(1, Item), RecordLists(2, Item), Uint64Lists(3), Texts(4)
TOO_MUCH = ContractError("TooMuch(uint256 asked, string why)")
ADDED = event("Added(address indexed who, uint64 indexed amount, bytes32 tag, uint64 total)")


class Box(NativeContract):
    """A contract for tests."""

    address = BOX
    events = (ADDED,)
    errors = (TOO_MUCH,)

    @method("add(uint64 amount) returns (uint64 total)", gas=lambda amount: 10 * amount)
    def add(self, frame: Frame, amount: int) -> int:
        """Add to the counter."""
        if amount > 1_000:
            raise TOO_MUCH(amount, "at most 1000")
        total = COUNTER.add(frame.storage, amount)
        frame.emit(ADDED, frame.sender, amount, b"\x07" * 32, total)
        return total

    @method("total() returns (uint64 total)", view=True)
    def total(self, frame: Frame) -> int:
        return COUNTER.get(frame.storage)

    @method("deposit()", payable=True)
    def deposit(self, frame: Frame) -> None:
        COUNTER.add(frame.storage, frame.value)

    @method("send(address to, uint256 amount)")
    def send(self, frame: Frame, to: Address, amount: int) -> None:
        frame.pay(to, Wei(amount))

    @method("keep(bytes content) returns (bytes32 hash)")
    def keep(self, frame: Frame, content: bytes) -> Hash32:
        return frame.put_blob(content)

    @method("writeAll(bytes text)")
    def write_all(self, frame: Frame, text: bytes) -> None:
        item = Item(USER, 2**64 - 1, True, 2**128 - 1, 255)
        ITEMS.store(frame.storage, item, 9)
        LISTS.append(frame.storage, item, 5)
        LISTS.append(frame.storage, Item(FRIEND, 1, False, 2, 3), 5)
        for number in range(6):
            NUMBERS.append(frame.storage, number + 10, 5)
        TEXTS.set_once(frame.storage, text, 5)

    @method("brokenView()", view=True)
    def broken_view(self, frame: Frame) -> None:
        COUNTER.set(frame.storage, 1)

    @method("bug()", view=True)
    def bug(self, frame: Frame) -> None:
        raise KeyError("a bug")

    @method("lost()", view=True)
    def lost(self, frame: Frame) -> None:
        frame.get_blob(Hash32(bytes(32)))


@pytest.fixture
def box() -> Bound:
    chain = Chain(Box())
    chain.fund(USER, 10**18)
    return Bound(chain, chain.contracts[0], USER)


def test_a_call_returns_writes_and_logs(box: Bound) -> None:
    assert box.add(5) == 5
    assert box.events("Added") == [{"who": "0x" + USER.hex(), "amount": 5, "tag": b"\x07" * 32, "total": 5}]
    assert box.add(6) == 11
    assert box.total() == 11


def test_gas_is_the_sum_of_the_documented_prices(box: Bound) -> None:
    box.add(5)
    log = gas_costs.log_gas(3, 64)
    arguments = 2 * gas_costs.CALLDATA_WORD + 2 * gas_costs.ABI_VALUE  # the amount, and the total that comes back
    warm_write = gas_costs.COLD_SLOT + gas_costs.SET_SLOT  # the read before it has paid the cold touch
    assert box.last.gas_used == gas_costs.CALL_BASE + arguments + 50 + warm_write + log
    box.add(5)
    assert box.last.gas_used == gas_costs.CALL_BASE + arguments + 50 + gas_costs.COLD_SLOT + gas_costs.RESET_SLOT + log
    box.total()
    assert (
        box.last.gas_used == gas_costs.CALL_BASE + gas_costs.CALLDATA_WORD + gas_costs.COLD_SLOT + gas_costs.ABI_VALUE
    )


def test_every_shortage_of_gas_undoes_the_call(box: Bound) -> None:
    box.add(2)
    box.add(3)
    needed = box.last.gas_used
    for gas in (0, 1, gas_costs.CALL_BASE, needed // 2, needed - 400, needed - 1):
        result = box.chain.call(USER, BOX, box.data("add", 3), gas=gas)
        assert isinstance(result.error, OutOfGas) and result.gas_used == gas and not result.logs
        assert box.total() == 5


def test_the_method_formula_is_charged_before_the_body(box: Bound) -> None:
    with pytest.raises(Reverted, match="OutOfGas"):
        box.add(2_000_000, gas=100_000)  # the body would revert with TooMuch


def test_custom_errors_carry_their_values(box: Bound) -> None:
    with pytest.raises(Reverted) as caught:
        box.add(1_001)
    assert (caught.value.name, caught.value.values) == ("TooMuch", (1_001, "at most 1000"))
    assert caught.value.result.output[:4] == keccak256(b"TooMuch(uint256,string)")[:4]
    assert caught.value.result.gas_used < 50_000, "a revert gives the rest of the gas back"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "UnknownMethod"),
        (b"\x01\x02", "UnknownMethod"),
        (b"\xff" * 4, "UnknownMethod"),
        (b"\xff" * 400, "UnknownMethod"),
    ],
)
def test_unknown_selectors_revert(box: Bound, data: bytes, name: str) -> None:
    result = box.chain.call(USER, BOX, data)
    assert box.decode_error(result).name == name


def test_malformed_arguments_revert(box: Bound) -> None:
    good = box.data("add", 5)
    for data in (good[:4], good[:-1], good[:4] + b"\xff" * 32):
        assert box.decode_error(box.chain.call(USER, BOX, data)).name == "MalformedInput"


def test_wei_is_refused_where_it_is_not_payable(box: Bound) -> None:
    with pytest.raises(Reverted, match="NotPayable"):
        box.add(5, value=1)
    assert box.chain.state.get_balance(BOX) == 0
    box.deposit(value=7)
    assert box.chain.state.get_balance(BOX) == 7
    result = box.chain.call(USER, BOX, b"", value=7)
    assert not result.ok and box.chain.state.get_balance(BOX) == 7


def test_static_calls_may_read_only(box: Bound) -> None:
    box.add(5)
    result = box.chain.call(USER, BOX, box.data("add", 5), static=True)
    assert isinstance(result.error, WriteProtection)
    assert box.chain.call(USER, BOX, box.data("total"), static=True).output[-1] == 5


def test_wei_leave_through_the_state(box: Bound) -> None:
    box.deposit(value=100)
    box.send("0x" + FRIEND.hex(), 40)
    assert box.chain.state.get_balance(FRIEND) == 40
    assert box.chain.state.get_balance(BOX) == 60


def test_what_is_wrong_with_the_node_stops_it(box: Bound) -> None:
    for name, kind in (("brokenView", InvariantError), ("bug", InvariantError), ("lost", StorageCorrupt)):
        with pytest.raises(kind):
            getattr(box, name)()
    with pytest.raises(InvariantError, match="owes 5 wei and has 0"):
        box.send("0x" + FRIEND.hex(), 5)


def test_on_made_up_state_the_same_is_a_revert(box: Bound) -> None:
    chain = Chain(box.contract.isolated())
    made_up = Bound(chain, chain.contracts[0], USER)
    for name in ("brokenView", "bug", "lost"):
        with pytest.raises(Reverted, match="InconsistentState"):
            getattr(made_up, name)()
    assert made_up.total() == 0 and not box.contract.hypothetical


@pytest.mark.parametrize("text", [b"", b"short", b"x" * 31, b"y" * 32, b"z" * 33, b"w" * 1_000])
def test_storage_lies_where_solidity_would_put_it(box: Bound, text: bytes) -> None:
    box.writeAll(text)
    slot = lambda at: box.chain.state.get_storage(BOX, at)  # noqa: E731
    record = mapping_slot(1, 9)
    assert record == int.from_bytes(keccak256((9).to_bytes(32, "big") + (1).to_bytes(32, "big")), "big")
    # owner (160) and count (64) and open (8) share the first slot from the low end; total and small the second
    assert slot(record) == int.from_bytes(USER, "big") | (2**64 - 1) << 160 | 1 << 224
    assert slot(record + 1) == (2**128 - 1) | 255 << 128
    items = mapping_slot(2, 5)
    assert slot(items) == 2
    assert slot(array_slot(items) + 2) == int.from_bytes(FRIEND, "big") | 1 << 160
    numbers = mapping_slot(3, 5)
    assert slot(numbers) == 6
    assert slot(array_slot(numbers)) == 10 | 11 << 64 | 12 << 128 | 13 << 192
    assert slot(array_slot(numbers) + 1) == 14 | 15 << 64
    at = mapping_slot(4, 5)
    if len(text) < 32:
        assert slot(at).to_bytes(32, "big") == text.ljust(31, b"\0") + bytes([2 * len(text)])
    else:
        assert slot(at) == 2 * len(text) + 1
        assert slot(array_slot(at)).to_bytes(32, "big") == text[:32]

    class Reader:
        load = staticmethod(slot)
        store = staticmethod(lambda _slot, _value: None)

    assert ITEMS.load(Reader, 9) == Item(USER, 2**64 - 1, True, 2**128 - 1, 255)
    assert ITEMS.load_field(Reader, "small", 9) == 255
    assert LISTS.get(Reader, 1, 5) == Item(FRIEND, 1, False, 2, 3)
    assert [NUMBERS.get(Reader, i, 5) for i in range(6)] == list(range(10, 16))
    assert TEXTS.get(Reader, 5) == text


CALLER = """
@external
@payable
def outer(target: address, data: Bytes[5000], fail: bool) -> bool:
    call: Bytes[6000] = abi_encode(target, data, fail, method_id=method_id("inner(address,bytes,bool)"))
    return raw_call(self, call, revert_on_failure=False)

@external
@payable
def inner(target: address, data: Bytes[5000], fail: bool):
    raw_call(target, data)
    assert not fail

@external
@payable
def forward(target: address, data: Bytes[5000]) -> Bytes[5000]:
    return raw_call(target, data, max_outsize=5000, value=msg.value)

@external
def delegate(target: address, data: Bytes[5000]) -> Bytes[5000]:
    return raw_call(target, data, max_outsize=5000, is_delegate_call=True)

@external
@view
def look(target: address, data: Bytes[5000]) -> Bytes[5000]:
    return raw_call(target, data, max_outsize=5000, is_static_call=True)
"""


@pytest.fixture(scope="module")
def caller_code() -> bytes:
    compiled = vyper.compile_code(CALLER, output_formats=["bytecode"])
    return bytes.fromhex(compiled["bytecode"].removeprefix("0x"))


def call_data(signature: str, types: list[str], *values: Any) -> bytes:
    return keccak256(signature.encode())[:4] + encode(types, values)


def test_a_reverting_caller_takes_everything_back(box: Bound, caller_code: bytes) -> None:
    caller = box.chain.deploy(address(0xCA11), caller_code)
    target = "0x" + BOX.hex()
    box.deposit(value=50)
    keep = box.data("keep", b"some content")
    for data in (box.data("add", 5), keep, box.data("send", "0x" + FRIEND.hex(), 7)):
        before = dict(box.chain.state.blobs), box.total(), box.chain.state.get_balance(BOX)
        types = ["address", "bytes", "bool"]
        failed = box.chain.call(USER, caller, call_data("outer(address,bytes,bool)", types, target, data, True))
        assert failed.ok and not failed.logs, "the outer call caught the revert"
        assert (dict(box.chain.state.blobs), box.total(), box.chain.state.get_balance(BOX)) == before
        done = box.chain.call(USER, caller, call_data("outer(address,bytes,bool)", types, target, data, False))
        assert done.ok
        assert (dict(box.chain.state.blobs), box.total(), box.chain.state.get_balance(BOX)) != before
    assert box.chain.state.get_blob(keccak256(b"some content")) == b"some content"


def test_contracts_call_with_value_and_see_reverts(box: Bound, caller_code: bytes) -> None:
    caller = box.chain.deploy(address(0xCA11), caller_code)
    data = call_data("forward(address,bytes)", ["address", "bytes"], "0x" + BOX.hex(), box.data("deposit"))
    assert box.chain.call(USER, caller, data, value=9).ok
    assert box.total() == 9
    refused = call_data("forward(address,bytes)", ["address", "bytes"], "0x" + BOX.hex(), box.data("add", 5_000))
    result = box.chain.call(USER, caller, refused)
    assert not result.ok and box.decode_error(result).name == "TooMuch", "the caller passes the revert data on"


def test_delegated_and_static_calls_from_a_contract(box: Bound, caller_code: bytes) -> None:
    caller = box.chain.deploy(address(0xCA11), caller_code)
    add = ["0x" + BOX.hex(), box.data("add", 5)]
    delegated = box.chain.call(USER, caller, call_data("delegate(address,bytes)", ["address", "bytes"], *add))
    assert delegated.ok and delegated.output == encode(["bytes"], [b""]) and not delegated.logs
    assert box.total() == 0 and box.chain.state.get_storage(caller, 0) == 0
    looked = box.chain.call(USER, caller, call_data("look(address,bytes)", ["address", "bytes"], *add))
    assert not looked.ok and box.total() == 0


def test_the_generated_abi_has_everything() -> None:
    entries = {entry["name"]: entry for entry in abi_json(Box, "IBox")}
    assert entries["add"]["stateMutability"] == "nonpayable"
    assert entries["total"]["stateMutability"] == "view"
    assert entries["deposit"]["stateMutability"] == "payable"
    assert [field["indexed"] for field in entries["Added"]["inputs"]] == [True, True, False, False]
    assert entries["MalformedInput"]["type"] == "error"
