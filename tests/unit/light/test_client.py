"""The light client over providers that answer, lie, lag and break; accounts proven; the RPC's answers read strictly."""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from consensus.light import Attack, LightBlock
from evm_runtime.state import trie
from evm_runtime.state.source import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, encode_account
from genesis.errors import InvalidBlock, LocalError, PeerFault
from genesis.primitives import Address, Hash32, Height, keccak256
from genesis.types import ChainIdentity
from node.cli.light import light as light_command
from openledger.light import (
    ForkFound,
    LightClient,
    TrustedHash,
    begin_from_genesis,
    begin_from_hash,
    conflict_json,
)
from openledger.proofs import prove_account
from openledger.provider import Proof, ProviderSilent, RpcProvider, read_light_block
from tests.unit.light.light_chain import (
    CHAIN,
    PARAMS,
    Chain,
    constant_chain,
    light_block,
    now_at,
    validators,
    wandering_chain,
)

FOUR, STRANGERS = validators(range(4)), validators(range(24, 28))
GOOD = constant_chain(12)
RICH = Address(b"\x11" * 20)


@dataclass
class FakeProvider:
    """Serves a chain of light blocks; `broken` raises instead."""

    chain: Chain
    name: str = "fake"
    known_identity: ChainIdentity = CHAIN
    broken: Exception | None = None
    height: int | None = None
    asked: list[int] = field(default_factory=list)

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def identity(self) -> ChainIdentity:
        self._check()
        return self.known_identity

    def tip(self) -> Height:
        self._check()
        return Height(max(self.chain.blocks) if self.height is None else self.height)

    def light_block(self, height: Height) -> LightBlock:
        self._check()
        self.asked.append(height)
        if height not in self.chain.blocks:
            raise ProviderSilent(f"no block {height}")
        return self.chain[height]

    def proof(self, address: Address, height: Height, slots: Sequence[int] = ()) -> Proof:
        raise ProviderSilent("no proofs here")


def client(leader: FakeProvider, *witnesses: FakeProvider, trusted: LightBlock = GOOD[1]) -> LightClient:
    now = now_at(leader.chain.tip)
    return LightClient(CHAIN, PARAMS, trusted, leader, witnesses, lambda: now)


# ---------------------------------------------------------------- beginning


def test_the_trusted_block_tells_the_chain_its_identity() -> None:
    chain, block = begin_from_hash(FakeProvider(GOOD), TrustedHash(Height(3), GOOD[3].hash), None)
    assert (chain, block) == (CHAIN, GOOD[3])
    lying = FakeProvider(GOOD, known_identity=ChainIdentity(9, CHAIN.genesis_hash))
    with pytest.raises(InvalidBlock, match="not signed for chain id 9"):
        begin_from_hash(lying, TrustedHash(Height(3), GOOD[3].hash), None)
    assert begin_from_hash(lying, TrustedHash(Height(3), GOOD[3].hash), CHAIN)[0] == CHAIN


def test_a_node_without_the_trusted_block_is_refused() -> None:
    for trust in (TrustedHash(Height(3), GOOD[4].hash), TrustedHash(Height(3), Hash32(bytes(32)))):
        with pytest.raises(InvalidBlock, match="another chain, or the trusted hash is wrong"):
            begin_from_hash(FakeProvider(GOOD), trust, CHAIN)


def test_beginning_from_the_genesis_file() -> None:
    assert begin_from_genesis(FakeProvider(GOOD), CHAIN, FOUR) == GOOD[1]
    with pytest.raises(InvalidBlock, match="another validator set than the genesis file"):
        begin_from_genesis(FakeProvider(GOOD), CHAIN, STRANGERS)
    with pytest.raises(InvalidBlock, match="not built on the genesis block"):
        begin_from_genesis(FakeProvider(GOOD), ChainIdentity(CHAIN.chain_id, keccak256(b"other")), FOUR)


# ---------------------------------------------------------------- going on


def test_it_advances_with_the_chain_and_counts_who_confirms() -> None:
    leader, witness = FakeProvider(GOOD), FakeProvider(GOOD)
    light = client(leader, witness)
    assert light.advance(Height(5)) == 1 and light.trusted == GOOD[5]
    assert light.advance() == 1 and light.trusted == GOOD[12]
    assert light.advance() == 1 and light.trusted == GOOD[12]
    wandering = wandering_chain(150, 3)
    light = client(FakeProvider(wandering), FakeProvider(wandering), trusted=wandering[1])
    assert light.advance() == 1 and light.trusted == wandering[150]


def test_a_leader_that_lies_is_not_believed() -> None:
    fake = Chain({1: GOOD[1], 12: light_block(12, GOOD[11].hash, STRANGERS, STRANGERS)})
    fake.blocks.update(dict.fromkeys(range(2, 12), fake[12]))
    light = client(FakeProvider(fake), FakeProvider(GOOD))
    with pytest.raises(InvalidBlock):
        light.advance()
    assert light.trusted == GOOD[1]


