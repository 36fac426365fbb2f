"""Typed reads of the contract's state without an EVM call: for JSON-RPC, the explorer and exports.

Everything is read over a `StorageReader`; unknown ids give None. Lists take a range of ids or places and clip it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from attribution_precompile import layout
from attribution_precompile.declarations import DatanetParams, Method, Status
from attribution_precompile.methods.attribute import load_uses
from attribution_precompile.methods.getters import params_of
from attribution_precompile.methods.lineage import load_lineage
from attribution_precompile.methods.pool_books import next_weight, version_weight
from attribution_precompile.methods.settlement import receipt_id_of
from evm_runtime.native import Slots
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import InvariantError
from genesis.primitives import ZERO_ADDRESS, Address, Hash32, Wei

T = TypeVar("T")


class StorageReader(Protocol):
    """A state to read from: one account's slots, and blobs by hash."""

    def storage(self, address: Address, slot: int) -> int: ...

    def get_blob(self, blob_hash: Hash32) -> bytes | None: ...


class ReaderSlots:
    """The contract's storage behind a `StorageReader`; read-only."""

    def __init__(self, reader: StorageReader) -> None:
        self._reader = reader

    def load(self, slot: int) -> int:
        return self._reader.storage(ATTRIBUTION_ADDRESS, slot)

    def store(self, slot: int, value: int) -> None:
        raise InvariantError("a query writes storage")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each there are; ids run from 1 to these."""

    datanets: int
    contributions: int
    models: int
    receipts: int


@dataclass(frozen=True, slots=True)
class Money:
    """Chain-wide, in wei: burned by fees so far, and the stakers' part not yet drained."""

    burned: Wei
    stakers: Wei


@dataclass(frozen=True, slots=True)
class DatanetInfo:
    id: int
    owner: Address
    params: DatanetParams
    contributions: int
    versions: int
    segments: int
    pool_weight: int
    """The weight of its newest version now."""
    pool_next_weight: int
    """That the version published next would have."""


@dataclass(frozen=True, slots=True)
class ContributionInfo:
    id: int
    datanet_id: int
    contributor: Address
    payout: Address
    content_root: Hash32
    provenance: Hash32
    tokens: int
    owned_windows: int
    quality: int
    status: Status
    accepted_version: int
    """The first version after its acceptance by review; 0 if it was not accepted by review."""
    deadline: int
    """Seconds since 1970: versions published from then on include it even without a review."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    datanet_id: int
    version: int
    time: int
    block_number: int
    contributions: int
    content_root: Hash32


@dataclass(frozen=True, slots=True)
class UseInfo:
    datanet_id: int
    version: int
    stage: int
    bps: int
    allowed: bool
    """Whether the datanet admits the model now."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    id: int
    owner: Address
    signer: Address
    uri: str
    weights: Hash32
    method: Method
    active: bool
    input_per_1k: Wei
    output_per_1k: Wei
    tokenizer: Hash32
    uses: tuple[UseInfo, ...]


@dataclass(frozen=True, slots=True)
class ReceiptInfo:
    id: Hash32
    model_id: int
    agent_id: int
    payer: Address
    fee: Wei
    block_number: int
    tokens: int
    unmatched: int
    scores_hash: Hash32


@dataclass(frozen=True, slots=True)
class AgentInfo:
    id: int
    owner: Address
    wallet: Address
    uri: str
    deposit: Wei
    daily_cap: Wei
    spent: Wei
    """On `day`, in days since 1970: nothing yet on any later day."""
    day: int


