"""Who was paid for which inference: the attribution contract's events, found by the store's lists and put together by receipt.

One inference emits `Inferred`, then an `Attributed` for each payee, a `Pooled` for each pool and a `RoyaltyPaid` for each
ancestor, all with the receipt's id as first indexed value. Attested scores are `Attributed` when they are claimed, which is
later; `PoolClaimed` is what a pool pays. So there are two views: inferences with what was paid at once, and all payments.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import Address, Hash32, Height
from node.interfaces import NO_SUBJECT, ChainReader, EventList, EventPlace, StoredBlock
from node.rpc.schema.format import Json, data, logs_of, optional_data, quantity
from node.rpc.schema.params import (
    ADDRESS_SCHEMA,
    HASH_SCHEMA,
    UINT64_SCHEMA,
    BadParam,
    Kind,
    address,
    hash32,
    members,
    number_or_quantity,
    obj,
    within,
)
from node.rpc.stopwatch import Stopwatch

Place = TypeVar("Place", Height, EventPlace)


@dataclass(slots=True)
class Inference:
    """One paid inference, and where its `Inferred` event stands in its block."""

    receipt: Hash32
    model: int
    payer: Address
    fee: int
    tokens: int
    unmatched: int
    transaction_hash: Hash32
    transaction_place: int
    log_place: int
    payments: list[tuple[int, Address, int, int]] = field(default_factory=list)
    """(contribution, payout, tokens credited, wei)."""
    pools: list[tuple[int, int, int]] = field(default_factory=list)
    """(datanet, version, wei)."""
    royalties: list[tuple[int, int]] = field(default_factory=list)
    """(ancestor, wei)."""


def inferences(stored: StoredBlock) -> list[Inference]:
    """Those of a block, in order."""
    from attribution_precompile import declarations as d

    found: dict[Hash32, Inference] = {}
    for log, transaction_hash, transaction_place, log_place in logs_of(stored):
        if log.address != ATTRIBUTION_ADDRESS or len(log.topics) < 3:
            continue
        kind, receipt, second = int.from_bytes(log.topics[0], "big"), log.topics[1], _number(log.topics[2])
        words = [_number(log.data[at : at + 32]) for at in range(0, len(log.data), 32)]
        if kind == d.INFERRED.topic:
            fee, tokens, unmatched = words
            found[receipt] = Inference(
                receipt=receipt,
                model=second,
                payer=_address(log.topics[3]),
                fee=fee,
                tokens=tokens,
                unmatched=unmatched,
                transaction_hash=transaction_hash,
                transaction_place=transaction_place,
                log_place=log_place,
            )
        elif receipt in found and kind == d.ATTRIBUTED.topic:
            found[receipt].payments.append((second, _address(log.topics[3]), words[0], words[1]))
        elif receipt in found and kind == d.POOLED.topic:
            version, amount = words
            found[receipt].pools.append((second, version, amount))
        elif receipt in found and kind == d.ROYALTY_PAID.topic:
            found[receipt].royalties.append((second, words[0]))
    return list(found.values())


def inference_json(found: Inference, stored: StoredBlock) -> Json:
    return {
        "receipt": data(found.receipt),
        "model": quantity(found.model),
        "payer": data(found.payer),
        "fee": quantity(found.fee),
        "tokens": quantity(found.tokens),
        "unmatched": quantity(found.unmatched),
        "blockNumber": quantity(stored.height),
        "blockHash": data(stored.hash),
        "blockTimestamp": quantity(stored.header.timestamp),
        "transactionHash": data(found.transaction_hash),
        "transactionIndex": quantity(found.transaction_place),
        "logIndex": quantity(found.log_place),
        "payments": [
            {
                "contribution": quantity(who),
                "payout": data(payout),
                "tokens": quantity(tokens),
                "amount": quantity(amount),
            }
            for who, payout, tokens, amount in found.payments
        ],
        "pools": [
            {"datanet": quantity(which), "version": quantity(version), "amount": quantity(amount)}
            for which, version, amount in found.pools
        ],
        "royalties": [{"model": quantity(which), "amount": quantity(amount)} for which, amount in found.royalties],
    }


@dataclass(frozen=True, slots=True)
class AttributionFilter:
    """Which inferences are wanted: all that is given must fit. `contribution` and `payout` are of one payment."""

    model: int | None = None
    payer: Address | None = None
    receipt: Hash32 | None = None
    contribution: int | None = None
    payout: Address | None = None

    def matches(self, found: Inference) -> bool:
        return (
            self.model in (None, found.model)
            and self.payer in (None, found.payer)
            and self.receipt in (None, found.receipt)
            and (
                (self.contribution is None and self.payout is None)
                or any(
                    self.contribution in (None, who) and self.payout in (None, payout)
                    for who, payout, _, _ in found.payments
                )
            )
        )

    def heights(self, chain: ChainReader, first: Height, stopwatch: Stopwatch) -> Iterator[Height]:
        """The blocks from `first` on that may hold a match: those with an event in each list asked for."""
        if self.receipt is not None:
            found = chain.inference(self.receipt)
            return iter([found[0].height] if found is not None and found[0].height >= first else [])
        lists = [
            (EventList.OF_MODEL, self.model),
            (EventList.OF_PAYER, self.payer),
            (EventList.PAID_FOR_CONTRIBUTION, self.contribution),
            (EventList.PAID_TO, self.payout),
        ]
        given = _given(lists) or [(EventList.INFERENCES, NO_SUBJECT)]
        start = EventPlace(first, 0)
        return _in_all([_once(each.height for each in _events(chain, *one, start, stopwatch)) for one in given])


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """Which payments are wanted: at least one is given, and all that is given must fit."""

    model: int | None = None
    contribution: int | None = None
    payout: Address | None = None

    def places(self, chain: ChainReader, first: EventPlace, stopwatch: Stopwatch) -> Iterator[EventPlace]:
        """The payments' events, in the chain's order, `first` being the first that counts."""
        lists = [
            (EventList.PAID_BY_MODEL, self.model),
            (EventList.PAID_FOR_CONTRIBUTION, self.contribution),
            (EventList.PAID_TO, self.payout),
        ]
        return _in_all([_events(chain, *one, first, stopwatch) for one in _given(lists)])


def _given(lists: Sequence[tuple[EventList, int | Address | None]]) -> list[tuple[EventList, Hash32]]:
    return [(which, topic(subject)) for which, subject in lists if subject is not None]


def _events(
    chain: ChainReader, which: EventList, subject: Hash32, first: EventPlace, stopwatch: Stopwatch
) -> Iterator[EventPlace]:
    """A list from `first` to the tip. Raises RpcError when time is over."""
    for place in chain.events(which, subject, first, EventPlace(Height(chain.tip().height + 1), 0)):
        stopwatch.check()
        yield place


def _once(ascending: Iterator[Height]) -> Iterator[Height]:
    return (each for each, _ in itertools.groupby(ascending))


def _in_all(streams: Sequence[Iterator[Place]]) -> Iterator[Place]:
    """What all of these ascending streams have."""
    return functools.reduce(_in_both, streams)


def _in_both(one: Iterator[Place], other: Iterator[Place]) -> Iterator[Place]:
    here, there = next(one, None), next(other, None)
    while here is not None and there is not None:
        if here == there:
            yield here
        if here <= there:
            here = next(one, None)
        else:
            there = next(other, None)


def attribution_filter(value: Any) -> AttributionFilter:
    return AttributionFilter(**_members(value, _MEMBERS))


def payment_filter(value: Any) -> PaymentFilter:
    given = _members(value, {name: _MEMBERS[name] for name in ("model", "contribution", "payout")})
    if not given:
        raise BadParam("a model, a contribution or a payout address has to be named")
    return PaymentFilter(**given)


def _members(value: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are given. One that is unknown is refused: it would match everything."""
    entries = obj(value)
    unknown = sorted(entries.keys() - known.keys())
    if unknown:
        raise BadParam(f"unknown member {unknown[0][:64]!r}; there are {', '.join(known)}")
    return {name: within(name, known[name], each) for name, each in entries.items() if each is not None}


