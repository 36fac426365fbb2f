"""Who was paid for which inference: the attribution contract's events of a block, put together by receipt.

One inference emits `Inferred`, then an `Attributed` for each payee, a `Pooled` for each pool and a `RoyaltyPaid` for each
ancestor, all with the receipt's id as first indexed value.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import Address, Hash32
from node.interfaces import StoredBlock
from node.rpc.format import Json, data, logs_of, quantity
from node.rpc.params import (
    ADDRESS_SCHEMA,
    HASH_SCHEMA,
    UINT64_SCHEMA,
    BadParam,
    Kind,
    LogFilter,
    address,
    hash32,
    members,
    number_or_quantity,
    obj,
    within,
)


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
    pools: list[tuple[int, int]] = field(default_factory=list)
    """(datanet, wei)."""
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
            found[receipt].pools.append((second, words[0]))
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
        "pools": [{"datanet": quantity(which), "amount": quantity(amount)} for which, amount in found.pools],
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

    def log_filter(self) -> LogFilter:
        """Logs that stand in every block with a match: of the payments where one is asked for, else of the inferences."""
        from attribution_precompile import declarations as d

        of_payment = self.contribution is not None or self.payout is not None
        event = d.ATTRIBUTED if of_payment else d.INFERRED
        second, third = (self.contribution, self.payout) if of_payment else (self.model, self.payer)
        topics = (
            _topic(event.topic),
            _topic(self.receipt),
            _topic(second),
            _topic(third),
        )
        return LogFilter(addresses=frozenset({ATTRIBUTION_ADDRESS}), topics=topics)


def attribution_filter(value: Any) -> AttributionFilter:
    """A member that is unknown is refused: it would match everything."""
    entries = obj(value)
    unknown = sorted(entries.keys() - _MEMBERS.keys())
    if unknown:
        raise BadParam(f"unknown member {unknown[0][:64]!r}; there are {', '.join(_MEMBERS)}")
    given = {name: within(name, _MEMBERS[name], each) for name, each in entries.items() if each is not None}
    return AttributionFilter(**given)


_MEMBERS: Final[dict[str, Any]] = {
    "model": number_or_quantity,
    "payer": address,
    "receipt": hash32,
    "contribution": number_or_quantity,
    "payout": address,
}
ATTRIBUTION_FILTER: Final = Kind(
    "attribution filter",
    attribution_filter,
    members(
        model=UINT64_SCHEMA,
        payer=ADDRESS_SCHEMA,
        receipt=HASH_SCHEMA,
        contribution=UINT64_SCHEMA,
        payout=ADDRESS_SCHEMA,
    ),
)


def matching(stored: StoredBlock, wanted: AttributionFilter) -> Iterator[Inference]:
    """The wanted inferences of a block, in order."""
    return (found for found in inferences(stored) if wanted.matches(found))


def _number(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _address(topic: bytes) -> Address:
    return Address(topic[12:])


def _topic(value: int | bytes | None) -> frozenset[Hash32] | None:
    if value is None:
        return None
    number = value if isinstance(value, int) else _number(value)
    return frozenset({Hash32(number.to_bytes(32, "big"))})
