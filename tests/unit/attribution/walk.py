"""A random walk over the contract's methods that keeps its own books of where every wei is."""

import contextlib
import random
from typing import Any

from attribution_precompile import layout
from attribution_precompile.contract import AttributionContract
from attribution_precompile.declarations import (
    Call,
    DatanetParams,
    DisputeKind,
    DisputeState,
    Method,
    Opening,
    Parent,
    Score,
    Signed,
    Use,
)
from attribution_precompile.methods.base import places_of
from attribution_precompile.methods.commitments import commitment_hash, ids_commitment_hash
from attribution_precompile.methods.contributions import next_content_root
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules.merkle import leaf_of, tree
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from evm_runtime.native import ContractRevert, reserve
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, AttributionParams
from genesis.primitives import WEI_PER_GWEI, Address, Hash32, keccak256
from tests.unit.attribution.books import Memo, PoolBooks
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.world import COUNCIL, TREASURY
from tests.unit.native.harness import address

ZERO32 = Hash32(bytes(32))
SALT = Hash32(b"\x05" * 32)
FUNDS = 10**30
RESERVE = 10**20
"""So little that a walk empties it."""
BOND_SECONDS, SCORE_SECONDS = AttributionParams().bond_seconds, AttributionParams().score_seconds
LONG_SECONDS = 15 * 24 * 3_600
"""Beyond every time-out of a dispute."""
OPENING = bytes(32) + b" ".join([b"w"] * 16)


def mutating_methods() -> set[str]:
    """The names of all methods that change something: a walk long enough succeeds with each."""
    return {found.signature.name for found in AttributionContract.methods.values() if not found.view}


