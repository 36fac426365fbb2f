"""The simulator bites: a protocol with one rule broken is caught. (A simulator that finds nothing proves nothing.)"""

from collections.abc import Callable

import pytest

import consensus.block_rules
import consensus.driver
import consensus.last_commit
from consensus import recovery, state_machine
from consensus.events import Effect
from consensus.signer import Signer
from consensus.state_machine import RoundsState
from genesis.errors import FatalError
from genesis.primitives import NO_ROUND
from genesis.types import ValidatorSet
from tests.sim.cluster import Cluster, Plan, Violation
from tests.unit.consensus.support import cached_recover

PLAN = Plan(
    heights=4,
    twins=1,
    loss=0.3,
    duplicate=0.05,
    slow=0.1,
    partitions=True,
    crashes=0.6,
    torn=0.004,
    heal_ms=30_000,
    limit_ms=300_000,
)
SEEDS_MAX = 400
Rule = Callable[[RoundsState, list[Effect]], bool]


@pytest.fixture(autouse=True)
def recover_each_signature_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (consensus.driver, consensus.block_rules, consensus.last_commit):
        monkeypatch.setattr(module, "recover", cached_recover)


def replace_rule(patch: pytest.MonkeyPatch, old: Rule, new: Rule) -> None:
    patch.setattr(state_machine, "RULES", tuple(new if rule is old else rule for rule in state_machine.RULES))


def half_is_a_quorum(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ValidatorSet, "is_quorum", lambda validators, power: 2 * power >= validators.total_power)


def l23_ignores_the_lock(patch: pytest.MonkeyPatch) -> None:
    correct = state_machine._l22_fresh_proposal

    def mutant(state: RoundsState, out: list[Effect]) -> bool:
        locked_round, state.locked_round = state.locked_round, NO_ROUND
        fired = correct(state, out)
        state.locked_round = locked_round
        return fired

    replace_rule(patch, correct, mutant)


def a_nil_polka_clears_the_lock(patch: pytest.MonkeyPatch) -> None:
    correct = state_machine._l44_nil_polka

    def mutant(state: RoundsState, out: list[Effect]) -> bool:
        fired = correct(state, out)
        if fired:
            state.locked_value, state.locked_round = None, NO_ROUND
        return fired

    replace_rule(patch, correct, mutant)


def a_restart_forgets_the_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "_put_polka", lambda state, record: None)


def the_signer_forgets(patch: pytest.MonkeyPatch) -> None:
    correct = Signer.__init__

    def mutant(self: Signer, *arguments: object) -> None:
        correct(self, *arguments)  # type: ignore[arg-type]  # passed on as they came
        self.last = None

    patch.setattr(Signer, "__init__", mutant)


@pytest.mark.parametrize(
    "mutate",
    [
        half_is_a_quorum,
        l23_ignores_the_lock,
        a_nil_polka_clears_the_lock,
        a_restart_forgets_the_lock,
        the_signer_forgets,
    ],
)
def test_a_broken_rule_is_caught(mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    for seed in range(SEEDS_MAX):
        try:
            Cluster(seed, PLAN).run()
        except (Violation, FatalError) as error:
            assert "no decision in time" not in str(error), "a broken rule should show as more than a stall"
            return
    pytest.fail(f"{mutate.__name__} survived {SEEDS_MAX} seeds")
