"""The light client's rules: what it believes, what it refuses, how it skips, and how it proves a fork."""

from dataclasses import replace

import pytest

from consensus.evidence import check_evidence
from consensus.light import (
    Attack,
    Conflict,
    LightBlock,
    LightParams,
    NotEnoughOverlap,
    TrustExpired,
    check_first_block,
    check_light_block,
    cross_check,
    follow,
    read_header,
    verify,
)
from evm_runtime.header import Header
from genesis.chain_spec import StakingParams
from genesis.codec import decode_rlp, encode_rlp
from genesis.errors import InvalidBlock
from genesis.primitives import Height, Round, keccak256
from genesis.types import HEIGHT_MAX, ChainIdentity, Commit, Validator, ValidatorSet
from tests.unit.light.light_chain import (
    CHAIN,
    INTERVAL_MS,
    PARAMS,
    Chain,
    commit_by,
    constant_chain,
    followed,
    keys,
    light_block,
    now_at,
    run,
    validators,
    wandering_chain,
)

FOUR = validators(range(4))
STRANGERS = validators(range(24, 28))
GOOD = constant_chain(12)


def refused(block: LightBlock, words: str, *, trusted: LightBlock = GOOD[4], now_ms: int | None = None) -> None:
    with pytest.raises(InvalidBlock, match=words):
        verify(CHAIN, PARAMS, trusted, block, now_at(block) if now_ms is None else now_ms)


def believed(block: LightBlock, trusted: LightBlock = GOOD[4]) -> None:
    verify(CHAIN, PARAMS, trusted, block, now_at(block))


# ---------------------------------------------------------------- headers


def test_header_facts_are_those_of_the_runtime() -> None:
    block = GOOD[7]
    header = Header.from_rlp(block.header)
    assert (block.hash, block.height, block.state_root) == (header.hash, header.number, header.state_root)
    assert block.facts.parent_hash == header.parent_hash == GOOD[6].hash
    assert block.facts.parent_beacon_block_root == header.parent_beacon_block_root
    assert block.facts.timestamp == header.timestamp


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b"\x01" * 31),
        (3, b"\x01" * 33),
        (8, b"\x00\x01"),
        (8, b"\xff" * 8),
        (8, b"\x01" * 9),
        (11, b"\x00"),
        (19, b""),
    ],
)
def test_a_misshapen_header_is_refused(place: int, value: bytes) -> None:
    items = decode_rlp(GOOD[5].header, size_max=2_000)
    items[place] = value
    with pytest.raises(InvalidBlock):
        read_header(encode_rlp(items))


@pytest.mark.parametrize(
    "header", [b"", b"\x80", b"\xc0", encode_rlp([[b""]] * 21), encode_rlp([b""] * 20), b"\xf9" * 400]
)
def test_what_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidBlock):
        read_header(header)


def test_every_flipped_byte_of_a_header_is_noticed() -> None:
    block = GOOD[5]
    for place in range(len(block.header)):
        changed = bytearray(block.header)
        changed[place] ^= 1
        with pytest.raises(InvalidBlock):
            verify(CHAIN, PARAMS, GOOD[4], replace(block, header=bytes(changed)), now_at(block))


def test_the_greatest_height_is_read_and_the_one_after_it_is_refused() -> None:
    items = decode_rlp(GOOD[7].header, size_max=1_024)
    assert isinstance(items, list)
    items[8] = HEIGHT_MAX.to_bytes(8, "big").lstrip(b"\x00")
    assert read_header(encode_rlp(items)).height == HEIGHT_MAX
    items[8] = (HEIGHT_MAX + 1).to_bytes(8, "big").lstrip(b"\x00")
    with pytest.raises(InvalidBlock, match="which no chain reaches"):
        read_header(encode_rlp(items))


# ---------------------------------------------------------------- good blocks


