"""Attacks on attribution and their measured gains. docs/attribution.md states each figure; a test holds the table equal.

Texts are made up by a seeded generator: words by Zipf's law, and stock phrases that everybody uses. An attack's gain is what
the attacker is credited of the tokens of outputs made of the victims' passages, in basis points.
"""

import functools
import random
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from attribution_precompile.declarations import Call, DatanetParams, Method, Parent, Signed, Use
from attribution_precompile.layout import CONTRIBUTIONS
from attribution_precompile.methods.commitments import commitment_hash, ids_commitment_hash
from attribution_precompile.methods.contributions import next_content_root
from attribution_precompile.methods.pool_books import next_weight
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from evm_runtime.native import ContractRevert
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS, Address, Hash32, keccak256
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.walk import ZERO32
from tests.unit.attribution.world import ALICE, BOB, CAROL, DEV, OWNER, USER
from tests.unit.native.harness import address

K = 8
SEED = 20_261_124
MALLORY = address(0xBAD)
VICTIMS = (ALICE, BOB, CAROL)
VOCABULARY = [f"w{i}" for i in range(20_000)]
WEIGHTS = [1 / (i + 2) for i in range(20_000)]
GLUE = ["the", "and", "so", "but", "then"]


class Market:
    """A datanet, its victims' texts, and a model; `gain` attributes outputs and adds up what the attacker gets."""

    def __init__(self) -> None:
        self.rng = random.Random(SEED)
        self.direct = Direct()
        self.phrases = [self.words(self.rng.randint(8, 12)) for _ in range(200)]
        self.sentences = [self.article(1_000) for _ in VICTIMS]
        self.texts = [flat(sentences) for sentences in self.sentences]
        self.datanet = self.open()

    def open(self, **changes: object) -> int:
        params = DatanetParams("", ZERO32, WORDS_V1, K, False, True, 31, 0, 0, BPS, 0, 1_000)
        return int(self.direct.call(OWNER, "createDatanet", params._replace(**changes)))

    def words(self, count: int) -> list[str]:
        return self.rng.choices(VOCABULARY, WEIGHTS, k=count)

    def article(self, tokens: int) -> list[list[str]]:
        """Sentences of 12 to 30 words; every third has a stock phrase in it."""
        text: list[list[str]] = []
        while sum(map(len, text)) < tokens:
            sentence = self.words(self.rng.randint(12, 30))
            if self.rng.random() < 0.33:
                at = self.rng.randrange(len(sentence))
                sentence[at:at] = self.rng.choice(self.phrases)
            text.append(sentence)
        return text

    def give(self, who: Address, tokens: Sequence[str], datanet: int = 0) -> int:
        content = " ".join(tokens).encode()
        return int(self.direct.call(who, "contribute", datanet or self.datanet, content, ZERO32, who, ZERO32))

    def accept(self, *contributions: int, quality: int = BPS) -> None:
        self.direct.next_block()
        for contribution in contributions:
            self.direct.call(OWNER, "review", contribution, True, quality)

    def publish(self, datanet: int = 0) -> int:
        version = int(self.direct.call(OWNER, "publishVersion", datanet or self.datanet))
        self.direct.next_block()
        return version

    def model(self, version: int, datanet: int = 0) -> int:
        uses = (Use(datanet or self.datanet, version, 0, BPS),)
        arguments = ("", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, 0, 0, (), uses)
        return int(self.direct.call(DEV, "registerModel", *arguments))

    def outputs(self, count: int = 60) -> list[list[str]]:
        """Passages of 20 to 60 tokens out of the victims' texts, with common words between them."""
        made = []
        for _ in range(count):
            output: list[str] = []
            for _ in range(4):
                text = self.rng.choice(self.texts)
                start = self.rng.randrange(len(text) - 60)
                output += [*text[start : start + self.rng.randint(20, 60)], self.rng.choice(GLUE)]
            made.append(output)
        return made

    def share(self, model: int, attackers: Sequence[int], outputs: Sequence[Sequence[str]]) -> int:
        got = total = 0
        for output in outputs:
            scores, tokens, _ = self.direct.call(USER, "trace", model, " ".join(output).encode())
            got += sum(score for contribution, score in scores if contribution in attackers)
            total += tokens
        return got * BPS // total

    def weight_share(self, attackers: Sequence[int]) -> int:
        """Of the pool's weight, in basis points."""
        slots = ReaderSlots(self.direct.state)
        found = [CONTRIBUTIONS.load(slots, contribution) for contribution in attackers]
        return sum(c.quality * c.owned_windows for c in found) * BPS // (next_weight(slots, self.datanet) or 1)


