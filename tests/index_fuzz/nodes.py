"""Nodes that follow one chain and differ in all that must not matter: when they learn, what they keep, what they are asked."""

import random
from contextlib import nullcontext, suppress
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from attribution_precompile.declarations import Method, Use
from attribution_precompile.index.span_index import IndexView, SpanIndex
from attribution_precompile.layout import CONTRIBUTION_COUNT, CONTRIBUTIONS, DATANETS, MODEL_COUNT
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules.tokens import WORDS_V1, split_ids, tokenize
from evm_runtime.native import Base, ContractRevert, MadeUp
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import ErasedContent, OpenLedgerError
from genesis.primitives import Address, Hash32, keccak256
from tests.reference.timelines import OWNER, VOCABULARY, ZERO32, Timeline
from tests.unit.attribution.redacting import droppable
from tests.unit.native.harness import address


class Killed(Exception):
    """Who was reading is no more."""


class Node:
    """One node's index and content."""

    def __init__(self, timeline: Timeline, *, drops: bool) -> None:
        self._timeline = timeline
        self._drops = drops
        self._dropped: dict[bytes, bytes | None] = {}
        """Content that it has dropped, and what it keeps instead, by hash."""
        self.reads_left: int | None = None
        """Before who reads is killed."""
        finals = timeline.direct.state.finals
        self.tip, self.number_of = finals.tip, finals.number_of
        self.index = self.fresh()

    def fresh(self) -> SpanIndex:
        return SpanIndex(nullcontext(), self, self._timeline.direct.contract.params.death_blocks)

    def restart(self) -> None:
        self.index = self.fresh()

    def open(self, block_hash: Hash32) -> Any:
        """A final state over this node's own content."""
        state = self._timeline.direct.state.finals.open(block_hash)

        def load(slot: int) -> int:
            if self.reads_left is not None:
                self.reads_left -= 1
                if self.reads_left < 0:
                    raise Killed
            return int(state.load(slot))

        def get_blob(blob_hash: Hash32) -> bytes | None:
            return self._dropped[blob_hash] if blob_hash in self._dropped else state.get_blob(blob_hash)

        return SimpleNamespace(number=state.number, load=load, get_blob=get_blob)

    def drop(self) -> None:
        """What the eraser does, as soon as it may."""
        if not self._drops:
            return
        timeline, state = self._timeline, self._timeline.direct.state
        for written in (written for datanet in timeline.datanets for written in datanet.written):
            if 0 < written.died_block <= timeline.deep:
                for found in droppable(ReaderSlots(state), state, written.id, through=timeline.deep):
                    self._dropped[found.content_hash] = None
                    self._dropped |= {keccak256(blob): blob for blob in found.instead}

    def warm(self, rng: random.Random) -> None:
        """A few steps of a warmer, which may be killed in any of them."""
        self.reads_left = rng.choice([None, None, rng.randrange(40)])
        with suppress(Killed):
            for _ in range(rng.randrange(6)):
                self.index.warm(self.tip(), rng.choice(self._timeline.datanets).id)
        self.reads_left = None
        for _ in range(rng.randrange(3)):
            self.index.maintain()


Question = tuple[int, int] | int
"""Owners of a datanet's windows in a version, or what a review of a contribution counts."""


def questions(view: IndexView, windows: dict[int, bytes], rng: random.Random) -> list[Question]:
    """Some of what a view can be asked; now and then all."""
    state = view.state
    versions: list[Question] = [(d, v) for d in windows for v in range(1, DATANETS.load(state, d).versions + 1)]
    given: list[Question] = list(range(1, CONTRIBUTION_COUNT.get(state) + 1))
    most = rng.choice([2, 2, 2, 2, 2, 2, 2, 1_000])
    return [question for kind in (versions, given) for question in rng.sample(kind, min(most, len(kind)))]


def answers(view: IndexView, windows: dict[int, bytes], asked: list[Question]) -> dict[Question, Any]:
    """With what is charged for each; "refused" where that is the answer."""
    found: dict[Question, Any] = {}
    for question in asked:
        charged: list[int] = []

        def charge(amount: int, _reason: str, charged: list[int] = charged) -> None:
            charged.append(amount)

        try:
            if isinstance(question, int):
                found[question] = view.owned_windows(question, charge), sum(charged)
            else:
                found[question] = view.owners(*question, windows[question[0]], charge)[0].tolist(), sum(charged)
        except ErasedContent:
            found[question] = "refused"
    return found


