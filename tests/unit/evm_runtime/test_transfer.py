"""The short way of plain transfers beside the general way: whatever is sent, blocks, receipts and writes are the same."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from evm_runtime import transfer
from evm_runtime.computation import State
from evm_runtime.runtime import ExecutedBlock, TraceOptions
from evm_runtime.state import keys
from evm_runtime.state.source import EMPTY_ACCOUNT, encode_account
from evm_runtime.transaction import Transaction
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, GenesisAccount
from genesis.primitives import Address, Wei
from tests.unit.evm_runtime.chain import ADDRESSES, VALIDATORS, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm
from tests.unit.evm_runtime.test_transition import Recorder, authorize

SEED = 20261124
BLOCKS = 12
CONTRACT, DELEGATED, POOR = Address(b"\xe0" * 20), ADDRESSES[3], Address(b"\x55" * 20)
ABSENT = [Address(bytes([0x22, place]) * 10) for place in range(4)]
PRECOMPILES = [Address(bytes(19) + bytes([place])) for place in (1, 4, 9)]
RECEIVERS = [
    *ABSENT,
    *ADDRESSES,  # the senders themselves, one of them delegated
    *(validator.payout for validator in VALIDATORS),  # one of them is the coinbase
    *PRECOMPILES,
    CONTRACT,
    POOR,
    ATTRIBUTION_ADDRESS,
    STAKING_ADDRESS,
]


class Ways:
    """Switches the short way off, and counts who takes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.enabled = True
        self.taken = self.refused = 0
        self._is_plain = transfer.is_plain
        monkeypatch.setattr(transfer, "is_plain", self)

    def __call__(self, state: State, tx: Transaction) -> bool:
        found = self.enabled and self._is_plain(state, tx)
        self.taken, self.refused = self.taken + found, self.refused + (self.enabled and not found)
        return found

    def both(self, chain: Chain, transactions: list[Transaction], **changes: Any) -> ExecutedBlock:
        """Build the block both ways, compare all of it, return it."""
        self.enabled = False
        general = chain.build(transactions, **changes)
        self.enabled = True
        short = chain.build(transactions, **changes)
        assert short.receipts == general.receipts
        assert short.results == general.results
        assert short.skipped == general.skipped
        assert short.header == general.header
        assert short.writes == general.writes
        return short


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ways]:
    yield Ways(monkeypatch)


def new_chain(*, natives: tuple[Any, ...] = (Recorder(),)) -> Chain:
    accounts = (
        contract(CONTRACT, asm(1, 0, "SSTORE", "CALLVALUE", "SELFBALANCE", "POP", "POP", "STOP")),
        GenesisAccount(POOR, Wei(1)),
    )
    chain = Chain(make_spec(*accounts), natives=natives)
    chain.advance(
        signed(0, nonce=0, to=ABSENT[0], gas=200_000, authorizationList=[authorize(3, CONTRACT)], type=4, value=0)
    )
    assert chain.runtime.state().code(DELEGATED).endswith(CONTRACT)
    return chain


def random_transaction(rng: random.Random, nonces: dict[int, int]) -> Transaction:
    key = rng.randrange(len(ADDRESSES))
    fields: dict[str, Any] = {
        "to": rng.choice(RECEIVERS),
        "value": rng.choice([0, 0, 1, rng.randrange(10**18), 10**21]),  # the last is more than anybody has
        "data": rng.choice([b"", b"", b"", bytes(5), rng.randbytes(rng.randrange(200))]),
        "gas": rng.choice([21_000, 21_000, 60_000, 300_000, 20_999]),
        "nonce": nonces[key] + (rng.random() < 0.05),
    }
    kind = rng.randrange(4)
    if kind == 0:
        fields["gasPrice"] = rng.choice([10**9, 10**10])
    else:
        fields |= {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": rng.choice([0, 10**9, 10**10])}
        if kind == 1:
            slots = ["0x" + rng.randbytes(32).hex() for _ in range(rng.randrange(3))]
            fields["accessList"] = [{"address": "0x" + rng.choice(RECEIVERS).hex(), "storageKeys": slots}]
    return signed(key, **fields)


def test_random_transfers_do_the_same_on_both_ways(ways: Ways) -> None:
    rng = random.Random(SEED)
    chain = new_chain()
    skipped = 0
    for _ in range(BLOCKS):
        nonces = {key: chain.runtime.state().nonce(address) for key, address in enumerate(ADDRESSES)}
        transactions = []
        for _ in range(25):
            tx = random_transaction(rng, nonces)
            transactions.append(tx)
            key = ADDRESSES.index(tx.sender)
            nonces[key] += tx.nonce == nonces[key] and tx.gas_limit >= 60_000 and tx.value < 10**21
        executed = ways.both(chain, transactions)
        chain.accept(executed)
        skipped += len(executed.skipped)
    assert ways.taken > 100, SEED
    assert ways.refused > 50, SEED
    assert skipped > 20, SEED


def test_an_empty_receiver_is_not_left_behind(ways: Ways) -> None:
    """EIP-161: neither an absent account, nor an absent coinbase that gets no tip, exists afterwards."""
    chain = new_chain()
    executed = ways.both(chain, [signed(1, nonce=0, to=ABSENT[2], value=0, maxPriorityFeePerGas=0)])
    assert ways.taken
    assert chain.runtime.state().account(executed.header.coinbase) is None
    chain.accept(executed)
    assert chain.runtime.state().account(ABSENT[2]) is None
    assert executed.results[0].gas_used == 21_000


def test_an_account_that_was_empty_before_goes_when_it_is_touched(ways: Ways) -> None:
    """None can be on this chain, but Ethereum's state tests have some."""
    chain = new_chain()
    chain.store.entries[keys.account(ABSENT[2])] = encode_account(EMPTY_ACCOUNT)
    executed = ways.both(chain, [signed(1, nonce=0, to=ABSENT[2], value=0)])
    assert ways.taken
    assert executed.writes[keys.account(ABSENT[2])] is None


def test_code_natives_and_precompiles_go_the_general_way(ways: Ways) -> None:
    chain = new_chain()
    receivers = [CONTRACT, DELEGATED, ATTRIBUTION_ADDRESS, STAKING_ADDRESS, *PRECOMPILES]
    transactions = [signed(1, nonce=place, to=to, value=0, gas=200_000) for place, to in enumerate(receivers)]
    executed = ways.both(chain, transactions)
    assert len(executed.receipts) == len(receivers)
    assert executed.results[0].gas_used > 40_000  # the contract ran
    assert not ways.taken
    created = chain.build([signed(1, nonce=0, gas=100_000, data=asm("STOP"))])
    assert created.results[0].contract_address
    assert not ways.taken


def test_a_delegated_sender_may_take_it(ways: Ways) -> None:
    """The sender's code does not run, so it does not matter (EIP-3607 lets a delegated account send)."""
    chain = new_chain()
    executed = ways.both(chain, [signed(3, nonce=1, to=ABSENT[1], value=5)])
    assert ways.taken == len(executed.receipts) == 1


def test_a_transfer_that_is_watched_goes_the_general_way(ways: Ways) -> None:
    chain = new_chain(natives=())
    executed = chain.advance(signed(1, nonce=0, to=ABSENT[3], value=7))
    taken = ways.taken
    parent, header = chain.blocks[-2].header, executed.header
    options = TraceOptions.from_json({"tracer": "callTracer"})
    ((_, trace),) = chain.runtime.trace_block(parent, header, executed.transactions, options)
    assert ways.taken == taken
    assert (trace["type"], trace["value"], trace["to"]) == ("CALL", "0x7", "0x" + ABSENT[3].hex())
