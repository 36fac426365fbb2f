"""The span index is one for all: built in bounded steps, merged beside, read without the lock, and rebuilt at any time."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from attribution_precompile.declarations import DatanetParams
from attribution_precompile.index.datanet_index import STEP_TOKENS
from attribution_precompile.index.span_index import SpanIndex
from attribution_precompile.methods.commitments import commitment_hash
from attribution_precompile.methods.contributions import next_content_root
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from evm_runtime.native import PlainSlots
from genesis.chain_spec import AttributionParams
from genesis.errors import StorageCorrupt
from genesis.primitives import Hash32, keccak256
from node.chain.fair_lock import FairLock
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.redacting import drop
from tests.unit.attribution.world import ALICE, BOB, CAROL, OWNER, REVIEW_SECONDS, ZERO32, World, params, words
from tests.unit.native.harness import Finals

TOKENS_OF_A_CALL_MAX = AttributionParams().call_bytes_max // 2


class CountingLock:
    """How often it was taken, and what was read while it was held."""

    def __init__(self) -> None:
        self.taken = 0
        self.read: list[int] = []
        self.held = False

    def __enter__(self) -> None:
        self.held = True
        self.taken += 1
        self.read.append(0)

    def __exit__(self, *_: object) -> None:
        self.held = False


class WatchedFinals:
    """A chain's final states; counts the bytes read into the lock's account."""

    def __init__(self, finals: Finals, lock: CountingLock) -> None:
        self.tip, self.number_of = finals.tip, finals.number_of
        self.finals, self.lock = finals, lock

    def open(self, block_hash: Hash32) -> Any:
        state = self.finals.open(block_hash)

        def get_blob(blob_hash: Hash32) -> bytes | None:
            content = state.get_blob(blob_hash)
            if self.lock.held and content is not None:
                self.lock.read[-1] += len(content)
            return content

        return SimpleNamespace(number=state.number, load=state.load, get_blob=get_blob)


def written(contributions: int, tokens: int) -> tuple[World, int, list[int]]:
    """A datanet with a published version of so many contributions of so many tokens, and a model on it."""
    world = World()
    datanet = world.datanet()
    given = [world.give(datanet, ALICE, words(1_000 * i, tokens)) for i in range(contributions)]
    for contribution in given:
        world.accept(contribution)
    world.publish(datanet)
    world.model([(datanet, 1, 0, 10_000)])
    return world, datanet, given


def all_steps(world: World, index: SpanIndex, datanet: int) -> int:
    steps = 0
    while index.warm(world.chain.finals.tip(), datanet):
        steps += 1
        while index.maintain():
            pass
    return steps


def test_looking_up_takes_no_lock() -> None:
    world, datanet, given = written(3, 30)
    lock = CountingLock()
    index = world.contract.index = world.fresh_index(lock)
    all_steps(world, index, datanet)
    before = lock.taken
    for contribution, first in zip(given, (0, 1_000, 2_000), strict=True):
        assert world.trace(1, words(first, 30).encode())[0] == ((contribution, 30),)
    assert lock.taken == before


def test_a_step_reads_a_bounded_amount() -> None:
    """However much there is to do, who waits for the lock waits for one step: STEP_TOKENS, and the call that overshoots."""
    world, datanet, _ = written(40, 900)
    lock = CountingLock()
    index = SpanIndex(lock, WatchedFinals(world.chain.finals, lock))
    steps = all_steps(world, index, datanet)
    bytes_per_token = len(words(39_000, 900)) / 900
    assert steps > 3 and max(lock.read) > 0
    assert max(lock.read) <= (STEP_TOKENS + TOKENS_OF_A_CALL_MAX) * bytes_per_token


def test_what_a_version_has_waits_no_longer() -> None:
    """Contributions first wait, for their review; once a version has them, the memory of that is given back."""
    world = World()
    datanet = world.datanet()
    index = world.contract.index
    given = [world.give(datanet, ALICE, words(1_000 * i, 100)) for i in range(5)]
    world.chain.next_block()
    all_steps(world, index, datanet)
    tables = index._gateway._live[datanet].tables
    assert (len(tables.pending), len(tables.members)) == (5 * 93, 0)
    for contribution in given[:4]:
        world.accept(contribution)
    world.publish(datanet)
    all_steps(world, index, datanet)
    tables = index._gateway._live[datanet].tables
    assert (len(tables.pending), len(tables.members)) == (93, 4 * 93)
    assert len(tables.members.runs) <= 4


def test_a_failed_step_leaves_the_index_as_it_was() -> None:
    world, datanet, given = written(4, 50)
    state = world.chain.state
    index = world.contract.index = world.fresh_index()
    lost = next(blob_hash for blob_hash, blob in state.blobs.items() if blob.startswith(b"w3000 "))
    blobs, state.blobs = state.blobs, {key: blob for key, blob in state.blobs.items() if key != lost}
    for _ in range(3):
        with pytest.raises(StorageCorrupt, match="missing"):
            all_steps(world, index, datanet)
        with pytest.raises(StorageCorrupt, match="missing"):
            world.trace(1, words(0, 50).encode())
    state.blobs = blobs
    assert world.trace(1, words(0, 50).encode())[0] == ((given[0], 50),)
    assert world.trace(1, words(3_000, 50).encode())[0] == ((given[3], 50),)


def test_a_review_counts_the_same_with_any_index() -> None:
    """Waiting, in a version as owner, in a version as a copy: whoever holds a window earlier, the later one doesn't own it."""
    world = World()
    datanet = world.datanet()
    owner = world.give(datanet, ALICE, words(0, 40))
    copy = world.give(datanet, BOB, words(10, 40))
    world.accept(owner)
    world.accept(copy)
    waiting = world.give(datanet, ALICE, words(60, 40))
    world.publish(datanet)
    world.withdrawConsent(owner, 31, sender=ALICE)
    world.publish(datanet)
    last = world.give(datanet, BOB, words(0, 120))
    world.chain.next_block()
    counts = []
    for prepared in (False, True):
        index = world.fresh_index()
        if prepared:
            all_steps(world, index, datanet)
        counts.append([world.view(index).owned_windows(each) for each in (owner, copy, waiting, last)])
    assert counts[0] == counts[1] == [33, 33, 33, 113 - 33 - 33], "who has withdrawn claims nothing"


