"""A wrong clock is said, with the difference, once a minute, and measured each time."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from genesis.primitives import Address, Height, Round
from node.telemetry.clock_watch import ClockWatch

H, R = Height(7), Round(0)


def address(number: int) -> Address:
    return Address(bytes([number]) * 20)


class Watch:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.registry = CollectorRegistry()
        self.clocks = ClockWatch(self.registry, lambda: self.now_s)

    def proposal(self, proposer: int, ahead_ms: int, *, timely: bool = False) -> None:
        self.clocks.proposal(H, R, address(proposer), ahead_ms, timely=timely)

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"openledger_consensus_{name}")


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    """Other tests set up logging for the whole process."""
    caplog.set_level(logging.DEBUG)


def test_untimely_proposals_are_told_once_a_minute_with_the_difference(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    watch = Watch()
    watch.proposal(1, -40, timely=True)
    assert caplog.messages == [] and watch.value("clock_difference_seconds") == -0.04
    watch.proposal(2, 600_000)
    assert len(caplog.messages) == 1
    said = caplog.messages[0]
    assert "0x" + "02" * 20 in said and "600.0 s ahead of this node's clock" in said and "timedatectl" in said
    assert "one of the clocks is wrong;" in said
    for _ in range(100):
        watch.proposal(3, -600_000)
        watch.now_s += 0.5
    assert len(caplog.messages) == 1
    assert watch.value("clock_difference_seconds") == -600
    assert watch.value("untimely_proposals_total") == 101
    watch.now_s += 10
    watch.proposal(3, -9_500)
    assert "9.5 s behind this node's clock" in caplog.messages[1]
    assert "2 of 3 proposers, so this clock is wrong" in caplog.messages[1]


def test_one_who_came_late_need_not_have_a_wrong_clock(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    watch.proposal(1, -9_500)
    assert "or it came late" in caplog.messages[0]


def test_a_time_that_is_waited_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for _ in range(200):
        watch.clocks.waiting(H, 119_400)
        watch.now_s += 1
    assert len(caplog.messages) == 4
    assert "height 7: the block before has a time 119.4 s ahead of this node's clock" in caplog.messages[0]
    assert watch.value("clock_difference_seconds") == 119.4
    other = Watch()
    other.clocks.waiting(Height(1), 3_600_000)
    assert "the chain begins 3600.0 s ahead of this node's clock" in caplog.messages[-1]


def test_what_is_kept_of_proposers_is_bounded() -> None:
    watch = Watch()
    for number in range(1_000):
        watch.clocks.proposal(H, R, Address(number.to_bytes(20, "big")), 0, timely=True)
    assert len(watch.clocks._timely) == 256
