"""The driver: order of persistence, restarts at every crash point, what peers may and may not do."""

import contextlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from consensus.driver import HeightDriver
from consensus.events import CommitReceived, EnterHeight, TimeoutExpired, VoteReceived
from consensus.evidence import EvidencePool
from consensus.member import Node
from consensus.messages import BlockRequest, RoundState, Step, VoteBits, decode_message, encode_message
from consensus.observer import SilentObserver, VoteIgnored, missing_power
from consensus.orders import Broadcast, Build, Finalize, Judge, Order, Send
from consensus.wal import HeldBlock, PolkaSeen, Wal, encode_record, read_records
from genesis.crypto import sign
from genesis.errors import InvariantError, PeerFault, StorageCorrupt, WireError
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height, Round
from genesis.types import Block, Proposal, Vote, VoteType, sign_digest
from tests.unit.consensus.support import (
    CHAIN,
    PARAMS,
    PRECOMMIT,
    PREVOTE,
    MemoryLog,
    MemoryRecord,
    SimulatedCrash,
    commit_for,
    first_context,
    keys_in_set_order,
    make_block,
    make_signer,
    next_context,
    proposal,
    validator_set,
    vote,
)

VALIDATORS = validator_set(4)
CONTEXT = first_context(VALIDATORS)
BLOCK = make_block(CONTEXT)
A = BLOCK.hash
PROPOSER = next(i for i in range(4) if VALIDATORS.members[i].address == CONTEXT.proposer(Round(0)))
ME = (PROPOSER + 2) % 4
OTHERS = [i for i in range(4) if i != ME]
NOW_MS = BLOCK.consensus.time_ms
H = Height(1)


class Recorder(SilentObserver):
    def __init__(self) -> None:
        self.refusals: list[str] = []
        self.stops: list[str] = []
        self.seen: list[tuple[object, ...]] = []

    def proposal_taken(self, height: Height, round_: Round, *, own: bool) -> None:
        self.seen.append(("proposal", round_, own))

    def polka_seen(self, height: Height, round_: Round) -> None:
        self.seen.append(("polka", round_))

    def timed_out(self, height: Height, round_: Round, step: Step) -> None:
        self.seen.append(("timeout", round_, step))

    def vote_ignored(self, why: VoteIgnored) -> None:
        self.seen.append(("ignored", why))

    def signing_refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def signing_stopped(self, reason: str) -> None:
        self.stops.append(reason)


class Disk:
    """What outlives a process, and the order in which it was used."""

    def __init__(self) -> None:
        self.log, self.record = MemoryLog(), MemoryRecord()
        self.steps: list[str] = []
        self.observer = Recorder()

    def start(self, me: int = ME) -> tuple[HeightDriver, list[Order]]:
        signer = make_signer(keys_in_set_order(4)[me], self.record)
        node = Node(CHAIN, PARAMS, signer, Wal(self.log), EvidencePool(), self.observer)
        driver = HeightDriver(node, CONTEXT)
        return driver, driver.start()


def votes(kind: VoteType, value: Hash32, who: list[int], round_: int = 0) -> list[Vote]:
    return [vote(VALIDATORS, i, kind, round_, value) for i in who]


def sent(orders: list[Order]) -> list[Vote | Proposal]:
    return [o.message for o in orders if isinstance(o, Broadcast) and isinstance(o.message, Vote | Proposal)]


def to_precommit(driver: HeightDriver) -> list[Order]:
    """A proposal, its block, two more prevotes: lock and precommit."""
    orders = driver.enter()
    orders += driver.take_proposal(proposal(CONTEXT, 0, A), NOW_MS)
    orders += driver.take_block("peer", BLOCK)
    orders += driver.judged(BLOCK, valid=True)
    for message in votes(PREVOTE, A, OTHERS[:2]):
        orders += driver.take_vote(message)
    return orders


# ---------------------------------------------------------------- persistence


