"""What a devnet is, before any process runs: the chain spec, the accounts, and the data directory of each node.

Nothing in it is secret and everything can be told from the command line: the accounts are those of the well-known `test … junk`
mnemonic (so Foundry's and Hardhat's defaults work), validator and p2p keys are derived from fixed words. A started devnet keeps
its genesis in `DIR/genesis.json`; starting it again with other chain parameters is refused.
"""

import contextlib
import dataclasses
import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from genesis.chain_spec import (
    ATTRIBUTION_ADDRESS,
    STAKING_ADDRESS,
    AttributionParams,
    BlockParams,
    ChainSpec,
    ConsensusParams,
    GenesisAccount,
)
from genesis.crypto import address_of_private_key
from genesis.errors import LocalError
from genesis.limits import VALIDATORS_MAX
from genesis.primitives import WEI_PER_OPEN, ZERO_ADDRESS, Address, Power, Wei, keccak256
from genesis.types import Validator
from node.home import keystore
from node.home.config import CONFIG_FILE, to_toml
from node.home.datadir import GENESIS_FILE, read_spec, write_new
from node.home.hdwallet import DEVNET_MNEMONIC, ethereum_keys
from node.os_errors import exists, explain, told
from node.rpc.schema.format import checksum
from p2p.identity import peer_id_of

CHAIN_ID: Final = 31337
BLOCK_INTERVAL_MS: Final = 250
ACCOUNT_OPEN: Final = 10_000
ACCOUNTS_MAX: Final = 1_000
VALIDATORS_IN_DEVNET_MAX: Final = min(32, VALIDATORS_MAX)
P2P_PORT_OFFSET: Final = 32
"""Node i serves JSON-RPC on port base + i and peers on base + 32 + i."""
VALIDATOR_PATH: Final = "m/44'/60'/1'/0"
PASSWORD: Final = "devnet"  # noqa: S105 - the keys are public
CREATE2_DEPLOYER: Final = Address(bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c"))
CREATE2_DEPLOYER_CODE: Final = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082"
    "525050506014600cf3"
)
"""The deterministic deployment proxy, where Foundry and others expect it (its code hash begins with 2fa86add)."""


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """What the command line asks for."""

    directory: Path
    validators: int = 4
    accounts: int = 10
    rpc_port: int = 8545
    block_interval_ms: int = BLOCK_INTERVAL_MS
    log_level: str = "info"

    def check(self) -> None:
        """Raises LocalError for what can't be."""
        if not 1 <= self.validators <= VALIDATORS_IN_DEVNET_MAX:
            raise LocalError(f"--validators must be 1 to {VALIDATORS_IN_DEVNET_MAX}")
        if not 1 <= self.accounts <= ACCOUNTS_MAX:
            raise LocalError(f"--accounts must be 1 to {ACCOUNTS_MAX}")
        if not 1 <= self.rpc_port <= 65_535 - 2 * P2P_PORT_OFFSET:
            raise LocalError(f"--rpc-port must be 1 to {65_535 - 2 * P2P_PORT_OFFSET}")
        if self.block_interval_ms < 1:
            raise LocalError("--block-interval-ms must be at least 1")


@dataclass(frozen=True, slots=True)
class DevnetNode:
    """One node of the devnet."""

    name: str
    directory: Path
    rpc_port: int
    p2p_port: int
    validator: Address
    validator_key: bytes
    p2p_seed: bytes

    @property
    def rpc(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.rpc_port}"

    @property
    def p2p(self) -> str:
        return f"/ip4/127.0.0.1/tcp/{self.p2p_port}/p2p/{peer_id_of(self.p2p_seed)}"

    @property
    def log(self) -> Path:
        return self.directory / "node.log"


@dataclass(frozen=True, slots=True)
class Devnet:
    """All of it."""

    options: DevnetOptions
    spec: ChainSpec
    nodes: tuple[DevnetNode, ...]
    account_keys: tuple[bytes, ...]

    def description(self, pids: list[int]) -> dict[str, Any]:
        """The content of devnet.json."""
        return {
            "chain_id": self.spec.chain_id,
            "nodes": [
                {
                    "name": node.name,
                    "rpc": node.rpc,
                    "ws": node.ws,
                    "p2p": node.p2p,
                    "pid": pid,
                    "datadir": str(node.directory),
                    "validator": checksum(node.validator),
                }
                for node, pid in zip(self.nodes, pids, strict=True)
            ],
            "accounts": [
                {"address": checksum(address_of_private_key(key)), "private_key": "0x" + key.hex()}
                for key in self.account_keys
            ],
            "contracts": {
                "attribution": checksum(ATTRIBUTION_ADDRESS),
                "staking": checksum(STAKING_ADDRESS),
                "create2_deployer": checksum(CREATE2_DEPLOYER),
            },
        }


def make_devnet(options: DevnetOptions) -> Devnet:
    """Plan a devnet, or the one that the directory holds already. Raises LocalError if that is another one."""
    options.check()
    validator_keys = ethereum_keys(DEVNET_MNEMONIC, options.validators, VALIDATOR_PATH)
    account_keys = ethereum_keys(DEVNET_MNEMONIC, options.accounts)
    stored_path = options.directory / GENESIS_FILE
    stored = read_spec(stored_path) if exists(stored_path) else None
    spec = _spec(options, validator_keys, account_keys, stored.genesis_time_ms if stored else None)
    if stored is not None and stored != spec:
        lines = "\n  ".join(spec.differences(stored))
        raise LocalError(
            f"{options.directory} holds a devnet with other chain parameters; asked for (here), stored (there):\n  {lines}\n"
            "Give the same options as before, or another --datadir"
        )
    nodes = tuple(_node(options, index, key) for index, key in enumerate(validator_keys))
    return Devnet(options, spec, nodes, tuple(account_keys))


