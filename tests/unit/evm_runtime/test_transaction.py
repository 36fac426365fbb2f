"""Decoding, senders and static checks of transactions."""

import dataclasses
import random
from typing import Any

import pytest
from eth_account import Account

from evm_runtime.fields import int_bytes
from evm_runtime.transaction import (
    GasTooLow,
    Transaction,
    check_transaction,
    decode_transaction,
    parse_transaction,
    signing_hash,
)
from genesis.chain_spec import BlockParams, ForkActivation
from genesis.codec import decode_rlp, encode_rlp
from genesis.crypto import SECP256K1_N, recover_any, sign
from genesis.errors import InvalidTransaction, WireError
from genesis.limits import TRANSACTION_BYTES_MAX
from genesis.primitives import keccak256
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, make_spec, signed

TO = b"\x22" * 20
SPEC = make_spec()
KEY_HEX = "0x" + "22" * 32


def authorization(key: int = 1, **fields: Any) -> Any:
    return Account.sign_authorization(
        {"chainId": CHAIN_ID, "address": "0x" + "33" * 20, "nonce": 0, **fields}, KEYS[key]
    )


def all_kinds() -> list[Transaction]:
    access = [{"address": "0x" + "22" * 20, "storageKeys": [KEY_HEX, "0x" + "00" * 32]}]
    return [
        signed(nonce=1, to=TO, gasPrice=5, data=b"\x01\x00"),
        signed(nonce=2, to=TO, gasPrice=5, accessList=access, type=1),
        signed(nonce=3, to=TO, accessList=access),
        signed(nonce=4, to=TO, authorizationList=[authorization()], gas=100_000),
    ]


def test_every_kind_decodes_to_its_fields() -> None:
    kinds = all_kinds()
    assert [tx.kind for tx in kinds] == [0, 1, 2, 4]
    for tx in kinds:
        assert tx.sender == ADDRESSES[0]
        assert tx.hash == keccak256(tx.raw)
        assert tx.chain_id == CHAIN_ID and tx.to == TO
        assert decode_transaction(tx.raw, chain_id=CHAIN_ID) == tx
    legacy, listed, dynamic, delegating = kinds
    assert (legacy.max_fee_per_gas, legacy.max_priority_fee_per_gas) == (5, 5)
    assert legacy.v == 35 + 2 * CHAIN_ID + legacy.y_parity
    assert listed.access_list == dynamic.access_list == ((TO, (int(KEY_HEX, 16), 0)),)
    assert (dynamic.max_fee_per_gas, dynamic.max_priority_fee_per_gas) == (10**10, 10**9)
    assert dynamic.effective_gas_price(10**9) == 2 * 10**9
    assert dynamic.effective_gas_price(10**10) == 10**10
    assert delegating.authorizations[0].authority() == ADDRESSES[1]


def test_intrinsic_and_floor_gas() -> None:
    legacy, listed, dynamic, delegating = all_kinds()
    assert legacy.intrinsic_gas == 21_000 + 16 + 4 and legacy.floor_gas == 21_000 + 50
    assert listed.intrinsic_gas == dynamic.intrinsic_gas == 21_000 + 2_400 + 2 * 1_900
    assert delegating.intrinsic_gas == 21_000 + 25_000
    creation = signed(nonce=0, data=b"\x01" * 33, gas=100_000)
    assert creation.to is None and creation.intrinsic_gas == 53_000 + 33 * 16 + 2 * 2


def test_a_keyless_deployment_signed_before_eip_155() -> None:
    """Nick's CREATE2 deployer, signed for no chain: the same bytes are valid on every chain."""
    raw = bytes.fromhex(
        "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600c"
        "f31ba02222222222222222222222222222222222222222222222222222222222222222a0222222222222222222222222222"
        "2222222222222222222222222222222222222"
    )
    tx = decode_transaction(raw, chain_id=CHAIN_ID)
    assert tx.chain_id is None and tx.sender.hex() == "3fab184622dc19b6109349b94811493bf2a45362"
    check_transaction(tx, SPEC)


def legacy_fields(**changes: Any) -> bytes:
    """A legacy transaction whose fields can be spoiled one by one."""
    fields: dict[str, Any] = {
        "nonce": b"", "price": b"\x05", "gas": int_bytes(21_000), "to": TO, "value": b"", "data": b"", **changes,
    }  # fmt: skip
    body = [fields[name] for name in ("nonce", "price", "gas", "to", "value", "data")]
    signature = sign(KEYS[0], signing_hash(0, body))
    v = changes.get("v", int_bytes(27 + signature[64]))
    r = changes.get("r", signature[:32].lstrip(b"\0"))
    s = changes.get("s", signature[32:64].lstrip(b"\0"))
    return encode_rlp([*body, v, r, s])


