"""One height of one node, without IO of its own: checks what comes in, logs it, runs the state machine, signs and persists.

It stands between the pure rules and the engine (or a simulator): the log and the sign record are ports, everything else goes
out as a list of orders. The order of things is what makes a crash harmless:

    log the input → step → polka and block durable → (beyond round 0: log durable) → sign record durable → log durable → send
"""

from collections import deque
from typing import Final

from consensus import gossip
from consensus.application import HeightContext
from consensus.block_rules import check_polka, verify_commit
from consensus.clocks import observe_clocks
from consensus.events import (
    BlockBuilt,
    BlockValidated,
    BuildBlock,
    CastVote,
    CommitReceived,
    Decide,
    Effect,
    EnterHeight,
    EvidenceFound,
    Input,
    PersistPolka,
    ProposalReceived,
    Propose,
    ScheduleTimeout,
    TimeoutExpired,
    VoteReceived,
    WantBlock,
)
from consensus.last_commit import LastCommit
from consensus.member import Node
from consensus.messages import BlockRequest, RoundState
from consensus.observer import VoteIgnored
from consensus.orders import Broadcast, BroadcastBlock, Build, Finalize, Judge, Order, Send, StartTimer
from consensus.peers import PEERS_MAX
from consensus.recovery import restore
from consensus.signer import SigningDelayed, SigningRefused
from consensus.state_machine import PROPOSAL_ROUNDS_AHEAD, RoundsState, resume, step
from consensus.timing import timeout_ms
from consensus.vote_set import PAST_ROUNDS_KEPT
from consensus.wal import HeldBlock, PolkaSeen, SitsOut
from genesis.crypto import recover
from genesis.errors import InvalidBlock, InvariantError, PeerFault, WireError
from genesis.primitives import NO_ROUND, ZERO_HASH, Address, Hash32, Round, Signature
from genesis.proposers import Rotation
from genesis.types import Block, Commit, Evidence, Proposal, Vote, VoteType

EARLY_BLOCKS_MAX: Final = 8
"""Blocks kept aside, at most one per peer: those that overtook their proposal, and second copies of one whose body is not
checked yet (the first copy may be somebody's forgery)."""


