"""Every mutating method in an inner call that fails and is caught: nothing of it remains."""

from collections.abc import Callable
from typing import Any

import vyper
from eth_abi import encode

from attribution_precompile.commitments import commitment_hash
from attribution_precompile.contributions import next_content_root
from genesis.primitives import ZERO_HASH, Address, Hash32, keccak256
from tests.unit.attribution.world import ALICE, BOB, NONE, OWNER, USER, ZERO32, World, params, words
from tests.unit.native.harness import address
from tests.unit.native.test_contract import CALLER

NOBODY = bytes(20)
SALT = b"\x05" * 32
CALL = (1, 0, ZERO32, 0, words(0, 12).encode(), NONE)
PAID_OUTPUT = words(0, 12) + " " + words(0, 30, "x")
Step = tuple[str, tuple[Any, ...]] | Callable[[], object]


def promise(player: bytes, content: bytes) -> bytes:
    root = next_content_root(ZERO_HASH, keccak256(content))
    return commitment_hash(Address(player), Hash32(SALT), 1, root, Address(player))


def steps(world: World, player: bytes) -> list[Step]:
    """Method and arguments, in an order in which each succeeds and changes something; between them what prepares it."""
    me = "0x" + player.hex()
    return [
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
        ("withdrawBond", (2,)),
        ("registerAgent", ("u", player, 10**18, [1])),
        lambda: world.depositAgent(1, value=10**18),
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
    ]


def test_each_mutating_method_reverts_cleanly_inside_a_try_and_catch() -> None:
    """A contract plays every part: it calls the method in an inner call that then fails, and catches that."""
    world = World()
    code = bytes.fromhex(vyper.compile_code(CALLER, output_formats=["bytecode"])["bytecode"].removeprefix("0x"))
    player = world.chain.deploy(address(0xCA11), code)
    world.chain.fund(player, 10**21)
    world.sender = player

    def inner(data: bytes, fail: bool) -> None:
        arguments = encode(["address", "bytes", "bool"], ["0x" + world.contract.address.hex(), data, fail])
        result = world.chain.call(OWNER, player, keccak256(b"outer(address,bytes,bool)")[:4] + arguments)
        assert result.ok and int.from_bytes(result.output, "big") == (not fail)
        assert bool(result.logs) == (not fail)

    tried = set()
    for step in steps(world, player):
        if not isinstance(step, tuple):
            step()
            continue
        name, arguments = step
        data = world.data(name, *arguments)
        before = world.chain.state.make_state_root(), dict(world.chain.state.blobs)
        inner(data, True)
        assert (world.chain.state.make_state_root(), dict(world.chain.state.blobs)) == before, name
        inner(data, False)
        assert world.chain.state.make_state_root() != before[0], name
        world.chain.next_block()
        tried.add(name)
    without_effect = {"depositAgent"}  # the player sends no wei on
    assert {m.signature.name for m in world.contract.methods.values() if not m.view} == tried | without_effect
