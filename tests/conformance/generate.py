"""Writes `fixtures/*.json`: small state tests of our own, with the state roots and logs hashes that EELS computes for them.

python -m tests.conformance.generate
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account

from genesis.crypto import address_of_private_key
from tests.conformance.fixture import FORKS
from tests.conformance.signing import kind_of, signed_transaction
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
    "currentExcessBlobGas": hex(20_000_000),
}
BLOB_FEE = 1_000
"""Wei per blob gas that the tests' blob transactions offer: above the base fee of all forks at that excess."""
CLZ = b"\x1e"
FIRST = {"data": 0, "gas": 0, "value": 0}
EELS_LOOP = """
import json, sys
from ethereum_spec_tools.evm_tools import main
for arguments in json.load(sys.stdin):
    main(arguments)
"""


@dataclass(frozen=True, slots=True)
class Program:
    """The code of the called contract, how the transaction differs from the usual one, and the forks that must refuse it."""

    code: bytes
    data: bytes = b""
    gas: int = 12_000_000
    value: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Fork -> the exception's name in execution-spec-tests."""


def calling(address: int, size: int, gas: int = 10_000_000) -> bytes:
    """Code that hands its calldata to a precompile and keeps success, the first words of output, their keccak, and the gas."""
    code = asm("CALLDATASIZE", 0, 0, "CALLDATACOPY", "GAS")
    code += asm(size, 4_096, "CALLDATASIZE", 0, 0, address, gas, "CALL", 0, "SSTORE")
    code += asm("GAS", "SWAP1", "SUB", 3, "SSTORE", "RETURNDATASIZE", 1, "SSTORE")
    return code + asm(size, 4_096, "KECCAK256", 2, "SSTORE")


def programs() -> dict[str, Program]:
    clz = b"".join(
        asm(value) + CLZ + asm(slot, "SSTORE") for slot, value in enumerate([0, 1, 1 << 255, 0xFFFF, (1 << 256) - 1])
    )
    init = deployer(asm(1, 0, "SSTORE"))
    create2 = asm(init[:32].ljust(32, b"\0"), 0, "MSTORE", 5, len(init), 0, 0, "CREATE2", 0, "SSTORE")
    store = asm(1, 0, "SSTORE")
    return {
        "clz": Program(clz),
        "p256verify": Program(calling(0x100, 32), RFC_6979_SAMPLE),
        "p256verify_wrong": Program(calling(0x100, 32), RFC_6979_SAMPLE[:-1] + b"\0"),
        "modexp": Program(calling(5, 64), modexp_input(b"\x07" * 64, b"\x03" * 40, b"\x0b" * 64)),
        "modexp_small": Program(calling(5, 1), modexp_input(b"\x03", b"\x05", b"\x07")),
        "modexp_long": Program(calling(5, 32), word(1_025, 1, 1) + b"\x01" * 40),
        "gas_cap": Program(store, gas=(1 << 24) + 1, refused={"Osaka": "GAS_LIMIT_EXCEEDS_MAXIMUM"}),
        "gas_at_the_cap": Program(store, gas=1 << 24),
        "calldata_floor": Program(asm("STOP"), b"\x01" * 3_000, gas=200_000),
        "calldata_floor_met": Program(asm("STOP"), b"\x01" * 1_000, gas=61_000),
        "calldata_floor_missed": Program(
            asm("STOP"),
            b"\x01" * 1_000,
            gas=60_999,
            refused=dict.fromkeys(("Prague", "Osaka"), "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST"),
        ),
        "calldata_floor_after_refund": Program(asm(0, 5, "SSTORE", 0, 6, "SSTORE"), b"\x01" * 800, gas=200_000),
        "bls_g1_add": Program(calling(0x0B, 128), g1(P1) + g1(bls.G1)),
        "bls_g2_msm": Program(calling(0x0E, 256), g2(P2) + word(3) + g2(bls.G2) + word((1 << 256) - 1)),
        "bls_map_to_g2": Program(calling(0x11, 256), bytes(63) + b"\x05" + bytes(63) + b"\x07"),
        "bls_outside": Program(calling(0x0B, 128), g1(P1)[:-1] + b"\x01" + g1(bls.G1)),
        "bn128_mul": Program(calling(7, 64), word(1, 2, (1 << 256) - 1)),
        "bn128_pairing_empty": Program(calling(8, 32)),
        "blake2f_wrong": Program(calling(9, 64), bytes(212) + b"\x02"),
        "ripemd160": Program(calling(3, 32), b"OpenLedger"),
        "create2": Program(create2),
        "transient": Program(asm(7, 1, "TSTORE", 1, "TLOAD", 0, "SSTORE", 9, 1, "MSTORE", 32, 1, 0, "MCOPY")),
        "refund": Program(asm(0, 5, "SSTORE", 3, 6, "SSTORE")),
        "logs": Program(asm(1, 2, 3, 4, 32, 0, "LOG4", 32, 0, "LOG0", OTHER, "BALANCE", 0, "SSTORE"), value=12),
        "revert": Program(asm(1, 0, "SSTORE", 32, 0, "LOG0", 0, 0, "REVERT"), value=12),
        "selfdestruct": Program(asm(OTHER, "SELFDESTRUCT"), value=12),
        **fee_programs(),
        **blob_programs(),
        "set_code": Program(
            asm(0, 0, 0, 0, 0, address_of_private_key(AUTHORITY), 100_000, "CALL", 0, "SSTORE"),
            changes={"authorizationList": [authorization()]},
            refused={"Cancun": "TYPE_4_TX_PRE_FORK"},
        ),
        "set_code_for_nobody": Program(
            store,
            changes={"authorizationList": []},
            refused={
                "Cancun": "TYPE_4_TX_PRE_FORK",
                **everywhere("TYPE_4_EMPTY_AUTHORIZATION_LIST", "Prague", "Osaka"),
            },
        ),
    }


