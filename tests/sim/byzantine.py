"""Validators that cheat, one small class each. They run the honest code and lie in what they send, build, approve and serve.

Their keys together always have less than a third of the power. Add one here and in plan.BEHAVIOURS to have it drawn.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from consensus.messages import RoundState
from genesis.primitives import ZERO_HASH, Hash32, Height, Round
from genesis.types import Block, Commit, DuplicateVote, Proposal, Vote, VoteType
from tests.sim.ledger import INVALID_TRANSACTION
from tests.unit.consensus.support import make_block

ONE: Final = Hash32(bytes(31) + b"\x01")

if TYPE_CHECKING:
    from tests.sim.node import Message, SimNode


class Behaviour:
    """The honest one: every hook leaves things as they are."""

    honest = True

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        """What `peer` hears when the node means to send it `message`."""
        return (message,)

    def tick(self, node: "SimNode") -> None:
        """Every 400 ms: a chance to say more."""

    def block(self, node: "SimNode", block: Block) -> Block:
        """What the node proposes when it has built `block`."""
        return block

    def likes(self, block: Block) -> bool:
        """True: the node takes an invalid block as valid."""
        return False

    def serves(self, node: "SimNode") -> list[tuple[Block, Commit]]:
        """The chain that it shows to block sync."""
        return node.chain


class Cheat(Behaviour):
    """What the dishonest share: which messages are theirs, and votes without a guard."""

    honest = False

    def owns(self, node: "SimNode", message: "Message") -> bool:
        me = node.world.keys.addresses[node.key]
        return (isinstance(message, Vote) and message.validator == me) or (
            isinstance(message, Proposal) and message.proposer == me
        )

    def vote(self, node: "SimNode", vote: Vote, value: Hash32) -> Vote:
        """The same vote for another value."""
        place = (vote.height, vote.round)
        return node.world.keys.vote(node.key, vote.kind, place, value, node.context.validators)

    def says_alone(self, node: "SimNode", message: "Message", peer: "SimNode | None" = None) -> None:
        """Send something made up, to one peer or to all."""
        for other in node.world.nodes if peer is None else [peer]:
            if other is not node:
                node.world.lies += 1
                node.world.inject(node, other, message)


class Twin(Cheat):
    """One key in two processes that know nothing of each other. Each is honest by itself."""


class Equivocator(Cheat):
    """Proposes two blocks, one to each half of the network, and votes for each where it was shown."""

    def __init__(self) -> None:
        self.others: dict[Hash32, Block] = {}

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        if node.world.nodes.index(peer) % 2:
            return (message,)
        if isinstance(message, Block) and message.consensus.proposer == node.world.keys.addresses[node.key]:
            return (self._other(node, message),)
        if not self.owns(node, message):
            return (message,)
        if isinstance(message, Vote):
            other = self.others.get(message.block_hash)
            return (message if other is None else self.vote(node, message, other.hash),)
        block = node.driver.blocks.get(message.block_hash)
        if message.valid_round >= 0 or block is None:
            return (message,)
        place = (message.height, message.round)
        other = self._other(node, block)
        return (node.world.keys.proposal(node.key, place, other.hash, node.context.validators), other)

    def _other(self, node: "SimNode", block: Block) -> Block:
        if block.hash not in self.others:
            self.others[block.hash] = make_block(
                node.context,
                round_=block.consensus.round,
                transactions=(*block.transactions, b"and another"),
                time_ms=block.consensus.time_ms,
                last_commit=block.last_commit,
            )
        return self.others[block.hash]


class Splitter(Cheat):
    """Votes differently to everybody: for what it means, for nil, and for any block of the height."""

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        if not isinstance(message, Vote) or not self.owns(node, message):
            return (message,)
        values = sorted({ZERO_HASH, message.block_hash, *node.driver.state.judged})
        return (self.vote(node, message, node.world.rng.choice(values)),)


class NilVoter(Cheat):
    """Votes nil, always."""

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        if isinstance(message, Vote) and self.owns(node, message):
            return (self.vote(node, message, ZERO_HASH),)
        return (message,)


class Silent(Cheat):
    """Says nothing."""

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        return ()


class Withholder(Cheat):
    """Shows its prevotes to one node at a time, so that one alone sees the polka, locks, and can't show why."""

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        if isinstance(message, Vote) and message.kind is VoteType.PREVOTE:
            friend = (message.height + message.round) % len(node.world.nodes)
            return (message,) if node.world.nodes[friend] is peer else ()
        return () if isinstance(message, Commit) else (message,)


