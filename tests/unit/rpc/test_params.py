"""Arguments: what is taken, and what is said about the rest."""

import random
from typing import Any

import pytest

from genesis.primitives import Address, Hash32
from node.rpc.schema import params
from node.rpc.schema.call_params import block_overrides, call_args, state_overrides
from node.rpc.schema.params import BadParam, BlockRef

A = "0x" + "ab" * 20
B = "0x" + "ba" * 20
H = "0x" + "cd" * 32


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0x0", 0), ("0x1", 1), ("0xfF", 255), ("0X10", 16), ("0x" + "f" * 64, 2**256 - 1)],
)
def test_quantities(value: str, expected: int) -> None:
    assert params.quantity(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "expected a hex string, found number"),
        (None, "expected a hex string, found null"),
        (True, "expected a hex string, found boolean"),
        ({}, "expected a hex string, found object"),
        ("", "empty hex string"),
        ("0x", 'hex string "0x"'),
        ("12", "hex string without 0x prefix"),
        ("0x01", "hex number with leading zero digits"),
        ("0x00", "hex number with leading zero digits"),
        ("0xg", "invalid hex string"),
        ("0x_1", "invalid hex string"),
        ("0x 1", "invalid hex string"),
        ("0x-1", "invalid hex string"),
        ("0x1\n", "invalid hex string"),
        ("0x1" + "0" * 64, "hex number > 256 bits"),
    ],
)
def test_bad_quantities(value: Any, message: str) -> None:
    with pytest.raises(BadParam) as caught:
        params.quantity(value)
    assert str(caught.value) == message


def test_uint64_ends_at_64_bits() -> None:
    assert params.uint64("0x" + "f" * 16) == 2**64 - 1
    with pytest.raises(BadParam, match="hex number > 64 bits"):
        params.uint64("0x1" + "0" * 16)


@pytest.mark.parametrize(
    ("parse", "value", "message"),
    [
        (params.data, "0xabc", "hex string of odd length"),
        (params.data, "abcd", "hex string without 0x prefix"),
        (params.address, "0x1234", "hex string has length 4, want 40 for address"),
        (params.hash32, A, "hex string has length 40, want 64 for hash"),
        (params.boolean, 1, "expected a boolean, found number"),
        (params.text, 1, "expected a string, found number"),
        (params.storage_key, "0xzz", 'invalid hex in storage key: "0xzz"'),
        (params.storage_key, "0x" + "0" * 65, "storage key too long"),
        (params.block_number, "newest", "hex string without 0x prefix"),
        (params.block_number, 5, "expected a hex string, found number"),
        (params.block_number, "0x" + "f" * 16, "block number larger than int64"),
        (params.block_ref, {}, "needs blockHash or blockNumber"),
        (params.block_ref, {"blockHash": H, "blockNumber": "0x1"}, "cannot specify both BlockHash and BlockNumber"),
        (params.block_ref, {"blockHash": H, "requireCanonical": 1}, "requireCanonical: expected a boolean"),
        (params.log_filter, [], "expected an object, found array"),
        (params.log_filter, {"address": "0x1"}, "address: hex string has length 1"),
        (params.log_filter, {"address": [A, 1]}, "address 1: expected a hex string, found number"),
        (params.log_filter, {"topics": H}, "topics: expected an array, found string"),
        (params.log_filter, {"topics": [None] * 5}, "exceed max topics"),
        (params.log_filter, {"topics": [[H] * 1001]}, "topic 0: at most 1000 choices"),
        (params.log_filter, {"address": [A] * 1001}, "exceed max addresses"),
        (params.log_filter, {"fromBlock": "1"}, "fromBlock: hex string without 0x prefix"),
        (params.log_filter, {"blockHash": H, "toBlock": "0x1"}, "cannot specify both BlockHash and FromBlock/ToBlock"),
        (params.percentiles, [101], "invalid reward percentile: 101"),
        (params.percentiles, [50, 50], "invalid reward percentile: #0:50 >= #1:50"),
        (params.percentiles, ["1"], "percentile 0: expected a number, found string"),
        (params.percentiles, [True], "percentile 0: expected a number, found boolean"),
        (params.percentiles, [0, True], "percentile 1: expected a number, found boolean"),
        (params.storage_requests, {"0x1": ["0x0"]}, "hex string has length 1, want 40 for address"),
        (params.storage_requests, {"latest": []}, "hex string without 0x prefix"),
        (params.data, "0xzz", "invalid hex string"),
        (params.data, "0x0g", "invalid hex string"),
        (params.percentiles, [0] * 101, "over the query limit 100"),
        (params.proof_keys, ["0x0"] * 1025, "too many keys"),
        (params.number_or_quantity, -1, "number is negative or > 64 bits"),
        (params.number_or_quantity, 1 << 64, "number is negative or > 64 bits"),
        (params.number_or_quantity, 1.5, "expected a hex string, found number"),
    ],
)
def test_bad_arguments_say_what_was_expected(parse: Any, value: Any, message: str) -> None:
    with pytest.raises(BadParam) as caught:
        parse(value)
    assert message in str(caught.value)