_MEMBERS: Final[dict[str, Any]] = {
    "model": number_or_quantity,
    "payer": address,
    "receipt": hash32,
    "contribution": number_or_quantity,
    "payout": address,
}
_PAYMENT_SCHEMAS: Final = {"model": UINT64_SCHEMA, "contribution": UINT64_SCHEMA, "payout": ADDRESS_SCHEMA}
ATTRIBUTION_FILTER: Final = Kind(
    "attribution filter",
    attribution_filter,
    members(**_PAYMENT_SCHEMAS, payer=ADDRESS_SCHEMA, receipt=HASH_SCHEMA),
)
PAYMENT_FILTER: Final = Kind("payment filter", payment_filter, {**members(**_PAYMENT_SCHEMAS), "minProperties": 1})


def matching(stored: StoredBlock, wanted: AttributionFilter) -> Iterator[Inference]:
    """The wanted inferences of a block, in order."""
    return (found for found in inferences(stored) if wanted.matches(found))


def _number(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _address(topic: bytes) -> Address:
    return Address(topic[12:])


def topic(value: int | bytes) -> Hash32:
    """A number or an address as it stands among a log's topics."""
    number = value if isinstance(value, int) else _number(value)
    return Hash32(number.to_bytes(32, "big"))


# ---------------------------------------------------------------- payments


@dataclass(frozen=True, slots=True)
class Payment:
    """What was paid for a contribution: by score for one inference, or by a pool, with neither receipt nor model nor weight."""

    contribution: int
    payout: Address
    amount: int
    receipt: Hash32 | None
    model: int | None
    weight: int | None
    transaction_place: int


def payment_at(chain: ChainReader, stored: StoredBlock, place: EventPlace) -> Payment:
    """The payment whose event stands at a place of `PAID_FOR_CONTRIBUTION`, `PAID_TO` or `PAID_BY_MODEL`."""
    from attribution_precompile import declarations as d

    log, _, transaction_place, _ = next(itertools.islice(logs_of(stored), place.log, None))
    kind, *topics = log.topics
    contribution, payout = _number(topics[-2]), _address(topics[-1])
    words = [_number(log.data[at : at + 32]) for at in range(0, len(log.data), 32)]
    if _number(kind) == d.POOL_CLAIMED.topic:
        return Payment(contribution, payout, words[0], None, None, None, transaction_place)
    weight, amount = words
    found = chain.inference(topics[0])
    model = None if found is None else _number(found[1])
    return Payment(contribution, payout, amount, topics[0], model, weight, transaction_place)


def payment_json(paid: Payment, stored: StoredBlock, place: EventPlace) -> Json:
    return {
        "kind": "pool" if paid.receipt is None else "score",
        "receipt": optional_data(paid.receipt),
        "model": None if paid.model is None else quantity(paid.model),
        "contribution": quantity(paid.contribution),
        "payout": data(paid.payout),
        "weight": None if paid.weight is None else quantity(paid.weight),
        "amount": quantity(paid.amount),
        "blockNumber": quantity(stored.height),
        "blockHash": data(stored.hash),
        "blockTimestamp": quantity(stored.header.timestamp),
        "transactionHash": data(stored.transactions[paid.transaction_place].hash),
        "transactionIndex": quantity(paid.transaction_place),
        "logIndex": quantity(place.log),
    }


# ---------------------------------------------------------------- pages


PLACE_BITS: Final = 24
"""A cursor is a height and, below it, the place of a log in that block."""


def cursor_of(place: EventPlace) -> int:
    return place.height << PLACE_BITS | place.log


def place_of(cursor: int) -> EventPlace:
    return EventPlace(Height(cursor >> PLACE_BITS), cursor & ((1 << PLACE_BITS) - 1))
