"""`openledger demo`: the chain's main job on real input, told step by step, every figure held against the reference."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from genesis.chain_spec import AttributionParams, ChainSpec
from genesis.primitives import WEI_PER_OPEN
from node.demo.byhand import by_hand
from node.demo.client import RpcClient
from node.demo.corpus import read_bodies, read_unrelated
from node.demo.outputs import Output, edited_copy, mixture, ngram_text, unrelated_only
from node.demo.scenario import CURATOR_BPS, MIN_SPAN, OVERPAID, SOFT_CAP_BPS, Scenario, segments_of
from node.demo.truth import Expected, Truth

SEED: Final = 20_261_122
QUALITIES: Final = (10_000, 9_000, 8_000, 500)
"""The curator's word: the copy is let in, but given little weight in the pool."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Checks:
    """Comparisons with the reference; a demo with one that fails is a failed demo."""

    say: Say
    done: int = 0
    failed: list[str] = field(default_factory=list)

    def equal(self, what: str, chain: object, reference: object) -> None:
        self.done += 1
        if chain != reference:
            self.failed.append(f"{what}: the chain says {chain}, the reference {reference}")
            self.say(f"  MISMATCH {self.failed[-1]}")

    def holds(self, what: str, good: bool) -> None:
        self.equal(what, good, True)


def run_demo(url: str, say: Say, *, stays: bool = True) -> bool:
    """Run against a node; True if every figure was equal to the reference's. Raises LocalError if it could not run.

    `stays`: the chain outlives the demo, so it is worth saying how to go on by hand.
    """
    client = RpcClient(url)
    spec = ChainSpec.from_json(str(client.call("open_chainSpec")["json"]).encode())
    generator = random.Random(SEED)  # noqa: S311 - reproducible text, not secrets
    scenario, checks = Scenario(client), Checks(say)
    bodies, unrelated = [body.text for body in read_bodies()], read_unrelated()
    texts = [*bodies, edited_copy(generator, bodies[0])]

    truth = _build_datanet(scenario, checks, spec.attribution, texts, say)
    outputs = [
        *(mixture(generator, f"mixture {number}", bodies, unrelated, 5) for number in (1, 2, 3)),
        unrelated_only(generator, unrelated, 150),
        *(ngram_text(generator, bodies, 180) for _ in range(2)),
    ]
    names = {c.id: person.name for c, person in zip(truth.contributions, scenario.contributors, strict=True)}
    others = {
        "model developer": scenario.developer.address,
        "curator": scenario.owner.address,
        "payer": scenario.payer.address,
        "treasury": "0x" + spec.treasury.hex(),
    }
    before = {who: scenario.claimable(address) for who, address in others.items()}
    settled = [_infer(scenario, truth, checks, output, names, say) for output in outputs]
    parts = {
        "model developer": sum(expected.fee_parts["model owner"] for _, expected in settled),
        "curator": sum(sum(expected.payout.curators) for _, expected in settled),
        "payer": len(outputs) * OVERPAID,
        "treasury": sum(expected.fee_parts["treasury"] for _, expected in settled),
    }
    for who, address in others.items():
        checks.equal(f"wei credited to the {who}", scenario.claimable(address) - before[who], parts[who])
    total_fees = sum(fee for fee, _ in settled)
    _claim(scenario, truth, checks, names, say)

    say("")
    say(
        f"{len(outputs)} inferences, {_open(total_fees)} OPEN in fees, {checks.done} figures compared with the reference."
    )
    for line in checks.failed:
        say(f"FAILED  {line}")
    say("Every figure is equal." if not checks.failed else f"{len(checks.failed)} figures differ.")
    if stays:
        say("")
        say(by_hand(url, scenario))
    else:
        say("To do the same by hand: `make devnet`, then `.venv/bin/openledger demo`, which ends with the commands.")
    return not checks.failed


def _build_datanet(scenario: Scenario, checks: Checks, params: AttributionParams, texts: list[str], say: Say) -> Truth:
    say("1. A datanet, three authors, and a copier")
    scenario.create_datanet()
    truth = Truth(params, scenario.datanet_id, MIN_SPAN, CURATOR_BPS, SOFT_CAP_BPS)
    topics = ("networking", "data formats", "concurrency", "a copy of Ada's text, a word in 25 changed")
    for person, text, topic in zip(scenario.contributors, texts, topics, strict=True):
        segments = segments_of(text)
        contribution_id = scenario.contribute(person, segments)
        truth.contribute(contribution_id, segments)
        size_kib = len(text.encode()) // 1024
        say(f"   {person.name:<17} contribution {contribution_id}: {size_kib} KiB in {len(segments)} calls: {topic}")
    qualities = {c.id: quality for c, quality in zip(truth.contributions, QUALITIES, strict=True)}
    scenario.review_and_publish(qualities)
    scenario.register_model()
    say(
        f"   reviewed, published as version 1 of datanet {scenario.datanet_id}; model {scenario.model_id} is built on it"
    )
    for contribution_id, owned in truth.review(qualities).items():
        checks.equal(f"owned windows of contribution {contribution_id}", scenario.owned_windows(contribution_id), owned)
    say("")
    say("2. Outputs, attributed and paid")
    return truth


