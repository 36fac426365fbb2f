"""A random walk over the contract's methods that keeps its own books of where every wei is."""

import contextlib
import random

from attribution_precompile import layout
from attribution_precompile.commitments import commitment_hash
from attribution_precompile.contributions import next_content_root
from attribution_precompile.declarations import Call, DatanetParams, Method, Parent, Signed, Use
from attribution_precompile.layout import Pool
from attribution_precompile.pool import SCALE_BITS
from attribution_precompile.queries import ReaderSlots
from attribution_precompile.tokens import WORDS_V1
from evm_runtime.native import ContractRevert
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import Address, Hash32, keccak256
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.world import TREASURY
from tests.unit.native.harness import address

ZERO32 = Hash32(bytes(32))
SALT = Hash32(b"\x05" * 32)
FUNDS = 10**30


class Walk:
    """`step()` does something; `check()` compares the contract's books with its balance and with what came in and went out."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.direct = Direct()
        self.people = [address(1_000 + i) for i in range(8)]
        for who in self.people:
            self.direct.state.balances[who] = FUNDS
        self.datanets: list[int] = []
        self.contributions: list[int] = []
        self.models: list[int] = []
        self.texts: list[str] = []
        self.promised: list[tuple[Address, int, bytes]] = []
        self.paid_in = self.paid_out = self.drained = self.inferences = self.by_agents = self.left = 0
        self.agents: list[int] = []
        for _ in range(3):
            self._create_datanet()

    def step(self) -> None:
        actions = [
            (self._contribute, 10), (self._review, 10), (self._publish, 5), (self._register, 3), (self._infer, 45),
            (self._claim, 8), (self._claim_pool, 12), (self._set_payout, 3), (self._end_block, 4),
            (self._append, 6), (self._withdraw_bond, 6), (self._change_terms, 2), (self._change_model, 2),
            (self._commit, 3), (self._reveal, 3),
            (self._register_agent, 2), (self._fund_agent, 6), (self._withdraw_agent, 3),
            (self._leave, 2),
        ]  # fmt: skip
        [action] = self.rng.choices([a for a, _ in actions], [w for _, w in actions])
        with contextlib.suppress(ContractRevert):  # a refused call changes nothing, which check() sees
            action()
        if self.rng.random() < 0.3:
            self.direct.next_block(self.rng.choice([0, 1, 5]))

    def check(self) -> None:
        slots = ReaderSlots(self.direct.state)
        claimable = sum(layout.CLAIMABLE.get(slots, who) for who in (*self.people, TREASURY))
        burned, stakers = layout.BURNED.get(slots), layout.STAKERS.get(slots)
        pooled = self._pooled(slots)
        held = sum(layout.UPLOADS.load_field(slots, "bond", contribution) for contribution in self.contributions)
        held += sum(layout.AGENTS.load_field(slots, "deposit", agent) for agent in self.agents)
        balance = self.direct.state.balances.get(ATTRIBUTION_ADDRESS, 0)
        assert balance == claimable + stakers + pooled + held, "the balance covers the books"
        assert self.paid_in == self.paid_out + claimable + pooled + held + burned + stakers + self.drained, "in == out"

    def _pooled(self, slots: ReaderSlots) -> int:
        """Wei in the pools: remainders, and what entries are owed and not yet paid, summed up exactly."""
        scaled = 0
        pools: dict[int, Pool] = {d: layout.POOLS.load(slots, d) for d in self.datanets}
        for pool in pools.values():
            scaled += pool.remainder
        for contribution in self.contributions:
            record = layout.CONTRIBUTIONS.load(slots, contribution)
            owned, now = min(record.owned_windows, 1_000_000), pools[record.datanet_id].accumulator
            entry = layout.POOL_ENTRIES.load(slots, contribution)
            version = layout.VERSIONS.load(slots, record.datanet_id, record.accepted_version)
            if not version.block_number:
                continue
            turn = layout.VERSIONS.load(slots, record.datanet_id, entry.until_version)
            settled_at = entry.settled_at if entry.started else version.pool_accumulator
            turned_at = now if entry.until_version and not turn.block_number else turn.pool_accumulator
            if not entry.until_version:
                turned_at = settled_at
            quality_now = record.quality * (not entry.until_version or turn.block_number > 0)
            scaled += entry.old_quality * owned * (turned_at - settled_at) + entry.residue
            scaled += quality_now * owned * (now - turned_at)
        assert scaled % (1 << SCALE_BITS) == 0, "pools hold whole wei between them"
        return scaled >> SCALE_BITS

    # ---------------------------------------------------------------- steps

    def _who(self) -> Address:
        return self.rng.choice(self.people)

    def _create_datanet(self) -> None:
        self.datanets.append(self.direct.call(self.people[0], "createDatanet", self._terms()))

    def _terms(self) -> DatanetParams:
        rng = self.rng
        return DatanetParams(
            "", ZERO32, WORDS_V1, 8, False, True, 0, rng.choice([0, 10**15]), rng.choice([0, 700]),
            rng.choice([1, 3_000, 10_000]), rng.choice([0, 12_345]), rng.choice([0, 20]),
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
            self.contributions.append(self.direct.call(self._who(), "contribute", *arguments, value=value))
            self.paid_in += value
            self.texts.append(text)

    def _contributor(self, contribution: int) -> Address:
        return layout.CONTRIBUTIONS.load(ReaderSlots(self.direct.state), contribution).contributor

    def _append(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions[-8:])
            text, value = self._text(self.rng.randint(8, 300)), self.rng.choice([0, 30_000])
            self.direct.call(self._contributor(contribution), "appendContent", contribution, text.encode(), value=value)
            self.paid_in += value

    def _commit(self) -> None:
        who, text, datanet = self._who(), self._text(20).encode(), self.rng.choice(self.datanets)
        root = next_content_root(ZERO32, keccak256(text))
        self.direct.call(who, "commit", commitment_hash(who, SALT, datanet, root, who))
        self.promised.append((who, datanet, text))

    def _reveal(self) -> None:
        if self.promised and len(self.contributions) < 80:
            who, datanet, text = self.promised.pop(self.rng.randrange(len(self.promised)))
            if self.rng.random() < 0.2:
                text += b" and never found"
            value = 20_000
            arguments = (datanet, text, ZERO32, who, SALT)
            self.contributions.append(self.direct.call(who, "contribute", *arguments, value=value))
            self.paid_in += value

    def _register_agent(self) -> None:
        if len(self.agents) < 4 and self.models:
            cap, models = self.rng.choice([0, 10**19, 10**24]), tuple(self.models)
            self.agents.append(self.direct.call(self._who(), "registerAgent", "", self._who(), cap, models))
        elif self.agents:
            agent = self.rng.choice(self.agents)
            owner = layout.AGENTS.load(ReaderSlots(self.direct.state), agent).owner
            self.direct.call(owner, "setAgent", agent, self._who(), 10**24, tuple(self.models[-20:]))

    def _fund_agent(self) -> None:
        if self.agents:
            value = self.rng.choice([1, 10**18, 10**20])
            self.direct.call(self._who(), "depositAgent", self.rng.choice(self.agents), value=value)
            self.paid_in += value

    def _withdraw_agent(self) -> None:
        if self.agents:
            agent = self.rng.choice(self.agents)
            owner = layout.AGENTS.load(ReaderSlots(self.direct.state), agent).owner
            self.direct.call(owner, "withdrawAgent", agent, self.rng.choice([1, 10**18]))

    def _leave(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions)
            name, more = self.rng.choice([("withdrawConsent", (4,)), ("erase", ())])
            self.direct.call(self._contributor(contribution), name, contribution, *more)
            self.left += 1

    def _withdraw_bond(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions)
            self.direct.call(self._contributor(contribution), "withdrawBond", contribution)

    def _change_terms(self) -> None:
        self.direct.call(self.people[0], "setDatanet", self.rng.choice(self.datanets), self._terms())

    def _change_model(self) -> None:
        if self.models:
            model, heir = self.rng.choice(self.models), self._who()
            owner = layout.MODELS.load(ReaderSlots(self.direct.state), model).owner
            self.direct.call(owner, "transferModel", model, heir)
            self.direct.call(heir, "acceptModel", model)

    def _review(self) -> None:
        if self.contributions:
            accept = self.rng.random() < 0.8
            quality = self.rng.choice([0, 1, 77, 9_999, 10_000]) if accept else 0
            self.direct.call(self.people[0], "review", self.rng.choice(self.contributions), accept, quality)

    def _publish(self) -> None:
        self.direct.call(self.people[0], "publishVersion", self.rng.choice(self.datanets))

    def _register(self) -> None:
        slots = ReaderSlots(self.direct.state)
        chosen = self.rng.sample(self.datanets, self.rng.randint(1, len(self.datanets)))
        versions = [layout.DATANETS.load(slots, datanet).versions for datanet in chosen]
        shares = [10_000 // len(chosen)] * len(chosen)
        shares[0] += 10_000 - sum(shares)
        uses = tuple(
            Use(datanet, max(1, version - self.rng.randint(0, 2)), 0, share)
            for datanet, version, share in zip(chosen, versions, shares, strict=True)
        )
        prices = self.rng.choice([(0, 0), (1, 1), (10**15, 123_456_789), (0, 10**21 + 7)])
        parents = self.rng.sample(self.models, min(len(self.models), self.rng.choice([0, 0, 1, 2])))
        owed = tuple(Parent(parent, self.rng.choice([1, 100, 777])) for parent in parents)
        arguments = ("", ZERO32, Method.SPAN, Address(bytes(20)), *prices, 0, owed, uses)
        self.models.append(self.direct.call(self._who(), "registerModel", *arguments))

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
            self.direct.call(payer, "infer", calls[0], value=value)
        else:
            self.direct.call(payer, "inferBatch", calls, value=value)
        self.paid_in += value
        self.inferences += len(calls)
        self.by_agents += bool(agent)
        return None

    def _claim(self) -> None:
        self.paid_out += self.direct.call(self._who(), "claim", self._who())

    def _claim_pool(self) -> None:
        if self.contributions:
            chosen = tuple(self.rng.choices(self.contributions, k=3))
            self.direct.call(self._who(), "claimPool", chosen)

    def _set_payout(self) -> None:
        if self.contributions:
            contribution = self.rng.choice(self.contributions)
            self.direct.call(self._contributor(contribution), "setPayout", contribution, self._who())

    def _end_block(self) -> None:
        self.drained += self.direct.contract.end_block(self.direct.state)