def pieces(text: Sequence[str], size: int) -> list[list[str]]:
    return [list(text[i : i + size]) for i in range(0, len(text), size)]


def flat(parts: Iterable[Sequence[str]]) -> list[str]:
    return [word for part in parts for word in part]


def late_copy(change: Callable[[Market], list[str]]) -> tuple[int, int]:
    """Victims first; then the attacker's version of their texts. (share by score, share of the pool's weight)."""
    market = Market()
    victims = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    copy = market.give(MALLORY, change(market))
    market.accept(*victims, copy)
    model = market.model(market.publish())
    return market.share(model, [copy], market.outputs()), market.weight_share([copy])


def whole(market: Market) -> list[str]:
    return flat(market.texts)


def shuffled(market: Market) -> list[str]:
    parts = pieces(whole(market), 20)
    market.rng.shuffle(parts)
    return flat(parts)


def interleaved(market: Market) -> list[str]:
    rows = zip(*(pieces(text, 16) for text in market.texts), strict=False)
    return flat(part for row in rows for part in row)


def padded(market: Market) -> list[str]:
    return [*market.words(500), *whole(market)[:2_000], *market.words(500)]


def boundary() -> tuple[int, int]:
    """The copier knows where passages will end, and which words may follow: each end of a sentence with each such word."""
    market = Market()
    victims = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    ends = [sentence[1 - K :] for sentences in market.sentences for sentence in sentences]
    copies = [market.give(MALLORY, flat([*end, word] for end in ends)) for word in GLUE]
    market.accept(*victims, *copies)
    outputs = []
    for _ in range(60):
        output: list[str] = []
        for _ in range(4):
            sentences = market.rng.choice(market.sentences)
            start = market.rng.randrange(len(sentences) - 1)
            output += [*sentences[start], *sentences[start + 1], market.rng.choice(GLUE)]
        outputs.append(output)
    return market.share(market.model(market.publish()), copies, outputs), market.weight_share(copies)


def common_word_after_each_passage(market: Market) -> list[str]:
    """A copy of 12 tokens and a common word, over and over: the windows with the word are the copier's."""
    return flat([*part, market.rng.choice(GLUE)] for part in pieces(whole(market), 12))


def stuffing() -> tuple[int, int]:
    """The attacker comes first, with every stock phrase there is."""
    market = Market()
    stuffed = market.give(MALLORY, flat(market.phrases))
    victims = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    market.accept(stuffed, *victims)
    model = market.model(market.publish())
    return market.share(model, [stuffed], market.outputs()), market.weight_share([stuffed])


def front_running(committed: bool) -> tuple[int, int]:
    """A copy that stands in the block before its victim's; with and without a commitment."""
    market = Market()
    salt = Hash32(b"\x05" * 32)
    contents = [" ".join(text).encode() for text in market.texts]
    if committed:
        for who, content in zip(VICTIMS, contents, strict=True):
            root = next_content_root(ZERO32, keccak256(content))
            market.direct.call(who, "commit", commitment_hash(who, salt, market.datanet, root, who))
        market.direct.next_block()
    thefts = [market.give(MALLORY, text) for text in market.texts]
    market.direct.next_block()
    victims = []
    for who, content in zip(VICTIMS, contents, strict=True):
        used = salt if committed else ZERO32
        victims.append(market.direct.call(who, "contribute", market.datanet, content, ZERO32, who, used))
    market.accept(*thefts, *victims)
    model = market.model(market.publish())
    return market.share(model, thefts, market.outputs()), market.weight_share(thefts)


