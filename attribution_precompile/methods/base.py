"""What the contract's method groups share: its parameters, and the checks that most methods begin with."""

from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile.declarations import Role
from attribution_precompile.index.span_index import SpanIndex
from attribution_precompile.index.vector_index import VectorIndex
from attribution_precompile.layout import (
    CHAINS,
    CONTRIBUTIONS,
    DATANETS,
    MODELS,
    ROLES,
    VERSIONS,
    Contribution,
    Datanet,
    Model,
    Version,
)
from evm_runtime.native import Frame, Slots, Value
from genesis.chain_spec import AttributionParams, is_held
from genesis.primitives import ZERO_ADDRESS, Address, Hash32, abi_words, keccak256

CHAIN_CONTENT: Final = 1
CHAIN_REVIEW: Final = 2
CHAIN_STATUS: Final = 3
CHAIN_VECTORS: Final = 4
"""Kinds of links in a datanet's hash chain."""


USE_MASK_BITS: Final = 5
"""mine, train, genTrain, infer, commercial."""


class AttributionBase:
    """Attributes of the contract that every method group may use."""

    params: AttributionParams
    treasury: Address
    chain_id: int
    index: SpanIndex
    vectors: VectorIndex


def require_datanet(slots: Slots, datanet_id: int) -> Datanet:
    record = DATANETS.load(slots, datanet_id)
    if record.owner == ZERO_ADDRESS:
        raise d.UNKNOWN_DATANET(datanet_id)
    return record


def require_contribution(slots: Slots, contribution_id: int) -> Contribution:
    record = CONTRIBUTIONS.load(slots, contribution_id)
    if record.contributor == ZERO_ADDRESS:
        raise d.UNKNOWN_CONTRIBUTION(contribution_id)
    return record


def require_version(slots: Slots, datanet_id: int, version: int) -> Version:
    record = VERSIONS.load(slots, datanet_id, version)
    if record.block_number == 0:
        raise d.UNKNOWN_VERSION(datanet_id, version)
    return record


def require_model(slots: Slots, model_id: int) -> Model:
    record = MODELS.load(slots, model_id)
    if record.owner == ZERO_ADDRESS:
        raise d.UNKNOWN_MODEL(model_id)
    return record


def require_role(frame: Frame, datanet_id: int, datanet: Datanet, needed: Role) -> None:
    """The caller must be the datanet's owner or have at least the role."""
    if frame.sender == datanet.owner:
        return
    if ROLES.get(frame.storage, datanet_id, frame.sender) < needed:
        raise d.NOT_ALLOWED(frame.sender, f"the datanet's owner or the role {needed.name}")


def offer(frame: Frame, heirs: Value, entity: int, to: Address, *, model: bool) -> None:
    """First step of a transfer; the second is `take_offer`, by whom it was offered to, so nothing is given to nobody."""
    heirs.set(frame.storage, int.from_bytes(to, "big"), entity)
    frame.emit(d.TRANSFER_OFFERED, model, entity, to)


def take_offer(frame: Frame, heirs: Value, entity: int, *, model: bool) -> None:
    if heirs.get(frame.storage, entity) != int.from_bytes(frame.sender, "big"):
        raise d.NOTHING_OFFERED(entity, frame.sender)
    heirs.set(frame.storage, 0, entity)
    frame.emit(d.TRANSFERRED, model, entity, frame.sender)


def check(good: bool, name: str, reason: str) -> None:
    """Refuse an argument with `InvalidParameter(name, reason)`."""
    if not good:
        raise d.INVALID_PARAMETER(name, reason)


def places_of(record: Contribution, min_span: int) -> int:
    """The window places of a contribution, in all of its segments."""
    return record.tokens - record.segments * (min_span - 1)


def check_payee(name: str, who: Address) -> None:
    """Refuse to owe or send wei to an address that nobody holds: they would stay there for ever."""
    check(is_held(who), name, "nobody holds this address: zero, precompiles and native contracts")


def extend_chain(frame: Frame, datanet_id: int, kind: int, contribution_id: int, what: Hash32 | int) -> Hash32:
    """Add a link to the datanet's chain over content roots and status changes; versions seal its head."""
    head = Hash32(CHAINS.get(frame.storage, datanet_id).to_bytes(32, "big"))
    linked = keccak256(abi_words(head, kind, contribution_id, what))
    CHAINS.set(frame.storage, int.from_bytes(linked, "big"), datanet_id)
    return linked
