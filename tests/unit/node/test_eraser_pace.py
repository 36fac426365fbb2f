"""How the eraser makes room for blocks: rests between reads, small batches, a few contributions at a time."""

from pathlib import Path

import pytest

from attribution_precompile.declarations import ERASED
from attribution_precompile.reading.redaction import Redaction
from genesis.chain_spec import AttributionParams
from genesis.primitives import Address, Hash32
from node.chain import eraser
from node.chain.eraser import REST, _batches, _Gentle
from tests.unit.attribution.world import params as datanet_params
from tests.unit.attribution.world import words
from tests.unit.node.local_chain import ADDRESSES, make_spec, transfer
from tests.unit.node.test_eraser import TEXT, Registry, chain, pass_blocks

__all__ = ["chain"]


class Slow:
    """A reader whose reads take a second each by its own clock; resting takes time, too."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rests: list[float] = []

    def storage(self, _address: Address, slot: int) -> int:
        self.now += 1
        return slot + 1

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        self.now += 1
        return bytes(blob_hash)

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds


def test_it_rests_after_so_many_reads_as_a_multiple_of_what_they_took(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr(eraser.time, "monotonic", lambda: slow.now)
    monkeypatch.setattr(eraser, "READS_IN_A_ROW", 5)
    reader = _Gentle(slow, slow.sleep)
    for number in range(8):
        assert reader.storage(Address(bytes(20)), number) == number + 1
        assert reader.get_blob(Hash32(bytes([number]) * 32)) == bytes([number]) * 32
    assert slow.rests == [REST * 4, REST * 5, REST * 5], "counted before the read, from the end of the rest before"


def redaction(*sizes: int) -> Redaction:
    return Redaction(Hash32(bytes(32)), tuple(bytes(size) for size in sizes), 1)


def test_batches_are_cut_where_they_reach_their_size_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eraser, "BATCH_BYTES", 10)

    def cut(*found: Redaction) -> list[list[Redaction]]:
        return list(_batches(iter(found)))

    nine, one, both, none = redaction(9), redaction(1), redaction(4, 6), redaction()
    assert cut() == []
    assert cut(nine, one, nine, nine, none) == [[nine, one], [nine, nine], [none]]
    assert cut(both, both, nine) == [[both], [both], [nine]]


def test_many_deaths_are_dropped_a_few_at_a_time_in_their_order(
    chain: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = words(100, 60).encode()
    while chain.store.tip().height % 8 != 6:
        chain.extend()  # so that a set of the two heights, 7 and 8 modulo 8, is not in their order
    first, second = chain.do("erase", 2, key=2), chain.do("erase", 1, key=1)
    pass_blocks(chain)
    monkeypatch.setattr(eraser, "CONTRIBUTIONS_MAX", 1)
    made = chain.eraser()
    assert made.sweep() == 1 and chain.store.redacted == first
    assert chain.holds(TEXT) and not chain.holds(other)
    assert made.sweep() == 2 and chain.store.redacted == second
    assert not chain.holds(TEXT)
    assert made.sweep() == 0


def test_bytes_that_two_gave_go_when_the_later_death_is_deep_enough(chain: Registry) -> None:
    chain.give(TEXT, key=4)
    made = chain.eraser()
    chain.do("erase", 1, key=1)
    last = chain.do("erase", 3, key=4)
    chain.extend()
    assert made.sweep() == 1 and chain.holds(TEXT), "only the vectors, which the first alone had"
    chain.extend()
    assert made.sweep() == 1 and not chain.holds(TEXT) and chain.store.redacted == last


def test_logs_of_others_in_the_same_block_are_passed_over(chain: Registry) -> None:
    """Also logs without topics, and such as look like an erasure."""
    bare = bytes.fromhex("5f5fa0")
    alike = b"\x60\x02\x7f" + ERASED.topic_word + bytes.fromhex("5f5fa2")
    logging = []
    for code in (bare, alike):
        logging.append(transfer(5, chain.nonces[5], to=None, value=0, data=code, gas=200_000))
        chain.nonces[5] += 1
    chain.extend(*logging, chain.transaction("erase", 1, key=1))
    assert [len(receipt.logs) for receipt in chain.store.tip().receipts] == [1, 1, 1]
    pass_blocks(chain)
    assert chain.eraser().sweep() == 2 and not chain.holds(TEXT)
    assert chain.holds(words(100, 60).encode()), "contribution 2 lives"


def test_nothing_is_searched_before_a_chain_is_long_enough(chain: Registry) -> None:
    chain.do("erase", 1, key=1)
    made = chain.eraser(delay=chain.store.tip().height + 5)
    assert [made.sweep(), made.sweep()] == [0, 0] and made._next == 0
    pass_blocks(chain, 5)
    assert made.sweep() == 0


def test_who_loses_by_a_later_judgement_is_dropped_as_of_that(tmp_path: Path) -> None:
    params = AttributionParams(council=ADDRESSES[4])
    made = Registry(tmp_path / "judged", make_spec(attribution=params))
    made.do("createDatanet", datanet_params())
    made.give(TEXT, key=1)
    made.do("disputeContribution", 1, b"\x0e" * 32, key=3, value=params.dispute_bond)
    pass_blocks(made)
    eraser = made.eraser()
    assert eraser.sweep() == 0 and made.holds(TEXT)
    made.do("resolve", 1, True, key=4)
    pass_blocks(made)
    assert eraser.sweep() == 1 and not made.holds(TEXT)
    made.close()
