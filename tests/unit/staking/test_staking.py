"""Validators and delegators: who may do what, what it costs, what it pays, and when the sets change."""

import dataclasses
from pathlib import Path

import pytest

from evm_runtime.staking import abi
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, StakingParams
from genesis.emission import emitted, validators_part
from genesis.errors import LocalError
from genesis.primitives import ZERO_ADDRESS
from tests.unit.evm_runtime.chain import ADDRESSES, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm
from tests.unit.staking.world import NEW, OLD, OPEN, PARAMS, UNBONDING_MS, Reverted, World


def reverts(name: str, action: object) -> None:
    with pytest.raises(Reverted) as caught:
        action()  # type: ignore[operator]
    assert caught.value.name == name


def test_the_generated_interface_is_up_to_date() -> None:
    folder = Path(abi.__file__).parent
    for name, content in abi.generated_files().items():
        assert (folder / name).read_bytes() == content, f"run python -m evm_runtime.staking.generate ({name})"


def test_genesis_validators_have_stake_to_match_their_power() -> None:
    world = World()
    books = world.chain.runtime.state().stake_books()
    assert books.staked == books.bonded == 46 * OPEN == world.balance(STAKING_ADDRESS)
    assert world.chain.spec.genesis_supply == world.chain.total_balance()
    info = world.info(OLD[2])
    assert (info.owner, info.power, info.self_stake, info.candidate) == (ADDRESSES[2], 12, 12 * OPEN, True)
    assert sorted(world.view("candidates", 0, 10)) == sorted(OLD) and world.view("candidateCount") == 4


def test_a_new_validator_votes_two_heights_later() -> None:
    world = World()
    joined = world.create(4, 0, 20 * OPEN)
    height = joined.header.number
    before = joined.block.consensus
    current, following = world.sets()
    assert NEW[0] not in current and following[NEW[0]] == 20
    first = world.block().block.consensus
    assert first.validators_hash == before.next_validators_hash == before.validators_hash
    assert first.next_validators_hash != first.validators_hash
    second = world.block()
    assert second.header.number == height + 2
    assert second.block.consensus.validators_hash == first.next_validators_hash
    members = world.chain.runtime.state().validators().last
    assert members is not None and members.power(NEW[0]) == 20 and members.total_power == 66
    third = world.block()
    assert len(third.block.last_commit.signatures) == 5 and all(third.block.last_commit.signatures)


def test_a_validator_that_takes_its_stake_out_leaves_and_is_paid_after_the_unbonding_time() -> None:
    world = World()
    world.act(0, "removeSelfStake", OLD[0], 10 * OPEN)
    world.block()
    assert OLD[0] not in world.sets()[0]
    assert world.chain.runtime.state().stake_books().unbonding == 10 * OPEN
    entry = world.view("unbonding", 0)
    assert (entry.owner, entry.validator, entry.amount) == (ADDRESSES[0], OLD[0], 10 * OPEN)
    world.block()  # its last signature's reward
    world.block()
    before = world.balance(ADDRESSES[0])
    world.skip_ms(entry.completes_ms - world.chain.time_ms - 10_000)
    assert world.balance(ADDRESSES[0]) == before
    paid = world.skip_ms(15_000)
    assert world.balance(ADDRESSES[0]) == before + 10 * OPEN
    assert any(w.address == ADDRESSES[0] and w.amount_gwei == 10 * 10**9 for b in paid for w in b.block.withdrawals)
    books = world.chain.runtime.state().stake_books()
    assert (books.unbonding, books.owed, books.withdrawn) == (0, 0, 10 * OPEN)
    reverts("UnknownUnbonding", lambda: world.view("unbonding", 0))


def test_the_last_validators_can_leave_and_the_set_stays() -> None:
    world = World()
    for key in range(4):
        world.queue(key, "removeSelfStake", OLD[key], (10 + key) * OPEN)
    world.block()
    for _ in range(3):
        world.block()
    assert world.view("candidateCount") == 0
    assert sorted(world.sets()[0]) == sorted(OLD)
    world.create(4, 0, 5 * OPEN)
    world.block()
    assert world.sets()[0] == {NEW[0]: 5}


