"""A quick part of `python -m tests.sim.mutants`: broken rules that show within a few seeds."""

import pytest

from tests.sim.cluster import Cluster
from tests.sim.keys import toy_signatures
from tests.sim.monitor import Violation
from tests.sim.mutants import MUTANTS, hunt

QUICK = {
    "half is a quorum",
    "prevotes decide",
    "weak polkas lock",
    "no precommit timer",
    "l55 no round skip",
    "timers double without a cap",
    "the first vote wins",
    "signatures are not checked",
    "an invalid block is prevoted",
    "the polka is not persisted",
    "messages are sent before the log is synced",
    "a signature leaves before it is recorded",
}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_broken_rule_is_caught(name: str) -> None:
    _, seeds, complaint = hunt(name, seeds_max=10)
    assert seeds, complaint


def test_there_are_enough_mutants_and_what_they_broke_is_whole_again() -> None:
    assert len(MUTANTS) >= 20
    assert len({item.name for item in MUTANTS}) == len(MUTANTS)
    for plan in {item.plan for item in MUTANTS}:
        with toy_signatures():
            try:
                Cluster(0, plan).run()
            except Violation as violation:
                pytest.fail(f"the unbroken protocol fails under a mutant's plan: {violation}")
