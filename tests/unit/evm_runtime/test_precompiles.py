"""The native precompiles: vectors of the EIPs, and py-evm's own (on py_ecc) as the oracle for outputs, gas and refusals."""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from Crypto.Hash import RIPEMD160
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from eth.exceptions import VMError
from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES as STOCK
from py_ecc import optimized_bls12_381 as bls
from py_ecc import optimized_bn128 as bn

from evm_runtime.precompiles import OSAKA_PRECOMPILES, PRAGUE_PRECOMPILES, revm
from evm_runtime.precompiles.modexp import gas_osaka, gas_prague
from evm_runtime.precompiles.p256 import SECP256R1_N, SECP256R1_P
from genesis.crypto import SECP256K1_N
from genesis.errors import InvariantError

BN_P, BN_N = bn.field_modulus, bn.curve_order
BLS_P, BLS_N = bls.field_modulus, bls.curve_order
INFINITY_G1, INFINITY_G2 = bytes(128), bytes(256)


class Frame:
    """As much of a computation as a precompile sees."""

    def __init__(self, data: bytes) -> None:
        self.msg = self
        self.data = self.data_as_bytes = data
        self.gas = 0
        self.output = b""

    def consume_gas(self, amount: int, reason: str) -> None:
        self.gas += amount


def run(number: int, data: bytes, table: Any = OSAKA_PRECOMPILES) -> tuple[int, bytes] | None:
    """(gas, output), or None for a refusal."""
    frame = Frame(data)
    try:
        table[number.to_bytes(20, "big")](frame)
    except VMError:
        return None
    return frame.gas, frame.output