def _infer(
    scenario: Scenario, truth: Truth, checks: Checks, output: Output, names: dict[int, str], say: Say
) -> tuple[int, Expected]:
    data = output.text.encode()
    scores, tokens, unmatched = scenario.trace(data)
    settled = scenario.infer(data, tokens)
    expected = truth.infer(data, settled.fee, settled.reserve)
    traced = expected.trace
    label = output.label
    checks.equal(f"{label}: tokens", (tokens, settled.tokens), (len(traced.credited), len(traced.credited)))
    checks.equal(f"{label}: unmatched tokens", (unmatched, settled.unmatched), (traced.unmatched, traced.unmatched))
    checks.equal(f"{label}: scores by trace", scores, traced.scores)
    checks.equal(f"{label}: scores paid", settled.scores, traced.scores[: truth.params.payees_max])
    checks.equal(f"{label}: wei matched from the reserve", settled.matched, expected.matched)
    checks.equal(f"{label}: wei paid", settled.paid, expected.payout.contributions)
    checks.equal(f"{label}: wei to the pool", settled.pooled, sum(expected.payout.pools))
    _check_passages(checks, output, expected, truth)

    matched = len(traced.credited) - traced.unmatched
    say(f"   {label}: {len(traced.credited)} tokens, {matched} matched, fee {_open(settled.fee)} OPEN")
    for contribution_id, score in settled.scores:
        spans = ", ".join(f"{first}-{last}" for first, last in _spans(expected, contribution_id))
        say(
            f"      {names[contribution_id]:<17} {score:>4} tokens  {_open(settled.paid[contribution_id]):>12} OPEN   "
            f"tokens {spans}"
        )
    say(f"      {'everybody, pool':<17} {traced.unmatched:>4} tokens  {_open(settled.pooled):>12} OPEN")
    return settled.fee, expected


def _check_passages(checks: Checks, output: Output, expected: Expected, truth: Truth) -> None:
    """Every known passage is found whole; and nothing that others wrote first is credited to the copier."""
    copier = truth.contributions[-1].id
    for passage in output.passages:
        credited = expected.trace.credited[passage.start : passage.start + passage.length]
        place = f"{output.label}: passage at {passage.start}"
        checks.holds(f"{place} is found whole", None not in credited)
        checks.holds(f"{place} earns the copier nothing", copier not in {c[1] for c in credited if c is not None})


def _spans(expected: Expected, contribution_id: int) -> list[tuple[int, int]]:
    """(first, last) tokens of each stretch credited to a contribution."""
    spans: list[tuple[int, int]] = []
    for place, owner in enumerate(expected.trace.credited):
        if owner is None or owner[1] != contribution_id:
            continue
        if spans and spans[-1][1] == place - 1:
            spans[-1] = (spans[-1][0], place)
        else:
            spans.append((place, place))
    return spans


def _claim(scenario: Scenario, truth: Truth, checks: Checks, names: dict[int, str], say: Say) -> None:
    say("")
    say("3. Claims")
    ids = [contribution.id for contribution in truth.contributions]
    before = [scenario.claimable(person.address) for person in scenario.contributors]
    scenario.claim_pools(ids)
    shares = truth.pool_shares()
    for contribution_id, person, credited in zip(ids, scenario.contributors, before, strict=True):
        from_pool = scenario.claimable(person.address) - credited
        checks.equal(f"{person.name}'s pool share", from_pool, shares[contribution_id])
        arrived = scenario.claim(person)
        say(
            f"   {names[contribution_id]:<17} claimed {_open(arrived):>12} OPEN "
            f"({_open(credited)} by score, {_open(from_pool)} from the pool)"
        )
        checks.equal(f"{person.name}'s balance in the contract after the claim", scenario.claimable(person.address), 0)


def _open(wei: int) -> str:
    """Wei as OPEN with nine decimals, cut, for reading."""
    whole, rest = divmod(wei, WEI_PER_OPEN)
    return f"{whole}.{rest // 10**9:09d}"