def test_the_spoilable_transaction_is_valid_unspoiled() -> None:
    assert decode_transaction(legacy_fields(), chain_id=CHAIN_ID).sender == ADDRESSES[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nonce": b"\x00"}, "leading zeros"),
        ({"gas": b"\x00\x52\x08"}, "leading zeros"),
        ({"gas": b"\x01" + bytes(8)}, "gas limit: the integer is too large"),
        ({"price": b"\x01" + bytes(32)}, "too large"),
        ({"to": b"\x01" * 19}, "to: expected 20 bytes"),
        ({"data": [b""]}, "data: expected bytes"),
        ({"r": b"\x00\x01"}, "leading zeros"),
    ],
)
def test_fields_that_are_not_canonical_are_wire_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError, match=message):
        decode_transaction(legacy_fields(**changes), chain_id=CHAIN_ID)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 34])
def test_a_v_that_no_rule_gives_is_refused(v: int) -> None:
    with pytest.raises(InvalidTransaction, match="invalid transaction v, r, s values"):
        decode_transaction(legacy_fields(v=int_bytes(v)), chain_id=CHAIN_ID)


@pytest.mark.parametrize("changes", [{"r": b""}, {"s": b""}, {"r": int_bytes(SECP256K1_N)}, {"s": b"\xff" * 32}])
def test_signatures_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidTransaction, match="invalid transaction v, r, s values"):
        decode_transaction(legacy_fields(**changes), chain_id=CHAIN_ID)