def _spec(
    options: DevnetOptions, validator_keys: list[bytes], account_keys: list[bytes], genesis_time_ms: int | None
) -> ChainSpec:
    block = BlockParams().paced(options.block_interval_ms)
    consensus = ConsensusParams()
    if consensus.propose_timeout_ms < 2 * options.block_interval_ms:  # at least four worst blocks of half an interval
        propose_ms = 2 * options.block_interval_ms
        consensus = dataclasses.replace(
            consensus, propose_timeout_ms=propose_ms, timeout_cap_ms=max(consensus.timeout_cap_ms, propose_ms)
        )
    members = tuple(Validator(address, Power(10), address) for address in map(address_of_private_key, validator_keys))
    balance = Wei(ACCOUNT_OPEN * WEI_PER_OPEN)
    funded = tuple(GenesisAccount(address_of_private_key(key), balance) for key in account_keys)
    # The past by one empty interval: block 1 is due at once.
    now_ms = time.time_ns() // 1_000_000 - block.empty_interval_ms
    return ChainSpec(
        name="devnet",
        chain_id=CHAIN_ID,
        genesis_time_ms=genesis_time_ms or now_ms,
        validators=members,
        treasury=address_of_private_key(keccak256(b"OpenLedger devnet treasury")),
        alloc=(*funded, GenesisAccount(CREATE2_DEPLOYER, nonce=1, code=CREATE2_DEPLOYER_CODE)),
        block=block,
        consensus=consensus,
        attribution=AttributionParams(
            council=address_of_private_key(account_keys[0]) if account_keys else ZERO_ADDRESS
        ),
    )


def _node(options: DevnetOptions, index: int, validator_key: bytes) -> DevnetNode:
    return DevnetNode(
        name=f"node{index}",
        directory=options.directory / f"node{index}",
        rpc_port=options.rpc_port + index,
        p2p_port=options.rpc_port + P2P_PORT_OFFSET + index,
        validator=address_of_private_key(validator_key),
        validator_key=validator_key,
        p2p_seed=keccak256(f"OpenLedger devnet p2p identity {index}".encode()),
    )


# ---------------------------------------------------------------- on the disk


def write_data_directories(devnet: Devnet) -> None:
    """Make each node's data directory complete, so that `openledger start --datadir` alone runs it.

    config.toml is written anew each time, because ports may have changed; keys, genesis and chain are never touched again.
    """
    genesis = devnet.spec.to_json()
    for node in devnet.nodes:
        _write_once(node.directory / GENESIS_FILE, genesis)
        key_path = node.directory / keystore.KEYSTORE_FOLDER / "validator.json"
        password_path = node.directory / keystore.KEYSTORE_FOLDER / "password.txt"
        _write_once(password_path, PASSWORD.encode() + b"\n", private=True)
        _write_once(node.directory / keystore.NODE_KEY_FILE, node.p2p_seed.hex().encode() + b"\n", private=True)
        if not exists(key_path):
            content = keystore.encrypt(node.validator_key, PASSWORD, scrypt_n=keystore.SCRYPT_N_LIGHT)
            keystore.write_private(key_path, content)
            keystore.start_sign_record(node.directory, node.validator)
        _write_config(devnet, node)
    # Last: once it is there, the directory is a devnet.
    _write_once(devnet.options.directory / GENESIS_FILE, genesis)


def _write_once(path: Path, content: bytes, *, private: bool = False) -> None:
    if exists(path):
        return
    if private:
        keystore.write_private(path, content)
    else:
        write_new(path, content)


def _write_config(devnet: Devnet, node: DevnetNode) -> None:
    settings = {
        "name": node.name,
        "http.addr": "127.0.0.1",
        "http.port": node.rpc_port,
        "http.api": ["eth", "net", "web3", "txpool", "open", "rpc", "debug", "admin", "personal"],
        "http.corsdomain": ["*"],
        "p2p.addr": "127.0.0.1",
        "p2p.port": node.p2p_port,
        "p2p.peers": [other.p2p for other in devnet.nodes if other is not node],
        "log.level": devnet.options.log_level,
        "devnet.accounts": devnet.options.accounts,
        "validator.keystore": f"{keystore.KEYSTORE_FOLDER}/validator.json",
        "validator.password_file": f"{keystore.KEYSTORE_FOLDER}/password.txt",
    }
    text = to_toml(settings, "Written by `openledger devnet` at every start.")
    with told(f"write {node.directory / CONFIG_FILE}"):
        (node.directory / CONFIG_FILE).write_text(text)


def check_ports(devnet: Devnet) -> None:
    """Raises LocalError that names the first port that something else listens on."""
    for port, what in _ports(devnet):
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                why = "is in use" if error.errno == errno.EADDRINUSE else f"can't be used: {explain(error)}"
                raise LocalError(f"port {port} ({what}) {why}; choose another --rpc-port") from None


def _ports(devnet: Devnet) -> Iterator[tuple[int, str]]:
    for node in devnet.nodes:
        yield node.rpc_port, f"JSON-RPC of {node.name}"
        yield node.p2p_port, f"p2p of {node.name}"
