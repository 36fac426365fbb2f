"""eth_config (EIP-7910): by which rules the node executes."""

import zlib
from typing import TYPE_CHECKING, Final

from node.rpc.context import Context
from node.rpc.schema.declare import Runs, method
from node.rpc.schema.format import Json, data

if TYPE_CHECKING:
    from genesis.primitives import Address

_PRECOMPILES: Final = {
    0x01: "ECREC",
    0x02: "SHA256",
    0x03: "RIPEMD160",
    0x04: "ID",
    0x05: "MODEXP",
    0x06: "BN254_ADD",
    0x07: "BN254_MUL",
    0x08: "BN254_PAIRING",
    0x09: "BLAKE2F",
    0x0A: "KZG_POINT_EVALUATION",
    0x0B: "BLS12_G1ADD",
    0x0C: "BLS12_G1MSM",
    0x0D: "BLS12_G2ADD",
    0x0E: "BLS12_G2MSM",
    0x0F: "BLS12_PAIRING_CHECK",
    0x10: "BLS12_MAP_FP_TO_G1",
    0x11: "BLS12_MAP_FP2_TO_G2",
    0x0100: "P256VERIFY",
}
_NO_BLOBS: Final = {"baseFeeUpdateFraction": 5_007_716, "max": 0, "target": 0}


@method("eth_config", result="configuration", runs=Runs.READ)
def config(context: Context) -> Json:
    """The rules in force: precompiles, system contracts, blobs (none). Forks here come by height, so no time is foretold."""
    from evm_runtime.hardforks import fork_at
    from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, HISTORY_ADDRESS

    chain = context.chain
    fork = fork_at(chain.spec.forks, chain.tip().height + 1)
    current = {
        "activationTime": 0,
        "blobSchedule": _NO_BLOBS,
        "chainId": hex(chain.spec.chain_id),
        "forkId": f"0x{zlib.crc32(chain.identity.genesis_hash):08x}",
        "precompiles": {_name(address): data(address) for address in sorted(fork.precompiles)},
        "systemContracts": {
            "BEACON_ROOTS_ADDRESS": data(BEACON_ROOTS_ADDRESS),
            "HISTORY_STORAGE_ADDRESS": data(HISTORY_ADDRESS),
        },
    }
    return {"current": current, "next": None, "last": None}


@method("eth_capabilities", result="capabilities")
def capabilities(context: Context) -> Json:
    """What this node can answer: it keeps every block with its state since genesis, and deletes nothing."""
    tip = context.chain.tip()
    whole = {"disabled": False, "oldestBlock": "0x0"}
    kinds = ("state", "tx", "logs", "receipts", "blocks", "stateproofs")
    return {"head": {"number": hex(tip.height), "hash": data(tip.hash)}, **dict.fromkeys(kinds, whole)}


def _name(address: "Address") -> str:
    number = int.from_bytes(address, "big")
    return _PRECOMPILES.get(number, f"PRECOMPILE_{number:X}")