def reject_and_reupload(challenged: bool) -> tuple[int, int]:
    """A datanet's owner rejects what he was given, and gives it himself; then the authors challenge it, or don't."""
    market = Market()
    rejected = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    market.direct.next_block()
    for contribution in rejected:
        market.direct.call(OWNER, "review", contribution, False, 0)
    mine = [market.give(MALLORY, text) for text in market.texts]
    market.accept(*mine)
    model = market.model(market.publish())
    if challenged:
        for place, (who, theft, original) in enumerate(zip(VICTIMS, mine, rejected, strict=True)):
            windows = len(market.texts[place]) - K + 1
            market.direct.call(who, "challengePriority", theft, 3 + place, 0, windows, original, place, 0)
        market.direct.next_block()
    return market.share(model, mine, market.outputs()), market.weight_share(mine)


def sybils() -> tuple[int, int]:
    """One text given whole, or by ten names: the share by score, beyond what one name got."""
    results = []
    for names in (1, 10):
        market = Market()
        parts = pieces(market.texts[0], -(-len(market.texts[0]) // names))
        mine = [market.give(address(5_000 + i), part) for i, part in enumerate(parts)]
        market.accept(*mine)
        model = market.model(market.publish())
        results.append(market.share(model, mine, market.outputs()))
    return max(results[1] - results[0], 0), 0


def time_out_spam() -> tuple[int, int]:
    """What nobody reviews is in the version, without weight; text that nobody writes earns nothing by score."""
    market = Market()
    spam = [market.give(MALLORY, market.words(200)) for _ in range(40)]
    market.direct.next_block(1_001)
    victims = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    market.accept(*victims)
    model = market.model(market.publish())
    return market.share(model, spam, market.outputs()), market.weight_share(spam)


def another_datanet() -> tuple[int, int]:
    """A clone of the texts in a datanet of one's own, which a model may use instead: the rules can't see it."""
    market = Market()
    victims = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    market.accept(*victims)
    market.publish()
    clone = market.open()
    copies = [market.give(MALLORY, text, clone) for text in market.texts]
    market.accept(*copies)
    model = market.model(market.publish(clone), clone)
    return market.share(model, copies, market.outputs()), 0


def notice(market: Market) -> list[str]:
    """What stands at the head of everybody's text."""
    return market.words(90)


def registered_notice() -> tuple[int, int]:
    """A notice that all texts carry, registered in a datanet of one's own before them; then everybody is challenged."""
    market = Market()
    common = notice(market)
    mine = market.give(MALLORY, common, market.open())
    victims = [market.give(who, [*common, *text]) for who, text in zip(VICTIMS, market.texts, strict=True)]
    market.accept(*victims)
    model = market.model(market.publish())
    for place, victim in enumerate(victims):
        market.direct.call(MALLORY, "challengePriority", victim, place, 0, len(common) - K + 1, mine, 0, 0)
    market.direct.next_block()
    assert market.share(model, victims, market.outputs()) > 9_700, "all else is theirs as before"
    return market.share(model, [mine], market.outputs()), market.weight_share([mine])


def copied_ids(promised: bool) -> tuple[int, int]:
    """Window ids of commit-only texts, copied out of transactions that wait, and in a block ahead of them. Who hasn't promised
    his can be overtaken, but not challenged: the copier has no commitment, or can't open one window."""
    market = Market()
    market.datanet = market.open(commit_only=True, min_span=16)
    salt, root = Hash32(b"\x05" * 32), Hash32(b"\x01" * 32)
    ids = [tokenize(" ".join(text).encode(), WORDS_V1).window_ids(16) for text in market.texts]

    def give(who: Address, of: int, used: Hash32) -> int:
        arguments = (market.datanet, root, len(ids[of]) // 16 + 15, ids[of], who, used)
        return int(market.direct.call(who, "contributeCommitted", *arguments))

    for who, given in zip(VICTIMS, ids, strict=True):
        if promised:
            market.direct.call(who, "commit", ids_commitment_hash(who, salt, market.datanet, root, who, given))
    market.direct.next_block()
    thefts = [give(MALLORY, of, ZERO32) for of in range(3)]
    market.direct.next_block()
    victims = [give(who, of, salt if promised else ZERO32) for of, who in enumerate(VICTIMS)]
    market.accept(*thefts, *victims)
    model = market.model(market.publish())
    for of in range(3):
        with pytest.raises(ContractRevert, match="NotDecidable"):
            market.direct.call(MALLORY, "challengePriority", victims[of], 3 + of, 0, 64, thefts[of], of, 0)
        with pytest.raises(ContractRevert, match="NotDecidable"):
            market.direct.call(MALLORY, "announceChallenge", victims[of], 3 + of, 0, thefts[of], of, 0)
    return market.share(model, thefts, market.outputs()), market.weight_share(thefts)


def copied_piece(recounted: bool) -> tuple[int, int]:
    """A promised text comes in two pieces; the first is copied out of calldata and reviewed while it is held."""
    market = Market()
    salt = Hash32(b"\x05" * 32)
    halves = [pieces(text, -(-len(text) // 2)) for text in market.texts]
    contents = [[" ".join(half).encode() for half in both] for both in halves]
    victims = []
    for who, both in zip(VICTIMS, contents, strict=True):
        root = next_content_root(next_content_root(ZERO32, keccak256(both[0])), keccak256(both[1]))
        market.direct.call(who, "commit", commitment_hash(who, salt, market.datanet, root, who))
    market.direct.next_block()
    for who, both in zip(VICTIMS, contents, strict=True):
        victims.append(market.direct.call(who, "contribute", market.datanet, both[0], ZERO32, who, salt))
    thefts = [market.give(MALLORY, both[0]) for both in halves]
    market.accept(*thefts)
    for who, victim, both in zip(VICTIMS, victims, contents, strict=True):
        market.direct.call(who, "appendContent", victim, both[1])
        market.direct.call(who, "finalizeContent", victim)
    market.accept(*victims)
    for theft in thefts if recounted else ():
        market.direct.call(ALICE, "recount", theft)
    model = market.model(market.publish())
    return market.share(model, thefts, market.outputs()), market.weight_share(thefts)


def copy_that_leaves() -> tuple[int, int]:
    """A copy ahead of each text, withdrawn at once to claim its windows for good; rejected as it is, it claims nothing."""
    market = Market()
    thefts = [market.give(MALLORY, text) for text in market.texts]
    for theft in thefts:
        market.direct.call(MALLORY, "withdrawConsent", theft, 31)
    victims = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    market.direct.next_block()
    for theft in thefts:
        market.direct.call(OWNER, "review", theft, False, 0)
    market.accept(*victims)
    model = market.model(market.publish())
    assert market.weight_share(victims) == BPS and market.share(model, victims, market.outputs()) > 9_700
    return market.share(model, thefts, market.outputs()), market.weight_share(thefts)


def edited_copy_after_erasure() -> tuple[int, int]:
    """An edited copy stands in the version; then the authors erase their texts themselves."""
    market = Market()
    victims = [market.give(who, text) for who, text in zip(VICTIMS, market.texts, strict=True)]
    copy = market.give(MALLORY, common_word_after_each_passage(market))
    market.accept(*victims, copy)
    model = market.model(market.publish())
    for who, victim in zip(VICTIMS, victims, strict=True):
        market.direct.call(who, "erase", victim)
    market.direct.next_block()
    return market.share(model, [copy], market.outputs()), market.weight_share([copy])


ATTACKS: dict[str, tuple[Callable[[], tuple[int, int]], int]] = {
    "re-upload, whole": (functools.partial(late_copy, whole), 0),
    "re-upload, shuffled in pieces of 20 tokens": (functools.partial(late_copy, shuffled), 0),
    "re-upload, interleaved": (functools.partial(late_copy, interleaved), 0),
    "re-upload, padded": (functools.partial(late_copy, padded), 0),
    "re-upload, a common word after every 12 tokens": (
        functools.partial(late_copy, common_word_after_each_passage),
        300,
    ),
    "boundary: every sentence's end with every common word": (boundary, 300),
    "first mover stuffs 200 stock phrases": (stuffing, 200),
    "front-running a commitment": (functools.partial(front_running, True), 0),
    "front-running without one": (functools.partial(front_running, False), BPS),
    "owner rejects and re-uploads, challenged": (functools.partial(reject_and_reupload, True), 0),
    "owner rejects and re-uploads, unchallenged": (functools.partial(reject_and_reupload, False), BPS),
    "ten names instead of one": (sybils, 0),
    "time-out acceptance spam": (time_out_spam, 0),
    "a clone in another datanet": (another_datanet, BPS),
    "a notice that all texts carry, registered first, everybody challenged": (registered_notice, 0),
    "commit-only ids copied ahead of them, promised": (functools.partial(copied_ids, True), 0),
    "commit-only ids copied ahead of them, not promised": (functools.partial(copied_ids, False), BPS),
    "a copied piece of a held commitment": (functools.partial(copied_piece, False), 0),
    "a copied piece of a held commitment, counted again": (functools.partial(copied_piece, True), 0),
    "a copy that leaves at once": (copy_that_leaves, 0),
    "an edited copy after the author's own erasure": (edited_copy_after_erasure, BPS),
}
"""Name in the documentation; how it is done; the most that it may gain by score, in basis points."""
DOCUMENT = (Path(__file__).parents[3] / "docs" / "attribution.md").read_text()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gains_no_more_than_documented(name: str) -> None:
    attack, most = ATTACKS[name]
    score, weight = attack()
    assert score <= most
    row = f"| {name} | {score / 100:.2f} % | {weight / 100:.2f} % |"
    assert row in DOCUMENT, f"docs/attribution.md needs the row {row}"


def test_the_table_has_no_other_rows() -> None:
    table = DOCUMENT[DOCUMENT.index("| attack | by score") : DOCUMENT.index("## What the rules can't stop")]
    assert set(re.findall(r"^\| ([^|]+) \| [\d.]+ % \|", table, re.MULTILINE)) == set(ATTACKS)


# ---------------------------------------------------------------- price and lineage


def test_a_price_of_zero_still_pays_the_floors_and_a_model_between_dilutes_no_royalty() -> None:
    """Laundering: a free child of a model, or a grandchild through a middleman, pays the same floors and royalties."""
    market = Market()
    net = market.open(min_fee_per_1k=10**18)
    market.accept(market.give(ALICE, market.texts[0][:200], net))
    version = market.publish(net)
    call, uses = market.direct.call, (Use(net, version, 0, BPS),)
    first = call(DEV, "registerModel", "", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, 10**18, 1_000, (), uses)
    other = market.open()
    market.accept(market.give(MALLORY, market.words(50), other))
    cheap = (Use(other, market.publish(other), 0, BPS),)
    with pytest.raises(Exception, match="MissingUse"):
        call(MALLORY, "registerModel", "", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, 0, 0, (Parent(first, 1_000),), cheap)
    with pytest.raises(Exception, match="RoyaltyTooLow"):
        call(MALLORY, "registerModel", "", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, 0, 0, (Parent(first, 999),), uses)
    middle = call(
        MALLORY, "registerModel", "", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, 0, 0, (Parent(first, 1_000),), uses
    )
    last = call(MALLORY, "registerModel", "", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, 0, 0, (Parent(middle, 0),), uses)
    fee = call(USER, "quote", last, 100, 100)
    assert fee == 10**17, "the floor, though nobody asks a price"
    market.direct.state.balances[USER] = fee
    before = call(USER, "claimable", DEV)[0]
    call(
        USER,
        "infer",
        Call(last, 0, ZERO32, 100, " ".join(market.texts[0][:100]).encode(), Signed(0, 0, b"")),
        value=fee,
    )
    assert call(USER, "claimable", DEV)[0] - before == fee * 3_000 // BPS * 1_000 // BPS
