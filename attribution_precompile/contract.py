"""The native attribution contract at 0x…0A00: its method groups put together.

State lives in the contract's own storage (`layout.py`), content in blobs, and the indexes are local. The contract holds no
other state, so one instance serves every thread.
"""

from attribution_precompile.declarations import ERRORS, EVENTS, TYPES
from attribution_precompile.index.span_index import SpanIndex
from attribution_precompile.index.vector_index import VectorIndex
from attribution_precompile.methods.agents import AgentMethods
from attribution_precompile.methods.attested import AttestedMethods
from attribution_precompile.methods.challenges import ChallengeMethods
from attribution_precompile.methods.commitments import CommitmentMethods
from attribution_precompile.methods.committed import CommittedMethods
from attribution_precompile.methods.consent import ConsentMethods
from attribution_precompile.methods.contributions import ContributionMethods
from attribution_precompile.methods.datanets import DatanetMethods
from attribution_precompile.methods.disputes import DisputeMethods
from attribution_precompile.methods.getters import GetterMethods
from attribution_precompile.methods.inference import InferenceMethods
from attribution_precompile.methods.models import ModelMethods
from attribution_precompile.methods.money import MoneyMethods, drain_stakers
from attribution_precompile.methods.reviews import ReviewMethods
from attribution_precompile.methods.vectors import VectorMethods
from evm_runtime.native import NativeContract, NativeState
from genesis.chain_spec import ATTRIBUTION_ADDRESS, ChainSpec
from genesis.primitives import Wei


class AttributionContract(
    DatanetMethods,
    CommitmentMethods,
    ContributionMethods,
    CommittedMethods,
    ReviewMethods,
    ConsentMethods,
    ModelMethods,
    AgentMethods,
    InferenceMethods,
    VectorMethods,
    AttestedMethods,
    DisputeMethods,
    ChallengeMethods,
    MoneyMethods,
    GetterMethods,
    NativeContract,
):
    """Datanets, contributions, models, inferences, and who is paid for them."""

    types = TYPES
    events = EVENTS
    errors = ERRORS

    def __init__(self, spec: ChainSpec, chain_id: int, index: SpanIndex, vectors: VectorIndex) -> None:
        """`index` and `vectors` may be shared by threads if their locks allow it."""
        self.address = ATTRIBUTION_ADDRESS
        self.params = spec.attribution
        self.treasury = spec.treasury
        self.chain_id = chain_id
        self.index = index
        self.vectors = vectors

    def end_block(self, state: NativeState) -> Wei:
        """Give up the stakers' part of the block's fees, in whole gwei.

        The amount has left this contract's balance and its books when this returns; the caller must put it into rewards.
        """
        return drain_stakers(state)