def test_lock_and_block_are_durable_before_the_precommit_is_signed_and_all_before_it_is_sent() -> None:
    disk = Disk()
    events: list[tuple[str, int, int]] = []

    def note(what: str) -> None:
        events.append((what, disk.log.durable, len(disk.log.data)))

    driver, _ = disk.start()
    disk.record.hazard = lambda: note("sign")
    orders = to_precommit(driver)
    assert [m.kind for m in sent(orders) if isinstance(m, Vote)] == [PREVOTE, PRECOMMIT]
    what, durable, size = events[-1]
    assert (what, durable) == ("sign", size), "the log was not synced before the precommit was signed"
    before, _ = read_records(disk.log.data[:size])
    assert [type(record) for record in before[-2:]] == [HeldBlock, PolkaSeen]
    assert disk.log.durable == len(disk.log.data), "the own vote was sent before it was durable"
    assert isinstance(read_records(disk.log.data)[0][-1], VoteReceived)


def test_every_input_is_logged_before_it_acts() -> None:
    disk = Disk()
    driver, _ = disk.start()
    driver.enter()
    driver.expire(TimeoutExpired(H, Round(0), Step.PROPOSE))
    kinds = [type(record).__name__ for record in read_records(disk.log.data)[0]]
    assert kinds == ["EnterHeight", "TimeoutExpired", "VoteReceived"]


def test_a_crash_at_every_port_call_never_signs_twice_and_never_forgets_a_lock() -> None:
    """aptos #18298 and malachite #1445: sign and persist are not one step, and no crash between them hurts."""
    for point in range(40):
        for seed in range(3):
            said: dict[tuple[object, ...], Hash32] = {}
            disk = Disk()
            calls = 0

            def hazard(limit: int = point) -> None:
                nonlocal calls
                calls += 1
                if calls == limit:
                    raise SimulatedCrash

            disk.log.hazard = disk.record.hazard = hazard
            try:
                driver, orders = disk.start()
                orders += to_precommit(driver)
            except SimulatedCrash:
                orders = []
            disk.log.hazard = disk.record.hazard = lambda: None
            disk.log.crash(random.Random(seed))
            again, after = disk.start()
            for message in sent(orders) + sent(after):
                kind = message.kind if isinstance(message, Vote) else None
                assert said.setdefault((message.round, kind), message.block_hash) == message.block_hash
            own = [m for m in sent(orders) + sent(after) if isinstance(m, Vote) and m.kind is PRECOMMIT]
            if own:
                assert (again.state.locked_value, again.state.locked_round) == (A, 0)
                assert again.state.valid_polka and A in again.blocks


def test_a_restart_takes_up_lock_votes_and_step_and_sends_the_last_vote_as_it_was() -> None:
    disk = Disk()
    driver, _ = disk.start()
    before = sent(to_precommit(driver))
    again, orders = disk.start()
    assert sent(orders) == before[-1:]
    assert (again.state.round, again.state.step) == (0, Step.PRECOMMIT)
    assert (again.state.locked_round, again.state.valid_round) == (0, 0)
    assert [o.block.hash for o in orders if isinstance(o, Judge)] == [A]
    for message in votes(PRECOMMIT, A, OTHERS[:2]):
        again.take_vote(message)
    assert any(isinstance(order, Finalize) for order in again.judged(BLOCK, valid=True))


def test_a_vote_that_only_the_sign_record_holds_is_not_forgotten_when_the_next_one_is_signed() -> None:
    """Else nobody could ever send it again, and a peer that misses it would wait for ever."""
    disk = Disk()
    driver, _ = disk.start()
    driver.enter()
    signed = []
    disk.record.hazard = lambda: signed.append(True)

    def hazard() -> None:
        if signed:
            raise SimulatedCrash

    disk.log.hazard = hazard
    with pytest.raises(SimulatedCrash):
        driver.expire(TimeoutExpired(H, Round(0), Step.PROPOSE))
    disk.log.hazard = disk.record.hazard = lambda: None
    disk.log.crash(random.Random(0))
    again, orders = disk.start()
    (prevote,) = sent(orders)
    for message in votes(PREVOTE, ZERO_HASH, OTHERS[:2]):
        orders += again.take_vote(message)
    assert [m.kind for m in sent(orders) if isinstance(m, Vote)] == [PREVOTE, PRECOMMIT]
    last, _ = disk.start()
    assert prevote in last.state.votes.prevotes(Round(0)).votes_for(ZERO_HASH)


