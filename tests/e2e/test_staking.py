"""Validators that come, go and cheat on a real devnet: a fifth joins by a transaction and signs, one leaves, one is slashed."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from devnet_process import OPENLEDGER, DevnetProcess, free_port_base, height, rpc, wait_until
from eth_account import Account

from consensus.messages import encode_message
from genesis import crypto
from genesis.primitives import ZERO_HASH, Hash32, Height, Round
from genesis.types import ChainIdentity, DuplicateVote, Vote, VoteType, sign_digest
from node.devnet.plan import VALIDATOR_PATH
from node.home.hdwallet import DEVNET_MNEMONIC, ethereum_keys
from node.net.hello import check_hello, make_hello
from openledger.provider import RpcProvider
from p2p.config import CONSENSUS_CHANNEL, HostConfig
from p2p.host import Host

pytestmark = pytest.mark.e2e

OPEN = 10**18
VALIDATOR_KEYS = ethereum_keys(DEVNET_MNEMONIC, 4, VALIDATOR_PATH)
ABI = json.loads((Path(__file__).parents[2] / "evm_runtime" / "staking" / "IStaking.json").read_text())


def send(net: DevnetProcess, key: str | bytes, name: str, *args: Any, value: int = 0) -> Any:
    """Call the staking contract, wait for the receipt; it must have succeeded."""
    w3, account = net.web3(), Account.from_key(key)
    contract = w3.eth.contract(address=net.info["contracts"]["staking"], abi=ABI)
    call = getattr(contract.functions, name)(*args)
    nonce = w3.eth.get_transaction_count(account.address)
    transaction = call.build_transaction({"from": account.address, "nonce": nonce, "value": value, "gas": 1_000_000})
    sent = w3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
    receipt = w3.eth.wait_for_transaction_receipt(sent, timeout=60)
    assert receipt["status"] == 1, name
    return receipt


def voters(net: DevnetProcess, block: str = "latest") -> list[str]:
    return [each["address"] for each in rpc(net.url(), "open_validators", block)["validators"]]


@contextmanager
def busy(net: DevnetProcess) -> Iterator[None]:
    """Transfers all the while, so that blocks come without waiting for the timer of empty ones."""
    w3, account, done = net.web3(), Account.from_key(net.key(9)), threading.Event()

    def transfer() -> None:
        nonce = w3.eth.get_transaction_count(account.address)
        while not done.wait(0.25):
            fields = {"chainId": w3.eth.chain_id, "nonce": nonce, "to": account.address, "value": 1, "gas": 21_000,
                      "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}  # fmt: skip
            w3.eth.send_raw_transaction(account.sign_transaction(fields).raw_transaction)
            nonce += 1

    thread = threading.Thread(target=transfer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(30)


@dataclass
class Newcomer:
    """A node of its own with a new consensus key, that knows the devnet's genesis file and peers."""

    net: DevnetProcess
    folder: Path
    port: int = field(default_factory=lambda: free_port_base(2))
    process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> str:
        done = subprocess.run([OPENLEDGER, *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def proof(self, owner: str) -> tuple[str, str]:
        """Make the key; its address and the proof for `owner`."""
        self.folder.mkdir()
        password = self.folder / "password"
        password.write_text("p\n")
        password.chmod(0o600)
        genesis = str(self.net.datadir / "genesis.json")
        secret = ("--datadir", str(self.folder / "data"), "--password-file", str(password))
        self.run("init", *secret, "--genesis", genesis, "--validator")
        address, proof = self.run("keys", "prove", *secret, "--owner", owner).split()
        return address, proof

    def start(self) -> None:
        peers = ",".join(node["p2p"] for node in self.net.info["nodes"])
        ports = ["--http.port", str(self.port), "--p2p.port", str(self.port + 1), "--p2p.addr", "127.0.0.1"]
        key = ["--validator.keystore", "keystore/validator.json"]
        key += ["--validator.password-file", str(self.folder / "password")]
        command = [OPENLEDGER, "start", "--datadir", str(self.folder / "data"), "--p2p.peers", peers, *ports, *key]
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One devnet for the tests of this file, which build on each other."""
    made = DevnetProcess(tmp_path_factory.mktemp("staking") / "devnet").start()
    try:
        with busy(made):
            yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def newcomer(net: DevnetProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    made = Newcomer(net, tmp_path_factory.mktemp("newcomer") / "fifth")
    yield made
    made.stop()


def test_a_fifth_validator_joins_and_signs_and_another_leaves(net: DevnetProcess, newcomer: Newcomer) -> None:
    key = net.key(0)
    owner = Account.from_key(key).address
    validator, proof = newcomer.proof(owner)
    newcomer.start()
    wait_until("the fifth node follows", lambda: height(newcomer.url) >= 2, timeout_s=90)
    before = voters(net)
    terms = (500, 2_000, 100)
    joined = send(net, key, "createValidator", net.web3().to_checksum_address(validator), owner, *terms, proof,
                  value=10 * OPEN)["blockNumber"]  # fmt: skip
    net.wait_height(0, joined + 3)
    # Changes of H act at H + 2: the state after H + 1 names who votes at H + 2.
    assert voters(net, hex(joined)) == before and validator in voters(net, hex(joined + 1))
    assert int(rpc(net.url(), "open_validators", hex(joined + 1))["totalPower"], 16) == 50

    def signs() -> bool:
        tip = height(net.url())
        block = RpcProvider(net.url()).light_block(Height(tip))
        return bytes.fromhex(validator[2:]) in block.signers()

    wait_until("the fifth validator signs", signs, timeout_s=90)
    send(net, net.key(1), "delegate", net.web3().to_checksum_address(validator), value=5 * OPEN)

    leaving = Account.from_key(VALIDATOR_KEYS[3])
    wait_until("rewards to pay gas with", lambda: net.web3().eth.get_balance(leaving.address) > OPEN // 1000)
    left = send(net, VALIDATOR_KEYS[3], "removeSelfStake", leaving.address, 10 * OPEN)["blockNumber"]
    net.wait_height(0, left + 2)
    assert leaving.address.lower() not in voters(net) and len(voters(net)) == 4
    net.kill(3)
    tip = net.wait_height(0, height(net.url()) + 4)  # the chain does without it
    record = rpc(net.url(), "open_validator", leaving.address)
    assert (int(record["selfStake"], 16), record["candidate"]) == (0, False)
    books = {name: int(amount, 16) for name, amount in rpc(net.url(), "open_stake").items()}
    assert books["staked"] == 55 * OPEN == books["bonded"] + books["unbonding"] and books["unbonding"] == 10 * OPEN

    # A light client that trusts block 1 follows over both changes, and all nodes have one chain.
    trusted = rpc(net.url(), "eth_getBlockByNumber", "0x1", False)["hash"]
    done = newcomer.run(
        "light", "--trust", f"1:{trusted}", "--rpc", f"{net.url()},{newcomer.url}", "--height", str(tip)
    )
    assert "confirmed by 1 of 1 witnesses" in done
    wait_until("the fifth node has that block", lambda: height(newcomer.url) >= tip)
    urls = [net.url(0), net.url(1), net.url(2), newcomer.url]
    assert len({rpc(url, "eth_getBlockByNumber", hex(tip), False)["hash"] for url in urls}) == 1


def test_an_equivocation_is_punished_in_a_block(net: DevnetProcess, newcomer: Newcomer) -> None:
    key = VALIDATOR_KEYS[2]
    before = {name: int(amount, 16) for name, amount in rpc(net.url(), "open_stake").items()}
    guilty = crypto.address_of_private_key(key)
    provider = RpcProvider(net.url())
    identity, block = provider.identity(), provider.light_block(Height(2))

    def vote(value: Hash32) -> Vote:
        digest = sign_digest(identity, VoteType.PREVOTE, Height(2), Round(0), value, block.validators.hash())
        return Vote(VoteType.PREVOTE, Height(2), Round(0), value, guilty, crypto.sign(key, digest))

    evidence = DuplicateVote(vote(ZERO_HASH), vote(block.hash))
    trio.run(tell, identity, str(net.info["nodes"][0]["p2p"]), encode_message(evidence))

    def punished() -> bool:
        return bool(rpc(net.url(1), "open_validator", "0x" + guilty.hex())["tombstoned"])

    wait_until("the equivocator is punished", punished, timeout_s=60)
    net.wait_height(0, height(net.url()) + 4)
    tip = height(net.url())
    carrying = [n for n in range(1, tip + 1) if rpc(net.url(), "open_evidence", hex(n))]
    assert len(carrying) == 1
    (item,) = rpc(net.url(), "open_evidence", hex(carrying[0]))
    assert (item["kind"], item["validator"], item["height"]) == ("prevote", "0x" + guilty.hex(), "0x2")
    assert "0x" + guilty.hex() not in voters(net) and len(voters(net)) == 3
    stake = {name: int(amount, 16) for name, amount in rpc(net.url(), "open_stake").items()}
    assert (stake["slashed"], stake["bonded"]) == (OPEN // 2, before["bonded"] - OPEN // 2)
    supply = {name: int(amount, 16) for name, amount in rpc(net.url(), "open_supply").items()}
    assert supply["burned"] >= OPEN // 2 and supply["total"] == supply["genesis"] + supply["minted"] - supply["burned"]
    urls = [net.url(0), net.url(1), newcomer.url]
    hashes = {rpc(url, "eth_getBlockByNumber", hex(carrying[0]), False)["hash"] for url in urls}
    assert len(hashes) == 1


async def tell(identity: ChainIdentity, address: str, payload: bytes) -> None:
    """Say something to one node, as a peer without a key."""
    host = Host(
        HostConfig(seed=b"\x77" * 32, listen=("/ip4/127.0.0.1/tcp/0",), known_peers=(address,)),
        hello=lambda: make_hello(identity, host.peer_id, None, None),
        check_hello=lambda peer_id, data: check_hello(identity, peer_id, data),
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            while not host.peers():  # noqa: ASYNC110  # the host tells nobody
                await trio.sleep(0.05)
            for _ in range(3):
                host.broadcast(CONSENSUS_CHANNEL, payload, priority=2)
                await trio.sleep(0.3)
            nursery.cancel_scope.cancel()
