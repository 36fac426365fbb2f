"""Random networks, one seed each: agreement, one signature per position, kept locks, validity, and decisions once it heals."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sim.campaign import run_seed
from tests.sim.cluster import Cluster
from tests.sim.keys import toy_signatures
from tests.sim.plan import BEHAVIOURS, ROUGH, TWIN, Plan, plan_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fast_signatures() -> Iterator[None]:
    with toy_signatures():
        yield


CALM = {
    "one": Plan(powers=(10,), heights=5),
    "one and a follower": Plan(powers=(10,), heights=3, followers=1),
    "two": Plan(powers=(10,) * 2, heights=5),
    "three": Plan(powers=(10,) * 3, heights=5),
    "four and a follower": Plan(heights=5, followers=1),
    "four on real keys": Plan(heights=2, real_keys=True),
    "one with nearly a third": Plan(powers=(33, 23, 22, 22), heights=5),
    "seven": Plan(powers=(10,) * 7, heights=3),
    "ten": Plan(powers=(10,) * 10, heights=2),
    "changing sets": Plan(heights=8, changing=True, spare=2),
}


@pytest.mark.parametrize("name", CALM)
def test_a_calm_network_decides_in_round_zero(name: str) -> None:
    for seed in range(3):
        cluster = Cluster(seed, CALM[name])
        cluster.run()
        assert cluster.monitor.max_round == 0, cluster


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_a_rough_network_stays_safe_and_decides_after_it_heals(n: int) -> None:
    rounds = 0
    for seed in range({1: 20, 2: 10, 3: 10, 4: 20, 7: 2}[n]):
        result = run_seed(seed, n=n)
        assert not result.failure, result.failure
        rounds = max(rounds, result.max_round)
    assert rounds > 0 or n == 1, "the faults did nothing: the test tests nothing"


@pytest.mark.parametrize("behaviour", sorted(set(BEHAVIOURS)))
@pytest.mark.parametrize("powers", [(10, 10, 10, 10), (33, 23, 22, 22)], ids=["equal", "nearly a third"])
def test_a_cheat_breaks_nothing(behaviour: str, powers: tuple[int, ...]) -> None:
    """The monitor sees to that (`run` raises); and the cheat must have cheated, or nothing was tried."""
    cheated = 0
    for seed in range(3):
        cluster = Cluster(seed, replace(ROUGH, powers=powers, byzantine=(behaviour,), heights=3))
        cluster.run()
        assert len(cluster.monitor.decided) >= 3
        cheated += cluster.monitor.equivocations() if behaviour == TWIN else cluster.lies
    assert cheated, f"the {behaviour} did nothing that an honest validator would not do"


@pytest.mark.parametrize("behaviour", ["twin", "equivocator", "splitter"])
def test_an_equivocator_ends_up_punished_in_the_chain_and_out_of_the_set(behaviour: str) -> None:
    punished = 0
    for seed in range(4):
        cluster = Cluster(seed, replace(ROUGH, heal_ms=8_000, powers=(10,) * 5, byzantine=(behaviour,), heights=16))
        cluster.run()
        cheat, tip = cluster.keys.addresses[0], cluster.honest[0].chain[-1][0]
        assert cluster.monitor.punished[tip.hash] <= {cheat}
        if cluster.monitor.punished[tip.hash]:
            punished += 1
            assert cheat not in cluster.honest[0].context.next_validators
    assert punished > 2, f"a {behaviour} was punished in {punished} of 4 runs"


def test_nobody_is_punished_who_does_not_sign_twice() -> None:
    """A forger slanders the honest, and votes twice in its own name on the way."""
    for behaviour in ("silent", "withholder", "liar", "forger"):
        cluster = Cluster(1, replace(ROUGH, byzantine=(behaviour,), heights=4))
        cluster.run()
        guilty = {cluster.keys.addresses[0]} if behaviour == "forger" else set()
        assert set().union(*cluster.monitor.punished.values()) == guilty, behaviour


def test_sets_change_while_the_network_is_rough() -> None:
    plan = replace(ROUGH, changing=True, spare=2, byzantine=("twin",), heights=8)
    seen = set()
    for seed in range(6):
        cluster = Cluster(seed, plan)
        cluster.run()
        seen |= {len(validators) for validators in cluster.monitor.sets.values()}
    assert len(seen) > 1


def test_crashes_come_at_every_boundary() -> None:
    points: set[str] = set()
    calls = {
        f"{when} {what}" for when in ("before", "after") for what in ("append", "sync", "sign record", "the batch")
    }
    calls |= {"between orders", "before truncate"}
    for seed in range(100):
        cluster = Cluster(seed, replace(ROUGH, crashes=0.9, hazard=0.02, heights=3))
        cluster.run()
        points |= set(cluster.crash_points)
        if points >= calls:
            return
    pytest.fail(f"no crash ever at {calls - points}")


def test_the_same_seed_gives_the_same_run() -> None:
    plan = plan_of(7, n=4)
    runs = [Cluster(7, plan) for _ in range(2)]
    assert runs[0].run() == runs[1].run()
    assert runs[0].trace.digest() == runs[1].trace.digest()
    assert runs[0].monitor.decided == runs[1].monitor.decided
    other = Cluster(8, plan)
    other.run()
    assert other.trace.digest() != runs[0].trace.digest()


def test_a_replay_in_another_process_is_the_same_run() -> None:
    """Also where sets of bytes are hashed differently."""
    outputs = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.sim", "--seed", "7", "--n", "4", "--quiet"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().rstrip().endswith("1 passed, 0 failed")