def test_the_next_block_and_a_further_one_are_believed() -> None:
    believed(GOOD[5])
    believed(GOOD[12])
    for height in range(1, 13):
        check_light_block(CHAIN, GOOD[height])


def test_just_more_than_two_thirds_suffice_and_two_thirds_do_not() -> None:
    members = validators(range(3))
    trusted = light_block(4, GOOD[3].hash, members, members)
    addresses = [member.address for member in members.members]
    weights = dict(zip(addresses, (33, 33, 34), strict=True))
    numbers = {address: number for number, address in enumerate(keys())}
    uneven = validators(range(3), lambda number: weights[list(keys())[number]])
    assert {numbers[a] for a in addresses} == {0, 1, 2}
    trusted = light_block(4, GOOD[3].hash, uneven, uneven)
    believed(light_block(5, trusted.hash, uneven, uneven, signers=addresses[1:]), trusted)  # 67 of 100
    block = light_block(5, trusted.hash, uneven, uneven, signers=addresses[:2])  # 66 of 100
    refused(block, "66 of 100 power, which is not more than 2/3", trusted=trusted)
    even_trusted = light_block(4, GOOD[3].hash, members, members)
    exact = light_block(5, even_trusted.hash, members, members, signers=addresses[:2])
    refused(exact, "20 of 30 power", trusted=even_trusted)


# ---------------------------------------------------------------- one block that lies


def test_another_consensus_data_than_the_header_names() -> None:
    block = GOOD[5]
    refused(replace(block, consensus=replace(block.consensus, round=Round(1))), "parent_beacon_block_root")


def test_other_sets_than_the_consensus_data_names() -> None:
    refused(replace(GOOD[5], validators=STRANGERS), "not those of its validators_hash")
    refused(replace(GOOD[5], next_validators=STRANGERS), "not those of its next_validators_hash")
    richer = ValidatorSet(tuple(Validator(m.address, m.power, bytes(20)) for m in FOUR.members))  # type: ignore[arg-type]
    refused(replace(GOOD[5], validators=richer), "not those of its validators_hash")


def test_time_round_and_proposer_must_fit() -> None:
    moment = GOOD[5].time_ms
    refused(light_block(5, GOOD[4].hash, FOUR, FOUR, proposer=STRANGERS.members[0].address), "is no validator")
    refused(light_block(5, GOOD[4].hash, FOUR, FOUR, first_round=2, round_=1), "proposed in round 2, committed in 1")
    believed(light_block(5, GOOD[4].hash, FOUR, FOUR, first_round=1, round_=2))
    lagging = light_block(5, GOOD[4].hash, FOUR, FOUR, time_ms=moment)
    data = replace(lagging.consensus, time_ms=moment + 5_000)
    header = Header.from_rlp(lagging.header).replace(parent_beacon_block_root=data.hash())
    changed = replace(lagging, header=header.to_rlp(), consensus=data, commit=commit_by(FOUR, 5, header.hash))
    refused(changed, "the timestamp is")


def test_a_commit_of_something_else() -> None:
    refused(replace(GOOD[5], commit=GOOD[6].commit), "the commit is for height 6")
    refused(replace(GOOD[5], commit=commit_by(FOUR, 5, GOOD[6].hash)), "the commit is for height 5")


def test_wrong_signatures() -> None:
    block = GOOD[5]
    good = block.commit.signatures
    flipped = bytes([good[0][0] ^ 1]) + good[0][1:]
    wrong_parity = good[0][:64] + bytes([good[0][64] ^ 1])
    high_s = good[0][:32] + b"\xff" * 32 + good[0][64:]
    for bad in (flipped, wrong_parity, high_s, good[1], good[0][:64] + b"\x1b", bytes(65)):
        refused(replace(block, commit=replace(block.commit, signatures=(bad, *good[1:]))), "the signature of validator")
    swapped = (good[1], good[0], *good[2:])
    refused(replace(block, commit=replace(block.commit, signatures=swapped)), "somebody else's")
    other_round = Commit(block.commit.height, Round(1), block.hash, good)
    refused(replace(block, commit=other_round), "the signature of validator")


