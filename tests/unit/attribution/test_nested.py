"""Every mutating method in an inner call that fails and is caught, in a static call, and on loan: nothing of it remains."""

from collections.abc import Callable
from typing import Any

import vyper
from eth_abi import encode

from attribution_precompile.methods.commitments import commitment_hash, ids_commitment_hash
from attribution_precompile.methods.contributions import next_content_root
from attribution_precompile.rules.merkle import leaf_of
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from genesis.chain_spec import AttributionParams
from genesis.primitives import ZERO_HASH, Address, Hash32, keccak256
from tests.unit.attribution.world import ALICE, BOB, COUNCIL, NONE, OWNER, USER, ZERO32, World, params, words
from tests.unit.native.harness import address

NOBODY = bytes(20)
SALT = b"\x05" * 32
CALL = (1, 0, ZERO32, 0, words(0, 12).encode(), NONE)
PAID_OUTPUT = words(0, 12) + " " + words(0, 30, "x")
Step = tuple[Any, ...] | Callable[[], object]
"""(method, arguments) or (method, arguments, wei sent); or what prepares the next ones, and may return such a step."""
PARAMS = AttributionParams()
BOND = PARAMS.dispute_bond
PLAYER = """
@external
@payable
def outer(target: address, data: Bytes[5000], amount: uint256, fail: bool) -> bool:
    call: Bytes[6000] = abi_encode(target, data, amount, fail, method_id=method_id("inner(address,bytes,uint256,bool)"))
    return raw_call(self, call, revert_on_failure=False)

@external
@payable
def inner(target: address, data: Bytes[5000], amount: uint256, fail: bool):
    raw_call(target, data, value=amount)
    assert not fail

@external
@payable
def lent(target: address, data: Bytes[5000]) -> Bytes[64]:
    return raw_call(target, data, max_outsize=64, is_delegate_call=True)
"""


def promise(player: bytes, content: bytes) -> bytes:
    root = next_content_root(ZERO_HASH, keccak256(content))
    return commitment_hash(Address(player), Hash32(SALT), 1, root, Address(player))


def steps(world: World, player: bytes) -> list[Step]:
    """Method and arguments, in an order in which each succeeds and changes something; between them what prepares it."""
    me = "0x" + player.hex()
    return [
        lambda: world.fill_reserve(10**24),
        ("createDatanet", (params(),)),
        ("setRole", (1, ALICE, 1)),
        ("contribute", (1, words(0, 20).encode(), ZERO32, player, ZERO32)),
        ("appendContent", (1, words(30, 20).encode())),
        ("finalizeContent", (1,)),
        ("review", (1, True, 9_000)),
        ("publishVersion", (1,)),
        ("registerModel", ("u", ZERO32, 0, NOBODY, 0, 0, 0, [], [(1, 1, 0, 10_000)])),
        ("setModel", (1, NOBODY, 1, 0, True)),
        ("setUses", (1, [(1, 1, 2, 10_000)])),
        ("transferModel", (1, me)),
        ("acceptModel", (1,)),
        ("allowModel", (1, 1, True)),
        ("setPayout", (1, BOB)),
        ("infer", (CALL,)),
        ("inferBatch", ([CALL, CALL],)),
        # money: paid inferences, then pool and balance claimed
        lambda: world.setModel(1, NOBODY, 0, 10**18, True),
        lambda: world.run(1, PAID_OUTPUT, 10**18, sender=USER),
        lambda: world.setPayout(1, player),
        lambda: world.run(1, PAID_OUTPUT, 10**18, sender=USER),
        ("claimPool", ([1],)),
        ("claim", ("0x" + BOB.hex(),)),
        ("setDatanet", (1, params(bond_per_kib=1))),
        ("transferDatanet", (1, me)),
        ("acceptDatanet", (1,)),
        lambda: world.contribute(1, words(60, 20).encode(), ZERO32, player, ZERO32, value=1),
        lambda: world.accept(2),
        lambda: world.chain.next_block(PARAMS.bond_seconds),
        ("withdrawBond", (2,)),
        ("registerAgent", ("u", player, 10**18, [1])),
        ("depositAgent", (1,), 10**18),
        ("infer", ((1, 1, *CALL[2:]),)),
        ("setAgent", (1, player, 1, [1])),
        ("withdrawAgent", (1, 5)),
        ("registerModel", ("u", ZERO32, 0, NOBODY, 0, 10**18, 0, [(1, 70)], [(1, 1, 0, 10_000)])),
        ("commit", (promise(player, CALL[4]),)),
        lambda: world.setDatanet(1, params()),
        ("contribute", (1, CALL[4], ZERO32, player, SALT)),
        ("review", (1, True, 5_000)),
        ("withdrawConsent", (1, 1)),
        ("erase", (1,)),
        *vector_steps(world, player),
        *attested_steps(world),
        *dispute_steps(world, player),
    ]


def vector_steps(world: World, player: bytes) -> list[Step]:
    """Contribution 4 with vectors, model 3 by DOT."""
    return [
        lambda: world.contribute(1, words(100, 20).encode(), ZERO32, player, ZERO32),
        ("commitVectors", (4, 2, b"\x01\x02")),
        ("review", (4, True, 10_000)),
        ("publishVersion", (1,)),
        ("registerModel", ("u", ZERO32, 1, NOBODY, 0, 0, 0, [], [(1, 2, 0, 10_000)])),
        ("inferVector", (3, 0, ZERO32, 0, 7, b"\x01\x01", NONE)),
        ("registerModel", ("u", ZERO32, 3, NOBODY, 0, 0, 0, [], [(1, 2, 0, 10_000)])),
        ("infer", ((4, *CALL[1:]),)),
    ]


