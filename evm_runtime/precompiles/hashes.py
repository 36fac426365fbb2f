"""0x01 ECRECOVER and 0x03 RIPEMD-160, where py-evm's are slow or depend on how Python was built.

- py-evm's recovery goes through eth_keys' objects; here libsecp256k1 is called at once.
- py-evm takes RIPEMD-160 from `hashlib`, where it is there or not as the machine's OpenSSL pleases: two nodes could disagree.
"""

from typing import Final

from Crypto.Hash import RIPEMD160
from eth.abc import ComputationAPI

from genesis.crypto import SECP256K1_N, recover_any

ECRECOVER_GAS: Final = 3_000
RIPEMD160_GAS: Final = 600
RIPEMD160_WORD_GAS: Final = 120


def ecrecover(computation: ComputationAPI) -> ComputationAPI:
    """Yellow Paper, appendix E. Input: digest ‖ v (27 or 28) ‖ r ‖ s, zero-padded. No output unless a key is recovered.

    Unlike in transactions a high s is fine here (EIP-2).
    """
    computation.consume_gas(ECRECOVER_GAS, reason="ecrecover")
    data = computation.msg.data_as_bytes[:128].ljust(128, b"\0")
    v, r, s = (int.from_bytes(data[at : at + 32], "big") for at in (32, 64, 96))
    if v not in (27, 28) or not 0 < r < SECP256K1_N or not 0 < s < SECP256K1_N:
        return computation
    signer = recover_any(data[:32], data[64:], v - 27)
    if signer is not None:
        computation.output = bytes(12) + signer
    return computation


def ripemd160(computation: ComputationAPI) -> ComputationAPI:
    """Yellow Paper, appendix E: the digest, left-padded to 32 bytes."""
    data = computation.msg.data_as_bytes
    computation.consume_gas(RIPEMD160_GAS + RIPEMD160_WORD_GAS * ((len(data) + 31) // 32), reason="ripemd160")
    computation.output = bytes(12) + RIPEMD160.new(data).digest()
    return computation
