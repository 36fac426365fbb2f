"""An announced challenge on a chain of real blocks: the hash that chooses windows is the chain's, and all nodes find it."""

from pathlib import Path

from attribution_precompile.declarations import DisputeState, Opening
from attribution_precompile.methods.challenges import chosen_windows
from attribution_precompile.methods.commitments import ids_commitment_hash
from evm_runtime.native.abi import decode
from genesis.primitives import WEI_PER_OPEN, Hash32, Height
from tests.unit.attribution.test_disputes import openings
from tests.unit.attribution.world import ZERO32, params, words
from tests.unit.node.local_chain import ADDRESSES
from tests.unit.node.test_eraser import METHODS, Registry

SALT = Hash32(b"\x07" * 32)


def test_windows_are_chosen_by_the_hash_of_the_next_block_and_replayed_alike(tmp_path: Path) -> None:
    opened, ids, root, proofs = openings(words(0, 90))
    author, thief = ADDRESSES[1], ADDRESSES[2]
    chain = Registry(tmp_path / "one")
    chain.do("createDatanet", params(commit_only=True, min_span=16))
    chain.do("commit", ids_commitment_hash(author, SALT, 1, root, author, ids), key=1)
    chain.do("contributeCommitted", 1, root, 90, ids, thief, ZERO32, key=2)
    chain.do("contributeCommitted", 1, root, 90, ids, author, SALT, key=1)
    bond = 10 * WEI_PER_OPEN
    announced = chain.do("announceChallenge", 1, 0, 0, 2, 1, 0, key=1, value=bond)
    chain.extend()
    chooser = chain.store.header(Height(announced + 1))
    chain.extend()
    assert chooser is not None
    [windows] = decode([p.type for p in METHODS["windowsToOpen"].outputs], chain.view("windowsToOpen", 1).output)
    assert tuple(windows) == chosen_windows(chooser.hash, 1, 64)
    chain.do("openPassage", 1, [Opening(opened[i], tuple(proofs[i])) for i in windows], key=1)
    found = decode([p.type for p in METHODS["getDispute"].outputs], chain.view("getDispute", 1).output)
    assert found[1] == DisputeState.UPHELD
    follower = Registry(tmp_path / "two")
    for height in range(1, chain.store.tip().height + 1):
        stored, tip = chain.store.block(Height(height)), follower.store.tip()
        assert stored is not None and stored.commit is not None
        executed = follower.store.live_runtime.execute_block(tip.header, tip.time_ms, stored.block)
        follower.store.append(executed, stored.commit)
    assert follower.store.tip().hash == chain.store.tip().hash
    for each in (chain, follower):
        each.close()
