"""Writes `fixtures/*.json`: small state tests of our own, with the state roots and logs hashes that EELS computes for them.

python -m tests.conformance.generate
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eth_account import Account

from evm_runtime.transaction import Transaction, decode_transaction
from genesis.crypto import address_of_private_key
from tests.conformance.state_test import EMPTY_LOGS_HASH
from tests.unit.evm_runtime.programs import asm, deployer
from tests.unit.evm_runtime.test_precompiles import (
    P1,
    P2,
    RFC_6979_SAMPLE,
    bls,
    g1,
    g2,
    modexp_input,
    word,
)

KEY, AUTHORITY = b"\x45" * 32, b"\x46" * 32
SENDER = address_of_private_key(KEY)
CONTRACT, OTHER = b"\xe0" * 20, b"\xe1" * 20
ENVIRONMENT = {
    "currentCoinbase": "0x" + "cb" * 20,
    "currentDifficulty": "0x0",
    "currentRandom": "0x" + "5a" * 32,
    "currentGasLimit": hex(30_000_000),
    "currentNumber": "0x1",
    "currentTimestamp": "0x3e8",
    "currentBaseFee": "0xa",
    "currentExcessBlobGas": "0x0",
}
CLZ = b"\x1e"


def calling(address: int, size: int, gas: int = 10_000_000) -> bytes:
    """Code that hands its calldata to a precompile and keeps success, the first words of output, their keccak, and the gas."""
    code = asm("CALLDATASIZE", 0, 0, "CALLDATACOPY", "GAS")
    code += asm(size, 4_096, "CALLDATASIZE", 0, 0, address, gas, "CALL", 0, "SSTORE")
    code += asm("GAS", "SWAP1", "SUB", 3, "SSTORE", "RETURNDATASIZE", 1, "SSTORE")
    return code + asm(size, 4_096, "KECCAK256", 2, "SSTORE")


def programs() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Name -> (code of the called contract, changes of the transaction)."""
    clz = b"".join(
        asm(value) + CLZ + asm(slot, "SSTORE") for slot, value in enumerate([0, 1, 1 << 255, 0xFFFF, (1 << 256) - 1])
    )
    authorization = Account.sign_authorization({"chainId": 1, "address": "0x" + OTHER.hex(), "nonce": 0}, AUTHORITY)
    authority = address_of_private_key(AUTHORITY)
    init = deployer(asm(1, 0, "SSTORE"))
    create2 = asm(init[:32].ljust(32, b"\0"), 0, "MSTORE", 5, len(init), 0, 0, "CREATE2", 0, "SSTORE")
    return {
        "clz": (clz, {}),
        "p256verify": (calling(0x100, 32), {"data": RFC_6979_SAMPLE}),
        "p256verify_wrong": (calling(0x100, 32), {"data": RFC_6979_SAMPLE[:-1] + b"\0"}),
        "modexp": (calling(5, 64), {"data": modexp_input(b"\x07" * 64, b"\x03" * 40, b"\x0b" * 64)}),
        "modexp_small": (calling(5, 1), {"data": modexp_input(b"\x03", b"\x05", b"\x07")}),
        "modexp_long": (calling(5, 32), {"data": word(1_025, 1, 1) + b"\x01" * 40}),
        "gas_cap": (asm(1, 0, "SSTORE"), {"gas": (1 << 24) + 1}),
        "gas_at_the_cap": (asm(1, 0, "SSTORE"), {"gas": 1 << 24}),
        "calldata_floor": (asm("STOP"), {"data": b"\x01" * 3_000, "gas": 200_000}),
        "bls_g1_add": (calling(0x0B, 128), {"data": g1(P1) + g1(bls.G1)}),
        "bls_g2_msm": (calling(0x0E, 256), {"data": g2(P2) + word(3) + g2(bls.G2) + word((1 << 256) - 1)}),
        "bls_map_to_g2": (calling(0x11, 256), {"data": bytes(63) + b"\x05" + bytes(63) + b"\x07"}),
        "bls_outside": (calling(0x0B, 128), {"data": g1(P1)[:-1] + b"\x01" + g1(bls.G1)}),
        "bn128_mul": (calling(7, 64), {"data": word(1, 2, (1 << 256) - 1)}),
        "bn128_pairing_empty": (calling(8, 32), {}),
        "blake2f_wrong": (calling(9, 64), {"data": bytes(212) + b"\x02"}),
        "ripemd160": (calling(3, 32), {"data": b"OpenLedger"}),
        "create2": (create2, {}),
        "transient": (asm(7, 1, "TSTORE", 1, "TLOAD", 0, "SSTORE", 9, 1, "MSTORE", 32, 1, 0, "MCOPY"), {}),
        "refund": (asm(0, 5, "SSTORE", 3, 6, "SSTORE"), {}),
        "logs": (asm(1, 2, 3, 4, 32, 0, "LOG4", 32, 0, "LOG0", OTHER, "BALANCE", 0, "SSTORE"), {"value": 12}),
        "revert": (asm(1, 0, "SSTORE", 32, 0, "LOG0", 0, 0, "REVERT"), {"value": 12}),
        "selfdestruct": (asm(OTHER, "SELFDESTRUCT"), {"value": 12}),
        "set_code": (asm(0, 0, 0, 0, 0, authority, 100_000, "CALL", 0, "SSTORE"), {"authorizationList": [authorization]}),
    }  # fmt: skip


