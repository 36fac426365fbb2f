"""What happens to a network: a plan, drawn from a seed or written down. The seed alone decides everything."""

import random
from dataclasses import dataclass, replace

HONEST = "honest"
TWIN = "twin"


@dataclass(frozen=True)
class Plan:
    """Probabilities are per message (loss, duplicate, slow), per boundary (hazard) or per turn of the nemesis (crashes).

    Until `heal_ms` all faults happen; after it messages take `delay_ms`, clocks are close and nobody crashes. Cheating goes on.
    """

    powers: tuple[int, ...] = (10, 10, 10, 10)
    """Of the first validator set, by key number."""
    byzantine: tuple[str, ...] = ()
    """Behaviours of the keys 0, 1, … (names in `byzantine.BEHAVIOURS`); a twin is a second process with the key."""
    spare: int = 0
    """Further keys, which are members of some later sets."""
    changing: bool = False
    """The block of H decides the validator set of H + 2."""
    followers: int = 0
    heights: int = 4
    loss: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    delay_ms: tuple[int, int] = (5, 60)
    partitions: bool = False
    one_way: bool = False
    """Partitions that let messages through in one direction."""
    crashes: float = 0.0
    hazard: float = 0.0
    skew_ms: int = 100
    execution_ms: int = 60
    heal_ms: int = 0
    rounds_max: int = 10
    """Rounds that a height may take once the network has healed."""
    real_keys: bool = False

    @property
    def limit_ms(self) -> int:
        """Simulated time by which everything has to be decided: far more than rounds_max allows."""
        return self.heal_ms + 600_000


ROUGH = Plan(
    loss=0.3,
    duplicate=0.05,
    slow=0.08,
    partitions=True,
    one_way=True,
    crashes=0.6,
    hazard=0.002,
    skew_ms=400,
    execution_ms=800,
    heal_ms=30_000,
)
"""Everything at once."""

SIZES = (1, 2, 3, 4, 4, 4, 7, 7, 10)
BEHAVIOURS = (
    "twin",
    "twin",
    "equivocator",
    "splitter",
    "nil voter",
    "silent",
    "withholder",
    "spammer",
    "invalid proposer",
    "liar",
    "forger",
    "amnesiac",
)


def plan_of(seed: int, *, n: int | None = None, heights: int = 4, byzantine: str | None = None) -> Plan:
    """The plan that a seed stands for: `n` validators (None: any of SIZES), as many cheats as the power allows."""
    rng = random.Random(f"plan {seed}")
    size = rng.choice(SIZES) if n is None else n
    powers = _powers(rng, size)
    cheats: list[str] = []
    while 3 * sum(powers[: len(cheats) + 1]) < sum(powers):
        cheats.append(byzantine or rng.choice(BEHAVIOURS))
    if byzantine is None and rng.random() < 0.1:
        cheats = []
    changing = rng.random() < 0.4
    plan = replace(
        ROUGH,
        powers=powers,
        byzantine=tuple(cheats),
        changing=changing,
        spare=rng.randint(0, 2) if changing else 0,
        followers=int(rng.random() < 0.1),
        heights=heights,
    )
    return _weather(rng, plan)


def _powers(rng: random.Random, size: int) -> tuple[int, ...]:
    """Equal, random, or the first with nearly one third (a cheat, if there is one)."""
    kind = rng.random()
    if kind < 0.6 or size < 4:
        return (10,) * size
    if kind < 0.8:
        rest = [rng.randint(5, 20) for _ in range(size - 1)]
        return ((sum(rest) - 1) // 2, *rest)
    return tuple(sorted(rng.randint(5, 20) for _ in range(size)))


def _weather(rng: random.Random, plan: Plan) -> Plan:
    kind = rng.random()
    if kind < 0.15:
        return replace(plan, loss=0.0, crashes=0.0, hazard=0.0, partitions=False, slow=0.0)
    if kind < 0.35:
        return replace(plan, crashes=0.9, hazard=0.01, loss=0.1)
    if kind < 0.5:
        return replace(plan, loss=0.5, one_way=False)
    if kind < 0.6:
        return replace(plan, delay_ms=(100, 900), execution_ms=2_500, slow=0.02)
    return plan
