"""Random histories of datanets, run on the contract's handlers and written down for the reference at the same time."""

import random
from dataclasses import dataclass, field
from typing import Any

from attribution_precompile.declarations import DatanetParams, Method, Use
from attribution_precompile.layout import CONTRIBUTIONS, DATANETS, LOSING, LOSSES, SEGMENTS, Datanet, Loss
from attribution_precompile.methods.commitments import commitment_hash
from attribution_precompile.methods.contributions import next_content_root
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules import reference
from attribution_precompile.rules.tokens import WORDS_V1
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import Address, Hash32, keccak256
from tests.unit.attribution.direct import Direct
from tests.unit.native.harness import address

VOCABULARY = Hash32(b"tokens-of-a-model".ljust(32, b"\0"))
OWNER = address(1)
ZERO32 = Hash32(bytes(32))
_WORDS = ["the", "a", "of", "data", "Größe", "naïve", "中", "文", "日本", "x1", "42", "Ωmega", "é", "fin"]
_SEPARATORS = [" ", ", ", "\n", " - ", "…", "  ", ".", "\U0001f600", " "]


@dataclass
class Written:
    """One contribution as the reference sees it, and what decides its version."""

    id: int
    segments: list[tuple[int, bytes]]
    deadline: int
    accepted_in: int | None = None
    rejected: bool = False
    reviewed: bool = False
    quality: int = 0
    closed: bool = False
    left_after: int | None = None
    died_block: int = 0
    ended_block: int = 0
    """That rejected it, or let it go."""
    lost: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(block, number of the segment, start, end)"""

    def for_reference(self, block_number: int) -> reference.Contribution:
        dead = 0 < self.died_block < block_number
        lost = tuple(each for block, *each in self.lost if block < block_number)
        return reference.Contribution(
            self.id, tuple(self.segments), self.accepted_in, left_after=self.left_after, dead=dead, lost=lost
        )

    def claims(self, block_number: int) -> bool:
        """As the blocks before this one know it."""
        return not 0 < self.ended_block < block_number

    last_block: int = 0


@dataclass
class DatanetHistory:
    id: int
    k: int
    uint32: bool
    review_seconds: int
    curator_bps: int
    soft_cap_bps: int
    terms: list[reference.Terms] = field(default_factory=list)
    versions: int = 0
    written: list[Written] = field(default_factory=list)
    published: list[int] = field(default_factory=list)
    """The blocks that published its versions."""

    def for_reference(self, block_number: int) -> reference.Datanet:
        contributions = tuple(w.for_reference(block_number) for w in self.written if not w.rejected)
        return reference.Datanet(self.id, self.k, self.uint32, contributions, tuple(self.terms))


class Timeline:
    """A few datanets and what happens to them, drawn from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.direct = Direct(death_blocks=rng.choice([2, 5, 64]), purge_tokens=rng.choice([1, 300, 1 << 16]))
        self.uint32 = rng.random() < 0.2
        self.order = 0
        self.promised: list[tuple[DatanetHistory, Address, Hash32, int, list[bytes], int]] = []
        self.pieces: list[list[object]] = []
        self.datanets = [self._create() for _ in range(rng.randint(1, 3))]

    @property
    def deep(self) -> int:
        """Deaths up to this block are deep."""
        return self.direct.state.block_number - 1 - self.direct.contract.params.death_blocks

    # ---------------------------------------------------------------- content

    def _token(self) -> object:
        return self.rng.randrange(6) if self.uint32 else self.rng.choice(_WORDS)

    def tokens(self, length: int) -> list[object]:
        """Some text: fresh tokens, repeats, and pieces of what was written before."""
        found: list[object] = []
        while len(found) < length:
            if self.pieces and self.rng.random() < 0.6:
                piece = self.rng.choice(self.pieces)
                start = self.rng.randrange(len(piece))
                found += piece[start : start + self.rng.randint(1, 14)]
            elif self.rng.random() < 0.2:
                found += [self._token()] * self.rng.randint(2, 6)
            else:
                found.append(self._token())
        return found[:length]

    def content(self, tokens: list[object]) -> bytes:
        if self.uint32:
            return b"".join(token.to_bytes(4, "big") for token in tokens)  # type: ignore[attr-defined]  # ints here
        text = ""
        for token in tokens:
            word = str(token)
            text += (word.upper() if word.isascii() and self.rng.random() < 0.2 else word) + self.rng.choice(
                _SEPARATORS
            )
        return text.encode()

    # ---------------------------------------------------------------- steps

    def _create(self) -> DatanetHistory:
        rng = self.rng
        k, seconds = rng.randint(1, 9), rng.choice([0, 3, 10, 1_000])
        curator, cap = rng.choice([0, 500, 2_000]), rng.choice([1_000, 2_500, 10_000])
        tokenizer = VOCABULARY if self.uint32 else WORDS_V1
        given = DatanetParams("", ZERO32, tokenizer, 8, False, True, 0, 0, curator, cap, 0, seconds)
        datanet = int(self.direct.call(OWNER, "createDatanet", given))
        # k below the contract's minimum makes short random texts meet more often: the rules are the same
        slots = _Writable(self.direct)
        record = DATANETS.load(slots, datanet)
        DATANETS.store(slots, type(record)(**{**_fields(record), "min_span": k}), datanet)
        return DatanetHistory(datanet, k, self.uint32, seconds, curator, cap)

    def step(self) -> None:
        self.act()
        if self.rng.random() < 0.6:
            self.direct.next_block(self.rng.choice([0, 1, 1, 4]))

    def book(self) -> Any:
        """What was written down."""
        return self.order, self.promised, self.pieces, self.datanets

    def restore(self, book: Any) -> None:
        """Go back to a copy of what was written down."""
        self.order, self.promised, self.pieces, self.datanets = book

    def act(self) -> None:
        datanet = self.rng.choice(self.datanets)
        action = self.rng.random()
        if action < 0.45:
            self._contribute(datanet)
        elif action < 0.6:
            self._append(datanet)
        elif action < 0.65:
            self._commit(datanet)
        elif action < 0.7:
            self._reveal()
        elif action < 0.75:
            self._leave(datanet)
        elif action < 0.78:
            self._lose(datanet)
        elif action < 0.87:
            self._review(datanet)
        else:
            self.publish(datanet)

    def _piece(self, datanet: DatanetHistory) -> bytes:
        tokens = self.tokens(self.rng.randint(datanet.k, datanet.k + 20))
        content = self.content(tokens)
        # "中" and "文" are one token each, but "日本" is two: never fewer than drawn
        self.pieces.append(tokens)
        return content

    def _contribute(self, datanet: DatanetHistory) -> None:
        content, state = self._piece(datanet), self.direct.state
        who = address(100 + self.rng.randrange(4))
        contribution = int(self.direct.call(who, "contribute", datanet.id, content, ZERO32, who, ZERO32))
        self.order += 1
        datanet.written.append(
            Written(
                contribution,
                [(self.order, content)],
                state.timestamp + datanet.review_seconds,
                last_block=state.block_number,
            )
        )

    def _commit(self, datanet: DatanetHistory) -> None:
        """Promise content in one to three pieces; its place in the order is the one of now."""
        pieces = [self._piece(datanet) for _ in range(self.rng.randint(1, 3))]
        root = ZERO32
        for piece in pieces:
            root = next_content_root(root, keccak256(piece))
        who, salt = address(100 + self.rng.randrange(4)), Hash32(self.order.to_bytes(31, "big") + b"s")
        self.direct.call(who, "commit", commitment_hash(who, salt, datanet.id, root, who))
        self.order += 1
        self.promised.append((datanet, who, salt, self.order, pieces, self.direct.state.block_number))

    def _reveal(self) -> None:
        state = self.direct.state
        ready = [promise for promise in self.promised if promise[5] < state.block_number]
        if not ready:
            return
        promise = self.rng.choice(ready)
        self.promised.remove(promise)
        datanet, who, salt, order, pieces, _ = promise
        contribution = int(self.direct.call(who, "contribute", datanet.id, pieces[0], ZERO32, who, salt))
        for piece in pieces[1:]:
            self.direct.call(who, "appendContent", contribution, piece)
        if len(pieces) > 1:
            self.direct.call(who, "finalizeContent", contribution)
        deadline = state.timestamp + datanet.review_seconds
        written = Written(contribution, [(order, piece) for piece in pieces], deadline, closed=True)
        written.last_block = state.block_number
        datanet.written.append(written)

    def _leave(self, datanet: DatanetHistory) -> None:
        """Withdraw or erase; what no version has yet goes for good, what is erased later stays, dead."""
        staying = [w for w in datanet.written if w.left_after is None and not w.died_block and not w.rejected]
        if not staying:
            return
        written = self.rng.choice(staying)
        erase = self.rng.random() < 0.5
        arguments = ("erase", written.id) if erase else ("withdrawConsent", written.id, 1)
        self.direct.call(self._contributor(written.id), *arguments)
        written.closed = written.reviewed = True
        included = written.accepted_in is not None and written.accepted_in <= datanet.versions
        if not (erase and included):
            written.left_after = datanet.versions
        written.ended_block = written.ended_block or self.direct.state.block_number
        if erase:
            written.died_block = self.direct.state.block_number

    def _lose(self, datanet: DatanetHistory) -> None:
        """A challenge takes some places of a segment, sometimes of one whose contribution has ended, however long ago."""
        rng, slots = self.rng, _Writable(self.direct)
        ended_too = rng.random() < 0.3
        open_to_it = [w for w in datanet.written if w.segments and (ended_too or not (w.died_block or w.rejected))]
        if not open_to_it:
            return
        written = rng.choice(open_to_it)
        positions = [
            position
            for position in range(SEGMENTS.length(slots, datanet.id))
            if SEGMENTS.get(slots, position, datanet.id).contribution_id == written.id
        ]
        if not positions:
            return
        number = rng.randrange(len(positions))
        places = SEGMENTS.get(slots, positions[number], datanet.id).tokens - datanet.k + 1
        start = rng.randrange(places)
        end = rng.randint(start + 1, places)
        written.lost.append((self.direct.state.block_number, number, start, end))
        taken = {place for _, segment, a, b in written.lost if segment == number for place in range(a, b)}
        ranges = [
            Loss(place, next(end for end in range(place, places + 1) if end not in taken))
            for place in sorted(taken)
            if place - 1 not in taken
        ]
        LOSSES.replace(slots, ranges, datanet.id, positions[number])
        LOSING.append(slots, positions[number], datanet.id)

    def _contributor(self, contribution: int) -> Address:
        return CONTRIBUTIONS.load(ReaderSlots(self.direct.state), contribution).contributor

    def _append(self, datanet: DatanetHistory) -> None:
        state = self.direct.state
        open_ones = [w for w in datanet.written if not (w.reviewed or w.closed) and state.timestamp < w.deadline]
        if open_ones:
            written = self.rng.choice(open_ones)
            content = self._piece(datanet)
            self.direct.call(self._contributor(written.id), "appendContent", written.id, content)
            self.order += 1
            written.segments.append((self.order, content))
            written.deadline = state.timestamp + datanet.review_seconds
            written.last_block = state.block_number

    def _review(self, datanet: DatanetHistory) -> None:
        state = self.direct.state
        waiting = [w for w in datanet.written if not w.reviewed and w.last_block < state.block_number]
        if not waiting:
            return
        written = self.rng.choice(waiting)
        accept = state.timestamp >= written.deadline or self.rng.random() < 0.7
        written.quality = self.rng.choice([0, 1, 5_000, 10_000]) if accept else 0
        self.direct.call(OWNER, "review", written.id, accept, written.quality)
        written.reviewed, written.rejected = True, not accept
        written.ended_block = 0 if accept else state.block_number
        if accept and written.accepted_in is None:
            written.accepted_in = datanet.versions + 1
        if accept:
            self._check_owned(datanet, written)

    def _check_owned(self, datanet: DatanetHistory, written: Written) -> None:
        def known(other: Written) -> bool:
            """Committed content revealed in this block has an early number, and counts from the next block on."""
            return not other.closed or other.last_block < self.direct.state.block_number

        everyone = reference.Datanet(
            datanet.id,
            datanet.k,
            datanet.uint32,
            tuple(w.for_reference(self.direct.state.block_number) for w in datanet.written if known(w)),
        )
        mine = next(c for c in everyone.contributions if c.id == written.id)
        claiming = frozenset(w.id for w in datanet.written if w.claims(self.direct.state.block_number))
        stored = CONTRIBUTIONS.load(ReaderSlots(self.direct.state), written.id).owned_windows
        known_versions = sum(block < self.direct.state.block_number for block in datanet.published)
        assert stored == reference.owned_windows(everyone, mine, claiming, known_versions)

    def publish(self, datanet: DatanetHistory) -> None:
        self.direct.call(OWNER, "publishVersion", datanet.id)
        datanet.versions += 1
        datanet.terms.append(reference.Terms(datanet.curator_bps, datanet.soft_cap_bps))
        if self.rng.random() < 0.3:
            self._change_terms(datanet)
        datanet.published.append(self.direct.state.block_number)
        for written in datanet.written:
            timed_out = not written.reviewed and self.direct.state.timestamp >= written.deadline
            if timed_out and written.accepted_in is None:
                written.accepted_in = datanet.versions

    def _change_terms(self, datanet: DatanetHistory) -> None:
        """Terms for the next version: none of them reaches back."""
        datanet.curator_bps, datanet.soft_cap_bps = self.rng.choice([(0, 10_000), (700, 1_000), (2_000, 3_000)])
        slots = _Writable(self.direct)
        changed = _fields(DATANETS.load(slots, datanet.id)) | {
            "curator_bps": datanet.curator_bps,
            "soft_cap_bps": datanet.soft_cap_bps,
        }
        DATANETS.store(slots, Datanet(**changed), datanet.id)

    def uses(self) -> list[Use]:
        """Some uses of published versions; publishes where there is none, and goes to the next block."""
        rng = self.rng
        chosen = [rng.choice(self.datanets) for _ in range(rng.randint(1, 4))]
        for datanet in chosen:
            if datanet.versions == 0:
                self.publish(datanet)
        self.direct.next_block()
        cuts = sorted(rng.sample(range(1, 10_000), len(chosen) - 1))
        shares = [b - a for a, b in zip([0, *cuts], [*cuts, 10_000], strict=True)]
        return [
            Use(datanet.id, rng.randint(1, datanet.versions), rng.randrange(3), share)
            for datanet, share in zip(chosen, shares, strict=True)
        ]

    def model(self, uses: list[Use]) -> int:
        arguments = ("", ZERO32, Method.SPAN, Address(bytes(20)), 0, rng_price(self.rng), 0, (), tuple(uses))
        return int(self.direct.call(OWNER, "registerModel", *arguments))


def rng_price(rng: random.Random) -> int:
    return rng.choice([1, 1_000, 123_456_789, 10**18])


class _Writable:
    """Direct access to a state's slots, for what no method may do."""

    def __init__(self, direct: Direct) -> None:
        self.direct = direct

    def load(self, slot: int) -> int:
        return self.direct.state.slots.get(slot, 0)

    def store(self, slot: int, value: int) -> None:
        self.direct.state.set_storage(ATTRIBUTION_ADDRESS, slot, value)


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]  # slotted records