def fee_programs() -> dict[str, Program]:
    store = asm("GASPRICE", 0, "SSTORE")
    legacy = {"maxFeePerGas": None, "maxPriorityFeePerGas": None, "gasPrice": "0x14"}
    access_list = [{"address": "0x" + OTHER.hex(), "storageKeys": ["0x" + word(7).hex()]}]
    return {
        "legacy": Program(store, changes=legacy),
        "access_list": Program(asm(OTHER, "BALANCE", 0, "SSTORE"), changes={**legacy, "accessLists": [access_list]}),
        "fee_below_base": Program(
            store,
            changes={"maxFeePerGas": "0x9", "maxPriorityFeePerGas": "0x0"},
            refused=everywhere("INSUFFICIENT_MAX_FEE_PER_GAS"),
        ),
        "tip_above_fee": Program(
            store,
            changes={"maxPriorityFeePerGas": hex(1_001)},
            refused=everywhere("PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS"),
        ),
        "too_poor": Program(store, value=10**18, refused=everywhere("INSUFFICIENT_ACCOUNT_FUNDS")),
        "block_gas_limit": Program(
            store,
            gas=30_000_001,
            refused=everywhere("GAS_ALLOWANCE_EXCEEDED", "Cancun", "Prague")
            | {"Osaka": "GAS_LIMIT_EXCEEDS_MAXIMUM|TransactionException.GAS_ALLOWANCE_EXCEEDED"},
        ),
    }


def blob_programs() -> dict[str, Program]:
    look = asm(0, "BLOBHASH", 0, "SSTORE", 6, "BLOBHASH", 1, "SSTORE", "BLOBBASEFEE", 2, "SSTORE")
    too_many = "TYPE_3_TX_BLOB_COUNT_EXCEEDED"
    return {
        "blob": Program(look, changes=blobs(2)),
        "blob_reverted": Program(look + asm(0, 0, "REVERT"), value=12, changes=blobs(1)),
        "blobs_seven": Program(look, changes=blobs(7), refused=everywhere(too_many, "Cancun", "Osaka")),
        "blobs_ten": Program(look, changes=blobs(10), refused=everywhere(too_many)),
        "blobs_none": Program(look, changes=blobs(0), refused=everywhere("TYPE_3_TX_ZERO_BLOBS")),
        "blob_version": Program(
            look, changes=blobs(1, version=2), refused=everywhere("TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH")
        ),
        "blob_fee_below_base": Program(
            look, changes=blobs(1, fee=2), refused=everywhere("INSUFFICIENT_MAX_FEE_PER_BLOB_GAS")
        ),
        "blob_too_poor": Program(look, changes=blobs(6, fee=10**13), refused=everywhere("INSUFFICIENT_ACCOUNT_FUNDS")),
    }


def everywhere(name: str, *forks: str) -> dict[str, str]:
    return dict.fromkeys(forks or FORKS, name)


def blobs(count: int, *, version: int = 1, fee: int = BLOB_FEE) -> dict[str, Any]:
    hashes = ["0x" + (bytes([version]) + word(number)[1:]).hex() for number in range(count)]
    return {"blobVersionedHashes": hashes, "maxFeePerBlobGas": hex(fee)}


def authorization() -> dict[str, str]:
    signed = Account.sign_authorization({"chainId": 1, "address": "0x" + OTHER.hex(), "nonce": 0}, AUTHORITY)
    numbers = {"chainId": signed.chain_id, "nonce": signed.nonce, "r": signed.r, "s": signed.s,
               "v": signed.y_parity, "yParity": signed.y_parity}  # fmt: skip
    return {"address": "0x" + OTHER.hex(), **{name: hex(number) for name, number in numbers.items()}}


