"""What must never happen, checked by code of its own: a broken rule of `consensus/` must not be judged by itself.

Safety at every signature and every decision; liveness (rounds) once the network has healed. A Violation names the seed.
"""

from collections import Counter, defaultdict
from typing import Protocol

from consensus.application import HeightContext
from consensus.driver import EARLY_BLOCKS_MAX, HeightDriver
from consensus.events import ProposalReceived, VoteReceived
from consensus.messages import Step
from consensus.observer import SilentObserver
from consensus.state_machine import PROPOSAL_ROUNDS_AHEAD
from consensus.vote_set import FUTURE_ROUNDS_PER_VALIDATOR, PAST_ROUNDS_KEPT, votes_of_commit
from consensus.wal import HeldBlock, PolkaSeen, encode_record, read_records
from genesis.errors import WireError
from genesis.primitives import NO_ROUND, ZERO_HASH, Address, Hash32
from genesis.types import Block, Commit, Evidence, Proposal, ValidatorSet, Vote, VoteType, evidence_hash
from tests.sim.disk import SimLog
from tests.sim.keys import recover
from tests.sim.ledger import INVALID_TRANSACTION
from tests.sim.plan import Plan
from tests.unit.consensus.support import BLOCK_PARAMS, CHAIN, PARAMS, check_body

_Position = tuple[int, int]
PUNISHED_WITHIN = 10
"""Heights, with at most ten validators, within which an honest one proposes that has heard of an equivocation."""


class Violation(AssertionError):
    """The network did what it must never do."""


class Watched(Protocol):
    """What the monitor looks at in an honest node."""

    name: str
    log: SimLog
    driver: HeightDriver