def test_a_proposer_restarts_with_its_own_proposal() -> None:
    disk = Disk()
    driver, _ = disk.start(PROPOSER)
    assert Build(Round(0)) in driver.enter()
    first = sent(driver.built(Round(0), BLOCK))
    again, orders = disk.start(PROPOSER)
    assert Build(Round(0)) not in orders
    assert again.state.proposals[Round(0)].proposal == first[0]
    assert any(m.block_hash == A for m in sent(again.judged(BLOCK, valid=True)) if isinstance(m, Vote)) or (
        again.state.step is Step.PREVOTE
    )


def test_a_proposal_that_only_the_sign_record_holds_is_where_the_round_goes_on() -> None:
    disk = Disk()
    driver, _ = disk.start(PROPOSER)
    driver.enter()
    (own,) = sent(driver.built(Round(0), BLOCK))[:1]
    disk.log.data, disk.record.value = b"", disk.record.history[0]
    again, orders = disk.start(PROPOSER)
    assert (again.state.round, again.state.step) == (0, Step.PROPOSE)
    assert sent(orders) == [own] and Build(Round(0)) not in orders, "it has proposed"
    assert again.enter() == []


@pytest.mark.parametrize("round_", [0, 2])
def test_a_precommit_timer_that_ran_out_leads_to_the_next_round(round_: int) -> None:
    disk = Disk()
    for record in (EnterHeight(H), TimeoutExpired(H, Round(round_), Step.PRECOMMIT)):
        disk.log.data += encode_record(record)
    driver, _ = disk.start()
    assert (driver.state.round, driver.state.step) == (round_ + 1, Step.PROPOSE)


def test_what_certifies_counts_again_after_a_restart_however_much_a_cheat_said() -> None:
    """A commit, and a polka, that hold the vote of one who had voted for four other blocks before."""
    cheat, *honest = OTHERS
    lies = [Hash32(bytes([0xE0 + i]) * 32) for i in range(4)]
    commit = commit_for(CONTEXT, A, signers=[cheat, *honest])
    polka = tuple(votes(PREVOTE, A, [cheat, *honest]))
    for kind, certificate in ((PRECOMMIT, CommitReceived(commit)), (PREVOTE, PolkaSeen(H, Round(0), A, True, polka))):
        disk = Disk()
        disk.log.data += encode_record(EnterHeight(H))
        for lie in lies:
            disk.log.data += encode_record(VoteReceived(*votes(kind, lie, [cheat])))
        disk.log.data += encode_record(HeldBlock(BLOCK)) + encode_record(certificate)
        driver, _ = disk.start()
        assert driver.state.votes.get(Round(0), kind).quorum == A


def test_a_proposer_that_died_before_it_proposed_builds_after_its_restart() -> None:
    disk = Disk()
    driver, _ = disk.start(PROPOSER)
    driver.enter()
    _, orders = disk.start(PROPOSER)
    assert Build(Round(0)) in orders


def test_a_log_that_knows_own_votes_which_the_sign_record_does_not_is_refused() -> None:
    disk = Disk()
    driver, _ = disk.start()
    to_precommit(driver)
    disk.record.value = disk.record.history[0]
    with pytest.raises(StorageCorrupt, match="sign record"):
        disk.start()


def test_a_validator_whose_log_lost_the_lock_of_a_precommit_sits_the_height_out_wherever_it_ends() -> None:
    disk = Disk()
    driver, _ = disk.start()
    to_precommit(driver)
    whole = disk.log.data
    records, _ = read_records(whole)
    ends = [sum(len(encode_record(record)) for record in records[:count]) for count in range(len(records) + 1)]
    locked = next(count for count, record in enumerate(records) if isinstance(record, PolkaSeen) and record.locks) + 1
    for count, end in enumerate(ends):
        disk.log.data, disk.observer.refusals = whole[:end], []
        if count < locked:
            check_it_sits_out(disk, "its lock")
        else:
            assert disk.start()[0].state.locked_value == A and not disk.observer.refusals