def test_registering_needs_the_consensus_key() -> None:
    world = World()
    terms = (ADDRESSES[4], 0, 1_000, 100)
    for_another = world.proof(0, ADDRESSES[3])
    reverts("BadProof", lambda: world.act(4, "createValidator", NEW[0], *terms, for_another, value=OPEN))
    other_chain = world.proof(0, ADDRESSES[4], chain_id=1)
    reverts("BadProof", lambda: world.act(4, "createValidator", NEW[0], *terms, other_chain, value=OPEN))
    other_key = world.proof(1, ADDRESSES[4])
    reverts("BadProof", lambda: world.act(4, "createValidator", NEW[0], *terms, other_key, value=OPEN))
    reverts("BadProof", lambda: world.act(4, "createValidator", NEW[0], *terms, b"short", value=OPEN))
    good = world.proof(0, ADDRESSES[4])
    reverts("AmountTooLow", lambda: world.act(4, "createValidator", NEW[0], *terms, good, value=OPEN - 1))
    for at in (ZERO_ADDRESS, ATTRIBUTION_ADDRESS, STAKING_ADDRESS):
        nobody = (at, 0, 1_000, 100)
        reverts("InvalidParameter", lambda n=nobody: world.act(4, "createValidator", NEW[0], *n, good, value=OPEN))  # type: ignore[misc]
    greedy = (ADDRESSES[4], 0, 5_001, 100)
    reverts("InvalidParameter", lambda: world.act(4, "createValidator", NEW[0], *greedy, good, value=OPEN))
    world.act(4, "createValidator", NEW[0], *terms, good, value=OPEN)
    reverts("ValidatorExists", lambda: world.act(4, "createValidator", NEW[0], *terms, good, value=OPEN))


def test_only_the_owner_acts_for_a_validator() -> None:
    world = World()
    reverts("NotOwner", lambda: world.act(4, "addSelfStake", OLD[0], value=OPEN))
    reverts("NotOwner", lambda: world.act(4, "removeSelfStake", OLD[0], OPEN))
    reverts("NotOwner", lambda: world.act(4, "setCommission", OLD[0], 0))
    reverts("NotOwner", lambda: world.act(4, "setPayout", OLD[0], ADDRESSES[4]))
    reverts("NotOwner", lambda: world.act(4, "unjail", OLD[0]))
    reverts("UnknownValidator", lambda: world.act(4, "delegate", NEW[3], value=OPEN))
    reverts("AmountTooHigh", lambda: world.act(0, "removeSelfStake", OLD[0], 11 * OPEN))
    reverts("AmountTooHigh", lambda: world.act(0, "undelegate", OLD[0], 1))


