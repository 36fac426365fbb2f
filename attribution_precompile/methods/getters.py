"""The contract's queries. Unknown ids revert; lists have a cursor, and a next cursor of 0 ends them."""

from attribution_precompile import declarations as d
from attribution_precompile.declarations import DatanetParams, Use
from attribution_precompile.layout import BOND_PRICES, DATANET_URIS, MODEL_URIS, RECEIPTS, USES, Datanet
from attribution_precompile.methods.base import (
    AttributionBase,
    require_contribution,
    require_datanet,
    require_model,
    require_version,
)
from attribution_precompile.methods.lineage import load_lineage
from attribution_precompile.methods.pool_books import version_weight
from evm_runtime.native import Frame, Slots, method
from genesis.primitives import ZERO_ADDRESS, Hash32


def params_of(slots: Slots, datanet_id: int, record: Datanet) -> DatanetParams:
    """A datanet's parameters as they were given."""
    return DatanetParams(
        uri=DATANET_URIS.get(slots, datanet_id).decode(),
        terms_hash=record.terms_hash,
        tokenizer=record.tokenizer,
        min_span=record.min_span,
        commit_only=record.commit_only,
        open_to_models=record.open_to_models,
        use_mask=record.use_mask,
        min_fee_per_1k=record.min_fee_per_1k,
        curator_bps=record.curator_bps,
        soft_cap_bps=record.soft_cap_bps,
        bond_per_kib=BOND_PRICES.get(slots, datanet_id),
        review_seconds=record.review_seconds,
    )


class GetterMethods(AttributionBase):
    """The part of the contract that answers."""

    @method(
        "getDatanet(uint64 datanetId) returns (address owner, DatanetParams params, uint64 contributions, "
        "uint32 versions)",
        view=True,
    )
    def get_datanet(self, frame: Frame, datanet_id: int) -> tuple[object, ...]:
        """A datanet's owner, parameters and counts."""
        record = require_datanet(frame.storage, datanet_id)
        params = params_of(frame.storage, datanet_id, record)
        return record.owner, params, record.contributions, record.versions

    @method(
        "getContribution(uint64 contributionId) returns (uint64 datanetId, address contributor, address payout, "
        "bytes32 contentRoot, uint64 tokens, uint64 ownedWindows, uint16 quality, Status status)",
        view=True,
    )
    def get_contribution(self, frame: Frame, contribution_id: int) -> tuple[object, ...]:
        """A contribution as it stands."""
        record = require_contribution(frame.storage, contribution_id)
        return (
            record.datanet_id,
            record.contributor,
            record.payout,
            record.content_root,
            record.tokens,
            record.owned_windows,
            record.quality,
            record.status,
        )

    @method(
        "getVersion(uint64 datanetId, uint32 version) returns (bytes32 contentRoot, uint64 contributions, "
        "uint64 blockNumber)",
        view=True,
    )
    def get_version(self, frame: Frame, datanet_id: int, version: int) -> tuple[object, ...]:
        """A version's seal: the hash chain over contents and reviews, and how many contributions existed."""
        require_datanet(frame.storage, datanet_id)
        record = require_version(frame.storage, datanet_id, version)
        return record.content_root, record.contributions, record.block_number

    @method(
        "getTerms(uint64 datanetId, uint32 version) returns (uint16 curatorBps, uint16 softCapBps, uint64 poolWeight)",
        view=True,
    )
    def get_terms(self, frame: Frame, datanet_id: int, version: int) -> tuple[int, int, int]:
        """What uses of a version pay by, for good: the curator's share and the soft cap; and its members' weight in the
        pool now, which only deaths and lost disputes lower."""
        require_datanet(frame.storage, datanet_id)
        record = require_version(frame.storage, datanet_id, version)
        weight = version_weight(frame.storage, datanet_id, version)
        return record.curator_bps, record.soft_cap_bps, weight

    @method(
        "getModel(uint64 modelId) returns (address owner, address signer, string uri, Method method, bool active)",
        view=True,
    )
    def get_model(self, frame: Frame, model_id: int) -> tuple[object, ...]:
        """A model as it stands."""
        record = require_model(frame.storage, model_id)
        uri = MODEL_URIS.get(frame.storage, model_id).decode()
        return record.owner, record.signer, uri, record.method, record.active

    @method("getUses(uint64 modelId, uint256 cursor) returns (Use[] uses, uint256 next)", view=True)
    def get_uses(self, frame: Frame, model_id: int, cursor: int) -> tuple[object, ...]:
        """The datanet versions a model was built from, with their shares."""
        require_model(frame.storage, model_id)
        count = USES.length(frame.storage, model_id)
        records = [USES.get(frame.storage, i, model_id) for i in range(min(cursor, count), count)]
        return [Use(record.datanet_id, record.version, record.stage, record.bps) for record in records], 0

    @method("getRoyalties(uint64 modelId) returns (uint64[] models, uint16[] bps)", view=True)
    def get_royalties(self, frame: Frame, model_id: int) -> tuple[object, ...]:
        """All ancestors of a model, by id, and what each gets of its owner's part."""
        royalties = load_lineage(frame.storage, model_id, require_model(frame.storage, model_id))
        return [royalty.model_id for royalty in royalties], [royalty.bps for royalty in royalties]

    @method(
        "getReceipt(bytes32 receiptId) returns (uint64 modelId, uint64 agentId, address payer, uint256 fee, "
        "uint64 blockNumber, uint32 tokens, uint32 unmatched, bytes32 scoresHash)",
        view=True,
    )
    def get_receipt(self, frame: Frame, receipt_id: Hash32) -> tuple[object, ...]:
        """What was inferred and paid; `scoresHash` is keccak(abi.encode(Score[])) over all scores, best first."""
        record = RECEIPTS.load(frame.storage, receipt_id)
        if record.payer == ZERO_ADDRESS:
            raise d.UNKNOWN_RECEIPT(receipt_id)
        return (
            record.model_id,
            record.agent_id,
            record.payer,
            record.fee,
            record.block_number,
            record.tokens,
            record.unmatched,
            record.scores_hash,
        )