class Scribbler:
    """Calls that nobody keeps: in proposals that lose, inner calls that revert, simulations."""

    def __init__(self, timeline: Timeline, rng: random.Random) -> None:
        self._timeline, self._rng = timeline, rng
        self._direct = timeline.direct

    def scribble(self, depth: int = 0) -> None:
        """A few calls, some of them undone at some depth."""
        rng, state = self._rng, self._direct.state
        for _ in range(rng.randint(1, 4)):
            if depth < 3 and rng.random() < 0.3:
                mark = state.mark()
                self.scribble(depth + 1)
                if rng.random() < 0.7:
                    state.undo(mark)
            else:
                with suppress(ContractRevert, ErasedContent):
                    self._call()

    def _call(self) -> None:
        rng, call, slots = self._rng, self._direct.call, ReaderSlots(self._direct.state)
        datanet = rng.choice(self._timeline.datanets)
        given = rng.randint(1, CONTRIBUTION_COUNT.get(slots) + 1)
        who = CONTRIBUTIONS.load(slots, given).contributor
        content = self._timeline.content(self._timeline.tokens(rng.randint(datanet.k, datanet.k + 15)))
        kind = rng.randrange(8)
        if kind == 0:
            author = address(100 + rng.randrange(4))
            call(author, "contribute", datanet.id, content, ZERO32, author, ZERO32)
        elif kind == 1:
            call(who, "appendContent", given, content)
        elif kind == 2:
            call(OWNER, "review", given, rng.random() < 0.6, 0)
        elif kind == 3:
            call(who, "withdrawConsent", given, 1)
        elif kind == 4:
            call(who, "erase", given)
        elif kind == 5:
            call(OWNER, "publishVersion", datanet.id)
        elif kind == 6:
            version = rng.randint(1, DATANETS.load(slots, datanet.id).versions + 1)
            uses = (Use(datanet.id, version, 0, 10_000),)
            call(OWNER, "registerModel", "", ZERO32, Method.SPAN, Address(bytes(20)), 0, 1, 0, (), uses)
        else:
            call(OWNER, "trace", rng.randint(1, MODEL_COUNT.get(slots) + 1), content)

    def lose(self, node: Node) -> None:
        """A proposal that loses, executed by a node."""
        mark = self._direct.state.mark()
        self._direct.contract.index = node.index
        self.scribble()
        self._direct.state.undo(mark)

    def simulate(self, node: Node, windows: dict[int, bytes]) -> None:
        """Some made-up blocks. What the overlay says in the end equals an index that is built on the made-up state."""
        rng, state = self._rng, self._direct.state
        mark, number, time, base = state.mark(), state.block_number, state.timestamp, state.base
        self._direct.contract.index = node.index
        kept: dict[object, Any] = {}
        for _ in range(rng.randint(1, 3)):
            self.scribble()
            made_up = self._state_of_now()
            state.base = Base(base.block_hash, MadeUp(state.block_number, made_up, anew=False, kept=kept))
            state.block_number += 1
            state.timestamp += rng.choice([1, 5, 2_000])
            if rng.random() < 0.3:
                node.index.warm(node.tip(), rng.choice(self._timeline.datanets).id)
        anew = Base(base.block_hash, MadeUp(state.block_number - 1, made_up, anew=True))
        asked = questions(node.index.at(anew), windows, rng)
        same = answers(node.index.at(state.base), windows, asked)
        assert same == answers(node.index.at(anew), windows, asked), "a simulation"
        state.undo(mark)
        state.block_number, state.timestamp, state.base = number, time, base

    def override(self, node: Node, windows: dict[int, bytes]) -> None:
        """A call with some of the contract's storage made up: any answer, or any refusal."""
        made_up = self._state_of_now()
        for slot in self._rng.sample(sorted(made_up.slots), min(3, len(made_up.slots))):
            made_up.slots[slot] = self._rng.choice([0, 1, made_up.slots[slot] + 1])
        polls = [0]

        def poll() -> None:
            polls[0] += 1
            if polls[0] > 5_000:
                raise Killed

        base = self._direct.state.base
        made_up_base = Base(base.block_hash, MadeUp(self._direct.state.block_number - 1, made_up, anew=True), poll)
        with suppress(OpenLedgerError, Killed, ValueError, IndexError, OverflowError):
            view = node.index.at(made_up_base)
            answers(view, windows, questions(view, windows, self._rng))

    def _state_of_now(self) -> Any:
        slots, blobs = dict(self._direct.state.slots), dict(self._direct.state.blobs)

        def storage(at: Address, slot: int) -> int:
            assert at == ATTRIBUTION_ADDRESS
            return slots.get(slot, 0)

        return SimpleNamespace(storage=storage, get_blob=blobs.get, slots=slots)


def all_windows(timeline: Timeline) -> dict[int, bytes]:
    """The ids of all windows that contributions may have, by datanet."""
    tokenizer = VOCABULARY if timeline.uint32 else WORDS_V1
    found: dict[int, bytes] = {}
    for datanet in timeline.datanets:
        texts = {content for written in datanet.written for _, content in written.segments}
        found[datanet.id] = b"".join(sorted(set().union(*(_ids(text, tokenizer, datanet.k) for text in texts))))
    return found


@lru_cache(maxsize=4_096)
def _ids(text: bytes, tokenizer: Hash32, k: int) -> frozenset[bytes]:
    return frozenset(split_ids(tokenize(text, tokenizer).window_ids(k)))
