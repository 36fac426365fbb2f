"""The twelve rules of attribution, as slow and obvious as they can be written. For checking, by people and by tests.

This file shares no code with the node's fast path, and nothing in the node calls it. It knows neither chain nor contract: give
it datanets with their contributions in plain form, and it says which tokens of an output belong to whom and who gets what.
Everything is brute force over tuples of tokens; the money is exact fractions until the moment a rule rounds it. (Asking for a
share with `int` rounds down: nothing here is negative.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache


@dataclass(frozen=True)
class Contribution:
    """Content in segments: (order, bytes), orders counting all segments of the chain. `accepted_in` is the first version
    that includes it, None if none does yet; `left_after` the last one, if its consent was withdrawn. One that is `dead` owns
    nothing. `lost` are the places [start, end) of windows, by number of the segment, that challenges took from it. `weight` is
    its weight in the pool."""

    id: int
    segments: tuple[tuple[int, bytes], ...]
    accepted_in: int | None
    weight: int = 0
    left_after: int | None = None
    dead: bool = False
    lost: tuple[tuple[int, int, int], ...] = ()

    @property
    def priority(self) -> int:
        """Rule 4: its place in the chain's order. Smaller is better."""
        return min(order for order, _ in self.segments)


@dataclass(frozen=True)
class Terms:
    """What a version's uses pay by, in basis points of the contributors' part."""

    curator_bps: int = 0
    soft_cap_bps: int = 10_000


@dataclass(frozen=True)
class Datanet:
    """`terms` are those of each version, from the first on; versions without any have the plain ones."""

    id: int
    k: int
    uint32: bool
    contributions: tuple[Contribution, ...]
    terms: tuple[Terms, ...] = ()

    def terms_of(self, version: int) -> Terms:
        return self.terms[version - 1] if version <= len(self.terms) else Terms()


@dataclass(frozen=True)
class Use:
    datanet_id: int
    version: int
    bps: int


@dataclass(frozen=True)
class Trace:
    """`credited[i]` is the (use number, contribution id) that token i of the output belongs to, or None."""

    credited: tuple[tuple[int, int] | None, ...]
    scores: tuple[tuple[int, int], ...]

    @property
    def unmatched(self) -> int:
        return sum(1 for owner in self.credited if owner is None)


# ---------------------------------------------------------------- rules 1 to 3


def tokens_of(content: bytes, uint32: bool) -> tuple[object, ...]:
    """Rules 1 and 2. Raises ValueError for content that no transaction can carry."""
    if uint32:
        if len(content) % 4 != 0:
            raise ValueError("length is not a multiple of 4")
        return tuple(int.from_bytes(content[i : i + 4], "big") for i in range(0, len(content), 4))
    found: list[str] = []
    word = ""
    for character in content.decode("utf-8"):
        point = ord(character)
        is_ascii_word = character in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        if is_ascii_word or 0xC0 <= point <= 0x1FFF:
            word += chr(point + 32) if "A" <= character <= "Z" else character
            continue
        if word:
            found.append(word)
            word = ""
        if 0x2E80 <= point <= 0xD7FF or 0xF900 <= point <= 0xFAFF or 0x20000 <= point <= 0x3FFFF:
            found.append(character)
    if word:
        found.append(word)
    return tuple(found)


def windows_of(tokens: Sequence[object], k: int) -> list[tuple[object, ...]]:
    """Rule 3: k consecutive tokens, by the place of the first."""
    return [tuple(tokens[i : i + k]) for i in range(len(tokens) - k + 1)]


@lru_cache(maxsize=4096)
def windows_in(content: bytes, datanet: tuple[bool, int]) -> frozenset[tuple[object, ...]]:
    """The windows that one segment has; `datanet` is (uint32, k). Remembered, so that checking many outputs isn't hopeless."""
    uint32, k = datanet
    return frozenset(windows_of(tokens_of(content, uint32), k))


# ---------------------------------------------------------------- rules 4 and 5


def has_lost(contribution: Contribution, number: int, window: tuple[object, ...], datanet: Datanet) -> bool:
    """Whether every place at which a segment has the window was taken from it."""
    windows = windows_of(tokens_of(contribution.segments[number][1], datanet.uint32), datanet.k)
    taken = {place for segment, start, end in contribution.lost if segment == number for place in range(start, end)}
    return all(place in taken for place, each in enumerate(windows) if each == window)