def test_blocks_by_height_tag_hash_and_object() -> None:
    assert params.block_ref("0x10") == BlockRef(height=16)
    assert params.block_ref("finalized") == BlockRef(tag="finalized")
    assert params.block_ref(H) == BlockRef(hash=Hash32(b"\xcd" * 32))
    assert params.block_ref({"blockHash": H, "requireCanonical": True}) == BlockRef(hash=Hash32(b"\xcd" * 32))
    assert params.block_ref({"blockNumber": "latest"}) == BlockRef(tag="latest")


def test_storage_keys_are_taken_in_every_spelling_in_use() -> None:
    for spelling in ("0x5", "0x05", "5", "0x" + "0" * 63 + "5"):
        assert params.storage_key(spelling) == 5
    assert params.proof_keys(["0x00", H]) == ((0, "0x0"), (int("cd" * 32, 16), H))


def test_log_filters() -> None:
    found = params.log_filter({"address": A, "topics": [None, H, [], [H, None]], "fromBlock": "0x1", "toBlock": None})
    assert found.addresses == {Address(b"\xab" * 20)}
    assert found.topics == (None, {Hash32(b"\xcd" * 32)}, None, None)
    assert (found.from_block, found.to_block) == (BlockRef(height=1), BlockRef(tag="latest"))


def test_call_objects() -> None:
    found = call_args(
        {
            "from": A,
            "to": None,
            "input": "0x01",
            "data": "0x01",
            "gas": "0x5208",
            "maxFeePerGas": "0x2",
            "maxPriorityFeePerGas": "0x1",
            "accessList": [{"address": A, "storageKeys": [H]}, {"address": A}],
            "authorizationList": [
                {"chainId": "0x1", "address": A, "nonce": "0x0", "yParity": "0x1", "r": "0x5", "s": "0x6"}
            ],
            "unknown": {"is": "ignored"},
        }
    )
    assert found.sender == Address(b"\xab" * 20)
    assert found.to is None
    assert found.data == b"\x01"
    assert found.access_list[0][1] == (int("cd" * 32, 16),)
    assert found.authorizations[0].y_parity == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"from": "0x"}, "from: hex string has length 0"),
        ({"value": "1"}, "value: hex string without 0x prefix"),
        ({"input": "0x01", "data": "0x02"}, 'both "data" and "input" are set and not equal'),
        ({"gasPrice": "0x1", "maxFeePerGas": "0x1"}, "both gasPrice and"),
        ({"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"}, "maxFeePerGas (0x1) < maxPriorityFeePerGas (0x2)"),
        ({"accessList": [{"storageKeys": []}]}, "accessList: 0.address"),
        ({"accessList": [{"address": A, "storageKeys": ["0x1"]}]}, "accessList: 0.storageKeys"),
        ({"authorizationList": [{}]}, "authorizationList: 0: chainId"),
        ({"blobVersionedHashes": [H]}, "blob transactions have no place"),
        ({"type": "0x3"}, "blob transactions have no place"),
    ],
)
def test_bad_call_objects(value: Any, message: str) -> None:
    with pytest.raises(BadParam) as caught:
        call_args(value)
    assert message in str(caught.value)


def test_overrides() -> None:
    found = state_overrides({A: {"balance": "0x1", "nonce": "0x2", "code": "0x60", "stateDiff": {H: H}}})
    override = found[Address(b"\xab" * 20)]
    assert (override.balance, override.nonce, override.code) == (1, 2, b"\x60")
    assert override.state_diff == {int("cd" * 32, 16): int("cd" * 32, 16)}
    block = block_overrides({"number": "0x1", "time": "0x2", "coinbase": A, "random": "0x7", "baseFee": "0x3"})
    assert (block.number, block.time, block.base_fee) == (1, 2, 3)
    assert block.prev_randao == Hash32(bytes(31) + b"\x07")
    block = block_overrides({"blobBaseFee": "0x9", "blockHash": {"0x5": H}, "difficulty": "0x1"})
    assert (block.blob_base_fee, block.block_hashes) == (9, {5: Hash32(b"\xcd" * 32)})
    assert (
        state_overrides({A: {"movePrecompileToAddress": A}})[Address(b"\xab" * 20)].move_precompile_to == b"\xab" * 20
    )


