"""The model signer's EIP-712 signature: as eth_account writes it, checked once, by deadline, for one payer and one output."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from attribution_precompile.methods.signing import inference_digest
from genesis.crypto import SECP256K1_N
from genesis.primitives import Address, Hash32, keccak256
from tests.unit.attribution.world import ALICE, BOB, DEV, USER, ZERO32, World, words
from tests.unit.native.harness import CHAIN_ID, Reverted

KEY = b"\x11" * 32
SIGNER = Account.from_key(KEY)
OUTPUT = words(0, 12).encode()


def typed_data(**changes: Any) -> dict[str, Any]:
    message = {
        "modelId": 1, "payer": "0x" + USER.hex(), "promptHash": ZERO32, "inputTokens": 3,
        "outputHash": keccak256(OUTPUT), "nonce": 0, "deadline": 2**63,
    } | changes  # fmt: skip
    return {
        "domain": {
            "name": "OpenLedger Attribution",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": "0x0000000000000000000000000000000000000A00",
        },
        "primaryType": "Inference",
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Inference": [
                {"name": "modelId", "type": "uint64"},
                {"name": "payer", "type": "address"},
                {"name": "promptHash", "type": "bytes32"},
                {"name": "inputTokens", "type": "uint32"},
                {"name": "outputHash", "type": "bytes32"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint64"},
            ],
        },
        "message": message,
    }


def sign(**changes: Any) -> bytes:
    return bytes(SIGNER.sign_message(encode_typed_data(full_message=typed_data(**changes))).signature)


@pytest.fixture
def world() -> World:
    world = World()
    datanet = world.datanet()
    world.accept(world.give(datanet, ALICE, words(0, 40)))
    world.publish(datanet)
    world.model([(datanet, 1, 0, 10_000)], signer=bytes.fromhex(SIGNER.address[2:]))
    return world


def infer(world: World, signature: bytes, nonce: int = 0, deadline: int = 2**63, **changes: Any) -> bytes:
    return world.run(1, changes.pop("output", OUTPUT), 0, (nonce, deadline, signature), input_tokens=3, **changes)


def test_the_digest_is_what_wallets_sign() -> None:
    digest = inference_digest(
        CHAIN_ID, model_id=1, payer=Address(USER), prompt_hash=Hash32(ZERO32), input_tokens=3, output=OUTPUT, nonce=0,
        deadline=2**63,
    )  # fmt: skip
    signable = encode_typed_data(full_message=typed_data())
    assert digest == keccak256(b"\x19" + signable.version + signable.header + signable.body)


def test_a_signature_counts_once(world: World) -> None:
    infer(world, sign())
    with pytest.raises(Reverted) as caught:
        infer(world, sign())
    assert (caught.value.name, caught.value.values) == ("NonceUsed", (1, 0))
    for nonce in (1, 255, 256, 2**255 + 3):
        infer(world, sign(nonce=nonce), nonce)
    with pytest.raises(Reverted, match="NonceUsed"):
        infer(world, sign(nonce=256), 256)


def test_the_deadline_may_be_reached_and_not_passed(world: World) -> None:
    now = world.chain.time
    infer(world, sign(deadline=now), deadline=now)
    world.chain.next_block()
    with pytest.raises(Reverted) as caught:
        infer(world, sign(deadline=now, nonce=1), 1, now)
    assert (caught.value.name, caught.value.values) == ("SignatureExpired", (now, now + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"modelId": 2}, {"payer": "0x" + BOB.hex()}, {"promptHash": b"\1" * 32}, {"inputTokens": 4},
        {"outputHash": ZERO32}, {"nonce": 1}, {"deadline": 2**62},
    ],
)  # fmt: skip
def test_a_signature_for_anything_else_is_refused(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(Reverted, match="BadSignature"):
        infer(world, sign(**changes))


def test_only_one_form_of_a_signature_is_read(world: World) -> None:
    good = sign()
    r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
    high_s = r + (SECP256K1_N - s).to_bytes(32, "big") + bytes([55 - v])
    for bad in (b"", good[:64], good + b"\0", good[:64] + bytes([v - 27]), high_s, bytes(65), b"\xff" * 64 + b"\x1b"):
        with pytest.raises(Reverted) as caught:
            infer(world, bad)
        assert caught.value.name == "BadSignature"
    infer(world, good)


def test_a_changed_signer_counts_from_then_on(world: World) -> None:
    world.setModel(1, BOB, 0, 0, True, sender=DEV)
    with pytest.raises(Reverted, match="BadSignature"):
        infer(world, sign())
    world.setModel(1, bytes(20), 0, 0, True, sender=DEV)
    world.run(1, OUTPUT, 0)