def check_it_sits_out(disk: Disk, why: str) -> None:
    """It says again what it said, nothing else, and decides with the others."""
    last = disk.record.value
    driver, orders = disk.start()
    assert [why in refusal for refusal in disk.observer.refusals] == [True]
    said = sent(orders)
    assert len(said) == 1
    orders = to_precommit(driver)
    for round_ in range(3):
        for step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT):
            orders += driver.expire(TimeoutExpired(H, Round(round_), step))
    assert sent(orders) == [] and disk.record.value == last
    driver, orders = disk.start()  # the log holds the votes of others again
    assert driver.state.me is None and sent(orders) == said
    for message in votes(PRECOMMIT, A, OTHERS):
        orders += driver.take_vote(message)
    orders += driver.take_block("peer", BLOCK) + driver.judged(BLOCK, valid=True)
    assert any(isinstance(order, Finalize) for order in orders)


def to_round_one(driver: HeightDriver) -> list[Order]:
    """Others are there already; the timer runs out."""
    orders = driver.enter()
    for message in votes(PREVOTE, ZERO_HASH, OTHERS[:2], round_=1):
        orders += driver.take_vote(message)
    return orders + driver.expire(TimeoutExpired(H, Round(1), Step.PROPOSE))


def test_a_validator_that_signed_beyond_round_zero_and_has_no_log_sits_the_height_out() -> None:
    """A data directory that was deleted to sync again: a lock of round 0 may be among what was lost."""
    disk = Disk()
    driver, _ = disk.start()
    assert {m.round for m in sent(to_round_one(driver))} == {1}
    assert disk.start()[0].state.me is not None and not disk.observer.refusals
    disk.log.data = b""
    check_it_sits_out(disk, "how the node came there")


def test_no_crash_makes_a_validator_sit_out() -> None:
    for begin in (to_precommit, to_round_one):
        for point in range(1, 40):
            disk = Disk()
            calls = itertools.count(1)

            def hazard(calls: Iterator[int] = calls, limit: int = point) -> None:
                if next(calls) == limit:
                    raise SimulatedCrash

            disk.log.hazard = disk.record.hazard = hazard
            with contextlib.suppress(SimulatedCrash):
                driver, _ = disk.start()
                begin(driver)
            disk.log.hazard = disk.record.hazard = lambda: None
            disk.log.data = disk.log.data[: disk.log.durable]
            assert disk.start()[0].state.me is not None
            assert not disk.observer.refusals


def test_a_precommit_before_its_lock_is_durable_stops_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeightDriver, "_persist_polka", lambda self, effect: None)
    driver, _ = Disk().start()
    with pytest.raises(InvariantError, match="before its lock was durable"):
        to_precommit(driver)


def test_a_sign_record_of_a_later_height_is_legal_and_silent() -> None:
    disk = Disk()
    far = make_signer(keys_in_set_order(4)[ME], disk.record)
    far.sign_vote(PRECOMMIT, Height(9), Round(0), A, VALIDATORS.hash())
    driver, _ = disk.start()
    orders = to_precommit(driver)
    assert sent(orders) == []
    assert disk.observer.refusals
    for message in votes(PREVOTE, A, OTHERS) + votes(PRECOMMIT, A, OTHERS):
        orders += driver.take_vote(message)
    assert any(isinstance(order, Finalize) for order in orders), "it follows all the same"


def test_records_of_other_heights_are_not_taken_up() -> None:
    disk = Disk()
    disk.log.data = encode_record(EnterHeight(Height(0)))
    assert disk.start()[0].state.step is Step.NEW
    disk.log.data = encode_record(EnterHeight(Height(2)))
    with pytest.raises(StorageCorrupt):
        disk.start()


# ---------------------------------------------------------------- peers


def test_votes_and_proposals_in_anothers_name_are_faults() -> None:
    driver, _ = Disk().start()
    good = vote(VALIDATORS, OTHERS[0], PREVOTE, 0, A)
    bad: list[Vote] = [
        replace(good, validator=VALIDATORS.members[OTHERS[1]].address),
        replace(good, validator=good.validator[::-1]),  # type: ignore[arg-type]
        replace(good, signature=bytes(65)),  # type: ignore[arg-type]
        replace(good, kind=PRECOMMIT),
        replace(good, round=Round(3)),
    ]
    for message in bad:
        with pytest.raises(PeerFault):
            driver.take_vote(message)
    fresh = proposal(CONTEXT, 0, A)
    stranger = replace(fresh, proposer=VALIDATORS.members[ME].address)
    for wrong in (stranger, replace(fresh, block_hash=Hash32(b"\1" * 32)), proposal(CONTEXT, 1, A, valid_round=0)):
        with pytest.raises(PeerFault):
            driver.take_proposal(wrong, NOW_MS)
    assert not driver.state.proposals and driver.state.votes.power_seen() == 0


