"""Erased content leaves the disk of a real node: when, only once, whatever comes between, and with the same answers after."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from attribution_precompile.contract import AttributionContract
from attribution_precompile.declarations import Method
from attribution_precompile.reading.queries import Queries
from attribution_precompile.reading.redaction import Redaction
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from evm_runtime.calls import CallRequest
from evm_runtime.native import Base
from evm_runtime.native.abi import encode
from evm_runtime.state.keys import blob
from evm_runtime.tracing import TraceOptions
from genesis.chain_spec import ATTRIBUTION_ADDRESS, AttributionParams, ChainSpec
from genesis.errors import ErasedContent, LocalError
from genesis.primitives import WEI_PER_OPEN, Hash32, Height, keccak256
from node.chain.contract_reader import ContractReader
from node.chain.eraser import Eraser
from node.node import Indexes
from node.storage.database import LevelDatabase
from node.storage.view import state_key
from tests.unit.attribution.world import NONE, ZERO32, params, words
from tests.unit.node.local_chain import ADDRESSES, CHAIN_ID, LocalChain, make_spec, transfer

TEXT = words(0, 60).encode()
IDS = tokenize(TEXT, WORDS_V1).window_ids(8)
VECTORS = bytes([3, 0, 0, 3])
METHODS = {each.signature.name: each.signature for each in AttributionContract.methods.values()}
DELAY = 2


class Registry(LocalChain):
    """A LocalChain with short words for transactions of the attribution contract: one a block, by key 0 unless told."""

    def __init__(self, path: Path, spec: ChainSpec | None = None) -> None:
        super().__init__(path, spec or make_spec(attribution=AttributionParams(council=ADDRESSES[0])))
        self.nonces = [self.store.runtime.state().nonce(address) for address in ADDRESSES]

    def transaction(self, name: str, *arguments: Any, key: int = 0, value: int = 0) -> Any:
        data = METHODS[name].selector + encode([p.type for p in METHODS[name].inputs], arguments)
        to = to_checksum_address(ATTRIBUTION_ADDRESS)
        made = transfer(key, self.nonces[key], to=to, data=data, value=value, gas=8_000_000)
        self.nonces[key] += 1
        return made

    def do(self, name: str, *arguments: Any, key: int = 0, value: int = 0) -> int:
        """Returns the height."""
        self.extend(self.transaction(name, *arguments, key=key, value=value))
        [receipt] = self.store.tip().receipts
        assert receipt.status == 1, name
        return self.store.tip().height

    def give(self, text: bytes, *, key: int, datanet: int = 1) -> None:
        self.do("contribute", datanet, text, ZERO32, ADDRESSES[key], ZERO32, key=key)

    def publish(self, *contributions: int) -> None:
        for contribution in contributions:
            self.do("review", contribution, True, 10_000)
        self.do("publishVersion", 1)

    def view(self, name: str, *arguments: Any, height: int | None = None) -> Any:
        header = self.store.header(Height(self.store.tip().height if height is None else height))
        assert header is not None
        data = METHODS[name].selector + encode([p.type for p in METHODS[name].inputs], arguments)
        request = CallRequest(to=ATTRIBUTION_ADDRESS, data=data)
        return self.store.runtime.call(header, request, gas_cap=50_000_000)

    def holds(self, content: bytes) -> bool:
        return self.database.get(state_key(blob(keccak256(content)))) is not None

    def eraser(self, **options: Any) -> Eraser:
        return Eraser(self.store, **{"delay": DELAY, "sleep": lambda _seconds: None} | options)

    def restart(self) -> None:
        """Stop and start: all that was in memory is gone."""
        self.close()
        self.__post_init__()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Registry]:
    """Text and vectors of account 1 (contribution 1) and text of account 2 in version 1, and two models."""
    made = Registry(tmp_path / "chain")
    made.do("createDatanet", params())
    made.give(TEXT, key=1)
    made.do("commitVectors", 1, 2, VECTORS, key=1)
    made.give(words(100, 60).encode(), key=2)
    made.publish(1, 2)
    for kind in (Method.SPAN, Method.DOT):
        made.do("registerModel", "m", ZERO32, int(kind), bytes(20), 0, 10**18, 0, [], [(1, 1, 0, 10_000)], key=3)
    yield made
    made.close()


def owners(chain: Registry, text: bytes = TEXT, version: int = 1) -> set[int]:
    """Who owns the text's windows, by an index that was built from the disk just now."""
    indexes, ids = Indexes(), tokenize(text, WORDS_V1).window_ids(8)
    indexes.attach(chain.store)
    return set(indexes.spans.at(Base(chain.store.tip().hash)).owners(1, version, ids)[0].tolist())