@pytest.mark.parametrize(
    ("parse", "value", "message"),
    [
        (state_overrides, {A: {"state": {}, "stateDiff": {}}}, "both 'state' and 'stateDiff'"),
        (state_overrides, {A: {}, A.upper().replace("0X", "0x"): {}}, "overridden twice"),
        (state_overrides, {"0x" + "00" * 18 + "0a00": {"stateDiff": {}}}, "storage of a native contract"),
        (state_overrides, {"0x" + "00" * 18 + "0A01": {"state": {}}}, "storage of a native contract"),
        (state_overrides, {"0x1": {}}, "hex string has length 1"),
        (state_overrides, {f"0x{n:040x}": {} for n in range(1_001)}, "at most 1000 accounts can be overridden"),
        (state_overrides, {A: {"state": {hex(n): H for n in range(10_001)}}}, "at most 10000 slots can be overridden"),
        (
            state_overrides,
            {A: {"state": {hex(n): H for n in range(5_001)}}, B: {"stateDiff": {hex(n): H for n in range(5_000)}}},
            "at most 10000 slots can be overridden",
        ),
        (block_overrides, {"random": 7}, "random: expected a hex string, found number"),
        (block_overrides, {"prevRandao": None, "random": True}, "random: expected a hex string, found boolean"),
        (state_overrides, {A: {"movePrecompileToAddress": "0x1"}}, "movePrecompileToAddress: hex string has length 1"),
        (block_overrides, {"beaconRoot": H}, 'block override "beaconRoot" is not supported'),
        (block_overrides, {"withdrawals": []}, 'block override "withdrawals" is not supported'),
        (block_overrides, {"difficulty": "x"}, "difficulty"),
        (block_overrides, {"blockHash": {"0x1": "0x2"}}, "blockHash: 0x1"),
        (block_overrides, {"blockHash": {"1": H}}, "blockHash"),
        (block_overrides, {"blockHash": {hex(n): H for n in range(257)}}, "at most 256 block hashes"),
        (state_overrides, {A: {"state": {H: "0x1"}}}, "state: 0x"),
        (block_overrides, {"time": "0x1", "timestamp": "0x1"}, "time and timestamp are the same"),
    ],
)
def test_bad_overrides(parse: Any, value: Any, message: str) -> None:
    with pytest.raises(BadParam) as caught:
        parse(value)
    assert message in str(caught.value)


def test_overrides_may_be_as_many_as_the_limits_say() -> None:
    assert len(state_overrides({f"0x{n:040x}": {} for n in range(1_000)})) == 1_000
    slots = state_overrides({A: {"state": {hex(n): H for n in range(10_000)}}})[Address(b"\xab" * 20)].state
    assert slots is not None and len(slots) == 10_000


def test_no_value_makes_a_parser_raise_anything_else() -> None:
    seed = 7
    random_ = random.Random(seed)
    atoms: list[Any] = [
        None,
        True,
        -1,
        2**64,
        1.5,
        "",
        "0x",
        "0x1",
        A,
        H,
        "latest",
        "\ud800",
        "0x" + "f" * 70,
        "٣",
        "0x٣",
    ]
    names = [
        "address",
        "topics",
        "fromBlock",
        "blockHash",
        "from",
        "data",
        "accessList",
        "storageKeys",
        A,
        "state",
        "time",
    ]

    def value(depth: int) -> Any:
        kind = random_.randrange(4 if depth else 1)
        if kind == 1:
            return [value(depth - 1) for _ in range(random_.randrange(4))]
        if kind >= 2:
            return {random_.choice(names): value(depth - 1) for _ in range(random_.randrange(4))}
        return random_.choice(atoms)

    parsers = [kind.parse for kind in vars(params).values() if isinstance(kind, params.Kind)]
    parsers += [call_args, state_overrides, block_overrides]
    taken: set[Any] = set()
    for _ in range(3_000):
        candidate = value(3)
        for parse in parsers:
            try:
                parse(candidate)
                taken.add(parse)
            except BadParam:
                pass
            except Exception as error:
                pytest.fail(f"seed {seed}: {parse} raised {error!r} for {candidate!r}")
    assert taken == set(parsers), f"seed {seed}: some refuse everything"