def test_witnesses_that_lag_are_silent_or_lie() -> None:
    behind = FakeProvider(GOOD, name="behind", height=1)
    silent = FakeProvider(GOOD, name="silent", broken=ProviderSilent("down"))
    garbled = FakeProvider(GOOD, name="garbled", broken=PeerFault("no JSON"))
    liar_chain = GOOD.fork(11)
    liar_chain.blocks[12] = light_block(12, GOOD[11].hash, STRANGERS, STRANGERS)
    liar = FakeProvider(liar_chain, name="liar")
    good = FakeProvider(GOOD, name="good")
    light = client(FakeProvider(GOOD), behind, silent, garbled, liar, good)
    assert light.advance() == 1
    assert light.trusted == GOOD[12]
    assert light.witnesses == ("behind", "silent", "good"), "who is late or down is asked again, who lies is not"


def test_the_slowest_witness_sets_the_pace() -> None:
    light = client(FakeProvider(GOOD), FakeProvider(GOOD, height=9), FakeProvider(GOOD))
    assert light.advance() == 2
    assert light.trusted == GOOD[9]


def test_a_proven_fork_stops_everything() -> None:
    twin = GOOD.fork(7)
    for _ in range(5):
        twin.extend(FOUR, salt=b"fork")
    light = client(FakeProvider(GOOD), FakeProvider(twin))
    with pytest.raises(ForkFound, match="FORK at height 12") as caught:
        light.advance()
    assert light.trusted == GOOD[1], "nothing of the forked part is trusted"
    assert caught.value.conflict.attack is Attack.EQUIVOCATION
    for again in (light.advance, lambda: light.account(RICH)):
        with pytest.raises(ForkFound):
            again()
    told = json.loads(json.dumps(conflict_json(caught.value.conflict)))
    assert told["height"] == 12 and len(told["signedBoth"]) == 4
    assert {block["hash"] for block in told["blocks"]} == {"0x" + GOOD[12].hash.hex(), "0x" + twin[12].hash.hex()}


