"""The straight path in whole blocks of the chain's own runtime: supply, stakers' part, a second node."""

from typing import Any

from attribution_precompile.reading.queries import Queries
from evm_runtime.genesis_block import build_genesis
from evm_runtime.runtime import Runtime
from evm_runtime.state.kv import MemoryStore
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.emission import emitted, validators_part
from genesis.primitives import WEI_PER_OPEN, Address, Hash32
from tests.unit.attribution.finals import HeaderFinals, attributing_chain, contract_on
from tests.unit.attribution.world import NONE, ZERO32, World, params, words
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, Chain, make_spec, signed


class Reader:
    def __init__(self, chain: Chain) -> None:
        self._state = chain.runtime.state()

    def storage(self, address: Address, slot: int) -> int:
        return self._state.storage(address, slot)

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        raise AssertionError("not asked here")


def reserve_part(chain: Chain) -> int:
    """What the last block added to the reserve."""
    clock = chain.runtime.state().supply().emission_clock_ms
    emission = emitted(clock) - emitted(clock - chain.spec.block.empty_interval_ms)
    return emission - validators_part(emission)


def test_a_paid_inference_in_blocks() -> None:
    chain = attributing_chain(make_spec())
    encode = World().data
    nonces = dict.fromkeys(range(5), 0)

    def send(key: int, name: str, *arguments: Any, value: int = 0) -> None:
        data = encode(name, *arguments)
        tx = signed(key, nonce=nonces[key], to=ATTRIBUTION_ADDRESS, gas=5_000_000, data=data, value=value)
        nonces[key] += 1
        executed = chain.advance(tx)
        assert executed.receipts[0].status == 1, name

    send(0, "createDatanet", params())
    send(1, "contribute", 1, words(0, 60).encode(), ZERO32, ADDRESSES[1], ZERO32)
    send(0, "review", 1, True, 9_000)
    send(0, "publishVersion", 1)
    send(2, "registerModel", "m", ZERO32, 0, bytes(20), 0, 1_000 * WEI_PER_OPEN, 0, [], [(1, 1, 0, 10_000)])
    before = chain.runtime.state().supply()
    output = f"{words(5, 20)} {words(0, 5, 'z')}"
    send(3, "infer", (1, 0, ZERO32, 0, output.encode(), NONE), value=30 * WEI_PER_OPEN)
    after = chain.runtime.state().supply()

    fee = 25 * WEI_PER_OPEN
    found = Queries(Reader(chain), CHAIN_ID)
    matched = fee * 250 // 10_000
    assert found.claimable(ADDRESSES[1]) == (fee * 5_500 // 10_000 + matched) * 20 // 25
    assert before.reserve - after.reserve + reserve_part(chain) == matched
    arrived = [w for w in chain.blocks[-1].block.withdrawals if w.address == ATTRIBUTION_ADDRESS]
    assert [w.amount_gwei * 10**9 for w in arrived] == [matched]
    assert after.minted - before.minted >= matched
    assert found.claimable(ADDRESSES[3]) == 5 * WEI_PER_OPEN
    money = found.money()
    assert (money.burned, money.stakers) == (fee * 300 // 10_000, 0), "the stakers' part left at the end of the block"
    assert after.burned - before.burned >= money.burned
    assert chain.total_balance() == after.total
    send(4, "claimPool", [1])
    send(1, "claim", "0x" + ADDRESSES[4].hex())
    assert Queries(Reader(chain), CHAIN_ID).claimable(ADDRESSES[1]) == 0
    assert chain.total_balance() == chain.runtime.state().supply().total

    # another node follows the chain with an index built in one go, at the last moment
    store = MemoryStore()
    genesis = build_genesis(chain.spec)
    store.apply(genesis.writes)
    tip, time_ms = genesis.header, chain.spec.genesis_time_ms
    finals = HeaderFinals()
    finals.store = store
    finals.add(tip)
    for executed in chain.blocks:
        runtime = Runtime(chain.spec, chain.identity, store, (contract_on(finals, chain.spec),))
        again = runtime.execute_block(tip, time_ms, executed.block)
        assert again.header == executed.header
        store.apply(again.writes)
        tip, time_ms = again.header, executed.block.consensus.time_ms
        finals.add(tip)
