"""Histories that once made an index, or the contract, contradict itself: found by attack, kept as they were found."""

import pytest

from attribution_precompile.declarations import DatanetParams
from attribution_precompile.methods.commitments import commitment_hash
from attribution_precompile.methods.contributions import next_content_root
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from evm_runtime.native import Base, MadeUp
from genesis.errors import ErasedContent
from genesis.primitives import Address, Hash32, keccak256
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.test_challenges import BOND, SALT, ids_commitment_hash
from tests.unit.attribution.test_disputes import openings
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, OWNER, ZERO32, World, params, words


class Reader:
    """A state that was made up, or is of before."""

    def __init__(self, direct: Direct) -> None:
        self._slots, self._blobs = dict(direct.state.slots), dict(direct.state.blobs)

    def storage(self, _address: Address, slot: int) -> int:
        return self._slots.get(slot, 0)

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self._blobs.get(blob_hash)


def direct_world(**limits: int) -> Direct:
    direct = Direct(**limits)
    for who in (OWNER, ALICE, BOB):
        direct.state.balances[who] = 10**24
    direct.call(OWNER, "createDatanet", DatanetParams(*params()))
    return direct


def test_what_is_taken_from_the_dead_ends_walks_on_every_node() -> None:
    """A challenge of what the index has taken out already: a fresh index would have known it as lost."""
    world = World(death_blocks=3)
    first, second = world.datanet(), world.datanet()
    earlier = world.give(second, ALICE, words(0, 71))
    later, copy = world.give(first, BOB, words(0, 100)), world.give(first, CAROL, words(0, 100) + " tail")
    world.accept(later)
    world.accept(copy)
    model = world.model([(first, world.publish(first), 0, 10_000)])
    output = words(0, 71).encode()
    world.erase(later, sender=BOB)
    for _ in range(8):
        world.chain.next_block()
        world.trace(model, output)
    world.challengePriority(later, 0, 0, 64, earlier, 0, 0, sender=ALICE)
    world.chain.next_block()
    live = world.trace(model, output)
    world.contract.index.clear()
    assert live == world.trace(model, output) == ((), 71, 71)


def test_a_simulation_on_a_block_sees_its_own_later_blocks_whatever_comes_meanwhile() -> None:
    direct = direct_world()
    state = direct.state
    direct.call(ALICE, "contribute", 1, words(0, 20).encode(), ZERO32, ALICE, ZERO32)
    direct.next_block()
    direct.call(OWNER, "review", 1, True, 10_000)
    direct.call(OWNER, "publishVersion", 1)
    direct.next_block()
    base, number = state.base, state.block_number
    ids = tokenize(words(500, 20).encode(), WORDS_V1).window_ids(8)
    direct.view().owners(1, 1, ids)
    mark = state.mark()
    direct.call(BOB, "contribute", 1, words(500, 20).encode(), ZERO32, BOB, ZERO32)
    state.block_number += 1
    direct.call(OWNER, "review", 2, True, 10_000)
    direct.call(OWNER, "publishVersion", 1)
    reader, made_up = Reader(direct), state.block_number
    state.undo(mark)
    state.block_number = number

    def asked() -> list[int]:
        simulated = Base(base.block_hash, MadeUp(made_up, reader, anew=False))
        owners: list[int] = direct.contract.index.at(simulated).owners(1, 2, ids)[0].tolist()
        return owners

    before = asked()
    direct.call(BOB, "contribute", 1, words(900, 20).encode(), ZERO32, BOB, ZERO32)
    for _ in range(4):
        direct.next_block()
        direct.view().owners(1, 1, ids)
    assert before == asked() == [2] * 13


def test_committed_content_that_says_a_thing_twice_loses_it_once_for_all() -> None:
    world = World()
    world.datanet()
    world.datanet()
    earlier = world.give(2, ALICE, words(0, 80))
    world.chain.next_block()
    pieces = (words(0, 80).encode(), (words(0, 80) + " tail").encode())
    root = next_content_root(next_content_root(ZERO32, keccak256(pieces[0])), keccak256(pieces[1]))
    salt = Hash32(b"\x07" * 32)
    world.commit(commitment_hash(BOB, salt, 1, root, BOB), sender=BOB)
    world.chain.next_block()
    later = int(world.contribute(1, pieces[0], ZERO32, BOB, salt, sender=BOB))
    world.appendContent(later, pieces[1], sender=BOB)
    world.finalizeContent(later, sender=BOB)
    world.accept(later)
    world.publish(1)
    world.challengePriority(later, 0, 0, 73, earlier, 0, 0, sender=ALICE)
    world.chain.next_block()
    model = world.model([(1, 1, 0, 10_000)])
    assert world.trace(model, pieces[0]) == ((), 80, 80)
    assert world.recount(later) == 1, "the window with the tail in it is all that is left"


def test_a_challenger_who_has_lost_the_passage_meanwhile_takes_nothing() -> None:
    text = words(0, 79)
    opened, ids, root, proofs = openings(text)
    world = World()
    world.datanet(commit_only=True, min_span=16)
    world.datanet(min_span=16, bond_per_kib=10**18)
    first = int(world.contribute(2, text.encode(), ZERO32, CAROL, ZERO32, sender=CAROL, value=10**18))
    world.commit(ids_commitment_hash(ALICE, SALT, 1, root, ALICE, ids), sender=ALICE)
    world.chain.next_block()
    earlier = int(world.contributeCommitted(1, root, 79, ids, ALICE, SALT, sender=ALICE))
    later = int(world.contribute(2, text.encode(), ZERO32, BOB, ZERO32, sender=BOB, value=10**18))
    world.chain.next_block()
    world.review(later, True, 1)
    world.chain.next_block()
    dispute = int(world.announceChallenge(later, 1, 0, earlier, 0, 0, sender=ALICE, value=BOND))
    world.chain.next_block()
    world.challengePriority(earlier, 0, 0, 64, first, 0, 0, sender=CAROL)
    world.chain.next_block()
    wanted = world.windowsToOpen(dispute)
    shown = [(opened[i], proofs[i]) for i in wanted]
    refused(world, "NotDecidable", lambda: world.openPassage(dispute, shown, sender=ALICE))


def test_making_something_up_opens_no_past_before_a_death() -> None:
    direct = direct_world(death_blocks=3)
    text = words(0, 20).encode()
    ids = tokenize(text, WORDS_V1).window_ids(8)
    direct.call(ALICE, "contribute", 1, text, ZERO32, ALICE, ZERO32)
    direct.next_block()
    direct.call(OWNER, "review", 1, True, 10_000)
    direct.call(OWNER, "publishVersion", 1)
    direct.next_block()
    old, number, reader = direct.state.base, direct.state.block_number - 1, Reader(direct)
    direct.call(ALICE, "erase", 1)
    for _ in range(6):
        direct.next_block()
    for base in (old, *(Base(old.block_hash, MadeUp(number, reader, anew=anew)) for anew in (True, False))):
        with pytest.raises(ErasedContent):
            direct.contract.index.at(base).owners(1, 1, ids)
