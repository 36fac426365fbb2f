"""The index of the attribution contract's events where a payment comes long after its inference: attested scores."""

import pytest

from attribution_precompile.declarations import ATTRIBUTED, INFERRED
from evm_runtime.receipt import Log
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import StorageCorrupt
from genesis.primitives import Hash32
from node.interfaces import EventList, EventPlace
from node.storage import keys
from node.storage.events import event_writes
from tests.unit.rpc.fakes import TOKEN, FakeChain, signed

RECEIPT, OTHER = Hash32(b"\x01" * 32), Hash32(b"\x02" * 32)
MODEL, CONTRIBUTION, SOMEBODY = (Hash32(number.to_bytes(32, "big")) for number in (7, 8, 9))


def event(topic: int, *topics: Hash32) -> Log:
    return Log(ATTRIBUTION_ADDRESS, (Hash32(topic.to_bytes(32, "big")), *topics), b"")


def test_a_claimed_score_is_listed_under_the_model_of_its_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = FakeChain()
    first = chain.append([signed(0)], [(event(INFERRED.topic, RECEIPT, MODEL, SOMEBODY),)])
    writes = event_writes(first, chain)
    place = EventPlace(first.height, 0)
    assert writes == {
        keys.inference_key(RECEIPT): keys.place_bytes(*place) + MODEL,
        keys.event_key(EventList.INFERENCES, Hash32(bytes(32)), place): b"",
        keys.event_key(EventList.OF_MODEL, MODEL, place): b"",
        keys.event_key(EventList.OF_PAYER, SOMEBODY, place): b"",
    }
    foreign = Log(TOKEN, event(INFERRED.topic, OTHER, MODEL, SOMEBODY).topics, b"")
    claim = event(ATTRIBUTED.topic, RECEIPT, CONTRIBUTION, SOMEBODY)
    later = chain.append([signed(1)], [(foreign, claim)])
    with pytest.raises(StorageCorrupt, match="a receipt that no block before it has"):
        event_writes(later, chain)
    monkeypatch.setattr(chain, "inference", {RECEIPT: (place, MODEL)}.get)
    place = EventPlace(later.height, 1)
    assert event_writes(later, chain) == {
        keys.event_key(EventList.PAID_BY_MODEL, MODEL, place): b"",
        keys.event_key(EventList.PAID_FOR_CONTRIBUTION, CONTRIBUTION, place): b"",
        keys.event_key(EventList.PAID_TO, SOMEBODY, place): b"",
    }