class Walk:
    """`step()` does something; `check()` compares the contract's books with its balance and with what came in and went out.

    Each method that succeeds is checked by itself. Who walks checks after each step as well, for what was refused.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.direct = Direct()
        self.people = [address(1_000 + i) for i in range(8)]
        for who in self.people:
            self.direct.state.balances[who] = FUNDS
        self.direct.state.elsewhere[STAKING_ADDRESS, reserve.RESERVE.slot] = RESERVE
        self.memo = Memo(self.direct.state)
        self.pools = PoolBooks(self.direct, self.memo)
        self.datanets: list[int] = []
        self.contributions: list[int] = []
        self.models: list[int] = []
        self.agents: list[int] = []
        self.disputes: list[int] = []
        self.attested: list[Hash32] = []
        self.scores: dict[Hash32, list[tuple[int, int]]] = {}
        self.texts: list[str] = []
        self.copies: list[tuple[Address, int, int, int, int]] = []
        """(who was first, the copy, the place of its segment, the first one, the place of its segment)."""
        self.promised: list[tuple[Address, int, list[bytes]]] = []
        self.committed_datanet = 0
        self.paid_in = self.paid_out = self.drained = 0
        made: dict[str, list[Any]] = {
            "createDatanet": self.datanets, "registerModel": self.models, "registerAgent": self.agents,
            **dict.fromkeys(("contribute", "contributeCommitted"), self.contributions),
            **dict.fromkeys(
                ("disputeScores", "disputeContribution", "challengePriority", "announceChallenge", "challengeCommitted"),
                self.disputes,
            ),
            "inferAttested": self.attested,
        }  # fmt: skip
        self._made = made
        """By method, the list of what it has made."""
        for _ in range(3):
            self._create_datanet()

    def step(self) -> None:
        actions = [
            (self._contribute, 10), (self._review, 10), (self._publish, 5), (self._register, 3), (self._infer, 45),
            (self._claim, 8), (self._claim_pool, 12), (self._set_payout, 3), (self._end_block, 4),
            (self._append, 6), (self._withdraw_bond, 6), (self._change_terms, 2), (self._change_model, 2),
            (self._commit, 3), (self._reveal, 3), (self._complete, 1), (self._change_datanet, 2),
            (self._register_agent, 2), (self._fund_agent, 6), (self._withdraw_agent, 3),
            (self._leave, 2), (self._commit_vectors, 3), (self._infer_vector, 5),
            (self._bond, 3), (self._attest, 5), (self._claim_scored, 8), (self._dispute_scores, 6), (self._resolve, 5),
            (self._contribute_committed, 2), (self._challenge_committed, 4), (self._reveal_window, 3),
            (self._dispute_contribution, 1), (self._challenge_priority, 2), (self._challenge_again, 2),
            (self._recount, 2), (self._announce_challenge, 2), (self._open_passage, 3), (self._release_scores, 2),
        ]  # fmt: skip
        [action] = self.rng.choices([a for a, _ in actions], [w for _, w in actions])
        with contextlib.suppress(ContractRevert):  # a refused call changes nothing, which check() sees
            action()
        if self.rng.random() < 0.3:
            self.direct.next_block(self.rng.choice([0, 1, 5]))

    def _do(self, who: Address, name: str, *arguments: Any, value: int = 0) -> Any:
        """Call a method. The books must balance when it has succeeded."""
        result = self.direct.call(who, name, *arguments, value=value)
        self.paid_in += value
        self.paid_out += result if name == "claim" else 0
        if name in self._made:
            self._made[name].append(result)
        self.pools.follow(self.contributions)
        self.check()
        return result

    def check(self) -> None:
        slots, load = ReaderSlots(self.direct.state), self.memo.load
        claimable = sum(layout.CLAIMABLE.get(slots, who) for who in (*self.people, TREASURY))
        burned, stakers = layout.BURNED.get(slots), layout.STAKERS.get(slots)
        pooled = self.pools.check(self.rng.choice(self.datanets))
        held = sum(load(layout.UPLOADS, contribution).bond for contribution in self.contributions)
        held += sum(load(layout.AGENTS, agent).deposit for agent in self.agents)
        held += sum(load(layout.DISPUTES, dispute).bond for dispute in self.disputes)
        bonds = [load(layout.BONDS, who) for who in self.people]
        attested = [load(layout.ATTESTATIONS, receipt) for receipt in self.attested]
        held += sum(bond.free + bond.locked for bond in bonds)
        held += sum(a.held - a.held * a.claimed_weight // a.total_weight for a in attested)
        assert sum(bond.locked for bond in bonds) == sum(a.bond for a in attested), "each lock is a receipt's"
        balance = self.direct.state.balances.get(ATTRIBUTION_ADDRESS, 0)
        drawn = self.direct.state.get_storage(STAKING_ADDRESS, reserve.DRAWN.slot)
        left = self.direct.state.get_storage(STAKING_ADDRESS, reserve.RESERVE.slot)
        assert balance + drawn == claimable + stakers + pooled + held, "the balance and what is drawn cover the books"
        came_in = self.paid_in + RESERVE - left
        assert came_in == self.paid_out + claimable + pooled + held + burned + stakers + self.drained, "in == out"

    # ---------------------------------------------------------------- steps

    def _who(self) -> Address:
        return self.rng.choice(self.people)

    def _create_datanet(self) -> None:
        self._do(self.people[0], "createDatanet", self._terms())

    def _terms(self) -> DatanetParams:
        rng = self.rng
        return DatanetParams(
            "", ZERO32, WORDS_V1, 8, False, True, 0, rng.choice([0, 10**15]), rng.choice([0, 700]),
            rng.choice([1_000, 3_000, 10_000]), rng.choice([0, 12_345]), rng.choice([0, 20]),
        )  # fmt: skip

    def _text(self, length: int) -> str:
        words: list[str] = []
        while len(words) < length:
            if self.texts and self.rng.random() < 0.6:
                source = self.rng.choice(self.texts).split()
                start = self.rng.randrange(len(source))
                words += source[start : start + self.rng.randint(5, 25)]
            else:
                words += [f"w{self.rng.randrange(500)}" for _ in range(5)]
        return " ".join(words[:length])

    def _contribute(self) -> None:
        if len(self.contributions) < 60:
            text = self._text(self.rng.randint(8, 40))
            arguments = (self.rng.choice(self.datanets), text.encode(), ZERO32, self._who(), ZERO32)
            value = self.rng.choice([0, 12_345, 20_000])
            contribution = self._do(self._who(), "contribute", *arguments, value=value)
            self.texts.append(text)
            if self.rng.random() < 0.2:
                self._give_vectors(contribution)

    def _contributor(self, contribution: int) -> Address:
        return layout.CONTRIBUTIONS.load(ReaderSlots(self.direct.state), contribution).contributor

    def _append(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions[-8:])
            text, value = self._text(self.rng.randint(8, 300)), self.rng.choice([0, 30_000])
            self._do(self._contributor(contribution), "appendContent", contribution, text.encode(), value=value)

    def _commit(self) -> None:
        who, datanet = self._who(), self.rng.choice(self.datanets)
        pieces = [self._text(20).encode() for _ in range(self.rng.choice([1, 1, 2]))]
        root = ZERO32
        for piece in pieces:
            root = next_content_root(root, keccak256(piece))
        self._do(who, "commit", commitment_hash(who, SALT, datanet, root, who))
        self.promised.append((who, datanet, pieces))

    def _reveal(self) -> None:
        if self.promised and len(self.contributions) < 80:
            who, datanet, pieces = self.promised.pop(self.rng.randrange(len(self.promised)))
            if self.rng.random() < 0.2:
                pieces.append(b"with more behind it that nobody has committed to before")
            value = 20_000
            contribution = self._do(who, "contribute", datanet, pieces[0], ZERO32, who, SALT, value=value)
            for piece in pieces[1:]:
                self._do(who, "appendContent", contribution, piece, value=value)
            if len(pieces) > 1:
                self._do(who, "finalizeContent", contribution)

    def _complete(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions[-8:])
            self._do(self._contributor(contribution), "finalizeContent", contribution)

    def _register_agent(self) -> None:
        if len(self.agents) < 4 and self.models:
            cap, models = self.rng.choice([0, 10**19, 10**24]), tuple(self.models)
            self._do(self._who(), "registerAgent", "", self._who(), cap, models)
        elif self.agents:
            agent = self.rng.choice(self.agents)
            owner = layout.AGENTS.load(ReaderSlots(self.direct.state), agent).owner
            self._do(owner, "setAgent", agent, self._who(), 10**24, tuple(self.models[-20:]))

    def _fund_agent(self) -> None:
        if self.agents:
            value = self.rng.choice([1, 10**18, 10**20])
            self._do(self._who(), "depositAgent", self.rng.choice(self.agents), value=value)

    def _withdraw_agent(self) -> None:
        if self.agents:
            agent = self.rng.choice(self.agents)
            owner = layout.AGENTS.load(ReaderSlots(self.direct.state), agent).owner
            self._do(owner, "withdrawAgent", agent, self.rng.choice([1, 10**18]))

    def _leave(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions)
            name, more = self.rng.choice([("withdrawConsent", (4,)), ("erase", ())])
            self._do(self._contributor(contribution), name, contribution, *more)

    def _withdraw_bond(self) -> None:
        if self.contributions:
            if self.rng.random() < 0.1:
                self.direct.next_block(BOND_SECONDS)
            contribution = self.rng.choice(self.contributions)
            self._do(self._contributor(contribution), "withdrawBond", contribution)

    def _change_terms(self) -> None:
        self._do(self.people[0], "setDatanet", self.rng.choice(self.datanets), self._terms())

    def _change_model(self) -> None:
        if self.models:
            model, heir = self.rng.choice(self.models), self._who()
            owner = layout.MODELS.load(ReaderSlots(self.direct.state), model).owner
            self._do(owner, "transferModel", model, heir)
            self._do(heir, "acceptModel", model)
            prices = self.rng.choice([(0, 0), (1, 1), (10**15, 123_456_789)])
            self._do(heir, "setModel", model, Address(bytes(20)), *prices, self.rng.random() < 0.9)
            self._do(heir, "setUses", model, self._uses())

    def _change_datanet(self) -> None:
        """Somebody takes it over, hands out roles and admissions, and gives it back."""
        owner, heir, datanet = self.people[0], self._who(), self.rng.choice(self.datanets)
        self._do(owner, "transferDatanet", datanet, heir)
        self._do(heir, "acceptDatanet", datanet)
        self._do(heir, "setRole", datanet, self._who(), self.rng.choice([0, 1]))
        if self.models:
            self._do(heir, "allowModel", datanet, self.rng.choice(self.models), self.rng.random() < 0.5)
        self._do(heir, "transferDatanet", datanet, owner)
        self._do(owner, "acceptDatanet", datanet)

    def _review(self) -> None:
        if self.contributions:
            accept = self.rng.random() < 0.8
            quality = self.rng.choice([0, 1, 77, 9_999, 10_000]) if accept else 0
            self._do(self.people[0], "review", self.rng.choice(self.contributions), accept, quality)

    def _publish(self) -> None:
        self._do(self.people[0], "publishVersion", self.rng.choice(self.datanets))

    def _uses(self) -> tuple[Use, ...]:
        slots = ReaderSlots(self.direct.state)
        chosen = self.rng.sample(self.datanets, self.rng.randint(1, len(self.datanets)))
        versions = [layout.DATANETS.load(slots, datanet).versions for datanet in chosen]
        shares = [10_000 // len(chosen)] * len(chosen)
        shares[0] += 10_000 - sum(shares)
        return tuple(
            Use(datanet, max(1, version - self.rng.randint(0, 2)), 0, share)
            for datanet, version, share in zip(chosen, versions, shares, strict=True)
        )

    def _register(self) -> None:
        prices = self.rng.choice([(0, 0), (1, 1), (10**15, 123_456_789), (0, 10**21 + 7)])
        parents = self.rng.sample(self.models, min(len(self.models), self.rng.choice([0, 0, 1, 2])))
        owed = tuple(Parent(parent, self.rng.choice([1, 100, 777])) for parent in parents)
        kind = self.rng.choice([Method.SPAN, Method.SPAN, Method.DOT, Method.ATTESTED, Method.POOL])
        arguments = ("", ZERO32, kind, Address(bytes(20)), *prices, 0, owed, self._uses())
        self._do(self._who(), "registerModel", *arguments)

    def _infer(self) -> None:
        if not self.models:
            return self._register()
        model, payer = self.rng.choice(self.models), self._who()
        value = self.rng.choice([0, 10**18, 10**20])
        agent = self.rng.choice([0, 0, *self.agents])
        if agent:
            payer = layout.AGENTS.load(ReaderSlots(self.direct.state), agent).wallet
        calls = tuple(
            Call(
                model,
                agent,
                ZERO32,
                self.rng.randrange(2_000),
                self._text(self.rng.randint(1, 60)).encode(),
                Signed(0, 0, b""),
            )
            for _ in range(self.rng.choice([1, 1, 1, 3]))
        )
        if len(calls) == 1:
            self._do(payer, "infer", calls[0], value=value)
        else:
            self._do(payer, "inferBatch", calls, value=value)
        return None

    def _claim(self) -> None:
        self._do(self._who(), "claim", self._who())

    def _claim_pool(self) -> None:
        if self.contributions:
            chosen = tuple(self.rng.choices(self.contributions, k=3))
            self._do(self._who(), "claimPool", chosen)

    def _set_payout(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions)
            self._do(self._contributor(contribution), "setPayout", contribution, self._who())

    def _end_block(self) -> None:
        self.direct.receive_drawn()
        self.drained += self.direct.contract.end_block(self.direct.state)

    # ---------------------------------------------------------------- vectors, attested scores, disputes

    def _models_by(self, kind: Method) -> list[int]:
        return [m for m in self.models if self.memo.load(layout.MODELS, m).method == kind]

    def _commit_vectors(self) -> None:
        if self.contributions:
            self._give_vectors(self.rng.choice(self.contributions[-6:]))

    def _give_vectors(self, contribution: int) -> None:
        vectors = bytes(self.rng.choice([1, 7, 255, 128]) for _ in range(3 * self.rng.randint(1, 3)))
        self._do(self._contributor(contribution), "commitVectors", contribution, 3, vectors)

    def _infer_vector(self) -> None:
        models = self._models_by(Method.DOT)
        if models:
            value, query = self.rng.choice([0, 10**18, 10**20]), bytes(self.rng.choice([1, 200]) for _ in range(3))
            arguments = (self.rng.choice(models), 0, ZERO32, 5, self.rng.randint(1, 50), query, Signed(0, 0, b""))
            self._do(self._who(), "inferVector", *arguments, value=value)

    def _bond(self) -> None:
        if self.rng.random() < 0.5:
            self._do(self._who(), "unbond", self.rng.choice([1, 10**18]))
            return
        value = self.rng.choice([10**19, 10**21])
        self._do(self._who(), "bond", value=value)

    def _attest(self) -> None:
        models = self._models_by(Method.ATTESTED)
        if models and self.contributions and len(self.attested) < 12:
            model, value = self.rng.choice(models), 10**20
            chosen = self.rng.sample(self.contributions, min(len(self.contributions), self.rng.randint(1, 5)))
            scores = [(contribution, self.rng.randint(1, 10**6)) for contribution in chosen]
            total = sum(weight for _, weight in scores) + self.rng.choice([0, 0, 5, -1])
            arguments = (model, 0, ZERO32, 5, self.rng.randint(1, 50), tree([leaf_of(*s) for s in scores])[0], total)
            owner = self.memo.load(layout.MODELS, model).owner
            if self.rng.random() < 0.5:
                self._do(owner, "bond", value=10**20)
            self.scores[self._do(owner, "inferAttested", *arguments, value=value)] = scores

    def _claim_scored(self) -> None:
        if self.attested:
            receipt = self.rng.choice(self.attested)
            scores = self.scores[receipt]
            if self.rng.random() < 0.1:
                self.direct.next_block(LONG_SECONDS)
            place = self.rng.randrange(len(scores))
            proof = tree([leaf_of(*score) for score in scores])[1][place]
            self._do(self._who(), "claimScored", receipt, Score(*scores[place]), tuple(proof))

    def _dispute_scores(self) -> None:
        if self.attested:
            value = self.rng.choice([0, 10**19, 10**19 + 3])
            self._do(self._who(), "disputeScores", self.rng.choice(self.attested), ZERO32, value=value)

    def _resolve(self) -> None:
        if self.disputes:
            if self.rng.random() < 0.2:
                self.direct.next_block(LONG_SECONDS)
            who = self.rng.choice([COUNCIL, COUNCIL, *self.people])
            self._do(who, "resolve", self.rng.choice(self.disputes[-6:]), self.rng.random() < 0.5)

    def _contribute_committed(self) -> None:
        if not self.committed_datanet:
            terms = self._terms()._replace(commit_only=True, min_span=16)
            self.committed_datanet = self._do(self.people[0], "createDatanet", terms)
        elif len(self.contributions) < 80:
            ids = tokenize(b" ".join([b"w"] * 16), WORDS_V1).window_ids(16)
            root, value, net, who = leaf_of(0, keccak256(OPENING)), 20_000, self.committed_datanet, self._who()
            salt = self.rng.choice([ZERO32, SALT])
            if salt == SALT:
                self._do(who, "commit", ids_commitment_hash(who, salt, net, root, who, ids))
                self.direct.next_block()
            self._do(who, "contributeCommitted", net, root, 16, ids, who, salt, value=value)

    def _committed(self) -> list[int]:
        return [
            contribution
            for contribution in self.contributions
            if self.memo.load(layout.CONTRIBUTIONS, contribution).datanet_id == self.committed_datanet
        ]

    def _challenge_committed(self) -> None:
        committed = self._committed()
        if committed:
            self._do(self._who(), "challengeCommitted", self.rng.choice(committed), 0, value=10**19)

    def _announce_challenge(self) -> None:
        committed = self._committed()
        if len(committed) > 1:
            first, second = sorted(self.rng.sample(range(len(committed)), 2))
            places = (committed[second], second, 0, committed[first], first, 0)
            self._do(self._contributor(committed[first]), "announceChallenge", *places, value=10**19 + 5)

    def _open_passage(self) -> None:
        for dispute in self.disputes[-6:]:
            found = self.memo.load(layout.DISPUTES, dispute)
            if found.kind == DisputeKind.PRIORITY and found.state == DisputeState.OPEN:
                if self.rng.random() < 0.5:
                    self.direct.next_block()
                    self.direct.next_block()
                self._do(found.challenger, "openPassage", dispute, (Opening(OPENING, ()),))

    def _recount(self) -> None:
        if self.contributions:
            self._do(self._who(), "recount", self.rng.choice(self.contributions))

    def _release_scores(self) -> None:
        if self.attested:
            if self.rng.random() < 0.1:
                self.direct.next_block(SCORE_SECONDS)
            self._do(self._who(), "releaseScores", self.rng.choice(self.attested))

    def _reveal_window(self) -> None:
        for dispute in self.disputes[-6:]:
            found = self.memo.load(layout.DISPUTES, dispute)
            if found.kind == DisputeKind.COMMITTED and found.state == DisputeState.OPEN:
                contributor = self._contributor(int.from_bytes(found.subject, "big"))
                self._do(contributor, "reveal", dispute, OPENING, ())

    def _dispute_contribution(self) -> None:
        if self.contributions:
            arguments = (self.rng.choice(self.contributions), ZERO32)
            self._do(self._who(), "disputeContribution", *arguments, value=10**19)

    def _challenge_priority(self) -> None:
        """Somebody's whole text, given again by another, and challenged."""
        if 0 < len(self.contributions) < 60:
            text = self._text(20).encode()
            earlier, later = self.rng.sample(self.people, 2)
            nets, given, places = self.rng.choices(self.datanets[:3], k=2), [], []
            for who, net in zip((earlier, later), nets, strict=True):
                given.append(self._do(who, "contribute", net, text, ZERO32, who, ZERO32, value=20_000))
                places.append(layout.SEGMENTS.length(ReaderSlots(self.direct.state), net) - 1)
            self._do(later, "finalizeContent", given[1])
            self.copies.append((earlier, given[1], places[1], given[0], places[0]))

    def _challenge_again(self) -> None:
        """The copies in whatever state they have come to."""
        if self.copies:
            earlier, copy, place, first, first_place = self.rng.choice(self.copies)
            record = layout.CONTRIBUTIONS.load(ReaderSlots(self.direct.state), copy)
            windows = places_of(record, 8)
            self._do(earlier, "challengePriority", copy, place, 0, windows, first, first_place, 0)

    # ---------------------------------------------------------------- the end

    def drain(self) -> None:
        """After enough time everybody takes out what is his: nothing may be left but what the rules name as rounding.

        Somebody decides open disputes by default and gives unclaimed scores to the pools, and claims these for all. Of the
        pools less than a wei stays for each of their members, and one; of the stakers' part less than a gwei.
        """
        slots = ReaderSlots(self.direct.state)
        self.direct.next_block(SCORE_SECONDS + 366 * 24 * 3_600)
        for dispute in self.disputes:
            found = layout.DISPUTES.load(slots, dispute)
            if found.state == DisputeState.OPEN:
                self._do(self._who(), "resolve", dispute, found.kind == DisputeKind.COMMITTED)
        for receipt in self.attested:
            found_scores = layout.ATTESTATIONS.load(slots, receipt)
            if not found_scores.slashed and not found_scores.released:
                self._do(self._who(), "releaseScores", receipt)
        for datanet in self.datanets:  # weight that waits for a version counts from it on
            self._do(self.people[0], "publishVersion", datanet)
        for contribution in self.contributions:
            self._do(self._contributor(contribution), "withdrawBond", contribution)
            self._do(self._who(), "claimPool", (contribution,))
        for agent in self.agents:
            record = layout.AGENTS.load(slots, agent)
            self._do(record.owner, "withdrawAgent", agent, record.deposit)
        self._end_block()
        for who in (*self.people, TREASURY):
            self._do(who, "unbond", layout.BONDS.load(slots, who).free)
            if layout.CLAIMABLE.get(slots, who):
                self._do(who, "claim", self.people[0])
        left = self.direct.state.balances.get(ATTRIBUTION_ADDRESS, 0)
        stakers, pooled = layout.STAKERS.get(slots), max(self.pools.check(datanet) for datanet in self.datanets)
        assert left == stakers + pooled, "all else has been taken out"
        assert stakers < WEI_PER_GWEI and pooled <= len(self.contributions) + len(self.datanets), "rounding"