@pytest.mark.parametrize("slots", [0, 1, 3, 5, 256])
def test_too_few_or_too_many_signature_slots(slots: int) -> None:
    block = GOOD[5]
    signatures = tuple((block.commit.signatures * 64)[:slots])
    refused(replace(block, commit=replace(block.commit, signatures=signatures)), f"{slots} signature slots for 4")
    far = GOOD[12]
    signatures = tuple((far.commit.signatures * 64)[:slots])
    refused(replace(far, commit=replace(far.commit, signatures=signatures)), "signature slots|not more than 1/3")


def test_signatures_of_another_chain() -> None:
    for other in (ChainIdentity(1338, CHAIN.genesis_hash), ChainIdentity(1337, keccak256(b"another genesis"))):
        block = light_block(5, GOOD[4].hash, FOUR, FOUR, chain=other)
        refused(block, "the signature of validator")
        with pytest.raises(InvalidBlock, match="the signature of validator"):
            check_light_block(other, GOOD[5])


def test_genesis_is_no_light_block() -> None:
    refused(light_block(0, GOOD[4].hash, FOUR, FOUR), "is not above")
    with pytest.raises(InvalidBlock, match="begin with block 1"):
        check_light_block(CHAIN, light_block(0, GOOD[4].hash, FOUR, FOUR))


def test_the_first_block_stands_on_the_genesis_block_and_is_number_one() -> None:
    chain = constant_chain(2)
    check_first_block(CHAIN, FOUR, chain[1])
    for block in (
        light_block(2, CHAIN.genesis_hash, FOUR, FOUR),
        light_block(1, keccak256(b"another genesis"), FOUR, FOUR),
    ):
        with pytest.raises(InvalidBlock, match="is not built on the genesis block"):
            check_first_block(CHAIN, FOUR, block)
    with pytest.raises(InvalidBlock, match="another validator set than the genesis file"):
        check_first_block(CHAIN, STRANGERS, chain[1])


# ---------------------------------------------------------------- from the trusted block on


def test_the_next_block_needs_the_announced_set_and_the_trusted_parent() -> None:
    refused(light_block(5, GOOD[4].hash, STRANGERS, FOUR), "another validator set than block 4 announced")
    refused(light_block(5, GOOD[3].hash, FOUR, FOUR), "is not built on the trusted block")
    more = validators(range(5))
    refused(light_block(5, GOOD[4].hash, more, more), "another validator set")  # overlap does not help one height on


def test_skipping_needs_more_than_a_third_of_the_announced_power() -> None:
    announced = validators(range(6))
    trusted = light_block(4, GOOD[3].hash, FOUR, announced)
    two_of_six = validators([0, 1, 10])
    with pytest.raises(NotEnoughOverlap, match="20 of 60 power that block 4"):
        believed(light_block(9, GOOD[8].hash, two_of_six, two_of_six), trusted)
    three_of_six = validators([0, 1, 2, 10])
    believed(light_block(9, GOOD[8].hash, three_of_six, three_of_six), trusted)
    present = [m.address for m in three_of_six.members if m.address != validators([2]).members[0].address]
    with pytest.raises(NotEnoughOverlap):  # a member that is absent vouches for nothing
        believed(light_block(9, GOOD[8].hash, three_of_six, three_of_six, signers=present), trusted)


def test_the_overlap_counts_the_trusted_power_not_the_claimed_one() -> None:
    announced = validators(range(6))
    trusted = light_block(4, GOOD[3].hash, FOUR, announced)
    loud = validators([0, 10], lambda number: 1_000 if number == 0 else 1)
    with pytest.raises(NotEnoughOverlap, match="10 of 60"):
        believed(light_block(9, GOOD[8].hash, loud, loud), trusted)