def describe(program: Program) -> dict[str, Any]:
    """The transaction as a state test has it."""
    described: dict[str, Any] = {
        "data": ["0x" + program.data.hex()], "gasLimit": [hex(program.gas)], "value": [hex(program.value)],
        "maxFeePerGas": hex(1_000), "maxPriorityFeePerGas": hex(10), "nonce": "0x0", "to": "0x" + CONTRACT.hex(),
        "sender": "0x" + SENDER.hex(), "secretKey": "0x" + KEY.hex(), **program.changes,
    }  # fmt: skip
    return {key: value for key, value in described.items() if value is not None}


def pre_state(program: Program) -> dict[str, Any]:
    account = {"balance": hex(10**18), "nonce": "0x0", "code": "0x", "storage": {}}
    called = {"nonce": "0x1", "code": "0x" + program.code.hex(), "storage": {"0x5": "0x1", "0x6": "0x1"}}
    return {
        "0x" + SENDER.hex(): account,
        "0x" + CONTRACT.hex(): {**account, **called},
        "0x" + OTHER.hex(): {**account, "nonce": "0x1", "code": "0x" + asm(7, 7, "SSTORE").hex()},
    }


def assemble(name: str, program: Program, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One state test, with EELS' results by fork. Raises ValueError where EELS does not refuse what it should, or does."""
    described = describe(program)
    post: dict[str, Any] = {}
    for fork, result in results.items():
        if bool(result.get("rejected")) != (fork in program.refused):
            raise ValueError(f"{name} {fork}: EELS says {result.get('rejected') or 'nothing against it'}")
        entry = {
            "indexes": FIRST,
            "txbytes": "0x" + signed_transaction(described, FIRST, 1).hex(),
            "hash": result["stateRoot"],
            "logs": result["logsHash"],
        }
        if fork in program.refused:
            entry["expectException"] = f"TransactionException.{program.refused[fork]}"
            entry["logs"] = "0x" + EMPTY_LOGS_HASH.hex()
        post[fork] = [entry]
    return {
        "env": ENVIRONMENT,
        "pre": pre_state(program),
        "transaction": described,
        "post": post,
        "config": {"chainid": "0x1"},
    }


def prepare(folder: Path, fork: str, program: Program) -> list[str]:
    """Write what EELS' t8n tool reads: a block of this one transaction, which it signs. Returns the tool's arguments."""
    described = describe(program)
    tx = {key: value for key, value in described.items() if key not in ("data", "gasLimit", "accessLists")}
    tx |= {"type": hex(kind_of(described, 0)), "chainId": "0x1", "input": described["data"][0]}
    tx |= {"gas": described["gasLimit"][0], "value": described["value"][0]}
    tx |= {"accessList": described.get("accessLists", [[]])[0], "v": "0x0", "r": "0x0", "s": "0x0"}
    no_root = {"parentBeaconBlockRoot": "0x" + "00" * 32}
    environment = {**ENVIRONMENT, **no_root, "withdrawals": [], "blockHashes": {}, "ommers": []}
    folder.mkdir(parents=True)
    arguments = ["t8n", "--state-test", "--state.fork", fork, "--state.chainid", "1", "--output.basedir", str(folder)]
    for part, content in {"alloc": pre_state(program), "env": environment, "txs": [tx]}.items():
        path = folder / f"{part}.json"
        path.write_text(json.dumps(content))
        arguments.append(f"--input.{part}={path}")
    return [*arguments, "--output.alloc", "alloc.out.json", "--output.result", "result.out.json"]


def run_eels(python: Path, wanted: dict[str, Program]) -> dict[str, dict[str, dict[str, Any]]]:
    """The `result` of EELS for each program and fork. One process runs them all, for EELS takes seconds to start."""
    with tempfile.TemporaryDirectory() as name:
        folders = {(test, fork): Path(name) / test / fork for test in wanted for fork in FORKS}
        arguments = [prepare(folder, fork, wanted[test]) for (test, fork), folder in folders.items()]
        subprocess.run(
            [python, "-c", EELS_LOOP], input=json.dumps(arguments), text=True, check=True, capture_output=True
        )
        return {
            test: {fork: json.loads((folders[test, fork] / "result.out.json").read_text()) for fork in FORKS}
            for test in wanted
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.generate", description=__doc__)
    parser.add_argument("--eels", type=Path, default=sys.executable, help="the Python of another EELS")
    wanted = programs()
    results = run_eels(parser.parse_args().eels, wanted)
    document = {name: assemble(name, program, results[name]) for name, program in wanted.items()}
    path = Path(__file__).parent / "fixtures" / "small.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(document)} tests in {path}")


if __name__ == "__main__":
    main()
