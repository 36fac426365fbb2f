"""What a devnet is, without its processes."""

import dataclasses
import json
import socket
from pathlib import Path

import pytest

from genesis.chain_spec import ForkActivation
from genesis.errors import LocalError
from genesis.primitives import keccak256
from node.devnet.plan import (
    CREATE2_DEPLOYER_CODE,
    DevnetOptions,
    check_ports,
    checksum,
    make_devnet,
    write_data_directories,
)
from node.devnet.supervisor import banner
from node.home.config import resolve
from node.home.consensus_key import open_consensus_key
from node.home.datadir import read_spec
from node.home.lock import DirectoryLock


@pytest.fixture
def options(tmp_path: Path) -> DevnetOptions:
    return DevnetOptions(tmp_path / "devnet", validators=2, accounts=3, rpc_port=28_000)


def test_each_node_has_a_complete_data_directory(options: DevnetOptions) -> None:
    devnet = make_devnet(options)
    write_data_directories(devnet)
    for node in devnet.nodes:
        settings = resolve(node.directory, {}, {})
        assert settings["http.port"] == node.rpc_port
        assert settings["p2p.port"] == node.p2p_port
        assert settings["p2p.peers"] == tuple(other.p2p for other in devnet.nodes if other is not node)
        key = open_consensus_key(settings)
        assert key is not None
        assert key.address == node.validator
        assert repr(key) == f"ConsensusKey(0x{node.validator.hex()})"
        assert read_spec(node.directory / "genesis.json") == devnet.spec
        assert (node.directory / "consensus" / f"{node.validator.hex()}.signed").exists()
        for secret in (node.directory / "keystore").iterdir():
            assert secret.stat().st_mode & 0o777 == 0o600
    ports = [port for node in devnet.nodes for port in (node.rpc_port, node.p2p_port)]
    assert len(set(ports)) == 4


def test_starting_again_keeps_the_genesis_and_may_move_the_ports(options: DevnetOptions) -> None:
    first = make_devnet(options)
    write_data_directories(first)
    record = next((first.nodes[0].directory / "consensus").glob("*.signed"))
    record.write_bytes(b"\x8f\x27\x5b\x9dwhat was signed")
    moved = make_devnet(dataclasses.replace(options, rpc_port=29_000))
    write_data_directories(moved)
    assert moved.spec == first.spec
    assert record.read_bytes().endswith(b"what was signed")
    assert resolve(moved.nodes[1].directory, {}, {})["http.port"] == 29_001


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_interval_ms": 777}, "block.interval_ms: 777 here, 250 there"),
        ({"validators": 3}, "validators: "),
        ({"accounts": 4}, "alloc: "),
    ],
)
def test_other_chain_parameters_are_refused_by_name(
    options: DevnetOptions, changes: dict[str, int], message: str
) -> None:
    write_data_directories(make_devnet(options))
    with pytest.raises(LocalError, match=message):
        make_devnet(dataclasses.replace(options, **changes))


@pytest.mark.parametrize(
    "changes", [{"validators": 0}, {"validators": 99}, {"accounts": 0}, {"rpc_port": 65_535}, {"block_interval_ms": 0}]
)
def test_options_that_cannot_be_are_told(options: DevnetOptions, changes: dict[str, int]) -> None:
    with pytest.raises(LocalError, match="--"):
        make_devnet(dataclasses.replace(options, **changes))


def test_a_long_interval_keeps_the_spec_in_order(options: DevnetOptions) -> None:
    spec = make_devnet(dataclasses.replace(options, block_interval_ms=20_000)).spec
    assert spec.block.empty_interval_ms == 20_000
    assert spec.consensus.propose_timeout_ms >= 2 * 20_000


def test_a_devnet_starts_at_osaka(options: DevnetOptions) -> None:
    assert make_devnet(options).spec.forks == (ForkActivation("osaka", 0),)


def test_a_port_in_use_is_named(options: DevnetOptions) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        devnet = make_devnet(dataclasses.replace(options, rpc_port=port))
        with pytest.raises(LocalError, match=rf"port {port} \(JSON-RPC of node0\) is in use"):
            check_ports(devnet)


def test_the_description_and_banner_name_everything(options: DevnetOptions) -> None:
    devnet = make_devnet(options)
    described = json.loads(json.dumps(devnet.description([11, 12])))
    assert described["chain_id"] == 31337
    assert [node["pid"] for node in described["nodes"]] == [11, 12]
    assert described["nodes"][1]["rpc"] == "http://127.0.0.1:28001"
    assert described["accounts"][0]["address"] == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert int(described["contracts"]["attribution"], 16) == 0xA00
    text = banner(devnet)
    for node in described["nodes"]:
        assert node["rpc"] in text
        assert node["ws"] in text
    for account in described["accounts"]:
        assert account["address"] in text
        assert account["private_key"] in text


def test_addresses_are_written_with_their_checksum() -> None:
    text = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # from EIP-55
    assert checksum(bytes.fromhex(text[2:])) == text  # type: ignore[arg-type]  # an Address


def test_the_create2_deployer_is_the_known_code() -> None:
    assert keccak256(CREATE2_DEPLOYER_CODE).hex() == "2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989"


def test_one_supervisor_per_directory(options: DevnetOptions) -> None:
    from node.devnet.supervisor import run_devnet

    with DirectoryLock(options.directory), pytest.raises(LocalError, match="in use"):
        run_devnet(options, lambda _text: None)