def pass_blocks(chain: Registry, count: int = DELAY) -> None:
    for _ in range(count):
        chain.extend()


def test_bytes_go_when_the_erasure_is_deep_enough_and_only_once(chain: Registry) -> None:
    eraser = chain.eraser()
    assert eraser.sweep() == 0 and chain.store.redacted == 0
    height = chain.do("erase", 1, key=1)
    pass_blocks(chain, DELAY - 1)
    assert eraser.sweep() == 0 and chain.holds(TEXT)
    chain.extend()
    assert eraser.sweep() == 2, "text and vectors"
    assert not chain.holds(TEXT) and not chain.holds(VECTORS) and chain.holds(IDS)
    assert chain.holds(words(100, 60).encode()) and chain.store.redacted == height
    assert eraser.sweep() == 0 and chain.eraser().sweep() == 0


def test_a_node_that_starts_again_goes_on_and_answers_as_before(chain: Registry) -> None:
    traced = chain.do("infer", (1, 0, ZERO32, 0, TEXT, NONE), key=3, value=10**19)
    by_vector = chain.do("inferVector", 2, 0, ZERO32, 0, 10, bytes([1, 1]), NONE, key=3, value=10**19)
    before = chain.view("trace", 1, TEXT, height=traced)
    chain.do("erase", 1, key=1)
    pass_blocks(chain)
    chain.restart()
    assert chain.eraser().sweep() == 2
    chain.restart()
    assert chain.eraser().sweep() == 0 and not chain.holds(TEXT)
    assert owners(chain) == {0}, "dead, and nobody else has them"
    assert Queries(ContractReader(chain.store.runtime.state()), CHAIN_ID).content(1) is None
    assert chain.view("trace", 1, TEXT, height=traced) == before, "spans of old blocks are found by ids"
    stored, parent = chain.store.block(Height(traced)), chain.store.header(Height(traced - 1))
    assert stored and parent
    trace = chain.store.runtime.trace_transaction(parent, stored.header, stored.transactions, 0, TraceOptions())
    assert not trace["failed"] and trace["gas"] == stored.results[0].gas_used
    with pytest.raises(ErasedContent, match="contribution 1 was erased later"):
        chain.view("traceVector", 2, bytes([1, 1]), height=by_vector)
    chain.do("inferVector", 2, 0, ZERO32, 0, 10, bytes([1, 1]), NONE, key=3, value=10**19)
    chain.do("infer", (1, 0, ZERO32, 0, TEXT, NONE), key=3, value=10**19)


def test_what_a_block_brings_again_while_it_is_looked_for_stays(chain: Registry) -> None:
    """Also if the block was executed before the bytes went, and stored after."""
    chain.do("erase", 1, key=1)
    pass_blocks(chain)
    contents = {Hash32(keccak256(TEXT)), Hash32(keccak256(VECTORS))}
    chain.store.begin_redaction(contents)
    chain.give(TEXT, key=4)
    assert chain.store.redact([Redaction(keccak256(TEXT), (IDS,), 1)]) == 0 and chain.holds(TEXT)
    chain.do("erase", 3, key=4)
    pass_blocks(chain)
    executed = chain.build(chain.transaction("contribute", 1, TEXT, ZERO32, ADDRESSES[5], ZERO32, key=5))
    assert chain.eraser().sweep() == 2 and not chain.holds(TEXT)
    chain.store.append(executed, chain.commit_for(executed.block))
    assert chain.holds(TEXT)
    assert chain.eraser().sweep() == 0, "contribution 4 lives"
    chain.publish(4)
    assert owners(chain, version=2) == {4}


