"""DOT: contributions with int8 vectors, and inferences attributed by their products with a query.

A contributor commits vectors (projected gradients, embeddings) for a pending contribution, a curator's review accepts them with
its content, and versions published later have them. The first contribution with vectors that is accepted fixes the datanet's
dimension; vectors of another dimension count nothing.

A contribution's score is the greatest product of one of its vectors with the query, if it is positive. The best 64, by
(score descending, priority), share the contributors' part as in rule 11; where nobody has a positive score, all of it goes to
the pools. The output stays off chain: its token count and the query are the word of the model's signer.
"""

from dataclasses import replace

import numpy as np

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Method, Signed
from attribution_precompile.index.vector_index import digests_of
from attribution_precompile.layout import (
    CONTRIBUTIONS,
    SEGMENT_COUNT,
    VECTOR_CHUNKS,
    VECTOR_SPACES,
    VECTORED,
    VERSIONS,
    VectorChunk,
    VectorSpace,
)
from attribution_precompile.methods.attribute import LoadedUse
from attribution_precompile.methods.base import CHAIN_VECTORS, AttributionBase, check, extend_chain, require_datanet
from attribution_precompile.methods.contributions import require_growing
from attribution_precompile.methods.inference import scores_hash
from attribution_precompile.methods.money import credit
from attribution_precompile.methods.settlement import Order, Scored, Settlement, admit, take_fee, write_receipt
from attribution_precompile.methods.signing import check_signature, vector_digest
from attribution_precompile.rules.span import Attribution
from evm_runtime.native import Frame, Slots, method
from genesis.primitives import Hash32, keccak256


def take_vectors(slots: Slots, contribution_id: int, datanet_id: int) -> None:
    """Let the vectors of a contribution that is being accepted into its datanet's space."""
    chunks = [VECTOR_CHUNKS.get(slots, i, contribution_id) for i in range(VECTOR_CHUNKS.length(slots, contribution_id))]
    if not chunks:
        return
    space = VECTOR_SPACES.load(slots, datanet_id)
    if space.dim not in (0, chunks[0].dim):
        return
    vectors = space.vectors + sum(chunk.count for chunk in chunks)
    VECTOR_SPACES.store(slots, VectorSpace(chunks[0].dim, vectors), datanet_id)
    VECTORED.append(slots, contribution_id, datanet_id)