def test_a_commit_from_a_peer_is_verified_and_its_block_asked_for() -> None:
    driver, _ = Disk().start()
    with pytest.raises(PeerFault):
        driver.take_commit("peer", commit_for(CONTEXT, A, signers=[0, 1]))
    orders = driver.take_commit("peer", commit_for(CONTEXT, A, signers=OTHERS))
    assert Send("peer", BlockRequest(H, A)) in orders
    assert driver.take_block("peer", BLOCK) == [Judge(BLOCK, "peer")]
    final = [order for order in driver.judged(BLOCK, valid=True) if isinstance(order, Finalize)]
    assert final[0].block == BLOCK and missing_power(final[0].commit, VALIDATORS) == 10


def test_a_block_nobody_asked_for_waits_for_its_proposal_and_is_bounded() -> None:
    driver, _ = Disk().start()
    for i in range(50):
        assert driver.take_block(f"peer{i}", make_block(CONTEXT, transactions=(b"%d" % i,))) == []
    assert len(driver._early) == 8
    driver, _ = Disk().start()
    driver.take_block("peer", BLOCK)
    assert Judge(BLOCK, "peer") in driver.take_proposal(proposal(CONTEXT, 0, A), NOW_MS)


def test_a_forged_body_that_came_first_does_not_cost_the_true_one() -> None:
    driver, _ = Disk().start()
    driver.take_proposal(proposal(CONTEXT, 0, A), NOW_MS)
    forged = replace(BLOCK, transactions=(b"forged",))
    assert driver.take_block("evil", forged) == [Judge(forged, "evil")]
    assert driver.take_block("good", BLOCK) == []
    assert driver.body_refused(forged) == [Judge(BLOCK, "good")]
    assert any(isinstance(m, Vote) and m.block_hash == A for m in sent(driver.judged(BLOCK, valid=True)))


def test_blocks_of_far_rounds_are_a_fault_and_cost_nothing() -> None:
    driver, _ = Disk().start()
    far = Block(b"x", (), (), replace(BLOCK.consensus, round=Round(1 << 30)), BLOCK.last_commit, ())
    with pytest.raises(PeerFault):
        driver.take_block("evil", far)


def test_a_second_node_with_the_same_key_silences_this_one() -> None:
    disk = Disk()
    driver, _ = disk.start()
    driver.enter()
    driver.take_vote(vote(VALIDATORS, ME, PREVOTE, 0, A))
    assert "elsewhere" in disk.observer.refusals[0]
    assert sent(driver.expire(TimeoutExpired(H, Round(0), Step.PROPOSE))) == []


def test_evidence_is_kept_once() -> None:
    disk = Disk()
    driver, _ = disk.start()
    for value in (A, ZERO_HASH):
        driver.take_vote(vote(VALIDATORS, OTHERS[0], PREVOTE, 0, value))
    assert len(driver._node.evidence.items()) == 1


def test_evidence_in_the_log_is_found_again_after_a_restart() -> None:
    disk = Disk()
    driver, _ = disk.start()
    for value in (A, ZERO_HASH):
        driver.take_vote(vote(VALIDATORS, OTHERS[0], PREVOTE, 0, value))
    restarted, _ = disk.start()
    assert restarted._node.evidence.items() == driver._node.evidence.items() != ()