def test_the_command_reports_a_fork_with_its_evidence_and_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = GOOD.fork(7)
    for _ in range(5):
        twin.extend(FOUR, salt=b"fork")
    nodes = {"http://a": FakeProvider(GOOD), "http://b": FakeProvider(twin)}
    now = now_at(GOOD.tip)
    monkeypatch.setattr("openledger.provider.RpcProvider", nodes.__getitem__)
    monkeypatch.setattr("node.cli.light.time", SimpleNamespace(time_ns=lambda: now * 1_000_000))
    monkeypatch.setattr("node.cli.light._stop_on_signals", lambda: None)
    monkeypatch.setattr("node.telemetry.logs.set_up_logging", lambda *_settings: None)
    trusted = f"1:{GOOD[1].hash.hex()}"
    done = CliRunner().invoke(light_command, ["--trust", trusted, "--rpc", "http://a,http://b"])
    assert done.exit_code == 4, done.output
    told = json.loads(done.stdout)
    assert (told["height"], told["attack"], len(told["signedBoth"])) == (12, "equivocation", 4)
    assert "FORK at height 12" in done.stderr and "Keep this evidence" in done.stderr
    done = CliRunner().invoke(light_command, ["--trust", trusted, "--rpc", "http://a", "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["height"] == 12, done.output


# ---------------------------------------------------------------- accounts


def state(accounts: dict[Address, Account]) -> tuple[Hash32, dict[Hash32, bytes]]:
    return trie.update(
        lambda _hash: None, trie.EMPTY_ROOT, {keccak256(a): encode_account(account) for a, account in accounts.items()}
    )


def test_accounts_are_proven_present_and_absent() -> None:
    accounts: dict[Address, Account] = {
        Address(bytes([n]) * 20): (n, n * 10**18, trie.EMPTY_ROOT, EMPTY_CODE_HASH) for n in range(1, 200)
    }
    root, nodes = state(accounts)
    for address in list(accounts)[:20]:
        proof = trie.prove(nodes.get, root, keccak256(address))
        assert prove_account(root, address, proof) == accounts[address]
        assert prove_account(root, address, proof[::-1]) == accounts[address], "the order does not matter"
        for missing in range(len(proof)):
            with pytest.raises(InvalidBlock, match="does not belong to the state root"):
                prove_account(root, address, proof[:missing] + proof[missing + 1 :])
            garbled = bytes([proof[missing][0] ^ 1]) + proof[missing][1:]
            with pytest.raises(InvalidBlock):
                prove_account(root, address, (*proof[:missing], garbled, *proof[missing + 1 :]))
    stranger = Address(b"\xee" * 20)
    assert prove_account(root, stranger, trie.prove(nodes.get, root, keccak256(stranger))) == EMPTY_ACCOUNT
    assert prove_account(trie.EMPTY_ROOT, stranger, ()) == EMPTY_ACCOUNT
    with pytest.raises(InvalidBlock):
        prove_account(root, stranger, trie.prove(nodes.get, root, keccak256(RICH))[:1])
    with pytest.raises(InvalidBlock, match="no account and no slot is that deep"):
        prove_account(root, RICH, (b"",) * 66)


def test_a_proof_under_another_root_is_refused() -> None:
    poor, _ = state({RICH: (0, 1, trie.EMPTY_ROOT, EMPTY_CODE_HASH)})
    rich, nodes = state({RICH: (0, 10**30, trie.EMPTY_ROOT, EMPTY_CODE_HASH)})
    with pytest.raises(InvalidBlock, match="does not belong"):
        prove_account(poor, RICH, trie.prove(nodes.get, rich, keccak256(RICH)))


# ---------------------------------------------------------------- over HTTP


@contextmanager
def answering(content: bytes, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def result(value: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html>", b"[]", b"{}", b"\xff", b"[" * 3_000, b'{"result":1,"error":2}',
        result([]), result({}), result("0x1"), result({"header": "0x", "consensusData": None}),
    ],
)  # fmt: skip
def test_answers_of_another_shape_are_the_providers_fault(content: bytes) -> None:
    with answering(content) as url, pytest.raises(PeerFault):
        RpcProvider(url).light_block(Height(1))


def test_errors_absence_and_silence_are_no_fault() -> None:
    for content, status in (
        (result(None), 200),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}', 200),
        (b'{"jsonrpc":"2.0","id":1,"error":5}', 200),
        (b"busy", 503),
    ):
        with answering(content, status) as url, pytest.raises(ProviderSilent):
            RpcProvider(url).light_block(Height(1))
    with pytest.raises(ProviderSilent, match="no node answers"):
        RpcProvider("http://127.0.0.1:1").tip()
    with pytest.raises(LocalError, match="is not an http"):
        RpcProvider("file:///etc/passwd")


def test_answers_that_are_too_long_are_not_read() -> None:
    with answering(result("0x" + "00" * (3 << 20))) as url, pytest.raises(PeerFault, match="at most"):
        RpcProvider(url).tip()


def block_answer(block: LightBlock) -> dict[str, Any]:
    """As open_lightBlock writes it."""

    def data(value: bytes) -> str:
        return "0x" + value.hex()

    consensus = block.consensus
    members = [
        [{"address": data(m.address), "power": hex(m.power), "payout": data(m.payout)} for m in each.members]
        for each in (block.validators, block.next_validators)
    ]
    return {
        "header": data(block.header),
        "consensusData": {
            "version": hex(consensus.version),
            "timeMs": hex(consensus.time_ms),
            "round": hex(consensus.round),
            "proposer": data(consensus.proposer),
            "lastCommitHash": data(consensus.last_commit_hash),
            "evidenceHash": data(consensus.evidence_hash),
            "validatorsHash": data(consensus.validators_hash),
            "nextValidatorsHash": data(consensus.next_validators_hash),
        },
        "commit": {
            "height": hex(block.commit.height),
            "round": hex(block.commit.round),
            "blockHash": data(block.commit.block_hash),
            "signatures": [data(s) if s else None for s in block.commit.signatures],
        },
        "validators": members[0],
        "nextValidators": members[1],
    }


def test_light_blocks_are_read_as_they_are_written() -> None:
    absent = light_block(5, GOOD[4].hash, FOUR, STRANGERS, signers=[m.address for m in FOUR.members[1:]])
    for block in (GOOD[3], absent):
        assert read_light_block(block_answer(block)) == block
    with answering(result(block_answer(absent))) as url:
        assert RpcProvider(url).light_block(Height(5)) == absent


def test_no_change_of_an_answer_escapes_as_another_error() -> None:
    """Each leaf replaced by each of a dozen odd values: it reads, or it is the provider's fault."""
    odd: list[Any] = [None, 0, -1, 1.5, "", "0x", "0xzz", "0x" + "f" * 70, [], {}, True, "0x1", ["0x"] * 300]
    answer = block_answer(GOOD[3])
    for path in paths(answer):
        for value in odd:
            changed = json.loads(json.dumps(answer))
            put(changed, path, value)
            try:
                assert read_light_block(changed).header is not None
            except (KeyError, TypeError, ValueError):
                continue


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*at, key)
        yield from paths(each, (*at, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def test_proofs_are_read_as_the_trie_writes_them_and_garbled_ones_prove_nothing() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        keys = [rng.randbytes(20) for _ in range(rng.choice([0, 1, 2, 30, 300]))]
        accounts = {
            Address(key): (rng.randrange(9), rng.randrange(1 << 90), EMPTY_ACCOUNT.storage_root, EMPTY_CODE_HASH)
            for key in keys
        }
        root, nodes = state(accounts)
        for address in [*rng.sample(list(accounts), min(5, len(accounts))), Address(rng.randbytes(20))]:
            proof = list(trie.prove(nodes.get, root, keccak256(address)))
            assert tuple(prove_account(root, address, proof)) == accounts.get(address, EMPTY_ACCOUNT), f"seed {seed}"
            if not proof:
                continue
            place = rng.randrange(len(proof))
            garbled = bytearray(proof[place])
            garbled[rng.randrange(len(garbled))] ^= 1 << rng.randrange(8)
            for lie in (proof[:place] + proof[place + 1 :], [*proof[:place], bytes(garbled), *proof[place + 1 :]]):
                with pytest.raises(InvalidBlock, match="does not belong"):
                    prove_account(root, address, lie)