def attested_steps(world: World) -> list[Step]:
    """Model 5 by ATTESTED, free of charge; receipts with one score each, of contribution 4."""
    leaf = leaf_of(4, 9)
    receipts: list[bytes] = []

    def attest() -> None:
        receipts.append(bytes(world.inferAttested(5, 0, ZERO32, 0, 7, leaf, 9)))

    return [
        ("registerModel", ("u", ZERO32, 2, NOBODY, 0, 0, 0, [], [(1, 2, 0, 10_000)])),
        ("bond", (), 100 * BOND),
        ("unbond", (5,)),
        ("inferAttested", (5, 0, ZERO32, 0, 7, leaf, 9)),
        attest,
        lambda: world.chain.next_block(PARAMS.attest_seconds),
        lambda: ("claimScored", (receipts[0], (4, 9), [])),
        attest,
        lambda: ("disputeScores", (receipts[1], ZERO32), BOND),
        lambda: world.chain.next_block(PARAMS.resolve_seconds),
        ("resolve", (1, False)),
        lambda: world.chain.next_block(PARAMS.score_seconds),
        lambda: ("releaseScores", (receipts[1],)),
    ]


def dispute_steps(world: World, player: bytes) -> list[Step]:
    """Datanet 2 is commit-only, with contribution 5 of one window; contribution 6 is Alice's, copied from the player's."""
    opening = bytes(32) + words(0, 16).encode()
    ids, root = tokenize(words(0, 16).encode(), WORDS_V1).window_ids(16), leaf_of(0, keccak256(opening))
    return [
        lambda: world.createDatanet(params(commit_only=True, min_span=16)),
        ("contributeCommitted", (2, leaf_of(0, keccak256(opening)), 16, ids, player, ZERO32)),
        ("challengeCommitted", (5, 0), BOND),
        ("reveal", (2, opening, [])),
        ("disputeContribution", (5, ZERO32), BOND),
        lambda: world.resolve(3, False, sender=COUNCIL),
        lambda: world.give(1, ALICE, words(100, 20)),
        lambda: world.finalizeContent(6, sender=ALICE),
        ("challengePriority", (6, world_segment(6), 0, 13, 4, world_segment(4), 0)),
        # contribution 7 stands ahead of Alice's copy 8 of it
        lambda: world.commit(ids_commitment_hash(Address(player), Hash32(SALT), 2, root, Address(player), ids)),
        lambda: world.chain.next_block(),
        lambda: world.contributeCommitted(2, root, 16, ids, player, SALT),
        lambda: world.contributeCommitted(2, root, 16, ids, ALICE, ZERO32, sender=ALICE),
        ("announceChallenge", (8, 2, 0, 7, 1, 0), BOND),
        lambda: world.chain.next_block(blocks=2),
        ("openPassage", (5, [(opening, [])])),
        # 9 is Alice's, ahead of 10, and rejected when 10 has been counted
        lambda: world.give(1, ALICE, words(300, 20)),
        lambda: world.contribute(1, words(300, 20).encode(), ZERO32, player, ZERO32),
        lambda: world.accept(10),
        lambda: world.review(9, False, 0),
        lambda: world.chain.next_block(),
        ("recount", (10,)),
    ]


def world_segment(contribution: int) -> int:
    """Where the steps above put a contribution's only segment in datanet 1."""
    return {4: 4, 6: 5}[contribution]


def test_each_mutating_method_reverts_cleanly_inside_a_try_and_catch() -> None:
    """A contract plays every part: it calls the method in an inner call that then fails, and catches that."""
    world = World()
    code = bytes.fromhex(vyper.compile_code(PLAYER, output_formats=["bytecode"])["bytecode"].removeprefix("0x"))
    player = world.chain.deploy(address(0xCA11), code)
    world.chain.fund(player, 10**22)
    world.sender = player

    def inner(data: bytes, value: int, fail: bool) -> None:
        types = ["address", "bytes", "uint256", "bool"]
        arguments = encode(types, ["0x" + world.contract.address.hex(), data, value, fail])
        result = world.chain.call(OWNER, player, keccak256(b"outer(address,bytes,uint256,bool)")[:4] + arguments)
        assert result.ok and int.from_bytes(result.output, "big") == (not fail)
        assert bool(result.logs) == (not fail)

    tried = set()
    for planned in steps(world, player):
        step = planned if isinstance(planned, tuple) else planned()
        if not (isinstance(step, tuple) and step and isinstance(step[0], str)):
            continue
        name, arguments, value = (*step, 0)[:3]
        data = world.data(name, *arguments)
        before = world.chain.state.make_state_root(), dict(world.chain.state.blobs)
        inner(data, value, True)
        static = world.chain.call(player, world.contract.address, data, static=True)
        assert not static.ok and not static.output, f"{name} writes in a static call"
        lent = encode(["address", "bytes"], ["0x" + world.contract.address.hex(), data])
        borrowed = world.chain.call(player, player, keccak256(b"lent(address,bytes)")[:4] + lent, value=value)
        assert borrowed.ok and borrowed.output == encode(["bytes"], [b""]) and not borrowed.logs
        assert (world.chain.state.make_state_root(), dict(world.chain.state.blobs)) == before, name
        inner(data, value, False)
        assert world.chain.state.make_state_root() != before[0], name
        world.chain.next_block()
        tried.add(name)
    assert {m.signature.name for m in world.contract.methods.values() if not m.view} == tried