class Monitor:
    """Sees every signature, decision and round of the honest, and every vote of anybody."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.decided: dict[int, Hash32] = {}
        self.sets: dict[int, ValidatorSet] = {}
        self.times: dict[int, int] = {}
        self.max_round = 0
        self.evidence_seen = 0
        self.accused: dict[Address, int] = {}
        """Who equivocated before the eyes of an honest node, and the height at which the first of them decided then."""
        self.punished: dict[Hash32, frozenset[Address]] = {}
        """By block hash: whom the chain up to it punishes."""
        self._powers: dict[tuple[int, VoteType, int, Hash32], int] = defaultdict(int)
        self._known: set[tuple[int, VoteType, int, Hash32, Address]] = set()
        self._senders: dict[tuple[int, int, VoteType | None], set[Address]] = defaultdict(set)
        """Whose genuine messages of a height and round there are: of one kind, and (None) of any."""
        self._signed: dict[tuple[object, ...], tuple[object, ...]] = {}
        self._locks: dict[tuple[str, int], Vote] = {}
        self._rounds: dict[int, int] = {}
        self._settled: dict[int, int] | None = None

    # ------------------------------------------------------------ what is said

    def heard(self, message: object) -> None:
        """Count every genuine vote that anybody sends, alone or inside a polka: what locks and commits may rest on."""
        match message:
            case Vote():
                self._count(message)
            case Commit() if (members := self.sets.get(message.height)) and len(message.signatures) == len(members):
                for vote in votes_of_commit(message, members):
                    self._count(vote)
            case Proposal():
                for vote in message.polka:
                    self._count(vote)
                if self._is_genuine(message, message.proposer):
                    self._senders[message.height, message.round, None].add(message.proposer)

    def _count(self, vote: Vote) -> None:
        key = (vote.height, vote.kind, vote.round, vote.block_hash)
        if (*key, vote.validator) not in self._known and self._is_genuine(vote, vote.validator):
            self._known.add((*key, vote.validator))
            self._powers[key] += _power(self.sets[vote.height], vote.validator)
            for kind in (vote.kind, None):
                self._senders[vote.height, vote.round, kind].add(vote.validator)

    def _is_genuine(self, message: Proposal | Vote, author: Address) -> bool:
        validators = self.sets.get(message.height)
        if validators is None:
            return False
        try:
            return recover(message.digest(CHAIN, validators.hash()), message.signature) == author
        except WireError:
            return False

    def believes(self, node: Watched, message: object) -> None:
        """An honest node has taken a message up, if it has: it must be what it says."""
        state = node.driver.state
        match message:
            case Vote():
                counted = message in state.votes.get(message.round, message.kind).votes_for(message.block_hash)
                key = (message.height, message.kind, message.round, message.block_hash, message.validator)
                if counted and key not in self._known and not self._is_genuine(message, message.validator):
                    raise Violation(f"{node.name} counts a vote of {message.validator.hex()[:4]} which was never cast")
            case Proposal() if (known := state.proposals.get(message.round)) and known.proposal is message:
                if message.proposer != node.driver.context.proposer(message.round):
                    raise Violation(f"{node.name} takes a proposal of somebody whose turn it was not")
                polka = (VoteType.PREVOTE, message.height, message.valid_round, message.block_hash)
                if message.valid_round != NO_ROUND and not self.has_quorum(*polka):
                    raise Violation(f"{node.name} takes a re-proposal without a genuine polka")
            case Commit() if state.votes.commits.get(message.round) == message.block_hash:
                fault = fault_of_commit(message, self.sets[message.height])
                if fault:
                    raise Violation(f"{node.name} believes a commit that is {fault}")

    def equivocations(self) -> int:
        """Positions at which somebody cast genuine votes for more than one value."""
        values = Counter((height, kind, round_, who) for height, kind, round_, _, who in self._known)
        return sum(count > 1 for count in values.values())

    def has_quorum(self, kind: VoteType, height: int, round_: int, value: Hash32) -> bool:
        power = self._powers[height, kind, round_, value]
        return 3 * power > 2 * sum(m.power for m in self.sets[height].members)

    def signs(self, node: Watched, message: Proposal | Vote, *, again: bool) -> None:
        """An honest node sends a signed message of its own; `again`: the last one, after a restart."""
        self.heard(message)
        kind = message.kind if isinstance(message, Vote) else VoteType.PROPOSAL
        said = (message.block_hash, getattr(message, "valid_round", None), message.signature)
        if self._signed.setdefault((node.name, message.height, message.round, kind), said) != said:
            raise Violation(f"{node.name} signed twice at {message.height}/{message.round} {kind.name}")
        own = VoteReceived(message) if isinstance(message, Vote) else _own_proposal(node, message)
        if not again and own is not None and encode_record(own) not in bytes(node.log.data[: node.log.durable]):
            raise Violation(f"{node.name} sent what its log does not hold durably")
        if isinstance(message, Vote) and not message.is_nil:
            self._check_vote(node, message, again=again)

    def _check_vote(self, node: Watched, vote: Vote, *, again: bool) -> None:
        for known in node.driver.state.valid_polka:  # an own prevote may not have been sent before a crash
            self.heard(known)
        if vote.kind is VoteType.PREVOTE:
            self._check_lock(node, vote)
            block = node.driver.blocks.get(vote.block_hash)
            if not again and (block is None or (fault := self.fault_of(block, node.driver.context))):
                raise Violation(f"{node.name} prevoted a block that is {'not held' if block is None else fault}")
            return
        if not self.has_quorum(VoteType.PREVOTE, vote.height, vote.round, vote.block_hash):
            raise Violation(f"{node.name} precommitted without a polka at {vote.height}/{vote.round}")
        self._check_durable(node, vote)
        self._locks[node.name, vote.height] = vote

    def _check_lock(self, node: Watched, vote: Vote) -> None:
        """What makes forks impossible: who precommitted v in round r prevotes another value only after a newer polka for it.

        A fork needs a rare chain of events; a broken lock shows here long before.
        """
        lock = self._locks.get((node.name, vote.height))
        if lock is None or lock.block_hash == vote.block_hash or lock.round >= vote.round:
            return
        newer = range(lock.round + 1, vote.round)
        if not any(self.has_quorum(VoteType.PREVOTE, vote.height, r, vote.block_hash) for r in newer):
            raise Violation(f"{node.name} broke its lock of {lock.height}/{lock.round} in round {vote.round}")

    def _check_durable(self, node: Watched, vote: Vote) -> None:
        """A precommit implies a durable lock and block."""
        durable = bytes(node.log.data[: node.log.durable])
        records, _ = read_records(durable)
        place = (vote.height, vote.round, vote.block_hash)
        locks = any(
            isinstance(record, PolkaSeen) and record.locks and (record.height, record.round, record.block_hash) == place
            for record in records
        )
        held = any(isinstance(record, HeldBlock) and record.block.hash == vote.block_hash for record in records)
        if not locks or not held:
            raise Violation(f"{node.name} precommitted {vote.height}/{vote.round} before lock and block were durable")

    def accepted(self, node: Watched, evidence: tuple[Evidence, ...], votes: dict[tuple[object, ...], Hash32]) -> None:
        """Whoever voted twice before this node's eyes is in its evidence."""
        accused = {getattr(item.first, "validator", None) or item.first.proposer for item in evidence}
        values = defaultdict(set)
        for (validator, height, round_, kind, _), value in votes.items():
            values[validator, height, round_, kind].add(value)
        for (validator, height, round_, _), said in values.items():
            if len(said) > 1:
                self.evidence_seen += 1
                self.accused.setdefault(validator, height)
                if validator not in accused and validator not in self._punished_before(node.driver.context):
                    raise Violation(f"{node.name} overlooked an equivocation at {height}/{round_}")

    # ------------------------------------------------------------ where they stand

    def enters(self, node: Watched, height: int, round_: int) -> None:
        """An honest node is in a round. Raises Violation if the healed network needs too many."""
        self._check_way(node, height, round_)
        self._rounds[height] = max(self._rounds.get(height, 0), round_)
        self.max_round = max(self.max_round, round_)
        if self._settled is None:
            return
        took = round_ - self._settled.get(height, 0)
        if took > self.plan.rounds_max:
            raise Violation(
                f"{node.name} is in round {round_} of height {height}, {took} rounds after the network healed"
            )

    def _check_way(self, node: Watched, height: int, round_: int) -> None:
        """Only more than 2/3 of precommits in the round before, or more than 1/3 seen in it, lead into a later round."""
        validators = self.sets[height]
        total = sum(m.power for m in validators.members)
        there = sum(_power(validators, who) for who in self._senders[height, round_, None])
        before = sum(_power(validators, who) for who in self._senders[height, round_ - 1, VoteType.PRECOMMIT])
        if round_ > 0 and 3 * there <= total and 3 * before <= 2 * total:
            raise Violation(f"{node.name} went to round {round_} of height {height}, which too few had reached")

    def follows(self, node: Watched) -> None:
        """More than a third of the power in a later round takes every honest node there (L55)."""
        votes, here = node.driver.state.votes, node.driver.state.round
        total = sum(m.power for m in node.driver.state.validators.members)
        for round_, senders in votes._senders.items():
            if round_ > here and 3 * sum(_power(votes.validators, sender) for sender in senders) > total:
                raise Violation(f"{node.name} stays in round {here} where others are in {round_}")

    def settle(self) -> None:
        """The network has healed: from here rounds are counted."""
        self._settled = dict(self._rounds)

    def starts_timer(self, node: Watched, delay_ms: int) -> None:
        if delay_ms > PARAMS.timeout_cap_ms:
            raise Violation(f"{node.name} waits {delay_ms} ms, more than the cap")

    def bounded(self, node: Watched) -> None:
        """Memory: what others send can't grow it without limit."""
        state = node.driver.state
        ahead = [r for r in state.votes._senders if r > max(state.round, 0)]
        votes_max = len(state.validators) * FUTURE_ROUNDS_PER_VALIDATOR + PROPOSAL_ROUNDS_AHEAD
        if len(ahead) > votes_max or len(state.votes._senders) > votes_max + PAST_ROUNDS_KEPT + 2:
            raise Violation(f"{node.name} keeps votes of {len(state.votes._senders)} rounds")
        if len(state.proposals) > PROPOSAL_ROUNDS_AHEAD + 1 or len(node.driver._early) > EARLY_BLOCKS_MAX:
            raise Violation(f"{node.name} keeps too many proposals or blocks")

    # ------------------------------------------------------------ what is final

    def begins(self, context: HeightContext) -> None:
        """All honest nodes agree who votes."""
        if self.sets.setdefault(context.height, context.validators) != context.validators:
            raise Violation(f"two validator sets at height {context.height}")

    def decides(self, node: Watched, block: Block, commit: Commit, context: HeightContext, now_ms: int) -> None:
        """Agreement and validity; also what comes by block sync."""
        if self.decided.setdefault(context.height, block.hash) != block.hash:
            raise Violation(f"FORK: {node.name} decides {block.hash.hex()[:6]} at height {context.height}")
        if (commit.height, commit.block_hash) != (context.height, block.hash):
            raise Violation(f"{node.name} decides a block with a commit of something else")
        fault = self.fault_of(block, context) or fault_of_commit(commit, context.validators)
        if fault:
            raise Violation(f"{node.name} decided a block at height {context.height} that is {fault}")
        if block.consensus.time_ms > now_ms + PARAMS.precision_ms + self.plan.skew_ms:
            raise Violation(f"{node.name} decided a block from the future at height {context.height}")
        self.times[context.height] = block.consensus.time_ms
        self.punished[block.hash] = self._punished_before(context) | {item.offender for item in block.evidence}
        self._check_punishment(context)

    def _punished_before(self, context: HeightContext) -> frozenset[Address]:
        return self.punished.get(context.parent_hash, frozenset())

    def _check_punishment(self, context: HeightContext) -> None:
        """In a healed network an equivocation is in a block once all members could propose since; then the cheat is out."""
        if self._settled is None:
            return
        since = max(self._settled, default=0)
        for who, height in self.accused.items():
            waited = context.height - max(height, since)
            if waited > PUNISHED_WITHIN and who not in self._punished_before(context):
                raise Violation(f"{who.hex()[:4]} equivocated at {height} and is not punished {waited} heights later")
        for who in self._punished_before(context):
            by = next((h for h in range(1, context.height) if self._punished_at(h, who)), context.height)
            if context.height > by + 2 and who in context.validators and len(context.validators) > 1:
                raise Violation(f"{who.hex()[:4]} was punished at {by} and still votes at {context.height}")

    def _punished_at(self, height: int, who: Address) -> bool:
        return who in self.punished.get(self.decided.get(height, ZERO_HASH), frozenset())

    def fault_of(self, block: Block, context: HeightContext) -> str:
        return fault_of(block, context) or self._fault_of_evidence(block, context)

    def _fault_of_evidence(self, block: Block, context: HeightContext) -> str:
        """Two good signatures of one validator of a past height, accused once and never before."""
        offenders = [item.offender for item in block.evidence]
        if len(set(offenders)) < len(offenders) or len(offenders) > 16:
            return "accusing somebody twice"
        if self._punished_before(context) & set(offenders):
            return "punishing somebody again"
        for item in block.evidence:
            validators = self.sets.get(item.height)
            if item.height >= context.height or validators is None or not _power(validators, item.offender):
                return "with evidence of no height before it"
            if block.consensus.time_ms - self.times[item.height] > context.evidence_age_ms:
                return "with evidence that is too old"
            for said in (item.first, item.second):
                try:
                    genuine = recover(said.digest(CHAIN, validators.hash()), said.signature) == item.offender
                except WireError:
                    genuine = False
                if not genuine:
                    return "with forged evidence"
        return ""