def test_late_precommits_join_the_last_commit() -> None:
    commit = commit_for(CONTEXT, A, signers=OTHERS)
    node = Node(CHAIN, PARAMS, None, Wal(MemoryLog()), EvidencePool(), SilentObserver())
    driver = HeightDriver(node, next_context(CONTEXT, BLOCK, commit))
    late = vote(VALIDATORS, ME, PRECOMMIT, 0, A)
    for useless in (vote(VALIDATORS, ME, PRECOMMIT, 1, A), vote(VALIDATORS, ME, PREVOTE, 0, A)):
        driver.last_commit.add(useless)
    with pytest.raises(PeerFault):
        driver.last_commit.add(replace(late, signature=bytes(65)))  # type: ignore[arg-type]
    assert driver.last_commit.commit() == commit
    driver.last_commit.add(late)
    assert driver.last_commit.commit() == commit_for(CONTEXT, A)


# ---------------------------------------------------------------- gossip and messages


def test_a_peer_is_sent_what_it_lacks_the_second_time_and_no_more() -> None:
    full, _ = Disk().start()
    to_precommit(full)
    empty, _ = Disk().start(OTHERS[2])
    assert full.answer("empty", empty.round_state()) == []  # on its way to it from its author
    assert full.answer("another", empty.round_state()) == []
    assert full.answer("empty", replace(empty.round_state(), height=H + 7)) == []
    sent = 0
    while orders := full.answer("empty", empty.round_state()):
        sent += len(orders)
        for order in orders:
            assert isinstance(order, Send) and order.peer == "empty"
            if isinstance(order.message, Proposal):
                empty.take_proposal(order.message, NOW_MS)
            elif isinstance(order.message, Vote):
                empty.take_vote(order.message)
    votes = full.state.votes
    assert sent == 1 + sum(
        bits.bit_count() for bits in votes.prevotes(Round(0)).bits() + votes.precommits(Round(0)).bits()
    )
    assert empty.missing_blocks() == [BlockRequest(H, A)]
    for kind in (PREVOTE, PRECOMMIT):
        assert empty.state.votes.get(Round(0), kind).bits() == votes.get(Round(0), kind).bits()


def test_what_is_remembered_of_peers_is_bounded() -> None:
    full, _ = Disk().start()
    to_precommit(full)
    empty, _ = Disk().start(OTHERS[2])
    for number in range(300):
        full.answer(f"peer {number}", empty.round_state())
    assert len(full._lacks) == 256
    assert full.answer("peer 299", empty.round_state()) != []
    assert full.answer("peer 0", empty.round_state()) == []


def test_bits_of_another_length_are_a_fault() -> None:
    driver, _ = Disk().start()
    state = RoundState(H, Round(0), Step.PROPOSE, False, (VoteBits(PREVOTE, Round(0), b"\0\0"),))
    with pytest.raises(PeerFault):
        driver.answer("evil", state)


def test_a_peer_one_height_behind_gets_the_commit() -> None:
    commit = commit_for(CONTEXT, A)
    node = Node(CHAIN, PARAMS, None, Wal(MemoryLog()), EvidencePool(), SilentObserver())
    driver = HeightDriver(node, next_context(CONTEXT, BLOCK, commit))
    state = RoundState(H, NO_ROUND, Step.NEW, False, ())
    assert driver.answer("peer", state) == [Send("peer", commit)]
    assert driver.answer("peer", replace(state, height=Height(0))) == []


def test_messages_come_back_and_mutations_are_wire_errors_only() -> None:
    key = keys_in_set_order(4)[0]
    assert len(sign(key, A)) == 65
    polka = tuple(votes(PREVOTE, A, [0, 1, 2]))
    messages = [
        proposal(CONTEXT, 1, A, valid_round=0, polka=polka),
        polka[0],
        commit_for(CONTEXT, A),
        RoundState(H, Round(2), Step.PREVOTE, True, (VoteBits(PREVOTE, Round(2), b"\x0f"),)),
        BlockRequest(H, A),
    ]
    rng = random.Random(5)
    for message in messages:
        data = encode_message(message)
        assert decode_message(data) == message
        for _ in range(300):
            mutated = bytearray(data)
            mutated[rng.randrange(len(data))] = rng.randrange(256)
            with contextlib.suppress(WireError):
                assert encode_message(decode_message(bytes(mutated))) == mutated
    for bad in (b"", b"\x90", encode_message(messages[0])[:-1], bytes(70_000)):
        with pytest.raises(WireError):
            decode_message(bad)


