"""Recovery against eth_keys' pure-Python curve, which shares no code with libsecp256k1."""

import random

import pytest
from eth_keys.backends import NativeECCBackend
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature

from genesis.crypto import SECP256K1_N, address_of_private_key, recover_any, sign
from genesis.primitives import Address, Hash32

SEED = 20261124


def by_eth_keys(digest: bytes, r: int, s: int, y_parity: int) -> Address | None:
    try:
        signature = Signature(vrs=(y_parity, r, s), backend=NativeECCBackend())
        return Address(signature.recover_public_key_from_msg_hash(digest).to_canonical_address())
    except BadSignature:
        return None


def test_recovery_agrees_with_another_implementation() -> None:
    rng = random.Random(SEED)
    recovered = refused = 0
    for _ in range(40):
        digest = rng.randbytes(32)
        signature = sign(rng.randbytes(32), Hash32(digest))
        r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
        r, s, parity = rng.choice(
            [
                (r, s, signature[64]),
                (r, SECP256K1_N - s, signature[64] ^ 1),  # high s
                (r, s, signature[64] ^ 1),  # somebody else's, or nobody's
                (rng.randrange(1, SECP256K1_N), s, signature[64]),  # half of all r are no x of the curve
            ]
        )
        expected = by_eth_keys(digest, r, s, parity)
        assert recover_any(digest, r.to_bytes(32, "big") + s.to_bytes(32, "big"), parity) == expected, SEED
        recovered, refused = recovered + (expected is not None), refused + (expected is None)
    assert recovered > 10
    assert refused > 2


def test_scalars_out_of_range_recover_nothing() -> None:
    digest = bytes(31) + b"\x01"
    one, n = (1).to_bytes(32, "big"), SECP256K1_N.to_bytes(32, "big")
    for r_s in (bytes(64), bytes(32) + one, one + bytes(32), n + one, one + n):
        assert recover_any(digest, r_s, 0) is None


def test_what_follows_s_is_not_read() -> None:
    key, digest = b"\x07" * 32, Hash32(b"\x55" * 32)
    signature = sign(key, digest)
    assert recover_any(digest, signature, signature[64]) == address_of_private_key(key)


@pytest.mark.parametrize(("digest", "r_s"), [(bytes(31), bytes(64)), (bytes(33), bytes(64)), (bytes(32), bytes(63))])
def test_short_arguments_are_refused_before_c_reads_beyond_them(digest: bytes, r_s: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        recover_any(digest, r_s, 0)