def test_delegations_add_power_and_earn_less_the_commission() -> None:
    world = World()
    world.create(4, 0, 20 * OPEN, commission_bps=1_000)
    world.act(3, "delegate", NEW[0], value=60 * OPEN)
    world.block()
    assert world.sets()[0][NEW[0]] == 80
    world.block()
    before = world.view("delegation", NEW[0], ADDRESSES[3])
    clock = world.chain.runtime.state().supply().emission_clock_ms
    world.block()
    gained = world.view("delegation", NEW[0], ADDRESSES[3]).rewards - before.rewards
    emission = validators_part(emitted(clock + 5_000) - emitted(clock))
    share = emission * 80 // (46 + 80)
    assert abs(gained - share * 60 // 80 * 9 // 10) <= 2
    waiting = world.view("claimRewards", NEW[0], sender=ADDRESSES[3])
    executed = world.act(3, "claimRewards", NEW[0])
    paid = sum(w.amount_gwei for w in executed.block.withdrawals if w.address == ADDRESSES[3]) * 10**9
    assert paid >= waiting // 10**9 * 10**9
    assert world.view("delegation", NEW[0], ADDRESSES[3]).rewards <= gained + 2


def test_commission_moves_in_steps_and_not_too_often() -> None:
    world = World()
    world.create(4, 0, OPEN, commission_bps=500)
    reverts("TooSoon", lambda: world.act(4, "setCommission", NEW[0], 600))
    world.skip_ms(60_000)
    reverts("InvalidParameter", lambda: world.act(4, "setCommission", NEW[0], 1_501))
    reverts("InvalidParameter", lambda: world.act(4, "setCommission", NEW[0], 5_001))
    world.act(4, "setCommission", NEW[0], 1_500)
    assert world.info(NEW[0]).commission_bps == 1_500
    reverts("TooSoon", lambda: world.act(4, "setCommission", NEW[0], 1_400))


def test_only_the_candidates_of_most_power_are_in_the_set() -> None:
    world = World(dataclasses.replace(PARAMS, validators_max=4, candidates_max=5))
    world.create(4, 0, 11 * OPEN)
    world.block()
    # 11 of NEW[0] tie with 11 of OLD[1]; OLD[0] with 10 is out.
    assert OLD[0] not in world.sets()[0] and world.sets()[0][NEW[0]] == 11
    world.act(4, "delegate", OLD[0], value=5 * OPEN)
    world.block()
    assert world.sets()[0][OLD[0]] == 15
    assert len(world.sets()[0]) == 4
    # The list of candidates is full: who comes must have more than the weakest, which goes.
    reverts("CandidatesFull", lambda: world.create(3, 1, 11 * OPEN))
    weakest = max([NEW[0], OLD[1]])
    world.create(3, 1, 12 * OPEN)
    assert not world.info(weakest).candidate and world.info(NEW[1]).candidate
    reverts("CandidatesFull", lambda: world.act(0, "enlist", weakest))
    world.act(2, "delegate", weakest, value=3 * OPEN)
    reverts("AlreadyCandidate", lambda: world.act(0, "enlist", NEW[1]))
    world.act(0, "enlist", weakest)
    assert world.info(weakest).candidate


def test_own_stake_below_the_minimum_ends_a_candidacy_until_it_is_back() -> None:
    world = World()
    world.act(4, "delegate", OLD[1], value=50 * OPEN)
    world.act(1, "removeSelfStake", OLD[1], 11 * OPEN - 1)
    world.block()
    assert OLD[1] not in world.sets()[0]
    reverts("AmountTooLow", lambda: world.act(0, "enlist", OLD[1]))
    world.act(1, "addSelfStake", OLD[1], value=OPEN - 1)
    world.block()
    assert world.sets()[0][OLD[1]] == 51


def test_redelegated_stake_moves_at_once_and_is_locked_for_the_unbonding_time() -> None:
    world = World()
    world.act(4, "delegate", OLD[0], value=10 * OPEN)
    world.act(4, "redelegate", OLD[0], OLD[1], 6 * OPEN)
    world.block()
    assert (world.sets()[0][OLD[0]], world.sets()[0][OLD[1]]) == (14, 17)
    held = world.view("delegation", OLD[1], ADDRESSES[4])
    assert (held.amount, held.locked) == (6 * OPEN, 6 * OPEN)
    reverts("AmountTooHigh", lambda: world.act(4, "undelegate", OLD[1], 1))
    reverts("AmountTooHigh", lambda: world.act(4, "redelegate", OLD[1], OLD[2], OPEN))
    reverts("RedelegationOpen", lambda: world.act(4, "redelegate", OLD[0], OLD[1], OPEN))
    reverts("InvalidParameter", lambda: world.act(4, "redelegate", OLD[0], OLD[0], OPEN))
    world.act(4, "delegate", OLD[1], value=OPEN)
    world.act(4, "undelegate", OLD[1], OPEN)
    world.skip_ms(UNBONDING_MS)
    assert world.view("delegation", OLD[1], ADDRESSES[4]).locked == 0
    world.act(4, "undelegate", OLD[1], 6 * OPEN)


def test_a_payout_address_changes_with_the_set() -> None:
    world = World()
    world.act(0, "setPayout", OLD[0], ADDRESSES[4])
    world.block()
    state = world.chain.runtime.state().validators()
    place = state.current.index(OLD[0])
    assert place is not None and state.current.members[place].payout == ADDRESSES[4]
    world.block()
    assert ADDRESSES[4] in {w.address for w in world.block().block.withdrawals}


def test_a_plain_transfer_is_refused() -> None:
    world = World()
    tx = signed(4, nonce=0, to=STAKING_ADDRESS, value=5, gas=100_000)
    world.nonces[4] += 1
    world.waiting.append(tx)
    assert world.block().receipts[0].status == 0


def test_wei_forced_onto_the_account_are_nobodys() -> None:
    dying = contract(b"\xd1" * 20, asm(STAKING_ADDRESS, "SELFDESTRUCT"), 10**18)
    world = World()
    spec = dataclasses.replace(world.chain.spec, alloc=(*world.chain.spec.alloc, dying))
    forced = type(world.chain)(spec)
    forced.advance(signed(4, nonce=0, to=b"\xd1" * 20, gas=100_000))
    forced.advance()
    state = forced.runtime.state()
    assert state.balance(STAKING_ADDRESS) == 46 * OPEN + 10**18
    assert state.supply().total == forced.total_balance()


def test_a_set_that_nothing_points_to_is_cleared() -> None:
    world = World()
    for _ in range(3):
        world.block()
    size = len(list(world.chain.store.iterate(b"")))
    slots_before = _slots(world)
    for _ in range(8):
        world.act(4, "delegate", OLD[0], value=OPEN)
    for _ in range(3):
        world.block()
    assert size and _slots(world) - slots_before < 10


def _slots(world: World) -> int:
    """Words in the flat storage of the staking account."""
    return sum(STAKING_ADDRESS in key for key, _ in world.chain.store.iterate(b"s"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stake_per_power": 10**8}, "stake_per_power"),
        ({"min_self_stake": 10**17}, "min_self_stake"),
        ({"min_self_stake": 100 * OPEN}, "less than staking.min_self_stake"),
        ({"validators_max": 3, "candidates_max": 3}, "more validators"),
        ({"validators_max": 300, "candidates_max": 300}, "validators_max"),
        ({"candidates_max": 5_000}, "candidates_max"),
        ({"evidence_age_ms": 10**12}, "trusting_period_ms < evidence_age_ms <= unbonding_ms"),
        ({"trusting_period_ms": 10**12}, "trusting_period_ms < evidence_age_ms <= unbonding_ms"),
        ({"slash_bps": 10_000}, "slash_bps"),
        ({"downtime_window_blocks": 7}, "downtime_window_blocks"),
        ({"commission_bps_max": 10_001}, "commission_bps_max"),
    ],
)
def test_a_spec_with_staking_that_cannot_work_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        make_spec(staking=StakingParams(**changes))