def holders_of(
    contributions: Sequence[Contribution], window: tuple[object, ...], datanet: Datanet
) -> list[tuple[int, int, Contribution]]:
    """(order, number of the segment, contribution) of all segments with the window, the earliest first."""
    mode = (datanet.uint32, datanet.k)
    found = [
        (order, number, contribution)
        for contribution in contributions
        for number, (order, content) in enumerate(contribution.segments)
        if window in windows_in(content, mode)
    ]
    return sorted(found, key=lambda holder: holder[:2])


def is_member(contribution: Contribution, version: int) -> bool:
    joined = contribution.accepted_in is not None and contribution.accepted_in <= version
    return joined and (contribution.left_after is None or version <= contribution.left_after)


def owner_of(datanet: Datanet, version: int, window: tuple[object, ...]) -> Contribution | None:
    """Rule 5: of the version's contributions that have the window, the earliest that lives; nobody, if an earlier one has lost
    it."""
    members = [contribution for contribution in datanet.contributions if is_member(contribution, version)]
    for _, number, contribution in holders_of(members, window, datanet):
        if has_lost(contribution, number, window, datanet):
            return None
        if not contribution.dead:
            return contribution
    return None


def owned_windows(datanet: Datanet, contribution: Contribution, claiming: frozenset[int], versions: int) -> int:
    """What a review counts: distinct windows that the contribution hasn't lost and that no earlier segment of another one holds
    which claims; nor has one lost it that claims or is in later versions than the `versions` there are."""
    owned = 0
    windows = [windows_of(tokens_of(content, datanet.uint32), datanet.k) for _, content in contribution.segments]
    for window in {window for segment in windows for window in segment}:
        for _, number, holder in holders_of(datanet.contributions, window, datanet):
            lost = has_lost(holder, number, window, datanet)
            if holder.id == contribution.id:
                owned += not lost
                break
            stays = is_member(holder, versions) and is_member(holder, versions + 1)
            if holder.id in claiming or (lost and stays):
                break
    return owned


# ---------------------------------------------------------------- rules 6 to 9


@dataclass(frozen=True)
class _Run:
    first: int
    end: int
    use: int
    owner: Contribution


def trace(output: bytes, uses: Sequence[Use], datanets: Mapping[int, Datanet]) -> Trace:
    """Rules 6 to 9, and the order of rule 11: who each token of the output belongs to."""
    tokens = tokens_of(output, datanets[uses[0].datanet_id].uint32)
    if not tokens:
        raise ValueError("an output needs at least one token")
    runs: list[_Run] = []
    for number, use in enumerate(uses):
        datanet = datanets[use.datanet_id]
        hit = [owner_of(datanet, use.version, window) for window in windows_of(tokens, datanet.k)]
        for i, owner in enumerate(hit):
            if owner is None or (i > 0 and hit[i - 1] is owner):
                continue
            j = i
            while j + 1 < len(hit) and hit[j + 1] is owner:
                j += 1
            runs.append(_Run(i, j + datanet.k, number, owner))
    credited: list[tuple[int, int] | None] = []
    priority: dict[int, int] = {}
    for place in range(len(tokens)):
        covering = [run for run in runs if run.first <= place < run.end]
        if not covering:
            credited.append(None)
            continue
        best = min(covering, key=lambda run: (-(run.end - run.first), run.owner.priority, run.use, run.first))
        credited.append((best.use, best.owner.id))
        priority[best.owner.id] = best.owner.priority
    scores = {owner: sum(1 for c in credited if c is not None and c[1] == owner) for owner in priority}
    ordered = sorted(scores.items(), key=lambda item: (-item[1], priority[item[0]]))
    return Trace(tuple(credited), tuple(ordered))


# ---------------------------------------------------------------- rules 10 to 12


@dataclass(frozen=True)
class Payout:
    """Wei: to contributions by id, to curators and pools by use. A pool without weight goes to the treasury."""

    contributions: dict[int, int]
    curators: tuple[int, ...]
    pools: tuple[int, ...]


