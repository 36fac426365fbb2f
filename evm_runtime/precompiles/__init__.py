"""The precompiled contracts by fork: native libraries, every validity check of the EIPs. SHA-256 and identity are py-evm's."""

from collections.abc import Callable
from typing import Any, Final

from eth.abc import ComputationAPI
from eth.precompiles.identity import identity
from eth.precompiles.sha256 import sha256

from evm_runtime.precompiles import bls12_381, revm
from evm_runtime.precompiles.hashes import ecrecover, ripemd160
from evm_runtime.precompiles.kzg import point_evaluation
from evm_runtime.precompiles.modexp import modexp_osaka, modexp_prague
from evm_runtime.precompiles.p256 import p256verify
from genesis.primitives import Address

__all__ = ["CANCUN_PRECOMPILES", "OSAKA_PRECOMPILES", "PRAGUE_PRECOMPILES", "Precompile"]

Precompile = Callable[[ComputationAPI], Any]


def _at(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


CANCUN_PRECOMPILES: Final[dict[Address, Precompile]] = {
    _at(0x01): ecrecover,
    _at(0x02): sha256,
    _at(0x03): ripemd160,
    _at(0x04): identity,
    _at(0x05): modexp_prague,
    _at(0x06): revm.bn128_add,
    _at(0x07): revm.bn128_mul,
    _at(0x08): revm.bn128_pairing,
    _at(0x09): revm.blake2f,
    _at(0x0A): point_evaluation,
}

PRAGUE_PRECOMPILES: Final[dict[Address, Precompile]] = {
    **CANCUN_PRECOMPILES,
    _at(0x0B): bls12_381.g1_add,
    _at(0x0C): bls12_381.g1_msm,
    _at(0x0D): bls12_381.g2_add,
    _at(0x0E): bls12_381.g2_msm,
    _at(0x0F): bls12_381.pairing,
    _at(0x10): bls12_381.map_fp_to_g1,
    _at(0x11): bls12_381.map_fp2_to_g2,
}

OSAKA_PRECOMPILES: Final[dict[Address, Precompile]] = {
    **PRAGUE_PRECOMPILES,
    _at(0x05): modexp_osaka,
    _at(0x100): p256verify,
}
