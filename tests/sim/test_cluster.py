"""Random networks, one seed each: agreement, at most one signature per position, and decisions once the network heals."""

from dataclasses import replace

import pytest

import consensus.block_rules
import consensus.driver
import consensus.last_commit
from tests.sim.cluster import Cluster, Plan
from tests.unit.consensus.support import cached_recover


@pytest.fixture(autouse=True)
def recover_each_signature_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (consensus.driver, consensus.block_rules, consensus.last_commit):
        monkeypatch.setattr(module, "recover", cached_recover)


CALM = {
    "one": Plan(validators=1, heights=5),
    "one and a follower": Plan(validators=1, heights=3, followers=1),
    "three": Plan(validators=3, heights=5),
    "four and a follower": Plan(validators=4, heights=5, followers=1),
    "seven": Plan(validators=7, heights=3),
}


@pytest.mark.parametrize("name", CALM)
def test_a_calm_network_decides_in_round_zero(name: str) -> None:
    for seed in range(5):
        cluster = Cluster(seed, CALM[name])
        cluster.run()
        assert cluster.max_round == 0, cluster


ROUGH = Plan(
    heights=4,
    loss=0.3,
    duplicate=0.05,
    slow=0.08,
    partitions=True,
    crashes=0.6,
    torn=0.004,
    heal_ms=30_000,
    limit_ms=400_000,
)


@pytest.mark.parametrize(
    ("seeds", "changes"),
    [
        (100, {"validators": 1, "crashes": 0.9, "torn": 0.03}),
        (60, {"validators": 3}),
        (100, {"validators": 4}),
        (20, {"validators": 4, "followers": 1}),
        (100, {"validators": 4, "twins": 1}),
        (10, {"validators": 7}),
        (10, {"validators": 7, "twins": 2}),
    ],
    ids=lambda value: str(value),
)
def test_a_rough_network_stays_safe_and_decides_after_it_heals(seeds: int, changes: dict[str, float]) -> None:
    plan = replace(ROUGH, **changes)  # type: ignore[arg-type]  # any field
    rounds = 0
    for seed in range(seeds):
        cluster = Cluster(seed, plan)
        cluster.run()
        rounds = max(rounds, cluster.max_round)
    assert rounds > 0 or plan.validators == 1, "the faults did nothing: the test tests nothing"


def test_the_same_seed_gives_the_same_run() -> None:
    plan = replace(ROUGH, twins=1)
    runs = [Cluster(7, plan) for _ in range(2)]
    assert runs[0].run() == runs[1].run()
    assert runs[0].decided == runs[1].decided
    assert runs[0].count == runs[1].count