class Spammer(Cheat):
    """Floods with votes and proposals of rounds and heights that nobody is in."""

    def tick(self, node: "SimNode") -> None:
        rng, state = node.world.rng, node.driver.state
        peer = rng.choice(node.world.nodes)
        for _ in range(8):
            place = (
                Height(state.height + rng.choice([0, 0, 0, 1, 2])),
                max(state.round, 0) + rng.choice([1, 2, 9, 5000]),
            )
            value = Hash32(rng.randbytes(32))
            kind = rng.choice([VoteType.PREVOTE, VoteType.PRECOMMIT])
            vote = node.world.keys.vote(node.key, kind, place, value, node.context.validators)
            proposal = node.world.keys.proposal(node.key, place, value, node.context.validators)
            self.says_alone(node, rng.choice([vote, vote, proposal]), peer)


class InvalidProposer(Cheat):
    """Proposes blocks that break a rule, and votes for them."""

    def __init__(self) -> None:
        self.mine: set[Hash32] = set()

    def likes(self, block: Block) -> bool:
        return block.hash in self.mine

    def block(self, node: "SimNode", block: Block) -> Block:
        data, commit = block.consensus, block.last_commit
        changes = [
            {"transactions": (INVALID_TRANSACTION,)},
            {"time_ms": node.context.parent_time_ms + 1},
            {"time_ms": data.time_ms + 60_000},
            {"validators_hash": Hash32(bytes(31) + b"\x01")},
            {"next_validators_hash": Hash32(bytes(31) + b"\x01")},
            {"last_commit": replace(commit, signatures=_spoilt(commit.signatures))},
            {"last_commit": replace(commit, signatures=_without_most(commit.signatures))},
            {"evidence": (_slander(node),)},
            {"evidence": (_own_fault(node, node.context.height),)},
        ]
        if node.chain:
            mine = _own_fault(node, Height(node.context.height - 1))
            changes.append({"evidence": (mine, mine)})
        else:
            changes.append({"evidence_hash": Hash32(bytes(31) + b"\x01")})
        wrong = {"transactions": block.transactions, "time_ms": data.time_ms, "last_commit": commit}
        wrong |= node.world.rng.choice(changes)
        bad = make_block(node.context, round_=data.round, **wrong)
        self.mine.add(bad.hash)
        node.world.lies += 1
        return bad


class Liar(Cheat):
    """Claims heights that it has not, or a lower one; shows forged blocks and commits to who believes it."""

    def tick(self, node: "SimNode") -> None:
        state = node.driver.round_state()
        height = node.world.rng.choice([state.height + 2, state.height + 1, 1_000_000, max(state.height - 1, 1)])
        self.says_alone(node, RoundState(Height(height), state.round, state.step, state.has_proposal, ()))

    def serves(self, node: "SimNode") -> list[tuple[Block, Commit]]:
        block = make_block(node.context, transactions=(b"forged",))
        commits = [commit for _, commit in node.chain[-1:]]
        mine = _commit_of_one(node, block.hash)
        forged = node.world.rng.choice([mine, *commits])
        return [*node.chain, (block, forged)]