def test_a_polka_of_the_largest_set_fits_a_message() -> None:
    big = validator_set(256)
    many = tuple(vote(big, i, PREVOTE, 0, A, height=(1 << 62) - 1) for i in range(256))
    largest = Proposal(Height((1 << 62) - 1), Round(5), Round(0), A, big.members[0].address, many[0].signature, many)
    assert decode_message(encode_message(largest)) == largest


def test_the_observer_is_told_what_is_worth_measuring() -> None:
    disk = Disk()
    driver, _ = disk.start()
    to_precommit(driver)
    driver.take_vote(votes(PREVOTE, A, OTHERS[:1])[0])
    assert disk.observer.seen == [("proposal", 0, False), ("polka", 0), ("ignored", VoteIgnored.DUPLICATE)]
    other = Disk()
    driver, _ = other.start()
    driver.enter()
    driver.expire(TimeoutExpired(H, Round(0), Step.PROPOSE))
    driver.expire(TimeoutExpired(H, Round(0), Step.PROPOSE))  # it prevotes by now: this one does not matter
    assert other.observer.seen == [("timeout", 0, Step.PROPOSE)]
    own = Disk()
    driver, _ = own.start(PROPOSER)
    driver.enter()
    driver.built(Round(0), BLOCK)
    assert ("proposal", 0, True) in own.observer.seen


def foreign(driver: HeightDriver, how: str) -> None:
    """Something signed with this node's key, and not by it, comes in by each way there is."""
    mine, others = vote(VALIDATORS, ME, PREVOTE, 0, A), votes(PREVOTE, A, OTHERS)
    match how:
        case "proposal":
            driver.state.proposer = lambda _round: VALIDATORS.members[ME].address
            digest = sign_digest(CHAIN, VoteType.PROPOSAL, H, Round(1), A, VALIDATORS.hash(), NO_ROUND)
            signature = sign(keys_in_set_order(4)[ME], digest)
            driver.take_proposal(
                Proposal(H, Round(1), NO_ROUND, A, VALIDATORS.members[ME].address, signature, ()), NOW_MS
            )
        case "polka":
            round_ = next(r for r in range(1, 9) if CONTEXT.proposer(Round(r)) != VALIDATORS.members[ME].address)
            driver.take_proposal(proposal(CONTEXT, round_, A, valid_round=0, polka=(mine, *others[:2])), NOW_MS)
        case "commit":
            driver.take_commit("peer", commit_for(CONTEXT, A, signers=[ME, *OTHERS[:2]]))
        case "late vote":
            driver.take_late(vote(VALIDATORS, ME, PRECOMMIT, 0, A))


@pytest.mark.parametrize("how", ["proposal", "polka", "commit", "late vote"])
def test_a_signature_of_this_key_that_is_not_its_own_silences_it_wherever_it_stands(how: str) -> None:
    disk = Disk()
    if how == "late vote":
        context = next_context(CONTEXT, BLOCK, commit_for(CONTEXT, A, signers=OTHERS))
        signer = make_signer(keys_in_set_order(4)[ME], disk.record)
        driver = HeightDriver(Node(CHAIN, PARAMS, signer, Wal(disk.log), EvidencePool(), disk.observer), context)
        driver.start()
    else:
        driver, _ = disk.start()
    driver.enter()
    foreign(driver, how)
    assert "elsewhere" in disk.observer.refusals[0]
    assert f"0x{VALIDATORS.members[ME].address.hex()}" in disk.observer.stops[0]
    for round_ in range(2):
        assert sent(driver.expire(TimeoutExpired(driver.state.height, Round(round_), Step.PROPOSE))) == []
    assert len(disk.observer.stops) == 1 and disk.record.value is None


def test_own_signatures_that_come_back_silence_nobody() -> None:
    """Echoes of what it signed: in its parent's commit, in a block's last commit, in a commit of this height."""
    disk = Disk()
    driver, _ = disk.start()
    (prevote, precommit) = (m for m in sent(to_precommit(driver)) if isinstance(m, Vote))
    driver.take_vote(prevote)
    driver.take_vote(precommit)
    driver.take_commit("peer", commit_for(CONTEXT, A))
    assert not disk.observer.stops and not disk.observer.refusals