def test_a_crash_leaves_all_of_a_batch_or_nothing(chain: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.do("erase", 1, key=1)
    chain.do("erase", 2, key=2)
    pass_blocks(chain)
    monkeypatch.setattr("node.chain.eraser.BATCH_BYTES", 1)
    whole, count = LevelDatabase.write_batch, itertools.count()

    def fails(database: LevelDatabase, writes: Any, *, sync: bool = True) -> None:
        if next(count) == 1:
            raise OSError("the power is out")
        whole(database, writes, sync=sync)

    monkeypatch.setattr(LevelDatabase, "write_batch", fails)
    with pytest.raises(OSError, match="power"):
        chain.eraser().sweep()
    monkeypatch.undo()
    chain.restart()
    left = [content for content in (TEXT, VECTORS, words(100, 60).encode()) if chain.holds(content)]
    assert len(left) == 2
    assert chain.eraser().sweep() == 2
    assert not any(map(chain.holds, (TEXT, VECTORS, words(100, 60).encode())))
    assert owners(chain) == {0} == owners(chain, words(100, 60).encode())


def test_a_rollback_does_not_bring_to_life_whose_content_is_gone(chain: Registry) -> None:
    height = chain.do("erase", 1, key=1)
    pass_blocks(chain)
    chain.store.rollback()
    chain.extend()
    assert chain.eraser().sweep() == 2
    for _ in range(DELAY):
        chain.store.rollback()
    assert chain.store.tip().height == height
    with pytest.raises(LocalError, match=f"erased in block {height}"):
        chain.store.rollback()


def test_a_new_node_follows_a_peer_that_dropped_content_and_drops_it_too(chain: Registry, tmp_path: Path) -> None:
    """Blocks keep their transactions, and with them what was given in calldata: a new node executes them as everybody did."""
    chain.do("erase", 1, key=1)
    pass_blocks(chain)
    assert chain.eraser().sweep() == 2
    follower = Registry(tmp_path / "follower")
    for height in range(1, chain.store.tip().height + 1):
        stored, tip = chain.store.block(Height(height)), follower.store.tip()
        assert stored is not None and stored.commit is not None
        executed = follower.store.live_runtime.execute_block(tip.header, tip.time_ms, stored.block)
        follower.store.append(executed, stored.commit)
    assert follower.store.tip().hash == chain.store.tip().hash and follower.holds(TEXT)
    assert follower.eraser().sweep() == 2 and not follower.holds(TEXT)
    assert owners(follower) == owners(chain) == {0}
    follower.close()


def test_who_loses_a_dispute_is_dropped_as_well(chain: Registry) -> None:
    long = words(1_000, 71).encode()
    chain.give(long, key=1)
    chain.give(long + b" and more", key=4)
    chain.do("disputeContribution", 4, ZERO32, key=1, value=10 * WEI_PER_OPEN)
    chain.do("resolve", 1, True, key=0)
    pass_blocks(chain)
    assert chain.eraser().sweep() == 1
    assert chain.holds(long) and not chain.holds(long + b" and more")


def test_dropped_bytes_leave_the_files(tmp_path: Path) -> None:
    database = LevelDatabase(tmp_path / "db", create=True)
    secret = b"".join(keccak256(bytes([i])) for i in range(64))
    database.write_batch({b"k%d" % i: keccak256(b"%d" % i) * 20 for i in range(200)} | {b"secret": secret})
    database.compact(b"secret")

    def on_disk() -> bool:
        return any(secret[:64] in path.read_bytes() for path in (tmp_path / "db").iterdir())

    assert on_disk()
    database.write_batch({b"secret": None})
    database.compact(b"secret")
    assert not on_disk() and database.get(b"k7") is not None
    database.close()