def pay(
    amount: int, traced: Trace, uses: Sequence[Use], datanets: Mapping[int, Datanet], payees_max: int = 64
) -> Payout:
    """Rules 10 to 12: divide the contributors' part of a fee."""
    terms = [datanets[use.datanet_id].terms_of(use.version) for use in uses]
    curators = []
    for use, agreed in zip(uses, terms, strict=True):
        share = int(Fraction(amount * use.bps, 10_000))
        curators.append(int(Fraction(share * agreed.curator_bps, 10_000)))
    rest = amount - sum(curators)
    matched = sum(score for _, score in traced.scores)
    for_spans = int(Fraction(rest * matched, len(traced.credited)))
    best = traced.scores[:payees_max]
    best_matched = sum(score for _, score in best)
    for_best = int(Fraction(for_spans * best_matched, matched)) if matched else 0

    by_score = share_out(for_best, dict(best))
    for_pools = rest - for_best
    pools = [int(Fraction(for_pools * use.bps, 10_000)) for use in uses]
    pools[0] += for_pools - sum(pools)

    contributions = dict(by_score)
    first_use = {owner: min(c[0] for c in traced.credited if c is not None and c[1] == owner) for owner in by_score}
    for number, agreed in enumerate(terms):
        cap = int(Fraction(rest * agreed.soft_cap_bps, 10_000))
        mine = [contribution for contribution in by_score if first_use[contribution] == number]
        over = sum(by_score[contribution] - cap for contribution in mine if by_score[contribution] > cap)
        below = {
            contribution: score for contribution, score in best if contribution in mine and by_score[contribution] < cap
        }
        pools[number] += over
        for contribution in mine:
            contributions[contribution] = min(by_score[contribution], cap)
        for contribution, offered in share_out(over, below).items():
            taken = min(offered, by_score[contribution], cap - by_score[contribution])
            contributions[contribution] += taken
            pools[number] -= taken
    return Payout(contributions, tuple(curators), tuple(pools))


def share_out(amount: int, scores: Mapping[int, int]) -> dict[int, int]:
    """By largest remainder: everybody's share rounded down, and one wei more for the largest fractions until all is
    out; ties in the order given. Nothing where there is nobody."""
    total = sum(scores.values())
    exact = {who: Fraction(amount * score, total) for who, score in scores.items()}
    shares = {who: int(part) for who, part in exact.items()}
    by_fraction = sorted(exact, key=lambda who: shares[who] - exact[who])
    for who in by_fraction[: amount - sum(shares.values())]:
        shares[who] += 1
    return shares


class Pool:
    """Rule 12 in one datanet: a payment goes at once to each member of its version, by weight.

    It gives each unit of weight a whole number of parts of 2**-64 wei; what is left of the payment, less than a wei,
    waits for the version's next one. `weights` has those of each version, by contribution; `next_weights` those of the
    version to come.
    """

    def __init__(self) -> None:
        self.weights: list[dict[int, int]] = []
        self.next_weights: dict[int, int] = {}
        self.waiting: list[Fraction] = []
        self.owed: dict[int, Fraction] = {}

    def publish(self) -> None:
        self.weights.append(dict(self.next_weights))
        self.waiting.append(Fraction(0))

    def cut(self, contribution: int, kept: int, of: int) -> None:
        """From now on a contribution has only a part of its weight, in all versions; if it dies, none."""
        for weights in (*self.weights, self.next_weights):
            weights[contribution] = int(Fraction(weights.get(contribution, 0) * kept, of))

    def pay(self, version: int, amount: int) -> int:
        """Returns what goes to the treasury: all of it, if nobody in the version has weight."""
        weights = self.weights[version - 1]
        total = sum(weights.values())
        if amount == 0 or total == 0:
            return amount
        there = self.waiting[version - 1] + amount
        for_each = Fraction(there * 2**64 // total, 2**64)
        for contribution, weight in weights.items():
            self.owed[contribution] = self.owed.get(contribution, Fraction(0)) + for_each * weight
        self.waiting[version - 1] = there - for_each * total
        return 0

    def claim(self, contribution: int) -> int:
        """The whole wei that a contribution is owed; what is below a wei stays."""
        due = int(self.owed.get(contribution, Fraction(0)))
        self.owed[contribution] = self.owed.get(contribution, Fraction(0)) - due
        return due


def matched(burned: int, treasury: int, reserve: int) -> int:
    """What the reserve adds to the contributors' part: half of what was burned and of no more than that to the treasury, in
    whole gwei, as long as it lasts."""
    bound = int(Fraction(burned + min(burned, treasury), 2))
    return min(bound, reserve) // 10**9 * 10**9


def lineage(parents: Mapping[int, int], lineages: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
    """What a new model owes each ancestor, in basis points: the best rate on any path. `lineages` has every parent's."""
    ancestors = set(parents).union(*(lineages[parent] for parent in parents))
    return {
        ancestor: max([parents.get(ancestor, 0), *(lineages[parent].get(ancestor, 0) for parent in parents)])
        for ancestor in ancestors
    }


def royalties(owner_part: int, owed: Mapping[int, int]) -> dict[int, int]:
    """What each ancestor's owner gets out of the owner's part of a fee; the rest stays with the model's owner."""
    return {ancestor: int(Fraction(owner_part * bps, 10_000)) for ancestor, bps in owed.items()}
