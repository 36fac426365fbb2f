"""The simulator bites: the protocol with one rule broken, in memory, must be caught. `python -m tests.sim.mutants`.

A simulator that finds nothing proves nothing. Each mutant is a function that patches the real code; it names the plan that
should show it and what the complaint should be about, so that none is caught for a wrong reason.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest

import consensus.block_rules
import consensus.driver
import consensus.evidence
import consensus.state_machine as rules
import consensus.vote_set
from consensus import recovery
from consensus.driver import HeightDriver
from consensus.events import BuildBlock, Decide, Effect, TimeoutExpired
from consensus.evidence import EvidencePool
from consensus.messages import Step
from consensus.recovery import Recovered
from consensus.signer import Signer
from consensus.state_machine import RoundsState
from consensus.vote_set import HeightVotes, VoteSet
from consensus.wal import Wal
from genesis.errors import InvalidBlock
from genesis.primitives import NO_ROUND, ZERO_HASH, Round
from genesis.types import Evidence, ValidatorSet, VoteType
from tests.sim.cluster import Cluster
from tests.sim.keys import toy_signatures
from tests.sim.monitor import Violation
from tests.sim.node import SimNode
from tests.sim.plan import ROUGH, Plan

Patch = pytest.MonkeyPatch
Rule = Callable[[RoundsState, list[Effect]], bool]
SEEDS_MAX: Final = 400

TWIN: Final = replace(ROUGH, byzantine=("twin",), heights=3)
LOST: Final = replace(TWIN, loss=0.5)
DYING: Final = replace(ROUGH, crashes=0.9, hazard=0.02, heights=3)
CALM: Final = Plan(heights=3)
LOCKED: Final = replace(LOST, loss=0.4, heal_ms=120_000, heights=12)
"""Long enough for locks of several rounds."""
LONG: Final = replace(ROUGH, heal_ms=4_000, powers=(10,) * 5, byzantine=("twin",), heights=16)
LIVENESS: Final = ("rounds after the network healed", "no decision in time")


@dataclass(frozen=True)
class Mutant:
    """One broken rule. `about`: what is said of just this fault; one of them stands in the complaint."""

    name: str
    apply: Callable[[Patch], None]
    plan: Plan
    about: tuple[str, ...]


MUTANTS: list[Mutant] = []


def mutant(plan: Plan, *about: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def register(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS.append(Mutant(apply.__name__.replace("_", " "), apply, plan, about))
        return apply

    return register


def cheat(name: str, plan: Plan = TWIN) -> Plan:
    return replace(plan, byzantine=(name,))


def replace_rule(patch: Patch, old: Rule, new: Rule) -> None:
    patch.setattr(rules, "RULES", tuple(new if rule is old else rule for rule in rules.RULES))


def never(state: RoundsState, out: list[Effect]) -> bool:
    return False


# ---------------------------------------------------------------- quorums


@mutant(TWIN, "precommitted without a polka", "committed by too few")
def half_is_a_quorum(patch: Patch) -> None:
    patch.setattr(ValidatorSet, "is_quorum", lambda self, power: 2 * power >= self.total_power)


@mutant(TWIN, "precommitted without a polka", "committed by too few")
def a_quorum_lacks_one_validator(patch: Patch) -> None:
    patch.setattr(
        ValidatorSet, "is_quorum", lambda self, power: 3 * (power + self.members[0].power) > 2 * self.total_power
    )


@mutant(cheat("spammer"), "which too few had reached")
def one_validator_is_a_weak_quorum(patch: Patch) -> None:
    patch.setattr(ValidatorSet, "is_weak_quorum", lambda self, power: power > 0)


@mutant(TWIN, "committed by too few")
def prevotes_decide(patch: Patch) -> None:
    correct = rules._l49_decide

    def broken(state: RoundsState, out: list[Effect]) -> bool:
        value = state.votes.prevotes(state.round).quorum
        if value in (None, ZERO_HASH) or value not in state.judged:
            return correct(state, out)
        state.decided = value
        out.append(Decide(state.round, value))
        return True

    replace_rule(patch, correct, broken)


# ---------------------------------------------------------------- locks


@mutant(TWIN, "broke its lock")
def l23_ignores_the_lock(patch: Patch) -> None:
    correct = rules._l22_fresh_proposal

    def broken(state: RoundsState, out: list[Effect]) -> bool:
        locked, state.locked_round = state.locked_round, NO_ROUND
        fired = correct(state, out)
        state.locked_round = locked
        return fired

    replace_rule(patch, correct, broken)


@mutant(cheat("amnesiac", LOCKED), "broke its lock")
def l29_accepts_a_stale_polka(patch: Patch) -> None:
    correct = rules._l28_proposal_again

    def broken(state: RoundsState, out: list[Effect]) -> bool:
        locked, state.locked_round = state.locked_round, NO_ROUND
        fired = correct(state, out)
        state.locked_round = locked
        return fired

    replace_rule(patch, correct, broken)


@mutant(LOST, "broke its lock")
def a_nil_polka_unlocks(patch: Patch) -> None:
    correct = rules._l44_nil_polka

    def broken(state: RoundsState, out: list[Effect]) -> bool:
        fired = correct(state, out)
        if fired:
            state.locked_value, state.locked_round = None, NO_ROUND
        return fired

    replace_rule(patch, correct, broken)


@mutant(TWIN, "broke its lock")
def a_new_round_unlocks(patch: Patch) -> None:
    correct = rules._start_round

    def broken(state: RoundsState, round_: Round, out: list[Effect]) -> None:
        state.locked_value, state.locked_round = None, NO_ROUND
        correct(state, round_, out)

    patch.setattr(rules, "_start_round", broken)


@mutant(TWIN, "broke its lock")
def the_lock_is_not_taken(patch: Patch) -> None:
    correct = rules._l36_polka

    def broken(state: RoundsState, out: list[Effect]) -> bool:
        lock = state.locked_value, state.locked_round
        fired = correct(state, out)
        state.locked_value, state.locked_round = lock
        return fired

    replace_rule(patch, correct, broken)


@mutant(LOST, *LIVENESS)
def l15_the_valid_value_is_not_proposed_again(patch: Patch) -> None:
    patch.setattr(rules, "_propose", lambda state, out: out.append(BuildBlock(state.round)))


@mutant(TWIN, "precommitted without a polka")
def weak_polkas_lock(patch: Patch) -> None:
    correct = VoteSet._note_quorum

    def broken(self: VoteSet, value: object) -> None:
        if self.kind is VoteType.PREVOTE and self.quorum is None and self.validators.is_weak_quorum(self._power[value]):
            self.quorum = value
        elif self.kind is VoteType.PRECOMMIT:
            correct(self, value)

    patch.setattr(VoteSet, "_note_quorum", broken)


# ---------------------------------------------------------------- liveness


@mutant(LOST, *LIVENESS)
def no_prevote_timer(patch: Patch) -> None:
    replace_rule(patch, rules._l34_prevote_timer, never)


@mutant(LOST, *LIVENESS)
def no_precommit_timer(patch: Patch) -> None:
    replace_rule(patch, rules._l47_precommit_timer, never)


@mutant(replace(LOST, delay_ms=(100, 900)), "stays in round")
def l55_no_round_skip(patch: Patch) -> None:
    replace_rule(patch, rules._l55_skip, never)


@mutant(replace(CALM, delay_ms=(3_000, 3_600), rounds_max=20), *LIVENESS)
def timers_do_not_grow(patch: Patch) -> None:
    correct = consensus.driver.timeout_ms
    patch.setattr(consensus.driver, "timeout_ms", lambda params, step, round_: correct(params, step, Round(0)))


@mutant(cheat("silent", LOST), "more than the cap")
def timers_double_without_a_cap(patch: Patch) -> None:
    correct = consensus.driver.timeout_ms
    patch.setattr(
        consensus.driver, "timeout_ms", lambda params, step, round_: correct(params, step, Round(0)) << 2 * round_
    )


@mutant(replace(TWIN, powers=(33, 23, 22, 22), byzantine=("splitter",)), *LIVENESS, "overlooked an equivocation")
def the_first_vote_wins(patch: Patch) -> None:
    correct = VoteSet.add

    def broken(self: VoteSet, vote: object, *, certified: bool = False) -> object:
        if self._by_validator.get(vote.validator):
            return None
        return correct(self, vote, certified=certified)

    patch.setattr(VoteSet, "add", broken)


@mutant(LOST, *LIVENESS)
def votes_of_past_rounds_are_dropped(patch: Patch) -> None:
    correct = HeightVotes.add

    def broken(self: HeightVotes, vote: object, current: Round, *, certified: bool = False) -> object:
        return None if vote.round < current else correct(self, vote, current, certified=certified)

    patch.setattr(HeightVotes, "add", broken)


@mutant(CALM, "which too few had reached")
def timeouts_of_any_step_count(patch: Patch) -> None:
    correct = rules._take_timeout

    def broken(state: RoundsState, event: TimeoutExpired, out: list[Effect]) -> None:
        if event.round == state.round and event.step is Step.PROPOSE:
            rules._start_round(state, Round(state.round + 1), out)
        else:
            correct(state, event, out)

    patch.setattr(rules, "_take_timeout", broken)
    patch.setattr(consensus.driver, "timeout_ms", lambda params, step, round_: 40)


@mutant(LOST, *LIVENESS)
def a_peer_is_never_sent_what_it_lacks(patch: Patch) -> None:
    patch.setattr("consensus.gossip.missing_for", lambda state, peer, before: ([], {}))


# ---------------------------------------------------------------- what is checked


@mutant(
    cheat("forger", CALM),
    "which was never cast",
    "the validator key signed",
    "elsewhere: it is in use on another machine",
)
def signatures_are_not_checked(patch: Patch) -> None:
    patch.setattr(HeightDriver, "_check_signature", lambda self, digest, signature, claimed: None)


@mutant(cheat("forger"), "without a genuine polka", "two values have prevote quorums")
def a_polka_is_not_checked(patch: Patch) -> None:
    patch.setattr(consensus.driver, "check_polka", lambda chain, validators, proposal: None)


@mutant(cheat("forger", CALM), "whose turn it was not")
def the_proposer_is_not_checked(patch: Patch) -> None:
    correct = HeightDriver.take_proposal

    def broken(self: HeightDriver, proposal: object, received_ms: int) -> object:
        honest, self.state.proposer = self.state.proposer, lambda round_: proposal.proposer
        try:
            return correct(self, proposal, received_ms)
        finally:
            self.state.proposer = honest

    patch.setattr(HeightDriver, "take_proposal", broken)


@mutant(cheat("forger", CALM), "believes a commit that is", "elsewhere: it is in use on another machine")
def a_commit_is_not_checked(patch: Patch) -> None:
    patch.setattr(consensus.driver, "verify_commit", lambda *arguments, **options: None)


@mutant(cheat("liar"), "with a commit of something else")
def a_commit_of_any_height_will_do(patch: Patch) -> None:
    correct = consensus.block_rules.verify_commit

    def broken(
        chain: object, validators: object, commit: object, height: object, value: object, **options: object
    ) -> None:
        correct(chain, validators, commit, commit.height, commit.block_hash, **options)

    import tests.sim.node as sync

    patch.setattr(sync, "verify_commit", broken)
    patch.setattr(sync, "check_committed_block", lambda block, commit: None)


@mutant(cheat("invalid proposer", CALM), "prevoted a block that is")
def an_invalid_block_is_prevoted(patch: Patch) -> None:
    correct = rules._take_judgement

    def broken(state: RoundsState, event: object) -> None:
        correct(state, replace(event, valid=True))

    patch.setattr(rules, "_take_judgement", broken)


@mutant(cheat("invalid proposer", CALM), "a block from the future")
def timeliness_is_not_checked(patch: Patch) -> None:
    patch.setattr(rules, "is_timely", lambda params, **facts: True)


@mutant(cheat("invalid proposer", replace(CALM, heights=6)), "committed with a bad signature")
def signatures_beyond_the_quorum_are_not_checked(patch: Patch) -> None:
    correct = consensus.block_rules._check_signature

    def broken(digest: object, signature: bytes, member: bytes) -> None:
        if signature != bytes(65):
            correct(digest, signature, member)

    patch.setattr(consensus.block_rules, "_check_signature", broken)


@mutant(cheat("invalid proposer", CALM), "of other validators", "of other next validators")
def the_validator_set_of_a_block_is_not_checked(patch: Patch) -> None:
    correct = consensus.block_rules.check_block

    def broken(chain: object, context: object, block: object, past: object) -> None:
        sets = replace(
            block.consensus,
            validators_hash=context.validators.hash(),
            next_validators_hash=context.next_validators.hash(),
        )
        correct(chain, context, replace(block, consensus=sets), past)

    import tests.sim.node as judge

    patch.setattr(judge, "check_block", broken)


@mutant(cheat("splitter"), "overlooked an equivocation")
def evidence_is_ignored(patch: Patch) -> None:
    patch.setattr(EvidencePool, "add", lambda self, evidence: False)


@mutant(LONG, "is not punished")
def evidence_is_never_put_into_a_block(patch: Patch) -> None:
    patch.setattr(EvidencePool, "choose", lambda self, *facts: ())


@mutant(LONG, "punishing somebody again")
def evidence_is_put_into_every_block(patch: Patch) -> None:
    """And everybody takes it: who was punished before is not asked for."""
    patch.setattr(EvidencePool, "close", lambda self, who: None)
    patch.setattr("tests.sim.ledger.Ledger.executes", lambda self, context, block: True)
    patch.setattr("tests.sim.ledger.Ledger.punished_before", lambda self, context: frozenset())


@mutant(
    cheat("invalid proposer", LONG), "with evidence of no height", "accusing somebody twice", "with forged evidence"
)
def evidence_is_not_checked(patch: Patch) -> None:
    patch.setattr(consensus.block_rules, "check_block_evidence", lambda chain, context, block, past: None)


@mutant(cheat("forger"), "with forged evidence")
def evidence_is_not_signed_by_whom_it_accuses(patch: Patch) -> None:
    def broken(chain: object, validators: ValidatorSet, item: Evidence, proposer: object = None) -> None:
        if item.offender not in validators:
            raise InvalidBlock("nobody")

    for module in (consensus.evidence, sys.modules[SimNode.__module__]):
        patch.setattr(module, "check_evidence", broken)


# ---------------------------------------------------------------- crashes


@mutant(DYING, "before its lock was durable")
def the_polka_is_not_persisted(patch: Patch) -> None:
    patch.setattr(HeightDriver, "_persist_polka", lambda self, effect: None)


@mutant(DYING, "sent what its log does not hold durably")
def messages_are_sent_before_the_log_is_synced(patch: Patch) -> None:
    patch.setattr(Wal, "sync", lambda self: None)


@mutant(DYING, "which the sign record does not know", "signed twice")
def a_signature_leaves_before_it_is_recorded(patch: Patch) -> None:
    patch.setattr("tests.sim.disk.SimRecord.save", lambda self, record: None)


@mutant(DYING, "which the sign record does not know", "signed twice")
def the_signer_forgets_at_a_restart(patch: Patch) -> None:
    correct = Signer.__init__

    def broken(self: Signer, *arguments: object) -> None:
        correct(self, *arguments)
        self.last = None

    patch.setattr(Signer, "__init__", broken)


@mutant(DYING, "which the sign record does not know", "signed twice")
def the_signer_signs_what_it_is_asked(patch: Patch) -> None:
    patch.setattr(Signer, "_earlier", lambda self, position: None)
    patch.setattr(Signer, "_remember", lambda self, position, message: None)


@mutant(DYING, "but the consensus log does not hold")
def beyond_round_zero_the_log_is_not_synced_before_signing(patch: Patch) -> None:
    patch.setattr(HeightDriver, "_sync_before_signing", lambda self, round_: None)


@mutant(replace(TWIN, crashes=0.9, hazard=0.02), "does not hold its lock", "broke its lock")
def a_restart_forgets_the_lock(patch: Patch) -> None:
    patch.setattr(recovery, "_put_polka", lambda state, record: [])


@mutant(DYING, "refused: asked to sign", "refused: something else was signed")
def a_restart_begins_the_height_anew(patch: Patch) -> None:
    patch.setattr(consensus.driver, "restore", lambda state, records, last: Recovered((), None, None, (), ""))


@mutant(DYING, "is damaged at byte")
def a_torn_tail_is_not_cut(patch: Patch) -> None:
    correct = Wal.replay

    def broken(self: Wal, height: object) -> object:
        file = self._file
        self._file = _Uncut(file)
        try:
            return correct(self, height)
        finally:
            self._file = file

    patch.setattr(Wal, "replay", broken)


class _Uncut:
    """A log file that will not be cut."""

    def __init__(self, file: object) -> None:
        self.read_all, self.sync = file.read_all, file.sync

    def truncate(self, size: int) -> None:
        pass


@mutant(DYING, "has an unknown record")
def an_empty_record_is_good(patch: Patch) -> None:
    import consensus.wal

    correct = consensus.wal._body_at

    def broken(data: bytes, position: int) -> bytes | None:
        empty = data[position : position + 12] == consensus.wal.MARK + bytes(8)
        return b"" if empty else correct(data, position)

    patch.setattr(consensus.wal, "_body_at", broken)


# ---------------------------------------------------------------- hunting


def hunt(name: str, seeds_max: int = SEEDS_MAX) -> tuple[str, int, str]:
    """(name, seeds it took or 0, the complaint)."""
    hunted = next(item for item in MUTANTS if item.name == name)
    with pytest.MonkeyPatch.context() as patch, toy_signatures():
        hunted.apply(patch)
        for seed in range(seeds_max):
            try:
                Cluster(seed, hunted.plan).run()
            except Violation as violation:
                complaint = str(violation).rpartition("): ")[2] or str(violation)
                if any(word in complaint for word in hunted.about):
                    return name, seed + 1, complaint
                return name, 0, f"caught for another reason: {complaint}"
    return name, 0, f"survived {seeds_max} seeds"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--jobs", type=int, default=None, help="processes (default: one a core)")
    arguments = parser.parse_args()
    names = [item.name for item in MUTANTS if arguments.only in item.name]
    caught = 0
    with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
        for name, seeds, complaint in pool.imap(hunt, names):
            caught += seeds > 0
            took = f"{seeds:4d} seeds" if seeds else "SURVIVED  "
            print(f"{took}  {name}: {complaint[:100]}", flush=True)
    print(f"{caught} passed, {len(names) - caught} failed")
    return int(caught != len(names))


if __name__ == "__main__":
    sys.exit(main())