class Forger(Cheat):
    """Signs in the names of others, proposes out of turn, and re-proposes with polkas that never were."""

    def tick(self, node: "SimNode") -> None:
        rng, state, keys, validators = node.world.rng, node.driver.state, node.world.keys, node.context.validators
        round_ = max(state.round, 0)
        place = (state.height, round_)
        names = [member.address for member in validators.members]
        block = make_block(
            node.context,
            round_=round_,
            transactions=(b"forged",),
            time_ms=max(node.clock_ms(), node.context.parent_time_ms + 500),
            last_commit=node.driver.last_commit.commit(),
        )
        kind = rng.choice([VoteType.PREVOTE, VoteType.PRECOMMIT])
        votes = [keys.vote(node.key, kind, place, block.hash, validators, name=name) for name in names]
        out_of_turn = keys.proposal(node.key, place, block.hash, validators)
        in_name = keys.proposal(node.key, place, block.hash, validators, name=node.context.proposer(Round(round_)))
        commit = _commit_of_one(node, block.hash, everywhere=True)
        for message in [*votes, rng.choice([out_of_turn, in_name]), commit, block, _slander(node)]:
            self.says_alone(node, message)

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        if not isinstance(message, Proposal) or not self.owns(node, message) or message.round == 0:
            return (message,)
        keys, validators = node.world.keys, node.context.validators
        place = (message.height, message.round)
        polka = tuple(
            keys.vote(
                node.key, VoteType.PREVOTE, (message.height, 0), message.block_hash, validators, name=member.address
            )
            for member in validators.members
        )
        return (keys.proposal(node.key, place, message.block_hash, validators, valid_round=0, polka=polka),)


class Amnesiac(Cheat):
    """Forgets its locks: votes for whatever is proposed, and re-proposes the oldest polka that it can show."""

    def say(self, node: "SimNode", peer: "SimNode", message: "Message") -> Iterable["Message"]:
        if not self.owns(node, message):
            return (message,)
        state = node.driver.state
        if isinstance(message, Vote):
            received = state.proposals.get(message.round)
            return (message if received is None else self.vote(node, message, received.proposal.block_hash),)
        for round_ in range(message.round):
            prevotes = state.votes.prevotes(Round(round_))
            if prevotes.quorum not in (None, ZERO_HASH):
                place, polka = (message.height, message.round), prevotes.votes_for(prevotes.quorum)
                validators = node.context.validators
                return (
                    node.world.keys.proposal(
                        node.key, place, prevotes.quorum, validators, valid_round=round_, polka=polka
                    ),
                )
        return (message,)


def _spoilt(signatures: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The last signature is rubbish; the quorum may be complete before it."""
    return (*signatures[:-1], bytes(65)) if signatures else (bytes(65),)


def _without_most(signatures: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (*signatures[:1], *(b"" for _ in signatures[1:]))


def _slander(node: "SimNode") -> DuplicateVote:
    """Evidence against somebody honest, signed by the cheat."""
    validators, keys = node.context.validators, node.world.keys
    names = [member.address for member in validators.members if member.address != keys.addresses[node.key]]
    name = node.world.rng.choice(names or [keys.addresses[node.key]])
    height = Height(node.world.rng.randint(1, node.context.height))
    votes = [
        keys.vote(node.key, VoteType.PREVOTE, (height, 0), value, validators, name=name) for value in (ZERO_HASH, ONE)
    ]
    return DuplicateVote(*votes)


def _own_fault(node: "SimNode", height: Height) -> DuplicateVote:
    """Good evidence against the cheat itself."""
    validators = node.contexts[height - 1].validators
    votes = [
        node.world.keys.vote(node.key, VoteType.PREVOTE, (height, 0), value, validators) for value in (ZERO_HASH, ONE)
    ]
    return DuplicateVote(*votes)


def _commit_of_one(node: "SimNode", value: Hash32, *, everywhere: bool = False) -> Commit:
    """A commit with the cheat's own signature, in its place or in all places."""
    validators, keys = node.context.validators, node.world.keys
    vote = keys.vote(node.key, VoteType.PRECOMMIT, (node.context.height, 0), value, validators)
    own = bytes(vote.signature)
    me = keys.addresses[node.key]
    signatures = tuple(own if everywhere or m.address == me else b"" for m in validators.members)
    return Commit(node.context.height, Round(0), value, signatures)


BEHAVIOURS: Final[dict[str, type[Behaviour]]] = {
    "twin": Twin,
    "equivocator": Equivocator,
    "splitter": Splitter,
    "nil voter": NilVoter,
    "silent": Silent,
    "withholder": Withholder,
    "spammer": Spammer,
    "invalid proposer": InvalidProposer,
    "liar": Liar,
    "forger": Forger,
    "amnesiac": Amnesiac,
}