class Queries:
    """Reads over one state."""

    def __init__(self, reader: StorageReader, chain_id: int) -> None:
        self._reader = reader
        self._slots: Slots = ReaderSlots(reader)
        self._chain_id = chain_id

    def counts(self) -> Counts:
        counters = (layout.DATANET_COUNT, layout.CONTRIBUTION_COUNT, layout.MODEL_COUNT, layout.RECEIPT_COUNT)
        return Counts(*(counter.get(self._slots) for counter in counters))

    def money(self) -> Money:
        return Money(Wei(layout.BURNED.get(self._slots)), Wei(layout.STAKERS.get(self._slots)))

    def claimable(self, who: Address) -> Wei:
        return Wei(layout.CLAIMABLE.get(self._slots, who))

    def role(self, datanet_id: int, who: Address) -> int:
        """0 none, 1 curator, 2 admin (the owner needs no role)."""
        return layout.ROLES.get(self._slots, datanet_id, who)

    def datanet(self, datanet_id: int) -> DatanetInfo | None:
        record = layout.DATANETS.load(self._slots, datanet_id)
        if record.owner == ZERO_ADDRESS:
            return None
        return DatanetInfo(
            id=datanet_id,
            owner=record.owner,
            params=params_of(self._slots, datanet_id, record),
            contributions=record.contributions,
            versions=record.versions,
            segments=layout.SEGMENTS.length(self._slots, datanet_id),
            pool_weight=version_weight(self._slots, datanet_id, record.versions),
            pool_next_weight=next_weight(self._slots, datanet_id),
        )

    def contribution(self, contribution_id: int) -> ContributionInfo | None:
        record = layout.CONTRIBUTIONS.load(self._slots, contribution_id)
        if record.contributor == ZERO_ADDRESS:
            return None
        return ContributionInfo(
            id=contribution_id,
            datanet_id=record.datanet_id,
            contributor=record.contributor,
            payout=record.payout,
            content_root=record.content_root,
            provenance=record.provenance,
            tokens=record.tokens,
            owned_windows=record.owned_windows,
            quality=record.quality,
            status=record.status,
            accepted_version=record.accepted_version,
            deadline=record.deadline,
        )

    def died_in(self, contribution_id: int) -> int:
        """The block in which a contribution was erased or lost a dispute; 0 while it lives."""
        return int(layout.DEPARTURES.load_field(self._slots, "died_block", contribution_id))

    def content(self, contribution_id: int) -> tuple[bytes, ...] | None:
        """A contribution's segments in order; None if it is unknown or this state's node lacks a piece."""
        record = layout.CONTRIBUTIONS.load(self._slots, contribution_id)
        if record.contributor == ZERO_ADDRESS:
            return None
        pieces = []
        for i in range(layout.SEGMENTS.length(self._slots, record.datanet_id)):
            segment = layout.SEGMENTS.get(self._slots, i, record.datanet_id)
            if segment.contribution_id == contribution_id:
                piece = self._reader.get_blob(segment.content_hash)
                if piece is None:
                    return None
                pieces.append(piece)
        return tuple(pieces)

    def version(self, datanet_id: int, version: int) -> VersionInfo | None:
        record = layout.VERSIONS.load(self._slots, datanet_id, version)
        if record.block_number == 0:
            return None
        return VersionInfo(
            datanet_id, version, record.time, record.block_number, record.contributions, record.content_root
        )

    def model(self, model_id: int) -> ModelInfo | None:
        record = layout.MODELS.load(self._slots, model_id)
        if record.owner == ZERO_ADDRESS:
            return None
        uses = []
        for loaded in load_uses(self._slots, model_id):
            use = loaded.use
            admitted = layout.ALLOWED.get(self._slots, use.datanet_id, model_id) != 0
            allowed = loaded.datanet.open_to_models or admitted
            uses.append(UseInfo(use.datanet_id, use.version, use.stage, use.bps, allowed))
        return ModelInfo(
            id=model_id,
            owner=record.owner,
            signer=record.signer,
            uri=layout.MODEL_URIS.get(self._slots, model_id).decode(),
            weights=record.weights,
            method=record.method,
            active=record.active,
            input_per_1k=Wei(record.input_per_1k),
            output_per_1k=Wei(record.output_per_1k),
            tokenizer=record.tokenizer,
            uses=tuple(uses),
        )

    def royalties(self, model_id: int) -> tuple[tuple[int, int], ...]:
        """(ancestor, basis points of the owner's part) of a model; empty if it has none or is unknown."""
        record = layout.MODELS.load(self._slots, model_id)
        return tuple((royalty.model_id, royalty.bps) for royalty in load_lineage(self._slots, model_id, record))

    def agent(self, agent_id: int) -> AgentInfo | None:
        record = layout.AGENTS.load(self._slots, agent_id)
        if record.owner == ZERO_ADDRESS:
            return None
        return AgentInfo(
            id=agent_id,
            owner=record.owner,
            wallet=record.wallet,
            uri=layout.AGENT_URIS.get(self._slots, agent_id).decode(),
            deposit=Wei(record.deposit),
            daily_cap=Wei(record.daily_cap),
            spent=Wei(record.spent),
            day=record.day,
        )

    def receipt(self, receipt_id: Hash32) -> ReceiptInfo | None:
        record = layout.RECEIPTS.load(self._slots, receipt_id)
        if record.payer == ZERO_ADDRESS:
            return None
        return ReceiptInfo(
            id=receipt_id,
            model_id=record.model_id,
            agent_id=record.agent_id,
            payer=record.payer,
            fee=Wei(record.fee),
            block_number=record.block_number,
            tokens=record.tokens,
            unmatched=record.unmatched,
            scores_hash=record.scores_hash,
        )

    # ---------------------------------------------------------------- lists

    def datanets(self, first: int, count: int) -> Iterator[DatanetInfo]:
        """Datanets with ids from `first` (>= 1) on, at most `count`."""
        for datanet_id in clipped(first, count, layout.DATANET_COUNT.get(self._slots)):
            yield known(self.datanet(datanet_id))

    def contributions(self, first: int, count: int) -> Iterator[ContributionInfo]:
        """Contributions of the whole chain with ids from `first` on."""
        for contribution_id in clipped(first, count, layout.CONTRIBUTION_COUNT.get(self._slots)):
            yield known(self.contribution(contribution_id))

    def contributions_of(self, datanet_id: int, first: int, count: int) -> Iterator[ContributionInfo]:
        """Contributions of a datanet by their place in it, from `first` (>= 1) on."""
        for place in clipped(first, count, layout.MEMBERS.length(self._slots, datanet_id)):
            yield known(self.contribution(layout.MEMBERS.get(self._slots, place - 1, datanet_id)))

    def versions_of(self, datanet_id: int, first: int, count: int) -> Iterator[VersionInfo]:
        for version in clipped(first, count, layout.DATANETS.load(self._slots, datanet_id).versions):
            yield known(self.version(datanet_id, version))

    def models(self, first: int, count: int) -> Iterator[ModelInfo]:
        for model_id in clipped(first, count, layout.MODEL_COUNT.get(self._slots)):
            yield known(self.model(model_id))

    def receipts(self, first: int, count: int) -> Iterator[ReceiptInfo]:
        """Receipts by their number, from `first` (>= 1) on: the order of inference."""
        for number in clipped(first, count, layout.RECEIPT_COUNT.get(self._slots)):
            yield known(self.receipt(receipt_id_of(self._chain_id, number)))


def clipped(first: int, count: int, last: int) -> range:
    """At most `count` ids from `first` (at least 1) on, none beyond `last`."""
    start = max(first, 1)
    return range(start, min(start + max(count, 0), last + 1))


def known(value: T | None) -> T:
    """What a count says is there. Raises InvariantError if it isn't."""
    if value is None:
        raise InvariantError("a counted record is missing")
    return value
