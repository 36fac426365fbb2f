"""The fork schedule, and what Osaka changes for code on a chain."""

import pytest

from evm_runtime.calls import CallRequest
from evm_runtime.hardforks import OSAKA, PRAGUE, fork_at
from genesis.chain_spec import BlockParams, ChainSpec, ForkActivation
from genesis.errors import InvalidTransaction, LocalError
from genesis.primitives import Address
from tests.unit.evm_runtime.chain import Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm

CODE = Address(b"\xe0" * 20)
CLZ = b"\x1e"
SCHEDULE = (ForkActivation("prague"), ForkActivation("osaka", 2))


@pytest.mark.parametrize(("word", "zeros"), [(0, 256), (1, 255), (1 << 255, 0), ((1 << 256) - 1, 0), (0xFF00, 240)])
def test_clz_counts_leading_zeros(word: int, zeros: int) -> None:
    chain = Chain(make_spec(contract(CODE, asm(word.to_bytes(32, "big")) + CLZ + asm(0, "MSTORE", 32, 0, "RETURN"))))
    result = chain.runtime.call(chain.tip, CallRequest(to=CODE), gas_cap=100_000)
    assert int.from_bytes(result.output, "big") == zeros
    assert result.gas_used == 21_000 + 3 + 5 + 2 + 6 + 3 + 2


def test_a_chain_changes_its_rules_at_the_height_of_its_schedule() -> None:
    chain = Chain(make_spec(contract(CODE, asm(1) + CLZ + asm(0, "SSTORE")), forks=SCHEDULE))
    statuses = [chain.advance(signed(0, nonce=nonce, to=CODE, gas=100_000)).receipts[0].status for nonce in range(3)]
    assert statuses == [0, 1, 1]
    assert [fork_at(SCHEDULE, height) for height in (0, 1, 2, 99)] == [PRAGUE, PRAGUE, OSAKA, OSAKA]


def test_an_estimate_stays_below_the_transaction_gas_cap() -> None:
    burner = asm("JUMPDEST", 17_000_000, "GAS", "LT", 0, "JUMPI", "STOP")  # loops while less than this is left
    spec = make_spec(contract(CODE, burner))
    chain = Chain(spec)
    with pytest.raises(InvalidTransaction, match="gas required exceeds allowance"):
        chain.runtime.estimate_gas(chain.tip, CallRequest(to=CODE), gas_cap=50_000_000)


@pytest.mark.parametrize(
    ("forks", "message"),
    [
        ((), "height 0"),
        ((ForkActivation("osaka", 1),), "height 0"),
        ((ForkActivation("tokyo"),), "does not know"),
        ((ForkActivation("osaka"), ForkActivation("prague", 5)), "in their order"),
        ((ForkActivation("prague"), ForkActivation("osaka")), "must rise"),
        ((ForkActivation("osaka"), ForkActivation("osaka", 3)), "each once"),
    ],
)
def test_impossible_schedules_are_refused(forks: tuple[ForkActivation, ...], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        make_spec(forks=forks)


def test_the_schedule_is_in_the_spec_and_its_hash() -> None:
    spec = make_spec(forks=SCHEDULE)
    assert ChainSpec.from_json(spec.to_json()) == spec and spec.hash() != make_spec().hash()
    assert make_spec().forks == (ForkActivation("osaka"),), "chains start on the newest fork"


def test_blocks_stay_below_osakas_size_cap() -> None:
    with pytest.raises(LocalError, match="EIP-7934"):
        make_spec(block=BlockParams(bytes_max=8 * 1024 * 1024 + 1))