def word(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def assert_as_stock(number: int, data: bytes, note: object = "") -> None:
    assert run(number, data, PRAGUE_PRECOMPILES) == run(number, data, STOCK), (note, number, data.hex())


# ---------------------------------------------------------------- bn128


def bn_g1(point: Any) -> bytes:
    if bn.is_inf(point):
        return bytes(64)
    x, y = bn.normalize(point)
    return word(int(x), int(y))


def bn_g2(point: Any) -> bytes:
    if bn.is_inf(point):
        return bytes(128)
    x, y = bn.normalize(point)
    return word(*(int(part) for coordinate in (x, y) for part in reversed(coordinate.coeffs)))


def bn_twist_point_outside_the_subgroup() -> bytes:
    """A point of the twist: nearly all of them are outside, for the cofactor has 254 bits."""
    for candidate in range(1, 100):
        x = bn.FQ2([candidate, 1])
        square = x * x * x + bn.b2
        root = square ** ((BN_P**2 + 15) // 32)
        for power in range(16):
            y = root * bn.FQ2([9, 1]) ** ((BN_P**2 - 1) // 16 * power)
            if y * y == square:
                point = (x, y, bn.FQ2.one())
                assert bn.is_on_curve(point, bn.b2) and not bn.is_inf(bn.multiply(point, BN_N))
                return bn_g2(point)
    raise AssertionError("none found")


def test_bn128_addition_and_multiplication() -> None:
    rng = random.Random(196)
    points = [bn.multiply(bn.G1, rng.getrandbits(250)) for _ in range(4)] + [bn.Z1]
    for left in points:
        for right in (points[0], bn.neg(left), left, bn.Z1):
            assert run(6, bn_g1(left) + bn_g1(right)) == (150, bn_g1(bn.add(left, right)))
        for scalar in (0, 1, 2, BN_N - 1, BN_N, BN_N + 1, (1 << 256) - 1, rng.getrandbits(256)):
            assert run(7, bn_g1(left) + word(scalar)) == (6_000, bn_g1(bn.multiply(left, scalar)))


def test_bn128_input_is_padded_and_cut() -> None:
    for number in (6, 7):
        for data in (
            b"",
            word(1, 2),
            word(1, 2) + b"\x01",
            word(1, 2, 1, 2)[:127],
            word(1, 2, 1, 2) + b"rest",
            b"\x01",
        ):
            assert_as_stock(number, data)


@pytest.mark.parametrize(
    "point", [word(1, 3), word(0, 1), word(BN_P, 0), word(BN_P + 1, 2), word(1, 2 + BN_P), word(1 << 255, 2)]
)
def test_bn128_refuses_what_is_no_point(point: bytes) -> None:
    good = bn_g2(bn.G2)
    assert run(6, point + word(1, 2)) is None and run(6, word(1, 2) + point) is None
    assert run(7, point + word(0)) is None
    assert run(8, point + good) is None and run(8, point + bytes(128)) is None


def test_bn128_pairing() -> None:
    rng = random.Random(197)
    a, b = rng.getrandbits(200), rng.getrandbits(200)
    left, right = bn.multiply(bn.G1, a), bn.multiply(bn.G2, b)
    inverse = bn_g1(bn.neg(bn.multiply(bn.G1, a * b % BN_N))) + bn_g2(bn.G2)
    one = bn_g1(left) + bn_g2(right)
    assert run(8, b"") == (45_000, word(1))
    assert run(8, one) == (79_000, word(0))
    assert run(8, one + inverse) == (113_000, word(1))
    assert run(8, one + inverse + bytes(64) + bn_g2(right) + bn_g1(left) + bytes(128)) == (181_000, word(1))
    assert run(8, one[:-1]) is None and run(8, one + b"\x00") is None


def test_bn128_pairing_refuses_points_off_the_twist_and_outside_the_subgroup() -> None:
    outside = bn_twist_point_outside_the_subgroup()
    assert run(8, bytes(64) + outside) is None and run(8, word(1, 2) + outside) is None
    good = bn_g2(bn.G2)
    assert run(8, word(1, 2) + good[:-1] + bytes([good[-1] ^ 1])) is None
    shifted = (int.from_bytes(good[:32], "big") + BN_P).to_bytes(32, "big") + good[32:]
    assert run(8, word(1, 2) + shifted) is None


def test_engines_are_shared_between_threads_and_renewed() -> None:
    """Every thread gets right answers, and no engine outlives its number of calls."""
    wrong: list[Any] = []

    def work() -> None:
        for k in range(400):
            if run(6, word(1, 2) + (bytes(64) if k % 2 else word(1, 2)))[1][:32] == bytes(32):  # type: ignore[index]  # a test
                wrong.append(k)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    engine = revm.Engine()
    engine.calls = revm._ENGINE_CALLS_MAX - 1
    revm._idle[:] = [engine]
    assert run(6, b"") == (150, bytes(64))
    assert engine not in revm._idle


def test_a_failure_that_is_not_the_inputs_stops_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def message_call(self, *_args: object, **_options: object) -> bytes:
            raise RuntimeError("Already borrowed")

    monkeypatch.setattr(revm, "EVM", lambda **_options: Broken())
    with pytest.raises(InvariantError, match="this machine"):
        revm.Engine().run(6, b"")


# ---------------------------------------------------------------- blake2f, hashes, ecrecover


def blake_input(rounds: int, message: bytes, final: int = 1) -> bytes:
    iv = [0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1]
    iv += [0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179]
    iv[0] ^= 0x01010040
    state = b"".join(value.to_bytes(8, "little") for value in iv)
    return (
        rounds.to_bytes(4, "big")
        + state
        + message.ljust(128, b"\0")
        + len(message).to_bytes(16, "little")
        + bytes([final])
    )


@pytest.mark.parametrize("message", [b"abc", b"", bytes(range(128))])
def test_blake2f_is_the_compression_of_blake2b(message: bytes) -> None:
    assert run(9, blake_input(12, message)) == (12, hashlib.blake2b(message).digest())


def test_blake2f_rounds_and_refusals() -> None:
    for rounds in (0, 1, 13, 300):
        for final in (0, 1):
            assert_as_stock(9, blake_input(rounds, b"abc", final))
    good = blake_input(12, b"abc")
    for bad in (b"", good[:-1], good + b"\0", good[:-1] + b"\x02"):
        assert run(9, bad) is None


def test_ripemd160_does_not_ask_openssl() -> None:
    for size in (0, 1, 32, 33, 1_000):
        data = bytes(size)
        assert run(3, data) == (600 + 120 * ((size + 31) // 32), bytes(12) + RIPEMD160.new(data).digest())
    assert run(3, b"")[1].hex()[24:] == "9c1185a5c5e9fc54612808977ee8f548b2258d31"  # type: ignore[index]  # a test


def test_ecrecover_is_as_in_stock_py_evm() -> None:
    rng = random.Random(1)
    for _ in range(30):
        digest, r, s = (rng.randbytes(32) for _ in range(3))
        for v in (27, 28):
            assert_as_stock(1, digest + word(v) + r + s)
    digest = bytes(32)
    n = SECP256K1_N
    edges = [(27, 0, 1), (27, 1, 0), (27, n, 1), (28, 1, n), (26, 1, 1), (29, 1, 1), (27 + (1 << 64), 1, 1)]
    edges += [(27, n - 1, n - 1), (27, 1, 1), (28, 1, n - 1)]
    for v, r_, s_ in edges:
        assert_as_stock(1, digest + word(v, r_, s_))
        assert_as_stock(1, digest + word(v, r_, s_) + b"more")
    assert run(1, b"") == (3_000, b"")


# ---------------------------------------------------------------- modexp


def modexp_input(base: bytes, exponent: bytes, modulus: bytes) -> bytes:
    return word(len(base), len(exponent), len(modulus)) + base + exponent + modulus


def test_modexp_is_as_in_stock_py_evm_under_pragues_prices() -> None:
    rng = random.Random(5)
    for _ in range(200):
        parts = [rng.randbytes(rng.choice([1, 2, 31, 32, 33, 64])) for _ in range(3)]
        assert_as_stock(5, modexp_input(*parts))
        assert_as_stock(5, modexp_input(*parts)[: rng.randrange(150)])


@pytest.mark.parametrize(
    ("sizes", "head", "gas"),
    [
        ((1, 1, 1), 3, 500),  # the least price
        ((32, 32, 32), (1 << 256) - 1, 16 * 255),
        ((33, 32, 32), (1 << 256) - 1, 2 * 25 * 255),
        ((32, 33, 32), 0, 16 * 16),
        ((64, 64, 64), (1 << 256) - 1, 2 * 64 * (16 * 32 + 255)),
        ((1_024, 1_024, 1_024), 1, 2 * 128**2 * 16 * 992),
        ((0, 0, 0), 0, 500),
    ],
)
def test_modexp_prices_of_osaka(sizes: tuple[int, int, int], head: int, gas: int) -> None:
    assert gas_osaka(*sizes, head) == max(gas, 500)
    assert gas_prague(*sizes, head) <= gas_osaka(*sizes, head)


def test_modexp_operands_are_bounded_from_osaka_on() -> None:
    at_most = modexp_input(b"\x02" * 1_024, b"\x01", b"\x03" * 1_024)
    assert run(5, at_most) == (2 * 128**2, b"\x02" * 1_024)
    for place in range(3):
        sizes = [1, 1, 1]
        sizes[place] = 1_025
        assert run(5, word(*sizes)) is None
        assert run(5, word(*sizes), PRAGUE_PRECOMPILES) is not None
    assert run(5, word(1 << 255, 0, 0)) is None and run(5, word(0, 1 << 255, 0)) is None


# ---------------------------------------------------------------- BLS12-381


def fp(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(64, "big") for number in numbers)


def g1(point: Any) -> bytes:
    if bls.is_inf(point):
        return INFINITY_G1
    return fp(*(int(part) for part in bls.normalize(point)))


def g2(point: Any) -> bytes:
    if bls.is_inf(point):
        return INFINITY_G2
    return fp(*(int(part) for coordinate in bls.normalize(point) for part in coordinate.coeffs))


def outside_g1() -> bytes:
    """The point (0, 2) of the curve y² = x³ + 4, which has order 3."""
    return fp(0, 2)


def outside_g2() -> bytes:
    """A point of the twist that is not in G2."""
    for candidate in range(1, 200):
        x = bls.FQ2([candidate, 0])
        square = x * x * x + bls.b2
        root = square ** ((BLS_P**2 + 7) // 16)
        for power in range(8):
            y = root * bls.FQ2([1, 1]) ** ((BLS_P**2 - 1) // 8 * power)
            if y * y == square:
                return g2((x, y, bls.FQ2.one()))
    raise AssertionError("none found")


P1, P2 = bls.multiply(bls.G1, 0xABCDEF), bls.multiply(bls.G2, 0xFEDCBA)


def test_bls_additions() -> None:
    for left, right in [(P1, bls.G1), (P1, P1), (P1, bls.neg(P1)), (bls.Z1, P1), (bls.Z1, bls.Z1)]:
        assert run(0x0B, g1(left) + g1(right)) == (375, g1(bls.add(left, right)))
    for left, right in [(P2, bls.G2), (P2, P2), (P2, bls.neg(P2)), (bls.Z2, P2), (bls.Z2, bls.Z2)]:
        assert run(0x0D, g2(left) + g2(right)) == (600, g2(bls.add(left, right)))


def test_bls_additions_take_points_outside_the_subgroup() -> None:
    assert_as_stock(0x0B, outside_g1() + g1(P1))
    assert_as_stock(0x0D, outside_g2() + g2(P2))
    assert run(0x0B, outside_g1() + outside_g1()) == (375, fp(0, BLS_P - 2))


def test_bls_multi_scalar_multiplications() -> None:
    scalars = [3, 0, BLS_N, BLS_N + 1, (1 << 256) - 1]
    lefts = [P1, bls.G1, P1, bls.Z1, bls.neg(P1)]
    rights = [P2, bls.G2, P2, bls.Z2, bls.neg(P2)]
    for count in (1, 2, 5):
        for number, points, encode, gas in ((0x0C, lefts, g1, 12_000), (0x0E, rights, g2, 22_500)):
            total: Any = bls.Z1 if number == 0x0C else bls.Z2
            for point, scalar in zip(points[:count], scalars, strict=False):
                total = bls.add(total, bls.multiply(point, scalar))
            data = b"".join(encode(p) + word(s) for p, s in zip(points[:count], scalars, strict=False))
            found = run(number, data)
            assert found is not None and found[1] == encode(total)
            assert count > 1 or found[0] == gas


@pytest.mark.parametrize(
    ("count", "g1_gas", "g2_gas"),
    [(1, 12_000, 22_500), (2, 22_776, 45_000), (128, 797_184, 1_509_120), (200, 1_245_600, 2_358_000)],
)
def test_bls_multi_scalar_gas(count: int, g1_gas: int, g2_gas: int) -> None:
    assert run(0x0C, (INFINITY_G1 + word(7)) * count) == (g1_gas, INFINITY_G1)
    assert run(0x0E, (INFINITY_G2 + word(7)) * count) == (g2_gas, INFINITY_G2)


def test_bls_pairing() -> None:
    a, b = 12_345, 67_890
    one = g1(bls.multiply(bls.G1, a)) + g2(bls.multiply(bls.G2, b))
    inverse = g1(bls.neg(bls.multiply(bls.G1, a * b))) + g2(bls.G2)
    assert run(0x0F, one) == (70_300, word(0))
    assert run(0x0F, one + inverse) == (102_900, word(1))
    assert run(0x0F, INFINITY_G1 + g2(P2) + g1(P1) + INFINITY_G2) == (102_900, word(1))
    assert run(0x0F, INFINITY_G1 + g2(P2) + one) == (102_900, word(0))


def test_bls_maps_are_as_in_stock_py_evm() -> None:
    for number in (0, 1, 7, BLS_P - 1, 0x1234567890ABCDEF << 300):
        assert_as_stock(0x10, fp(number))
        assert_as_stock(0x11, fp(number, 5))
    assert_as_stock(0x11, fp(0, 0))


def broken_fields(good: bytes) -> Iterator[bytes]:
    """A valid encoding, spoilt: each coordinate raised by the modulus, its padding used, and the point moved off the curve."""
    for at in range(0, len(good), 64):
        number = int.from_bytes(good[at : at + 64], "big")
        yield good[:at] + (number + BLS_P).to_bytes(64, "big") + good[at + 64 :]
        yield good[:at] + b"\x01" + good[at + 1 :]
        yield good[: at + 15] + b"\x01" + good[at + 16 :]
        yield good[:at] + ((number + 1) % BLS_P).to_bytes(64, "big") + good[at + 64 :]


POINT_INPUTS: list[tuple[int, Callable[[bytes], bytes], bytes]] = [
    (0x0B, lambda p: p + INFINITY_G1, g1(P1)),
    (0x0B, lambda p: INFINITY_G1 + p, g1(P1)),
    (0x0C, lambda p: p + word(1), g1(P1)),
    (0x0C, lambda p: g1(bls.G1) + word(1) + p + word(0), g1(P1)),
    (0x0D, lambda p: p + INFINITY_G2, g2(P2)),
    (0x0D, lambda p: INFINITY_G2 + p, g2(P2)),
    (0x0E, lambda p: p + word(1), g2(P2)),
    (0x0F, lambda p: p + g2(P2), g1(P1)),
    (0x0F, lambda p: p + INFINITY_G2, g1(P1)),
    (0x0F, lambda p: g1(P1) + p, g2(P2)),
    (0x0F, lambda p: INFINITY_G1 + p, g2(P2)),
]


@pytest.mark.parametrize(("number", "place", "good"), POINT_INPUTS)
def test_bls_refuses_what_is_no_point(number: int, place: Callable[[bytes], bytes], good: bytes) -> None:
    assert run(number, place(good)) is not None
    for bad in broken_fields(good):
        assert run(number, place(bad)) is None, bad.hex()


@pytest.mark.parametrize("scalar", [0, 1, 3, BLS_N])
def test_bls_refuses_points_outside_the_subgroup(scalar: int) -> None:
    assert run(0x0C, outside_g1() + word(scalar)) is None
    assert run(0x0E, outside_g2() + word(scalar)) is None
    assert run(0x0F, outside_g1() + g2(P2)) is None and run(0x0F, outside_g1() + INFINITY_G2) is None
    assert run(0x0F, g1(P1) + outside_g2()) is None and run(0x0F, INFINITY_G1 + outside_g2()) is None


def test_bls_refuses_other_lengths_and_numbers_above_the_modulus() -> None:
    for number in range(0x0B, 0x12):
        assert run(number, b"") is None
        assert run(number, bytes(63)) is None and run(number, bytes(1_025)) is None
    assert run(0x10, fp(BLS_P)) is None and run(0x10, b"\x01" + bytes(63)) is None
    assert run(0x11, fp(BLS_P, 0)) is None and run(0x11, fp(0, BLS_P)) is None


# ---------------------------------------------------------------- secp256r1

RFC_6979_SAMPLE = word(
    int.from_bytes(hashlib.sha256(b"sample").digest(), "big"),
    0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
    0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6,
    0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299,
)


def test_p256_verifies_the_sample_of_rfc_6979() -> None:
    assert run(0x100, RFC_6979_SAMPLE) == (6_900, word(1))


def test_p256_refuses_every_other_signature_without_failing() -> None:
    digest, r, s, x, y = (int.from_bytes(RFC_6979_SAMPLE[at : at + 32], "big") for at in range(0, 160, 32))
    assert run(0x100, word(digest, r, SECP256R1_N - s, x, y)) == (6_900, word(1)), "s may be high"
    wrong = [
        (digest ^ 1, r, s, x, y), (digest, r ^ 1, s, x, y), (digest, r, s ^ 1, x, y), (digest, r, s, x, SECP256R1_P - y),
        (digest, 0, s, x, y), (digest, r, 0, x, y), (digest, SECP256R1_N, s, x, y), (digest, r, SECP256R1_N, x, y),
        (digest, r + 1, s, x, y), (digest, r, s, 0, 0), (digest, r, s, SECP256R1_P, y), (digest, r, s, x, SECP256R1_P),
        (digest, r, s, x, y + 1), (digest, r, s, y, x), (digest, (1 << 256) - 1, s, x, y), (digest, r, s, (1 << 256) - 1, y),
    ]  # fmt: skip
    for numbers in wrong:
        assert run(0x100, word(*numbers)) == (6_900, b"")
    for data in (b"", RFC_6979_SAMPLE[:-1], RFC_6979_SAMPLE + b"\0"):
        assert run(0x100, data) == (6_900, b"")


def test_p256_random_signatures() -> None:
    rng = random.Random(256)
    for _ in range(20):
        key = derive_private_key(rng.getrandbits(250) + 1, SECP256R1())
        digest = rng.choice([bytes(32), b"\xff" * 32, rng.randbytes(32)])
        r, s = decode_dss_signature(key.sign(digest, ECDSA(Prehashed(SHA256()))))
        numbers = key.public_key().public_numbers()
        assert run(0x100, digest + word(r, s, numbers.x, numbers.y)) == (6_900, word(1))
        assert run(0x100, digest + word(s, r, numbers.x, numbers.y)) == (6_900, b"")


def test_p256_reduces_the_points_coordinate_by_the_order() -> None:
    """EIP-7951: r is compared with x mod n. The point with x = n + 5 signs with r = 5."""
    x = next(
        candidate
        for candidate in range(SECP256R1_N, SECP256R1_P)
        if pow(candidate**3 - 3 * candidate + _B, (SECP256R1_P - 1) // 2, SECP256R1_P) == 1
    )
    r = x - SECP256R1_N
    y = pow(x**3 - 3 * x + _B, (SECP256R1_P + 1) // 4, SECP256R1_P)
    # With s = r and digest = 0 the check is R' = Q, so the public key is the point itself.
    assert r > 0 and run(0x100, word(0, r, r, x, y)) == (6_900, word(1))


_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