def test_many_readers_while_it_is_built() -> None:
    """Threads that trace from the first moment, one that warms, one that merges: all get the one answer."""
    world, datanet, given = written(30, 400)
    index = world.fresh_index(FairLock())
    outputs = {contribution: words(1_000 * i + 5, 60).encode() for i, contribution in enumerate(given)}
    failures: list[str] = []
    view, tip = world.view(index), world.chain.finals.tip()

    def read(start: int) -> None:
        for i in range(120):
            contribution = given[(start + i) % len(given)]
            if set(owners_in(index, world, datanet, outputs[contribution])) != {contribution}:
                failures.append(f"owners of {contribution}")
            if view.owned_windows(contribution) != 393:
                failures.append(f"owned windows of {contribution}")

    def tend() -> None:
        while index.warm(tip, datanet):
            pass
        while index.maintain():
            pass

    threads = [threading.Thread(target=read, args=(7 * i,)) for i in range(3)] + [threading.Thread(target=tend)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def owners_in(index: SpanIndex, world: World, datanet: int, output: bytes) -> list[int]:
    """Of each window of an output in version 1."""
    ids = tokenize(output, WORDS_V1).window_ids(8)
    owners, _ = world.view(index).owners(datanet, 1, ids)
    return owners.tolist()  # type: ignore[no-any-return]


def test_a_node_without_content_may_keep_the_ids_instead() -> None:
    """Erased text is replaced by its window ids; an index made from these has the same owners as one made before."""
    world, datanet, given = written(3, 60)
    world.erase(given[1], sender=ALICE)
    world.chain.next_block()
    state = world.chain.state
    outputs = [words(1_000 * i, 60).encode() for i in range(3)]
    before = [owners_in(world.contract.index, world, datanet, output) for output in outputs]
    [_] = drop(PlainSlots(state, world.contract.address), state, given[1])
    fresh = world.fresh_index()
    assert [owners_in(fresh, world, datanet, output) for output in outputs] == before
    assert before == [[given[0]] * 53, [0] * 53, [given[2]] * 53]


def test_an_older_state_does_not_know_what_was_revealed_since() -> None:
    """A commitment's content comes first in the order once it is revealed. A review simulated on the state before must
    still find the copy that was first then, though the index knows better by now."""
    direct = Direct()
    state, index, text = direct.state, direct.contract.index, words(0, 30).encode()
    datanet = direct.call(OWNER, "createDatanet", DatanetParams(*params()))
    root, salt = next_content_root(Hash32(ZERO32), keccak256(text)), Hash32(b"s" * 32)
    direct.call(ALICE, "commit", commitment_hash(ALICE, salt, datanet, root, ALICE))
    copy = direct.call(BOB, "contribute", datanet, text, ZERO32, BOB, ZERO32)
    later = direct.call(CAROL, "contribute", datanet, text, ZERO32, CAROL, ZERO32)
    direct.next_block()
    before = state.base
    revealed = direct.call(ALICE, "contribute", datanet, text, ZERO32, ALICE, salt)
    direct.next_block(REVIEW_SECONDS + 1)
    direct.call(OWNER, "publishVersion", datanet)
    direct.next_block()
    while index.warm(state.finals.tip(), datanet):
        pass
    assert len(index._gateway._live[datanet].tables.members) == 3 * 23
    assert [index.at(before).owned_windows(each) for each in (copy, later)] == [23, 0]
    assert [direct.view().owned_windows(each) for each in (copy, later, revealed)] == [0, 0, 23]