class HeightDriver:
    """Drives one height. Every method returns orders; those that take from a peer raise PeerFault for its faults."""

    def __init__(self, node: Node, context: HeightContext) -> None:
        self._node = node
        self.context = context
        self.state = RoundsState(
            height=context.height,
            validators=context.validators,
            proposer=Rotation(context.validators, context.priorities).proposer,
            params=node.params,
            me=None if node.signer is None else node.signer.address,
        )
        self.last_commit = LastCommit(node.chain, context)
        self.blocks: dict[Hash32, Block] = {}
        self._verdicts: dict[Hash32, bool] = {}
        self._early: dict[str, Block] = {}
        self._logged: set[Hash32] = set()
        self._orders: list[Order] = []
        self._durable_lock: tuple[Round, Hash32 | None] = (NO_ROUND, None)
        self._lacks: dict[str, gossip.Lacks] = {}
        """What peers lacked when they last spoke; who spoke longest ago is forgotten first."""
        self._unsigned: list[CastVote | Propose] = []
        self._retrying = False

    # ------------------------------------------------------------ what the node itself has to say

    def start(self) -> list[Order]:
        """Take up the height where the log and the sign record left it. Raises StorageCorrupt if they contradict."""
        records = self._node.wal.replay(self.state.height)
        signer = self._node.signer
        recovered = restore(self.state, records, None if signer is None else signer.last)
        for block in recovered.blocks:
            self.blocks[block.hash] = block
            self._logged.add(block.hash)
            self.state.wanted.add(block.hash)
            self._orders.append(Judge(block, None))
        for evidence in recovered.evidence:
            self._accuse(evidence)
        if recovered.sits_out:
            self._node.wal.append(SitsOut(self.state.height))
            self._node.observer.signing_refused(recovered.sits_out)
        if recovered.unlogged is not None:
            self._node.wal.append(recovered.unlogged)
        self._node.wal.sync()
        self._durable_lock = (self.state.locked_round, self.state.locked_value)
        if recovered.last_signed is not None:
            self._orders.append(Broadcast(recovered.last_signed))
        self._observe_step()
        self._carry_out(resume(self.state))
        self._orders.append(Broadcast(gossip.round_state(self.state)))
        return self._give_orders()

    def enter(self) -> list[Order]:
        return self._feed(EnterHeight(self.state.height))

    def expire(self, event: TimeoutExpired) -> list[Order]:
        if event.height != self.state.height or event.round < self.state.round:
            return []
        if (event.round, event.step) == (self.state.round, self.state.step):
            self._node.observer.timed_out(event.height, event.round, event.step)
        return self._feed(event)

    def built(self, round_: Round, block: Block) -> list[Order]:
        """A block that this node built: held durably, since it will be proposed."""
        if round_ != self.state.round:
            return []
        self._node.observer.proposal_taken(self.state.height, round_, own=True)
        self.blocks[block.hash] = block
        self._log_block(block)
        self._node.wal.sync()
        self._feed_judgement(block, valid=True)
        return self._feed(BlockBuilt(self.state.height, round_, block.hash))

    def judged(self, block: Block, *, valid: bool) -> list[Order]:
        if block.hash not in self.blocks:
            return []
        self._early = {peer: early for peer, early in self._early.items() if early.hash != block.hash}
        observe_clocks(self._node.observer, self.state, block)
        self._feed_judgement(block, valid=valid)
        return self._give_orders()

    def body_refused(self, block: Block) -> list[Order]:
        """The bytes under this hash were not the block: it is still wanted."""
        if self.blocks.get(block.hash) is block:
            del self.blocks[block.hash]
            self._want(block.hash)
        return self._give_orders()

    def missing_blocks(self) -> list[BlockRequest]:
        """Requests for the blocks that the rules wait for."""
        missing = sorted(value for value in self.state.wanted if value not in self.blocks)
        return [BlockRequest(self.state.height, value) for value in missing]

    def retry_signing(self) -> list[Order]:
        """Ask again for what a signer elsewhere could not be asked for, as long as the round lasts.

        Without this, a height whose votes were all asked for while too many signers were away would never end: nobody casts
        them again, and a round without votes has no timer.
        """
        waiting, self._unsigned, self._retrying = self._unsigned, [], True
        for effect in waiting:
            if self.state.decided is None and effect.round == self.state.round:
                if self._unsigned:  # in order: the signer takes no earlier position afterwards
                    self._unsigned.append(effect)
                else:
                    self._carry_out([effect])
        self._retrying = False
        return self._give_orders()

    def round_state(self) -> RoundState:
        return gossip.round_state(self.state)

    # ------------------------------------------------------------ what peers say

    def take_proposal(self, proposal: Proposal, received_ms: int) -> list[Order]:
        state, chain = self.state, self._node.chain
        if not max(state.round, 0) <= proposal.round <= max(state.round, 0) + PROPOSAL_ROUNDS_AHEAD:
            return []
        if proposal.proposer != state.proposer(proposal.round):
            raise PeerFault(f"{proposal.proposer.hex()} proposed in round {proposal.round}, which is not its own")
        known = state.proposals.get(proposal.round)
        if known is not None and (
            (known.proposal.block_hash, known.proposal.valid_round) == (proposal.block_hash, proposal.valid_round)
            or self._node.evidence.accuses(proposal.proposer)
        ):
            return []
        self._check_signature(proposal.digest(chain, state.validators.hash()), proposal.signature, proposal.proposer)
        if self._node.is_used_elsewhere(proposal):
            return []
        try:
            check_polka(chain, state.validators, proposal)
        except InvalidBlock as error:
            raise PeerFault(str(error)) from None
        self._node.is_used_elsewhere(*proposal.polka)
        self._node.observer.proposal_taken(proposal.height, proposal.round, own=False)
        return self._feed(ProposalReceived(proposal, received_ms))

    def take_vote(self, vote: Vote) -> list[Order]:
        state = self.state
        if vote.validator not in state.validators:
            raise PeerFault(f"a vote of {vote.validator.hex()}, which is no validator of height {vote.height}")
        if vote.round < state.round - PAST_ROUNDS_KEPT:
            self._node.observer.vote_ignored(VoteIgnored.LATE)
            return []
        if state.votes.get(vote.round, vote.kind).is_useless(vote):
            self._node.observer.vote_ignored(VoteIgnored.DUPLICATE)
            return []
        self._check_signature(vote.digest(self._node.chain, state.validators.hash()), vote.signature, vote.validator)
        if self._node.is_used_elsewhere(vote):
            return []
        return self._feed(VoteReceived(vote))

    def take_late(self, vote: Vote) -> None:
        """A vote of the parent's height: a precommit for it joins its commit."""
        if self.last_commit.add(vote):
            self._node.is_used_elsewhere(vote)

    def take_commit(self, peer: str, commit: Commit) -> list[Order]:
        """A peer has decided this height: if the commit is good, all that is left is to get the block."""
        state = self.state
        if commit.round not in state.votes.commits:
            try:
                verify_commit(self._node.chain, state.validators, commit, state.height, commit.block_hash)
            except InvalidBlock as error:
                raise PeerFault(str(error)) from None
            self._node.watch_commit(state.validators, commit)
            self._run(CommitReceived(commit))
        if state.decided is None and commit.block_hash not in self.blocks and commit.block_hash in state.wanted:
            self._orders.append(Send(peer, BlockRequest(state.height, commit.block_hash)))
        return self._give_orders()

    def take_block(self, peer: str, block: Block) -> list[Order]:
        state = self.state
        if block.height != state.height or block.hash in self._verdicts:
            return []
        if block.consensus.round > max(state.round, 0) + PROPOSAL_ROUNDS_AHEAD:
            raise PeerFault(f"a block of round {block.consensus.round}, far from any round that was seen")
        if block.hash in state.wanted and block.hash not in self.blocks:
            self._hold(block, peer)
        elif peer in self._early or len(self._early) < EARLY_BLOCKS_MAX:
            self._early[peer] = block
        return self._give_orders()

    def answer(self, peer: str, peer_state: RoundState) -> list[Order]:
        """What a peer at our height misses again; the parent's commit for a peer that is one height behind."""
        if peer_state.height == self.state.height:
            messages, lacks = gossip.missing_for(self.state, peer_state, self._lacks.pop(peer, {}))
            self._lacks[peer] = lacks
            if len(self._lacks) > PEERS_MAX:
                del self._lacks[next(iter(self._lacks))]
            return [Send(peer, message) for message in messages]
        if peer_state.height == self.state.height - 1 and peer_state.height > 0:
            return [Send(peer, self.last_commit.commit())]
        return []

    # ------------------------------------------------------------ inside

    def _feed_judgement(self, block: Block, *, valid: bool) -> None:
        self._verdicts[block.hash] = valid
        self._run(self._judgement(block))

    def _judgement(self, block: Block) -> BlockValidated:
        data = block.consensus
        return BlockValidated(self.state.height, block.hash, self._verdicts[block.hash], data.time_ms, data.round)

    def _feed(self, event: Input) -> list[Order]:
        self._run(event)
        return self._give_orders()

    def _run(self, event: Input) -> None:
        """Log one input and process it, and then the own votes and proposals that follow from it."""
        if self.state.decided is not None:
            return
        self._node.wal.append(event)
        self._carry_out(step(self.state, event))

    def _carry_out(self, effects: list[Effect]) -> None:
        pending = deque(effects)
        while pending:
            own = self._do(pending.popleft())
            self._observe_step()
            if own is not None:
                pending.extend(step(self.state, own))

    def _do(self, effect: Effect) -> Input | None:
        """Carry out one effect; returns the input that it makes, already logged."""
        match effect:
            case PersistPolka():
                self._persist_polka(effect)
            case CastVote():
                return self._cast(effect)
            case Propose():
                return self._propose(effect)
            case BuildBlock(round_):
                self._orders.append(Build(round_))
            case WantBlock(value):
                return self._want(value)
            case ScheduleTimeout(round_, step_):
                event = TimeoutExpired(self.state.height, round_, step_)
                self._orders.append(StartTimer(event, timeout_ms(self._node.params, step_, round_)))
            case EvidenceFound(evidence):
                self._accuse(evidence)
            case Decide(round_, value):
                commit = self.state.votes.commit_of(round_, value)
                self._node.observer.decided(commit, self.state.validators)
                self._orders.append(Finalize(self._held(value), commit))
        return None

    def _accuse(self, evidence: Evidence) -> None:
        if self._node.evidence.add(evidence):
            self._node.observer.equivocation(evidence)
            self._orders.append(Broadcast(evidence))

    def _persist_polka(self, effect: PersistPolka) -> None:
        self._node.observer.polka_seen(effect.height, effect.round)
        self._log_block(self._held(effect.block_hash))
        self._node.wal.append(PolkaSeen(effect.height, effect.round, effect.block_hash, effect.locks, effect.polka))
        self._node.wal.sync()
        if effect.locks:
            self._durable_lock = (effect.round, effect.block_hash)

    def _cast(self, effect: CastVote) -> Input | None:
        state, signer = self.state, self._node.signer
        if signer is None:
            raise InvariantError("a node without a key was told to vote")
        precommits = effect.kind is VoteType.PRECOMMIT and effect.block_hash != ZERO_HASH
        if precommits and self._durable_lock != (effect.round, effect.block_hash):
            raise InvariantError("a node was told to precommit a block before its lock was durable")
        self._sync_before_signing(effect.round)
        try:
            vote = signer.sign_vote(effect.kind, state.height, effect.round, effect.block_hash, state.validators.hash())
        except SigningRefused as error:
            self._go_unsigned(effect, error)
            return None
        own = VoteReceived(vote)
        self._log_and_send(own, vote)
        return own

    def _propose(self, effect: Propose) -> Input | None:
        state, signer = self.state, self._node.signer
        if signer is None:
            raise InvariantError("a node without a key was told to propose")
        self._sync_before_signing(effect.round)
        try:
            proposal = signer.sign_proposal(
                state.height, effect.round, effect.valid_round, effect.block_hash, effect.polka, state.validators.hash()
            )
        except SigningRefused as error:
            self._go_unsigned(effect, error)
            return None
        if effect.valid_round >= 0:
            self._node.observer.proposal_taken(state.height, effect.round, own=True)
        block = self._held(effect.block_hash)
        # The proposer's own clock is not asked again: its block is timely to itself.
        own = ProposalReceived(proposal, block.consensus.time_ms)
        self._log_and_send(own, proposal)
        if effect.valid_round < 0:
            self._orders.append(BroadcastBlock(block))
        return own

    def _sync_before_signing(self, round_: Round) -> None:
        """Beyond round 0 the log must show how the node came there (`recovery`); in round 0 there is nothing to forget yet."""
        if round_ > 0:
            self._node.wal.sync()

    def _go_unsigned(self, effect: CastVote | Propose, error: SigningRefused) -> None:
        if isinstance(error, SigningDelayed):
            self._unsigned.append(effect)
            if self._retrying:
                return  # the observer knows
        self._node.observer.signing_refused(str(error))

    def _log_and_send(self, own: ProposalReceived | VoteReceived, message: Proposal | Vote) -> None:
        """The sign record is durable by now; the log must be before anybody hears of it."""
        self._node.wal.append(own)
        self._node.wal.sync()
        self._orders.append(Broadcast(message))

    def _want(self, value: Hash32) -> Input | None:
        """Get a block judged: from memory, from what came early, or else `missing_blocks` asks for it."""
        if value in self._verdicts:  # judged in an earlier round and forgotten by the rules since
            again = self._judgement(self._held(value))
            self._node.wal.append(again)
            return again
        for peer, block in self._early.items():
            if block.hash == value and value not in self.blocks:
                del self._early[peer]
                self._hold(block, peer)
                break
        return None

    def _hold(self, block: Block, peer: str) -> None:
        needed = self.state.wanted | self.state.judged.keys()
        self.blocks = {value: held for value, held in self.blocks.items() if value in needed}
        self._verdicts = {value: valid for value, valid in self._verdicts.items() if value in self.blocks}
        self.blocks[block.hash] = block
        self._orders.append(Judge(block, peer))

    def _held(self, value: Hash32) -> Block:
        block = self.blocks.get(value)
        if block is None:
            raise InvariantError(f"block {value.hex()} was judged but is not held")
        return block

    def _log_block(self, block: Block) -> None:
        if block.hash not in self._logged:
            self._node.wal.append(HeldBlock(block))
            self._logged.add(block.hash)

    def _check_signature(self, digest: Hash32, signature: Signature, claimed: Address) -> None:
        try:
            signer = recover(digest, signature)
        except WireError as error:
            raise PeerFault(f"a bad signature: {error}") from None
        if signer != claimed:
            raise PeerFault(f"a message in the name of {claimed.hex()} signed by {signer.hex()}")

    def _observe_step(self) -> None:
        self._node.observer.step_entered(self.state.height, self.state.round, self.state.step)

    def _give_orders(self) -> list[Order]:
        orders, self._orders = self._orders, []
        return orders
