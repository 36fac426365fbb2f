"""Attacks on how a fee is divided, and their measured gains: dividing oneself, puppets under a soft cap, latecomers.

docs/attribution.md states each figure in tables that these tests hold to what is measured. Gains are in basis points of
the contributors' part of the fees.
"""

import re
from collections.abc import Callable, Sequence

import pytest

from attribution_precompile.declarations import Call, Signed
from genesis.emission import BPS
from tests.unit.attribution.test_attacks import DOCUMENT, MALLORY, VICTIMS, K, Market
from tests.unit.attribution.walk import ZERO32
from tests.unit.attribution.world import ALICE, OWNER, USER
from tests.unit.native.harness import address

PRICE = 10**21
"""The floor of a datanet, in wei per 1,000 tokens."""
JUNK = [f"junk{i}" for i in range(8)]
"""What a puppet gives: the least that there can be."""


def pay(market: Market, model: int, outputs: Sequence[Sequence[str]]) -> int:
    """Infer outputs; returns the contributors' part of what was paid, in wei."""
    paid = 0
    for output in outputs:
        fee = market.direct.call(USER, "quote", model, 0, len(output))
        market.direct.state.balances[USER] = fee
        call = Call(model, 0, ZERO32, 0, " ".join(output).encode(), Signed(0, 0, b""))
        market.direct.call(USER, "infer", call, value=fee)
        paid += fee * 5_500 // BPS
    return paid


# ---------------------------------------------------------------- owners, puppets and latecomers


def puppet(before_publication: bool) -> int:
    """The owner of a datanet caps its one author, takes his quality, and lets eight junk words of his own in, before or
    after version 1 is published: what the puppet gets of a model on that version."""
    market = Market()
    text = market.texts[0]
    net = market.open(min_fee_per_1k=PRICE)
    author = market.give(ALICE, text, net)
    market.accept(author)
    if not before_publication:
        market.publish(net)
    mine = market.give(MALLORY, JUNK, net)
    market.accept(mine)
    terms = market.direct.call(OWNER, "getDatanet", net)[1]
    market.direct.call(OWNER, "setDatanet", net, terms._replace(soft_cap_bps=1_000))
    market.direct.call(OWNER, "review", author, True, 0)
    market.publish(net)
    model = market.model(1, net)
    market.texts = [text]
    return _taken(market, model, mine)


def latecomer() -> int:
    """Who is only in version 2, with four times the author's windows: what version 1 pays him for nobody's text."""
    market = Market()
    net = market.open(min_fee_per_1k=PRICE)
    market.accept(market.give(ALICE, market.texts[0], net))
    model = market.model(market.publish(net), net)
    late = market.give(MALLORY, market.words(4 * len(market.texts[0])), net)
    market.accept(late)
    market.publish(net)
    market.texts = [[f"other{i}" for i in range(200)]]
    return _taken(market, model, late)


def _taken(market: Market, model: int, mine: int) -> int:
    paid = pay(market, model, market.outputs(20))
    market.direct.call(USER, "claimPool", (mine,))
    return int(market.direct.call(USER, "claimable", MALLORY)[0]) * BPS // paid


SCHEMES: dict[str, tuple[Callable[[], int], str]] = {
    "puppet by soft cap, after the version": (lambda: puppet(False), "99.99 %"),
    "puppet by soft cap, in a version published for it": (lambda: puppet(True), "99.99 %"),
    "latecomer in version 2": (latecomer, "80.12 %"),
}
"""Name in the documentation; how it is done; what it took when a datanet had one pool and terms acted at once."""


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_takes_no_more_than_documented(name: str) -> None:
    scheme, before = SCHEMES[name]
    row = f"| {name} | {before} | {scheme() / 100:.2f} % |"
    assert row in DOCUMENT, f"docs/attribution.md needs the row {row}"


# ---------------------------------------------------------------- dividing oneself under a soft cap

SOFT_CAP = 1_000
"""Of the contributors' part, for one contribution."""
NAMES = (1, 2, 5, 10, 20, 50)


def divided(names: int) -> tuple[int, int, int]:
    """A third of a datanet, given by so many names, on outputs that are made of nothing else: (by score, with the pool:
    both in basis points of the contributors' part; gas of the uploads)."""
    market = Market()
    net = market.open(soft_cap_bps=SOFT_CAP, min_fee_per_1k=PRICE)
    text, call = market.texts[0], market.direct.call
    size, mine, used = -(-len(text) // names), [], 0
    for at in range(0, len(text), size):
        mine.append(market.give(address(5_000 + at), text[at : at + size + K - 1], net))
        used += market.direct.gas_used
    others = [market.give(who, text, net) for who, text in zip(VICTIMS[1:], market.texts[1:], strict=True)]
    market.accept(*mine, *others)
    model = market.model(market.publish(net), net)
    market.texts = [text]
    paid = pay(market, model, market.outputs(40))

    def earned() -> int:
        return sum(int(call(USER, "claimable", address(5_000 + at))[0]) for at in range(0, len(text), size))

    by_score = earned()
    for first in range(0, len(mine), 20):
        call(USER, "claimPool", tuple(mine[first : first + 20]))
    return by_score * BPS // paid, earned() * BPS // paid, used


def test_dividing_oneself_gains_what_is_documented_and_is_bounded() -> None:
    """Soft caps count contributions, not people: docs/attribution.md has this table."""
    rows = {names: divided(names) for names in NAMES}
    for names, (by_score, in_all, gas) in rows.items():
        row = f"| {names} | {by_score / 100:.2f} % | {in_all / 100:.2f} % | {gas / 10**6:.1f} M |"
        assert row in DOCUMENT, f"docs/attribution.md needs the row {row}"
    assert rows[1][0] == SOFT_CAP
    gains = [rows[names][1] for names in NAMES]
    assert gains == sorted(gains), "each further name gains"
    assert gains[-1] < 9_750, "and all of them less than the same text without a cap"


def test_the_tables_have_no_other_rows() -> None:
    section = DOCUMENT[DOCUMENT.index("### Dividing oneself") : DOCUMENT.index("## Limits and errors")]
    assert set(re.findall(r"^\| ([^|]+) \| [\d.]+ % \| [\d.]+ % \|$", section, re.MULTILINE)) == set(SCHEMES)
    assert [int(names) for names in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == list(NAMES)