def test_a_forged_overlap_is_found_by_its_signatures() -> None:
    """An attacker puts known validators into a set of its own and fills their slots with what it likes."""
    mixed = validators([0, 1, 2, 3, 10, 11], lambda number: 1 if number < 10 else 1_000)
    honest = {m.address for m in FOUR.members}
    own = [m.address for m in mixed.members if m.address not in honest]
    block = light_block(9, GOOD[8].hash, mixed, mixed, signers=own)
    place = mixed.index(FOUR.members[0].address)
    assert place is not None
    for filler in (bytes(65), GOOD[9].commit.signatures[0], block.commit.signatures[mixed.index(own[0]) or 0]):
        signatures = tuple(
            filler if m.address in honest else s for m, s in zip(mixed.members, block.commit.signatures, strict=True)
        )
        refused(replace(block, commit=replace(block.commit, signatures=signatures)), "the signature of validator")


def test_a_commit_of_something_else_is_a_lie_and_no_want_of_overlap() -> None:
    """Else whoever serves it would be asked for more blocks, and not be blamed."""
    block = light_block(9, GOOD[8].hash, STRANGERS, STRANGERS)
    with pytest.raises(NotEnoughOverlap):
        believed(block)
    refused(replace(block, commit=replace(block.commit, height=Height(8))), "the commit is for height 8")


def test_the_quorum_of_the_own_set_is_needed_when_skipping_too() -> None:
    addresses = [m.address for m in FOUR.members]
    refused(
        light_block(9, GOOD[8].hash, FOUR, FOUR, signers=addresses[:2]), "20 of 40 power, which is not more than 2/3"
    )


def test_expired_trust() -> None:
    trusted = GOOD[4]
    edge = trusted.time_ms + PARAMS.trusting_period_ms
    verify(CHAIN, PARAMS, trusted, GOOD[5], edge - 1)
    with pytest.raises(TrustExpired, match="more than the trusting period"):
        verify(CHAIN, PARAMS, trusted, GOOD[5], edge)
    with pytest.raises(TrustExpired):
        run(follow(CHAIN, PARAMS, trusted, Height(12), edge), GOOD.__getitem__)


def test_the_future_and_the_past() -> None:
    block = GOOD[5]
    verify(CHAIN, PARAMS, GOOD[4], block, block.time_ms - PARAMS.clock_drift_ms)
    refused(block, "from the future", now_ms=block.time_ms - PARAMS.clock_drift_ms - 1)
    refused(light_block(5, GOOD[4].hash, FOUR, FOUR, time_ms=GOOD[4].time_ms), "not later than block 4")
    refused(light_block(9, GOOD[8].hash, FOUR, FOUR, time_ms=GOOD[4].time_ms - INTERVAL_MS), "not later than block 4")


def test_heights_never_go_back() -> None:
    for height in (1, 3, 4):
        refused(GOOD[height], "is not above the trusted block 4", now_ms=now_at(GOOD[4]))
    for target in (0, 3, 4):
        with pytest.raises(InvalidBlock, match="is not above"):
            run(follow(CHAIN, PARAMS, GOOD[4], Height(target), now_at(GOOD[4])), GOOD.__getitem__)