class VectorMethods(AttributionBase):
    """The part of the contract that attributes by vectors."""

    @method(
        "commitVectors(uint64 contributionId, uint16 dim, bytes int8s)",
        gas=lambda _contribution, _dim, int8s: gas.vectors_gas(len(int8s)),
    )
    def commit_vectors(self, frame: Frame, contribution_id: int, dim: int, int8s: bytes) -> None:
        """Add int8 vectors of `dim` components, one after the other, to a pending contribution of the caller that isn't
        finalized; its time for review starts again. They count once a review has accepted it."""
        slots = frame.storage
        record, upload = require_growing(frame, contribution_id)
        if upload.closed:
            raise d.COMPLETE(contribution_id)
        self._check_vectors(slots, contribution_id, record.datanet_id, dim, int8s)
        count = len(int8s) // dim
        frame.charge(gas.VECTOR * count, "vectors")
        chunk = VectorChunk(
            order=SEGMENT_COUNT.add(slots, 1),
            count=count,
            dim=dim,
            content_hash=frame.put_blob(int8s),
            digests_hash=keccak256(digests_of(int8s, dim)),
        )
        VECTOR_CHUNKS.append(slots, chunk, contribution_id)
        if not upload.hidden:
            review_seconds = require_datanet(slots, record.datanet_id).review_seconds
            deadline = max(record.deadline, frame.timestamp + review_seconds)
            changed = replace(record, deadline=deadline, last_block=frame.block_number)
            CONTRIBUTIONS.store(slots, changed, contribution_id)
        extend_chain(frame, record.datanet_id, CHAIN_VECTORS, contribution_id, chunk.content_hash)
        frame.emit(d.VECTORS_COMMITTED, contribution_id, dim, count, chunk.content_hash)

    def _check_vectors(self, slots: Slots, contribution_id: int, datanet_id: int, dim: int, int8s: bytes) -> None:
        limits = self.params
        if len(int8s) > limits.call_bytes_max:
            raise d.TOO_LONG("vectors of a call (bytes)", len(int8s), limits.call_bytes_max)
        check(1 <= dim <= limits.vector_dim_max, "dim", f"1 to {limits.vector_dim_max} components")
        check(len(int8s) > 0 and len(int8s) % dim == 0, "int8s", "one or more whole vectors of dim components")
        chunks = VECTOR_CHUNKS.length(slots, contribution_id)
        if chunks:
            first = VECTOR_CHUNKS.get(slots, 0, contribution_id).dim
            check(dim == first, "dim", f"the contribution's vectors have {first} components")
            most = limits.contribution_bytes_max // limits.call_bytes_max
            if chunks >= most:
                raise d.TOO_LONG("vectors of a contribution (calls)", chunks + 1, most)
        space = VECTOR_SPACES.load_field(slots, "dim", datanet_id)
        check(space in (0, dim), "dim", f"the datanet's vectors have {space} components")

    @method(
        "inferVector(uint64 modelId, uint64 agentId, bytes32 ioHash, uint32 inputTokens, uint32 outputTokens, "
        "bytes query, Signed signed) returns (bytes32 receiptId)",
        payable=True,
    )
    def infer_vector(
        self,
        frame: Frame,
        model_id: int,
        agent_id: int,
        io_hash: Hash32,
        input_tokens: int,
        output_tokens: int,
        query: bytes,
        signed: Signed,
    ) -> Hash32:
        """Attribute by the int8 query's products with the vectors of the model's versions, and pay for it. What is sent above
        the fee is credited back."""
        order = admit(frame, model_id, agent_id, (Method.DOT,))
        if output_tokens == 0:
            raise d.TOO_SHORT("output (tokens)", 0, 1)
        limit = self.params.vector_dim_max
        check(1 <= len(query) <= limit, "query", f"1 to {limit} components")

        def digest() -> Hash32:
            return vector_digest(
                self.chain_id,
                model_id=model_id,
                payer=frame.sender,
                io_hash=io_hash,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                query=query,
                nonce=signed.nonce,
                deadline=signed.deadline,
            )

        check_signature(frame, model_id, order.model, signed, digest)
        fee = take_fee(frame, order, input_tokens, output_tokens, frame.value)
        found, use_of = self._score(frame, order, query)
        unmatched = 0 if found.scores else output_tokens
        receipt_id = write_receipt(
            frame, self.chain_id, order, fee, Scored(output_tokens, unmatched, scores_hash(found))
        )
        settlement = Settlement(frame, self.params, self.treasury, receipt_id, order, fee)
        settlement.divide(found, use_of)
        settlement.close()
        credit(frame.storage, {frame.sender: frame.value - (0 if agent_id else fee)})
        return receipt_id

    @method(
        "traceVector(uint64 modelId, bytes query) returns (Score[] scores)",
        view=True,
    )
    def trace_vector(self, frame: Frame, model_id: int, query: bytes) -> tuple[tuple[int, int], ...]:
        """The best contributions for an int8 query by DOT, best first; pays nothing."""
        order = admit(frame, model_id, 0, (Method.DOT,))
        return self._score(frame, order, query)[0].scores

    def _score(self, frame: Frame, order: Order, query: bytes) -> tuple[Attribution, dict[int, int]]:
        """The best contributions of all uses, whose scores sum to the attribution's tokens, and the use of each."""
        best: dict[int, tuple[int, int]] = {}
        use_of: dict[int, int] = {}
        for number, loaded in enumerate(order.uses):
            for contribution, score, priority in self._score_use(frame, loaded, query):
                if score > best.get(contribution, (0, 0))[0]:
                    best[contribution] = score, priority
                    use_of[contribution] = number
        ordered = sorted(best.items(), key=lambda item: (-item[1][0], item[1][1]))[: self.params.payees_max]
        scores = tuple((contribution, score) for contribution, (score, _) in ordered)
        return Attribution(sum(score for _, score in scores) or 1, scores), use_of

    def _score_use(self, frame: Frame, loaded: LoadedUse, query: bytes) -> list[tuple[int, int, int]]:
        """(contribution, score, priority) of the best of one use. Paid by the vectors that its version has."""
        slots, use = frame.storage, loaded.use
        sealed = VERSIONS.load(slots, use.datanet_id, use.version)
        if sealed.vectors == 0:
            return []
        dim = VECTOR_SPACES.load_field(slots, "dim", use.datanet_id)
        check(len(query) == dim, "query", f"datanet {use.datanet_id} has vectors of {dim} components")
        frame.charge(gas.products_gas(sealed.vectors, dim), "products")
        found = self.vectors.at(frame.state.base).products(use.datanet_id, use.version, query)
        ids, scores, priorities = found.contributions, found.scores, found.priorities
        order = np.lexsort((priorities, -scores))[: self.params.payees_max]
        return [(int(ids[i]), int(scores[i]), int(priorities[i])) for i in order]
