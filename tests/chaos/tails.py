"""Power loss on the real store: one file of a stopped node loses or garbles its tail, or is damaged in its middle.

Then the node's own open path runs: database and chain, sign record, consensus log, and what recovery makes of them. Either all
that is there fits together (then it is a state that this chain was in: no hole), or it is refused with StorageCorrupt or
LocalError. Anything else fails.
"""

import hashlib
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from consensus.recovery import Recovered, restore
from consensus.signer import Signer, double_sign_check
from consensus.state_machine import RoundsState
from consensus.wal import Record, Wal
from genesis.errors import LocalError, StorageCorrupt
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Signature, keccak256
from genesis.proposers import Rotation
from genesis.types import Vote, VoteType
from node.home.datadir import CHAIN_FOLDER, CONSENSUS_FOLDER, GENESIS_FILE, read_spec
from node.home.keystore import sign_record_path
from node.home.sign_record import SignRecordFile
from node.home.wal_file import WalFile
from node.node import open_store, recent_commits
from node.storage.chain_store import ChainStore
from tests.chaos.load import Load
from tests.chaos.network import ChaosError, Network, height

TAIL_SHARE = 0.7
NEAR_BYTES = 4_096
PAGE = 4_096
FAILURES_SHOWN = 10
ROUNDS = (6.0, 2.0, 1.0)
"""Seconds of load before each time that all nodes are killed and their files are kept."""

Damage = Callable[[random.Random, bytes], bytes]


@dataclass
class Source:
    """The files of one killed node, and what undamaged they hold."""

    name: str
    folder: Path
    validator: Address
    hashes: dict[int, Hash32] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    """Tip height to the digest of the whole database: the same tip must always mean the same content."""
    records: list[Record] = field(default_factory=list)

    def files(self) -> list[Path]:
        chain = [path for path in (self.folder / CHAIN_FOLDER).iterdir() if path.name not in {"LOCK", "LOG", "LOG.old"}]
        consensus = list((self.folder / CONSENSUS_FOLDER).iterdir())
        return sorted(path for path in [*chain, *consensus] if path.stat().st_size)


# ---------------------------------------------------------------- damage


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: _near_end(rng, data)]


def _garble_tail(rng: random.Random, data: bytes) -> bytes:
    at = _near_end(rng, data)
    return data[:at] + rng.randbytes(len(data) - at)


def _zero_tail(rng: random.Random, data: bytes) -> bytes:
    at = _near_end(rng, data)
    return data[:at] + bytes(len(data) - at)


def _lengthen(rng: random.Random, data: bytes) -> bytes:
    size = rng.randint(1, NEAR_BYTES)
    return data + rng.choice([bytes(size), rng.randbytes(size)])


def _flip(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _zero_page(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data)) // PAGE * PAGE
    return data[:at] + bytes(len(data[at : at + PAGE])) + data[at + PAGE :]


def _garble_run(rng: random.Random, data: bytes) -> bytes:
    at, size = rng.randrange(len(data)), rng.randint(1, 256)
    return (data[:at] + rng.randbytes(size) + data[at + size :])[: len(data)]


def _near_end(rng: random.Random, data: bytes) -> int:
    return rng.randrange(len(data)) if rng.random() < 0.4 else max(0, len(data) - rng.randint(1, NEAR_BYTES))


TAILS: tuple[Damage, ...] = (_cut, _cut, _garble_tail, _zero_tail, _lengthen)
MIDDLES: tuple[Damage, ...] = (_flip, _zero_page, _garble_run)


# ---------------------------------------------------------------- one case


def open_and_check(source: Source, folder: Path, *, learn: bool = False) -> str:
    """Open the data directory as a node does; the chain is looked at even if the log is refused after it.

    Returns what came of it; raises ChaosError for a hole.
    """
    store = open_store(folder, read_spec(folder / GENESIS_FILE))
    try:
        tip = store.tip().height
        _check_chain(source, store, learn=learn)
        _check_content(source, store)
        signer = _signer(source, folder, store)
        state, records, recovered = _recover(folder, store, signer)
        if not recovered.sits_out:
            _check_promises(state, signer)
        if learn:
            source.records = records
        elif records != source.records[: len(records)] and tip == max(source.hashes):
            raise ChaosError("the log gives records that were not written in this order")
    finally:
        store.close()
    if recovered.sits_out:
        if learn:
            raise ChaosError(f"undamaged files, and yet: {recovered.sits_out}")
        return "recovered, sits the height out"
    return "recovered whole" if learn or tip == max(source.hashes) else "recovered at an earlier block"


def _signer(source: Source, folder: Path, store: ChainStore) -> Signer:
    def sign(_digest: Hash32) -> Signature:
        raise ChaosError("nothing is to be signed here")

    record = SignRecordFile(sign_record_path(folder, source.validator))
    signer = Signer(store.identity, source.validator, sign, record)
    double_sign_check(signer.last, signer.address, recent_commits(store))
    return signer


def _recover(folder: Path, store: ChainStore, signer: Signer) -> tuple[RoundsState, list[Record], Recovered]:
    validators = store.runtime.state().validators()
    height = Height(store.tip().height + 1)
    rotation = Rotation(validators.current, validators.priorities)
    state = RoundsState(height, validators.current, rotation.proposer, store.spec.consensus, signer.address)
    file = WalFile(folder / CONSENSUS_FOLDER / "wal")
    try:
        records = Wal(file).replay(height)
    finally:
        file.close()
    return state, records, restore(state, records, signer.last)