def make(name: str, code: bytes, changes: dict[str, Any], eels: str) -> dict[str, Any]:
    """One state test, for Prague and Osaka."""
    fields: dict[str, Any] = {
        "chainId": 1, "nonce": 0, "to": CONTRACT, "value": 0, "gas": 12_000_000, "data": b"",
        "maxFeePerGas": 1_000, "maxPriorityFeePerGas": 10, **changes,
    }  # fmt: skip
    raw = bytes(Account.sign_transaction(fields, KEY).raw_transaction)
    account = {"balance": hex(10**18), "nonce": "0x0", "code": "0x", "storage": {}}
    pre = {
        "0x" + SENDER.hex(): account,
        "0x" + CONTRACT.hex(): {**account, "nonce": "0x1", "code": "0x" + code.hex(), "storage": {"0x5": "0x1", "0x6": "0x1"}},
        "0x" + OTHER.hex(): {**account, "nonce": "0x1", "code": "0x" + asm(7, 7, "SSTORE").hex()},
    }  # fmt: skip
    tx = decode_transaction(raw, chain_id=1)
    post: dict[str, Any] = {}
    for fork in ("Prague", "Osaka"):
        result = run_eels(eels, fork, pre, tx)
        entry = {
            "indexes": {"data": 0, "gas": 0, "value": 0},
            "txbytes": "0x" + raw.hex(),
            "hash": result["stateRoot"],
            "logs": result["logsHash"],
        }
        if result.get("rejected"):
            entry["expectException"] = result["rejected"][0]["error"].split(":")[0] or "rejected"
            entry["logs"] = "0x" + EMPTY_LOGS_HASH.hex()
        post[fork] = [entry]
    described = {"data": ["0x" + tx.data.hex()], "gasLimit": [hex(tx.gas_limit)], "value": [hex(tx.value)],
                 "maxFeePerGas": hex(1_000), "maxPriorityFeePerGas": hex(10), "nonce": "0x0", "to": "0x" + CONTRACT.hex(),
                 "sender": "0x" + SENDER.hex(), "secretKey": "0x" + KEY.hex()}  # fmt: skip
    return {
        name: {"env": ENVIRONMENT, "pre": pre, "transaction": described, "post": post, "config": {"chainid": "0x01"}}
    }


def run_eels(eels: str, fork: str, pre: dict[str, Any], tx: Transaction) -> dict[str, Any]:
    """EELS' t8n tool: its `result` for a block of this one transaction, without system calls."""
    entry: dict[str, Any] = {
        "type": hex(tx.kind), "chainId": "0x1", "nonce": "0x0", "to": "0x" + CONTRACT.hex(), "gas": hex(tx.gas_limit),
        "value": hex(tx.value), "input": "0x" + tx.data.hex(), "maxFeePerGas": hex(tx.max_fee_per_gas),
        "maxPriorityFeePerGas": hex(tx.max_priority_fee_per_gas), "accessList": [],
        "v": hex(tx.v), "r": hex(tx.r), "s": hex(tx.s), "yParity": hex(tx.y_parity),
    }  # fmt: skip
    if tx.authorizations:
        entry["authorizationList"] = [
            {"chainId": hex(a.chain_id), "address": "0x" + a.address.hex(), "nonce": hex(a.nonce), "v": hex(a.y_parity),
             "yParity": hex(a.y_parity), "r": hex(a.r), "s": hex(a.s)}
            for a in tx.authorizations
        ]  # fmt: skip
    environment = {**ENVIRONMENT, "withdrawals": [], "parentBeaconBlockRoot": "0x" + "00" * 32, "blockHashes": {},
                   "ommers": [], "parentExcessBlobGas": "0x0", "parentBlobGasUsed": "0x0"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        inputs = {"alloc": pre, "env": environment, "txs": [entry]}
        for part, content in inputs.items():
            (Path(folder) / f"{part}.json").write_text(json.dumps(content))
        command = [
            eels,
            "t8n",
            "--state-test",
            "--state.fork",
            fork,
            "--state.chainid",
            "1",
            "--output.basedir",
            folder,
        ]
        command += [f"--input.{part}={folder}/{part}.json" for part in inputs]
        command += ["--output.alloc", "alloc.out.json", "--output.result", "result.out.json"]
        subprocess.run(command, check=True, capture_output=True)
        found: dict[str, Any] = json.loads((Path(folder) / "result.out.json").read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.generate", description=__doc__)
    beside = Path(sys.executable).with_name("ethereum-spec-evm")
    parser.add_argument("--eels", default=str(beside), help="another `ethereum-spec-evm` command")
    eels = parser.parse_args().eels
    document: dict[str, Any] = {}
    with ThreadPoolExecutor() as pool:  # most of the time EELS is starting
        for made in pool.map(lambda item: make(item[0], *item[1], eels), programs().items()):
            document.update(made)
    path = Path(__file__).parent / "fixtures" / "prague_osaka.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(document)} tests in {path}")


if __name__ == "__main__":
    main()