@pytest.mark.parametrize(
    "changes", [{"r": b""}, {"r": int_bytes(SECP256K1_N)}, {"s": b""}, {"s": int_bytes(SECP256K1_N // 2 + 1)}]
)
def test_signatures_out_of_range_cost_no_recovery(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidTransaction, match="invalid transaction v, r, s values"):
        parse_transaction(legacy_fields(**changes), chain_id=CHAIN_ID)
    for edge in ({"r": int_bytes(SECP256K1_N - 1)}, {"r": b"\x01"}, {"s": int_bytes(SECP256K1_N // 2)}, {"s": b"\x01"}):
        parse_transaction(legacy_fields(**edge), chain_id=CHAIN_ID)


@pytest.mark.parametrize(("place", "kind", "name"), [(2, 1, "gas price"), (2, 2, "priority fee"), (3, 2, "max fee")])
def test_a_field_is_named_as_its_kind_has_it(place: int, kind: int, name: str) -> None:
    raw = all_kinds()[kind].raw
    fields = decode_rlp(raw[1:], size_max=1_000)
    assert isinstance(fields, list)
    fields[place] = b"\x00\x01"
    with pytest.raises(WireError, match=f"^{name}"):
        decode_transaction(raw[:1] + encode_rlp(fields), chain_id=CHAIN_ID)


def test_the_high_s_twin_of_a_signature_is_refused() -> None:
    tx = signed(nonce=0, to=TO)
    fields = decode_rlp(tx.raw[1:], size_max=1_000)
    fields[-3] = int_bytes(1 - tx.y_parity)
    fields[-1] = int_bytes(SECP256K1_N - tx.s)
    with pytest.raises(InvalidTransaction, match="invalid transaction v, r, s values"):
        decode_transaction(b"\x02" + encode_rlp(fields), chain_id=CHAIN_ID)


def test_other_chains_and_unknown_kinds_are_refused() -> None:
    for tx in all_kinds():
        with pytest.raises(InvalidTransaction, match=f"invalid chain id for signer: have {CHAIN_ID} want 1"):
            decode_transaction(tx.raw, chain_id=1)
    with pytest.raises(InvalidTransaction, match="type 3"):
        decode_transaction(b"\x03" + encode_rlp([]), chain_id=CHAIN_ID)
    for kind in (0, 5, 0x7F, 0x80, 0xBF):
        with pytest.raises(InvalidTransaction, match="not supported"):
            decode_transaction(bytes([kind]) + encode_rlp([]), chain_id=CHAIN_ID)
    with pytest.raises(WireError):
        decode_transaction(b"", chain_id=CHAIN_ID)


def test_a_set_code_transaction_needs_a_receiver() -> None:
    fields = decode_rlp(all_kinds()[3].raw[1:], size_max=1_000)
    fields[5] = b""
    with pytest.raises(WireError, match="type 4"):
        decode_transaction(b"\x04" + encode_rlp(fields), chain_id=CHAIN_ID)


def test_the_size_cap_comes_first() -> None:
    for start in (b"\x02", b"\xf8"):
        with pytest.raises(InvalidTransaction, match="oversized data: transaction size 261121, limit 261120"):
            decode_transaction(start + bytes(TRANSACTION_BYTES_MAX), chain_id=CHAIN_ID)


def test_the_chain_bounds_bytes_and_access_lists() -> None:
    small = dataclasses.replace(SPEC, block=BlockParams(transaction_bytes_max=64 * 1024, access_list_entries_max=3))
    long = signed(nonce=0, to=TO, data=bytes(65_000), gas=3_000_000)
    check_transaction(long, small)
    for size in (66_000, 200_000):
        long = signed(nonce=0, to=TO, data=bytes(size), gas=3_000_000)
        with pytest.raises(InvalidTransaction, match=f"oversized data: transaction size {len(long.raw)}, limit 65536"):
            check_transaction(long, small)
    entry = {"address": "0x" + TO.hex(), "storageKeys": [KEY_HEX]}
    check_transaction(signed(nonce=0, to=TO, gas=50_000, accessList=[{**entry, "storageKeys": [KEY_HEX] * 2}]), small)
    with pytest.raises(InvalidTransaction, match="access list too long: 4 entries, limit 3"):
        check_transaction(signed(nonce=0, to=TO, gas=50_000, accessList=[entry, entry]), small)


def test_mutated_bytes_raise_only_the_two_errors_or_decode_canonically() -> None:
    seed = 7
    rng = random.Random(seed)
    kinds = all_kinds()
    for _ in range(3_000):
        raw = bytearray(rng.choice(kinds).raw)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(raw))
            action = rng.randrange(3)
            if action == 0:
                raw[place] = rng.randrange(256)
            elif action == 1:
                del raw[place]
            else:
                raw.insert(place, rng.randrange(256))
        try:
            tx = decode_transaction(bytes(raw), chain_id=CHAIN_ID)
        except (WireError, InvalidTransaction):
            continue
        assert tx.hash == keccak256(bytes(raw)), f"seed {seed}"


def without_authorizations() -> Transaction:
    """eth-account refuses to make one."""
    fields = decode_rlp(all_kinds()[3].raw[1:], size_max=1_000)
    fields[9] = []
    return decode_transaction(b"\x04" + encode_rlp(fields), chain_id=CHAIN_ID)


def test_static_checks_use_geths_words() -> None:
    check = [
        (signed(nonce=0, to=TO, gas=20_999), "intrinsic gas too low: have 20999, want 21000"),
        (signed(nonce=0, to=TO, gas=30_000_001), "exceeds block gas limit"),
        (
            signed(nonce=0, to=TO, maxFeePerGas=1, maxPriorityFeePerGas=2),
            "max priority fee per gas higher than max fee per gas",
        ),
        (signed(nonce=0, data=bytes(49_153), gas=10**6), "max initcode size exceeded: code size 49153 limit 49152"),
        (
            signed(nonce=0, to=TO, data=b"\x01" * 1_000, gas=40_000),
            "insufficient gas for floor data gas cost: have 40000",
        ),
        (signed(nonce=2**64 - 1, to=TO), "nonce has max value"),
        (without_authorizations(), "EIP-7702 transaction with empty auth list"),
    ]
    for tx, message in check:
        with pytest.raises(InvalidTransaction, match=message):
            check_transaction(tx, SPEC)
    with pytest.raises(GasTooLow):
        check_transaction(check[0][0], SPEC)
    check_transaction(signed(nonce=2**64 - 2, to=TO), SPEC)
    check_transaction(signed(nonce=0, data=bytes(49_152), gas=10**6), SPEC)
    check_transaction(signed(nonce=0, to=TO, data=b"\x01" * 1_000, gas=61_000), SPEC)


def test_an_authorization_with_a_bad_signature_has_no_authority() -> None:
    good = all_kinds()[3].authorizations[0]
    assert good.authority() == ADDRESSES[1]
    for changes in ({"y_parity": 2}, {"r": 0}, {"s": SECP256K1_N - good.s}):
        fields = {name: getattr(good, name) for name in ("chain_id", "address", "nonce", "y_parity", "r", "s")}
        assert type(good)(**{**fields, **changes}).authority() is None


def test_no_point_beyond_the_order_signs() -> None:
    """Such an r has two more points with parities 2 and 3; whoever chose one would make an authority up, without a key."""
    good = all_kinds()[3].authorizations[0]
    chosen = next(
        r for r in range(1, 100) if recover_any(bytes(32), int_bytes(r).rjust(32, b"\0") + bytes(31) + b"\x01", 2)
    )
    for parity in (2, 3):
        assert dataclasses.replace(good, y_parity=parity, r=chosen, s=1).authority() is None


def test_the_gas_cap_of_osaka_follows_the_schedule() -> None:
    schedule = (ForkActivation("prague"), ForkActivation("osaka", 5))
    spec = dataclasses.replace(SPEC, forks=schedule)
    tx = signed(nonce=0, to=TO, gas=(1 << 24) + 1)
    check_transaction(tx, spec, 4)
    for height in (5, 6, None):
        with pytest.raises(InvalidTransaction, match="transaction gas limit too high"):
            check_transaction(tx, spec, height)
    check_transaction(signed(nonce=0, to=TO, gas=1 << 24), spec, 5)