def fault_of(block: Block, context: HeightContext) -> str:
    """Why a block may not follow this chain; empty if it may. Not the code under test: the rules once more, from DESIGN."""
    try:
        check_body(block)
    except Exception:
        return "not what its header says"
    data, interval = block.consensus, BLOCK_PARAMS.interval_ms
    facts = {
        "a failure to execute": INVALID_TRANSACTION not in block.transactions,
        "of another height": block.height == context.height,
        "of a wrong proposer": data.proposer == context.proposer(data.round),
        "of other validators": data.validators_hash == context.validators.hash(),
        "of other next validators": data.next_validators_hash == context.next_validators.hash(),
        "too early": data.time_ms >= context.parent_time_ms + interval,
        "with another evidence_hash": data.evidence_hash == evidence_hash(block.evidence),
    }
    for fault, holds in facts.items():
        if not holds:
            return fault
    if context.last_validators is None:
        return "" if block.last_commit.signatures == () else "with a commit of nothing"
    if block.last_commit.block_hash != context.parent_hash:
        return "with another parent's commit"
    return fault_of_commit(block.last_commit, context.last_validators)


def fault_of_commit(commit: Commit, validators: ValidatorSet) -> str:
    """More than 2/3 of the power signed, and every signature that is there is good."""
    if len(commit.signatures) != len(validators.members) or commit.block_hash == ZERO_HASH:
        return "committed in another shape"
    power = 0
    for member, signature in zip(validators.members, commit.signatures, strict=True):
        if not signature:
            continue
        vote = Vote(VoteType.PRECOMMIT, commit.height, commit.round, commit.block_hash, member.address, signature)
        try:
            signer = recover(vote.digest(CHAIN, validators.hash()), signature)
        except WireError:
            return "committed with a bad signature"
        if signer != member.address:
            return "committed with a signature of somebody else"
        power += member.power
    return "" if 3 * power > 2 * sum(m.power for m in validators.members) else "committed by too few"


def _power(validators: ValidatorSet, address: Address) -> int:
    return next((m.power for m in validators.members if m.address == address), 0)


def _own_proposal(node: Watched, proposal: Proposal) -> ProposalReceived | None:
    block = node.driver.blocks.get(proposal.block_hash)
    return None if block is None else ProposalReceived(proposal, block.consensus.time_ms)


class RoundObserver(SilentObserver):
    """Tells the monitor of the rounds of an honest node; the rest is nobody's business here."""

    def __init__(self, monitor: Monitor, node: Watched) -> None:
        self._monitor, self._node = monitor, node
        self._last: _Position = (0, NO_ROUND)

    def step_entered(self, height: int, round_: int, step: Step) -> None:
        if step is not Step.NEW and (height, round_) != self._last:
            self._last = (height, round_)
            self._monitor.enters(self._node, height, round_)

    def signing_refused(self, reason: str) -> None:
        raise Violation(f"the signer of {self._node.name} refused: {reason}")
