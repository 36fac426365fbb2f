"""What a validator does while its signer is away: nothing is lost but time."""

from typing import Any

import pytest

from consensus.driver import HeightDriver
from consensus.evidence import EvidencePool
from consensus.member import Node
from consensus.observer import SilentObserver
from consensus.orders import Broadcast, BroadcastBlock, Build, Finalize
from consensus.signer import SigningDelayed, SigningRefused
from consensus.wal import Wal
from genesis.primitives import Hash32, Height, Round
from genesis.types import Proposal, Vote, VoteType
from tests.unit.consensus.support import (
    CHAIN,
    PARAMS,
    MemoryLog,
    MemoryRecord,
    first_context,
    keys_in_set_order,
    make_block,
    make_signer,
    validator_set,
)


class Away(SilentObserver):
    """A signer that can be away; and the reasons that were given for missing signatures."""

    def __init__(self, key: bytes) -> None:
        self.inner = make_signer(key, MemoryRecord())
        self.address = self.inner.address
        self.trouble: SigningRefused | None = None
        self.reasons: list[str] = []

    @property
    def last(self) -> Any:
        return self.inner.last

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def sign_vote(
        self, kind: VoteType, height: Height, round_: Round, block_hash: Hash32, validators_hash: Hash32
    ) -> Vote:
        self._check()
        return self.inner.sign_vote(kind, height, round_, block_hash, validators_hash)

    def sign_proposal(self, *arguments: Any) -> Proposal:
        self._check()
        return self.inner.sign_proposal(*arguments)

    def covers(self, message: Any) -> bool:
        return self.inner.covers(message)

    def stop(self, reason: str) -> None:
        self.inner.stop(reason)

    def signing_refused(self, reason: str) -> None:
        self.reasons.append(reason)


def lone_validator() -> tuple[Away, HeightDriver, list[Any]]:
    """A chain of one validator, entered at height 1; the orders so far."""
    signer = Away(keys_in_set_order(1)[0])
    node = Node(CHAIN, PARAMS, signer, Wal(MemoryLog()), EvidencePool(), signer)
    driver = HeightDriver(node, first_context(validator_set(1)))
    return signer, driver, [*driver.start(), *driver.enter()]


def test_what_could_not_be_signed_is_signed_when_the_signer_is_back() -> None:
    signer, driver, orders = lone_validator()
    assert Build(Round(0)) in orders
    signer.trouble = SigningDelayed("away")
    block = make_block(driver.context)
    orders = driver.built(Round(0), block)
    assert not [order for order in orders if isinstance(order, Broadcast | BroadcastBlock | Finalize)]
    for _ in range(3):
        assert driver.retry_signing() == []
    assert signer.reasons == ["away"], "told once, not at every try"
    signer.trouble = None
    orders = driver.retry_signing()
    said = [order.message for order in orders if isinstance(order, Broadcast)]
    assert [type(message) for message in said] == [Proposal, Vote, Vote]
    assert [order.block.hash for order in orders if isinstance(order, Finalize)] == [block.hash]
    assert driver.retry_signing() == []


def test_a_signer_that_goes_away_in_the_middle() -> None:
    """Between any two signatures; the order of what is signed stays that of the rules."""
    for served in range(3):
        signer, driver, _ = lone_validator()
        left = [served]

        def check(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise SigningDelayed("away")

        signer._check = check  # type: ignore[method-assign]  # to count
        driver.built(Round(0), make_block(driver.context))
        assert signer.reasons
        left[0] = 10
        orders = driver.retry_signing()
        assert [order for order in orders if isinstance(order, Finalize)], served
        assert signer.last.signed().kind is VoteType.PRECOMMIT


def test_a_refusal_is_final() -> None:
    signer, driver, _ = lone_validator()
    signer.trouble = SigningRefused("something else was signed")
    driver.built(Round(0), make_block(driver.context))
    signer.trouble = None
    assert driver.retry_signing() == []
    assert signer.reasons == ["something else was signed"]


@pytest.mark.parametrize("round_", [1, 2])
def test_a_later_round_forgets_what_the_earlier_one_wanted(round_: int) -> None:
    signer, driver, _ = lone_validator()
    signer.trouble = SigningDelayed("away")
    driver.built(Round(0), make_block(driver.context))
    driver.state.round = Round(round_)
    signer.trouble = None
    assert driver.retry_signing() == []