def _check_promises(state: RoundsState, signer: Signer) -> None:
    """A precommit that was signed for a block is a lock: it must still be there."""
    last = signer.last
    if last is None or last.height != state.height:
        return
    vote = last.signed()
    if not isinstance(vote, Vote) or vote.kind != VoteType.PRECOMMIT or vote.block_hash == ZERO_HASH:
        return
    lock, promised = (state.locked_round, state.locked_value), (vote.round, vote.block_hash)
    if lock != promised and state.locked_round <= vote.round:
        raise ChaosError(f"a lock is lost: precommit of round {vote.round}, lock of round {state.locked_round}")


def _check_chain(source: Source, store: ChainStore, *, learn: bool) -> None:
    """Every block from genesis to the tip, its indexes and its commit; and the same blocks as before."""
    parent = None
    for number in range(store.tip().height + 1):
        block, header, commit = store.block(Height(number)), store.header(Height(number)), store.commit(Height(number))
        if block is None or header is None or header != block.header or store.height_of(block.hash) != number:
            raise ChaosError(f"hole: block {number} below the tip {store.tip().height}")
        if number and (commit is None or commit.block_hash != block.hash or header.parent_hash != parent):
            raise ChaosError(f"hole: block {number} has no commit, or not its parent")
        for index, raw in enumerate(block.block.transactions):
            if store.transaction_place(keccak256(raw)) != (number, index):
                raise ChaosError(f"hole: transaction {index} of block {number} isn't found")
        if learn:
            source.hashes[number] = block.hash
        elif source.hashes.get(number) != block.hash:
            raise ChaosError(f"block {number} is not the one that was final")
        parent = block.hash


def _check_content(source: Source, store: ChainStore) -> None:
    """All keys and values, state and trie nodes too, are those that belong to this tip."""
    tip, digest = store.tip().height, hashlib.sha256()
    for key, value in store._database.iterate(b""):
        digest.update(b"%d %d " % (len(key), len(value)) + key + value)
    if source.digests.setdefault(tip, digest.hexdigest()) != digest.hexdigest():
        raise ChaosError(f"the same tip {tip} with other content: something is missing from state or indexes")


# ---------------------------------------------------------------- the campaign


def make_sources(folder: Path, seed: int) -> list[Source]:
    """Run a devnet under load, kill all nodes at once, keep their files; a few times."""
    sources = []
    rng, tip = random.Random(seed), 0
    with Network(folder / "devnet") as network:
        network.start_all()
        load = Load(network, str(seed), accounts=4)
        load.start()
        for count, seconds in enumerate(ROUNDS):
            if count:
                for node in network.nodes:
                    network.start(node)
                _wait_above(network, tip)
            time.sleep(seconds + rng.random())
            tip = max(height(network.url(node)) for node in network.nodes)
            order = rng.sample(network.nodes, len(network.nodes))
            for node in order:
                network.kill(node)
            for node in network.nodes:
                target = folder / f"source-{count}-{node}"
                shutil.copytree(network.datadir(node), target)
                (target / "node.log").unlink(missing_ok=True)
                sources.append(Source(target.name, target, network.devnet.nodes[node].validator))
        load.abandon()
    return sources


def _wait_above(network: Network, tip: int) -> None:
    network.wait("a new block", lambda: all(height(network.url(node)) > tip for node in network.nodes))


def learn(source: Source, work: Path) -> None:
    """Read the undamaged files."""
    shutil.copytree(source.folder, work)
    try:
        open_and_check(source, work, learn=True)
    finally:
        shutil.rmtree(work)


def one_case(source: Source, rng: random.Random, work: Path) -> tuple[str, str]:
    """(what was damaged and how, what came of it)."""
    files = source.files()
    kinds = sorted({_kind(path) for path in files})
    kind = rng.choices(kinds, [{"log": 4, "wal": 3}.get(k, 1) for k in kinds])[0]
    path = rng.choice([path for path in files if _kind(path) == kind])
    damage = rng.choice(TAILS if rng.random() < TAIL_SHARE else MIDDLES)
    shutil.copytree(source.folder, work)
    what = f"{kind} {damage.__name__.strip('_')}"
    try:
        target = work / path.relative_to(source.folder)
        before = target.read_bytes()
        after = damage(rng, before)
        target.write_bytes(after)
        try:
            return what, open_and_check(source, work)
        except (StorageCorrupt, LocalError) as error:
            return what, f"refused: {type(error).__name__}"
        except Exception as error:
            where = f"{source.name}/{path.relative_to(source.folder)}: {what}, {len(before)} -> {len(after)} bytes"
            raise ChaosError(f"{where}: {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(work)


def _kind(path: Path) -> str:
    return path.suffix[1:] or path.name.partition("-")[0].lower()


def run(cases: int, seed: int, folder: Path | None = None) -> int:
    """Returns the exit code."""
    print(f"tails: {cases} cases, seed {seed}", flush=True)
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="openledger-tails-", dir=folder or (memory if memory.is_dir() else None)))
    sources = make_sources(home, seed)
    for source in sources:
        learn(source, home / "work")
    outcomes: Counter[tuple[str, str]] = Counter()
    failures = []
    began = time.monotonic()
    for case in range(cases):
        rng = random.Random(f"{seed}/{case}")
        try:
            outcomes[one_case(rng.choice(sources), rng, home / "work")] += 1
        except ChaosError as error:
            failures.append(f"FAILED case {case} (seed {seed}): {error}")
            if len(failures) <= FAILURES_SHOWN:
                print(failures[-1], flush=True)
    for (what, outcome), count in sorted(outcomes.items()):
        print(f"  {what:<24} {outcome:<32} {count}")
    print(f"{cases / (time.monotonic() - began) * 60:.0f} cases a minute")
    if failures:
        print(f"the files are kept in {home}")
    else:
        shutil.rmtree(home)
    print(f"{cases - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0
