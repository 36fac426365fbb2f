"""One history of the campaign."""

import copy
import random
from dataclasses import dataclass
from typing import Any

from attribution_precompile.index.span_index import IndexView
from attribution_precompile.rules import reference
from attribution_precompile.rules.tokens import WINDOW_ID_BYTES, WORDS_V1, tokenize
from evm_runtime.native import Base
from tests.index_fuzz.nodes import Node, Scribbler, all_windows, answers, questions
from tests.reference.equality import cut_small
from tests.reference.timelines import VOCABULARY, Timeline

BLOCKS = 40
"""Of a history: late enough for deaths to be deep, few enough to check all of it after each."""
NODES = 4


def run_history(seed: int, blocks: int = BLOCKS) -> int:
    """Returns the number of blocks; an error names the seed."""
    rng = random.Random(seed)
    try:
        with cut_small(rng):
            history = _History(rng)
            for _ in range(blocks):
                history.block()
        return blocks
    except Exception as error:
        raise AssertionError(f"seed {seed}") from error


@dataclass
class _Before:
    """A chain's beginning, to go back to."""

    mark: int
    number: int
    time: int
    book: Any
    """What the timeline wrote down."""


class _History:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.timeline = Timeline(rng)
        self.timeline.direct.next_block()
        self.nodes = [Node(self.timeline, drops=number % 2 == 1) for number in range(NODES)]
        self.scribbler = Scribbler(self.timeline, rng)
        self.bases: list[tuple[int, Base]] = []
        """Of earlier blocks, by their numbers."""
        self.befores: list[_Before] = []

    def block(self) -> None:
        rng, timeline = self.rng, self.timeline
        self.befores.append(self._now())
        for _ in range(rng.choice([0, 1, 1, 2, 4])):
            timeline.direct.contract.index = rng.choice(self.nodes).index
            timeline.act()
            if rng.random() < 0.3:
                self._disturb()
        self._disturb()
        timeline.direct.next_block(rng.choice([0, 1, 1, 4]))
        self.bases.append((timeline.direct.state.block_number - 1, timeline.direct.state.base))
        if rng.random() < 0.04:
            self._take_back(rng.randint(1, min(3, len(self.befores))))
        self._check()

    def _disturb(self) -> None:
        """Ask nodes different things, none of which may matter."""
        rng, windows = self.rng, all_windows(self.timeline)
        for node in self.nodes:
            kind = rng.random()
            if kind < 0.2:
                self.scribbler.lose(node)
            elif kind < 0.28:
                self.scribbler.simulate(node, windows)
            elif kind < 0.32:
                self.scribbler.override(node, windows)
            elif kind < 0.36:
                node.restart()
            elif kind < 0.42:
                self._ask_old(node, windows)
            elif kind < 0.6:
                node.warm(rng)
            elif kind < 0.65:
                node.drop()

    def _ask_old(self, node: Node, windows: dict[int, bytes]) -> None:
        """About a state of before: what an index says that has seen nothing else, and by the rule, refusals included."""
        if not self.bases:
            return
        number, base = self.rng.choice(self.bases[-12:])
        fresh = self.nodes[0].fresh().at(base)
        asked = questions(fresh, windows, self.rng)
        found = answers(node.index.at(base), windows, asked)
        assert found == answers(fresh, windows, asked), f"block {number}"
        for datanet in self.timeline.datanets:
            refused = any(number < written.died_block <= self.timeline.deep for written in datanet.written)
            for key, answer in found.items():
                if isinstance(key, tuple) and key[0] == datanet.id:
                    assert (answer == "refused") == refused, f"datanet {datanet.id}, block {number}"

    def _check(self) -> None:
        windows, base = all_windows(self.timeline), self.timeline.direct.state.base
        fresh = self.nodes[0].fresh().at(base)
        asked = questions(fresh, windows, self.rng)
        expected = answers(fresh, windows, asked)
        for number, node in enumerate(self.nodes):
            assert answers(node.index.at(base), windows, asked) == expected, f"node {number}"
        self._check_reference(windows, fresh)

    def _check_reference(self, windows: dict[int, bytes], view: IndexView) -> None:
        rng, timeline = self.rng, self.timeline
        datanet = rng.choice(timeline.datanets)
        if not datanet.versions or not windows[datanet.id]:
            return
        version, tokenizer = rng.randint(1, datanet.versions), VOCABULARY if timeline.uint32 else WORDS_V1
        plain = datanet.for_reference(timeline.direct.state.block_number)
        owners = view.owners(datanet.id, version, windows[datanet.id])[0].tolist()
        _, content = rng.choice(rng.choice([w for w in datanet.written if w.segments]).segments)
        ids, tokens = tokenize(content, tokenizer).window_ids(datanet.k), reference.tokens_of(content, timeline.uint32)
        for place, window in enumerate(reference.windows_of(tokens, datanet.k)[:8]):
            at = ids[place * WINDOW_ID_BYTES : (place + 1) * WINDOW_ID_BYTES]
            known = range(0, len(windows[datanet.id]), WINDOW_ID_BYTES)
            [index] = [i for i in known if windows[datanet.id][i : i + WINDOW_ID_BYTES] == at]
            owner = reference.owner_of(plain, version, window)
            assert owners[index // WINDOW_ID_BYTES] == (0 if owner is None else owner.id), "the reference"

    # ---------------------------------------------------------------- taking back

    def _now(self) -> _Before:
        state = self.timeline.direct.state
        return _Before(state.mark(), state.block_number, state.timestamp, copy.deepcopy(self.timeline.book()))

    def _take_back(self, count: int) -> None:
        before = self.befores[-count]
        del self.befores[-count:]
        self.timeline.direct.take_back(before.mark, before.number, before.time)
        self.timeline.restore(before.book)
        self.bases = [entry for entry in self.bases if entry[0] < before.number]