@pytest.mark.parametrize(("period", "drift"), [(0, 0), (-1, 0), (1, -1)])
def test_parameters_are_checked(period: int, drift: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        LightParams(period, drift)


def test_by_default_trust_lasts_as_long_as_the_chain_assumes_it_does() -> None:
    """A week: the chain punishes what it can for longer than light clients trust."""
    params = LightParams()
    assert (params.trusting_period_ms, params.clock_drift_ms) == (7 * 86_400_000, 10_000)
    assert params.trusting_period_ms == StakingParams().trusting_period_ms
    assert LightParams(1, 0).trusting_period_ms == 1, "the least there is"


# ---------------------------------------------------------------- following


def test_following_skips_when_the_validators_stay() -> None:
    verified, asked = followed(GOOD, 1, 12)
    assert asked == [12]
    assert [block.height for block in verified] == [12]
    sequential, asked = followed(GOOD, 1, 12, skipping=False)
    assert asked == [block.height for block in sequential] == list(range(2, 13))


def test_following_bisects_over_a_complete_change() -> None:
    chain = Chain()
    for height in range(1, 101):
        chain.extend(FOUR if height < 60 else STRANGERS)
    verified, asked = followed(chain, 1, 100)
    assert verified[-1] == chain[100]
    assert 60 in {block.height for block in verified}, "the block that announces the new set can't be skipped"
    assert len(asked) == len(set(asked)) <= 16


def test_a_provider_that_answers_with_another_height() -> None:
    with pytest.raises(InvalidBlock, match="asked for block 12, got block 11"):
        run(follow(CHAIN, PARAMS, GOOD[1], Height(12), now_at(GOOD[12])), lambda height: GOOD[height - 1])


def test_made_up_validators_end_after_a_few_questions() -> None:
    """A provider with keys of its own can lead nobody away, nor keep anybody asking."""
    fake = Chain({1: GOOD[1]})
    for height in range(2, 1_025):
        fake.blocks[height] = light_block(height, keccak256(b"?"), STRANGERS, STRANGERS)
    asked: list[int] = []

    def answer(height: int) -> LightBlock:
        asked.append(height)
        return fake[height]

    with pytest.raises(InvalidBlock, match="not built on the trusted block"):
        run(follow(CHAIN, PARAMS, GOOD[1], Height(1_024), now_at(fake[1_024])), answer)
    assert len(asked) <= 11


@pytest.mark.parametrize("seed", range(6))
def test_random_changes_over_hundreds_of_heights(seed: int) -> None:
    chain = wandering_chain(240, seed)
    verified, asked = followed(chain, 1, 240)
    assert verified[-1] == chain[240], f"seed {seed}"
    assert [b.height for b in verified] == sorted(asked), f"seed {seed}"
    assert all(chain[b.height] == b for b in verified)
    sequential, _ = followed(chain, 1, 240, skipping=False)
    assert len(sequential) == 239
    for start, target in ((7, 8), (30, 200), (239, 240)):
        assert followed(chain, start, target)[0][-1] == chain[target], f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_no_single_lie_on_the_way_survives(seed: int) -> None:
    """Break one block of those that are asked for, in turn and in several ways: it is never believed."""
    chain = wandering_chain(120, 100 + seed)
    _, asked = followed(chain, 1, 120)
    for height in asked:
        block = chain[height]
        members = block.validators
        lone = [members.members[0].address]
        lies = [
            replace(block, consensus=replace(block.consensus, time_ms=block.time_ms + 1)),
            replace(block, next_validators=STRANGERS),
            replace(block, commit=replace(block.commit, signatures=(b"",) * len(members))),
            light_block(height, block.facts.parent_hash, STRANGERS, block.next_validators),
        ]
        if not members.is_quorum(members.power(lone[0])):
            lies.append(replace(block, commit=commit_by(members, height, block.hash, lone)))
        for lie in lies:
            source = Chain({**chain.blocks, height: lie})
            try:
                verified, _ = followed(source, 1, 120)
            except InvalidBlock:
                continue
            assert lie not in verified, f"seed {seed}, height {height}: a lie was believed"


# ---------------------------------------------------------------- forks


def crossed(verified: tuple[LightBlock, ...], other: Chain, trusted: LightBlock = GOOD[1]) -> Conflict | None:
    return run(cross_check(CHAIN, PARAMS, trusted, verified, now_at(verified[-1])), other.__getitem__)[0]


def test_providers_that_agree_prove_nothing() -> None:
    verified, _ = followed(GOOD, 1, 12)
    assert crossed(verified, GOOD) is None
    other_commit = replace(GOOD[12], commit=commit_by(FOUR, 12, GOOD[12].hash, [m.address for m in FOUR.members[1:]]))
    assert crossed(verified, Chain({**GOOD.blocks, 12: other_commit})) is None


def test_equivocation_is_proven_with_evidence_for_the_chain() -> None:
    three = [m.address for m in FOUR.members[1:]]
    twin = GOOD.fork(8)
    for _ in range(4):
        twin.extend(FOUR, salt=b"fork", signers=three)
    verified, _ = followed(GOOD, 1, 12, skipping=False)
    conflict = crossed(verified, twin)
    assert conflict is not None
    assert (conflict.height, conflict.common.height, conflict.attack) == (9, 8, Attack.EQUIVOCATION)
    assert list(conflict.signed_both()) == sorted(three)
    evidence = conflict.duplicate_votes()
    assert [each.first.validator for each in evidence] == sorted(three)
    for each in evidence:
        check_evidence(CHAIN, FOUR, each)


def test_amnesia_and_lunatic_forks_are_told_apart() -> None:
    verified, _ = followed(GOOD, 1, 12)
    late = GOOD.fork(11)
    late.extend(FOUR, salt=b"late", round_=3)
    conflict = crossed(verified, late)
    assert conflict is not None and conflict.attack is Attack.AMNESIA
    assert conflict.duplicate_votes() == () and len(conflict.signed_both()) == 4

    mixed = validators([0, 1, 10])
    lunatic = GOOD.fork(11)
    lunatic.blocks[12] = light_block(12, GOOD[11].hash, mixed, mixed)
    conflict = crossed(verified, lunatic)
    assert conflict is not None and conflict.attack is Attack.LUNATIC
    assert set(conflict.signed_both()) == {m.address for m in validators([0, 1]).members}
    assert conflict.duplicate_votes() == ()


def test_a_witness_that_can_prove_nothing_is_a_liar() -> None:
    verified, _ = followed(GOOD, 1, 12)
    liar = GOOD.fork(11)
    liar.blocks[12] = light_block(12, GOOD[11].hash, STRANGERS, STRANGERS)
    with pytest.raises(InvalidBlock):
        crossed(verified, liar)
    weak = GOOD.fork(11)
    weak.extend(FOUR, salt=b"weak", signers=[m.address for m in FOUR.members[:2]])
    with pytest.raises(InvalidBlock, match="not more than 2/3"):
        crossed(verified, weak)


def test_a_fork_behind_a_change_of_validators_is_found() -> None:
    """The other provider's fork needs blocks in between to be proven."""
    main = Chain()
    for height in range(1, 41):
        main.extend(FOUR if height < 20 else STRANGERS)
    twin = main.fork(30)
    for _ in range(10):
        twin.extend(STRANGERS, salt=b"fork")
    trusted = main[1]
    verified, _ = followed(main, 1, 40)
    conflict = crossed(verified, twin, trusted)
    assert conflict is not None
    assert conflict.attack is Attack.EQUIVOCATION
    assert conflict.common.height <= 30 < conflict.height
    assert len(conflict.duplicate_votes()) == 4


def test_a_witness_is_asked_for_each_block_once_also_where_its_fork_needs_proof_in_between() -> None:
    main = Chain()
    for height in range(1, 13):
        main.extend(FOUR if height < 6 else STRANGERS)
    twin = main.fork(3)
    for height in range(4, 13):
        twin.extend(FOUR if height < 6 else validators(range(10, 14)), salt=b"fork")
    verified = (main[12],)
    work = cross_check(CHAIN, PARAMS, main[1], verified, now_at(main[12]))
    conflict, asked = run(work, twin.__getitem__)
    assert conflict is not None and conflict.attack is Attack.LUNATIC
    assert len(asked) == len(set(asked)) > 1 and asked[0] == 12
