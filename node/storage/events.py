"""The index of the attribution contract's events: which inferences a model served and a payer paid for, who was paid, and which
contributions an address is named for.

What stands in `EventList` decides which lists an event is in. A payment's own event doesn't name the model: that of its receipt
is taken, from the same block or, where attested scores are claimed later, from the index itself.
"""

from attribution_precompile.declarations import ATTRIBUTED, CONTRIBUTED, INFERRED, PAYOUT_SET, POOL_CLAIMED
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import StorageCorrupt
from genesis.primitives import Address, Hash32
from node.interfaces import NO_SUBJECT, ChainReader, EventList, EventPlace, StoredBlock
from node.storage import keys


def event_writes(stored: StoredBlock, before: ChainReader) -> dict[bytes, bytes | None]:
    """The index entries of a block on top of the chain `before`. Raises StorageCorrupt for a payment of a receipt that nothing
    tells of."""
    writes: dict[bytes, bytes | None] = {}
    models: dict[Hash32, Hash32] = {}
    logs = (log for receipt in stored.receipts for log in receipt.logs)
    for number, log in enumerate(logs):
        if log.address != ATTRIBUTION_ADDRESS:
            continue
        place, (kind, *topics) = EventPlace(stored.height, number), log.topics
        if kind == _INFERRED:
            receipt_id, model, _ = topics
            models[receipt_id] = model
            writes[keys.inference_key(receipt_id)] = keys.place_bytes(*place) + model
        elif kind == _ATTRIBUTED and topics[0] not in models:
            found = before.inference(topics[0])
            if found is None:
                raise StorageCorrupt(f"block {stored.height} pays for a receipt that no block before it has")
            models[topics[0]] = found[1]
        elif kind in (_CONTRIBUTED, _PAYOUT_SET):
            contribution, payout = topics[-2:]
            writes[keys.payout_key(Address(payout[12:]), place)] = contribution
        for which, subject in _lists(kind, topics, models):
            writes[keys.event_key(which, subject, place)] = b""
    return writes


def _lists(kind: Hash32, topics: list[Hash32], models: dict[Hash32, Hash32]) -> tuple[tuple[EventList, Hash32], ...]:
    """The lists that an event is in; `models` are by receipt."""
    if kind == _INFERRED:
        _, model, payer = topics
        return (EventList.INFERENCES, NO_SUBJECT), (EventList.OF_MODEL, model), (EventList.OF_PAYER, payer)
    if kind == _ATTRIBUTED:
        receipt_id, contribution, payout = topics
        return (
            (EventList.PAID_BY_MODEL, models[receipt_id]),
            (EventList.PAID_FOR_CONTRIBUTION, contribution),
            (EventList.PAID_TO, payout),
        )
    if kind == _POOL_CLAIMED:
        contribution, payout = topics
        return (EventList.PAID_FOR_CONTRIBUTION, contribution), (EventList.PAID_TO, payout)
    return ()


_INFERRED, _ATTRIBUTED, _POOL_CLAIMED, _CONTRIBUTED, _PAYOUT_SET = (
    event.topic_word for event in (INFERRED, ATTRIBUTED, POOL_CLAIMED, CONTRIBUTED, PAYOUT_SET)
)
