"""ATTESTED: scores that nobody can recompute on chain, vouched for by a bond (optimistic attribution).

The attestor is the model's signer, or its owner where it names none. It pays for the inference (or an agent's deposit does),
posts the Merkle root of a score vector and locks a bond of what the scores divide plus `attest_bond`. For `attest_seconds`
anybody may dispute the scores (`disputes.py`); then they are final and each score is claimed with its proof, by anyone, for
the contribution's payout. Upheld disputes take the bond, and what was held goes to the pools of the model's uses.

Shares are cumulative floors, `held * after // total - held * before // total`, so that they sum to all that is held
once all weight is claimed. What nobody has claimed `score_seconds` later can be released to the pools of all uses. A
contribution is paid under the first use of the model whose version has it. What is above that version's soft cap goes to
the version's pool, and so does the share of a contribution that was dead when the inference was made. The share of what
no version of the uses has goes over the pools of all. The uses are those of the inference: an attestation names them by
their hash, under which they are kept.
"""

from collections.abc import Sequence
from dataclasses import replace

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Method, Score
from attribution_precompile.index.membership import is_dead, is_in
from attribution_precompile.layout import (
    ATTESTATIONS,
    ATTESTED_USES,
    BONDS,
    CLAIMED_SCORES,
    DEPARTURES,
    RECEIPTS,
    UPLOADS,
    Attestation,
    Bond,
    Contribution,
    ModelUse,
)
from attribution_precompile.methods.base import AttributionBase, check, require_contribution
from attribution_precompile.methods.money import credit
from attribution_precompile.methods.settlement import (
    Order,
    Scored,
    Settlement,
    admit,
    load_terms,
    pay_use,
    take_fee,
    write_receipt,
)
from attribution_precompile.rules.division import split_pool
from attribution_precompile.rules.merkle import DEPTH_MAX, leaf_of, root_from
from evm_runtime.native import Frame, Slots, method
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, Wei, abi_words, keccak256

WEIGHT_BITS = 128
"""The bits of a total weight, and so of every sum of weights."""


def hash_uses(uses: Sequence[ModelUse]) -> Hash32:
    """What an attestation remembers of its model's uses."""
    return keccak256(b"".join(abi_words(use.datanet_id, use.version, use.stage, use.bps) for use in uses))


def keep_uses(slots: Slots, uses: Sequence[ModelUse]) -> Hash32:
    """Keep uses under their hash, once, and return it."""
    uses_hash = hash_uses(uses)
    if ATTESTED_USES.length(slots, uses_hash) == 0:
        ATTESTED_USES.replace(slots, uses, uses_hash)
    return uses_hash


def attested_uses(slots: Slots, attestation: Attestation) -> list[ModelUse]:
    """The uses of the model when an inference was attested."""
    uses_hash = attestation.uses_hash
    return [ATTESTED_USES.get(slots, i, uses_hash) for i in range(ATTESTED_USES.length(slots, uses_hash))]


def pay_uses(frame: Frame, receipt_id: Hash32, uses: Sequence[ModelUse], amount: Wei) -> Wei:
    """Pay the pools of all uses by their shares; returns what is the treasury's, for want of weight."""
    parts = split_pool(amount, [use.bps for use in uses])
    return Wei(sum(pay_use(frame, receipt_id, use, part) for use, part in zip(uses, parts, strict=True)))


def require_attestation(slots: Slots, receipt_id: Hash32) -> Attestation:
    found = ATTESTATIONS.load(slots, receipt_id)
    if found.attestor == ZERO_ADDRESS:
        raise d.UNKNOWN_RECEIPT(receipt_id)
    return found


def free_bond(slots: Slots, attestation: Attestation) -> Attestation:
    """Give the bond locked for an attestation back to its attestor's free part."""
    if attestation.bond:
        bond = BONDS.load(slots, attestation.attestor)
        freed = Bond(bond.free + attestation.bond, bond.locked - attestation.bond)
        BONDS.store(slots, freed, attestation.attestor)
    return replace(attestation, bond=0)


class AttestedMethods(AttributionBase):
    """The part of the contract that takes attested scores."""

    @method("bond()", payable=True)
    def bond(self, frame: Frame) -> None:
        """Add the wei sent to the caller's bond, which an attestor's scores are locked against."""
        found = BONDS.load(frame.storage, frame.sender)
        BONDS.store(frame.storage, replace(found, free=found.free + frame.value), frame.sender)
        frame.emit(d.BONDED, frame.sender, frame.value)

    @method("unbond(uint256 amount)")
    def unbond(self, frame: Frame, amount: int) -> None:
        """Move a part of the caller's bond that isn't locked to its balance."""
        found = BONDS.load(frame.storage, frame.sender)
        if amount > found.free:
            raise d.BOND_TOO_LOW(amount, found.free)
        BONDS.store(frame.storage, replace(found, free=found.free - amount), frame.sender)
        credit(frame.storage, {frame.sender: amount})
        frame.emit(d.UNBONDED, frame.sender, amount)

    @method("getBond(address who) returns (uint256 free, uint256 locked)", view=True)
    def get_bond(self, frame: Frame, who: Address) -> tuple[int, int]:
        """An attestor's bond."""
        found = BONDS.load(frame.storage, who)
        return found.free, found.locked

    @method(
        "inferAttested(uint64 modelId, uint64 agentId, bytes32 ioHash, uint32 inputTokens, uint32 outputTokens, "
        "bytes32 scoreRoot, uint256 totalWeight) returns (bytes32 receiptId)",
        payable=True,
    )
    def infer_attested(
        self,
        frame: Frame,
        model_id: int,
        agent_id: int,
        io_hash: Hash32,
        input_tokens: int,
        output_tokens: int,
        score_root: Hash32,
        total_weight: int,
    ) -> Hash32:
        """Pay for an inference and vouch for its scores: the root of a Merkle tree over (contributionId, weight), and the sum
        of all weights. By the model's signer (its owner, if it names none), out of whose bond a part is locked."""
        order = admit(frame, model_id, agent_id, (Method.ATTESTED,))
        vouching = order.model.owner if order.model.signer == ZERO_ADDRESS else order.model.signer
        if frame.sender != vouching:
            raise d.NOT_ALLOWED(frame.sender, "the model's signer, or its owner if it names none")
        if output_tokens == 0:
            raise d.TOO_SHORT("output (tokens)", 0, 1)
        check(score_root != ZERO_HASH, "scoreRoot", "the root of a tree with at least one score")
        check(0 < total_weight < 1 << WEIGHT_BITS, "totalWeight", f"1 to 2**{WEIGHT_BITS} - 1")
        fee = take_fee(frame, order, input_tokens, output_tokens, frame.value)
        receipt_id = write_receipt(frame, self.chain_id, order, fee, Scored(output_tokens, 0, score_root))
        settlement = Settlement(frame, self.params, self.treasury, receipt_id, order, fee)
        held = settlement.hold()
        settlement.close()
        self._attest(frame, receipt_id, order, held, score_root, total_weight)
        credit(frame.storage, {frame.sender: frame.value - (0 if agent_id else fee)})
        return receipt_id

    def _attest(
        self, frame: Frame, receipt_id: Hash32, order: Order, held: Wei, score_root: Hash32, total_weight: int
    ) -> None:
        slots, needed = frame.storage, held + self.params.attest_bond
        bond = BONDS.load(slots, frame.sender)
        if bond.free < needed:
            raise d.BOND_TOO_LOW(needed, bond.free)
        BONDS.store(slots, Bond(bond.free - needed, bond.locked + needed), frame.sender)
        attestation = Attestation(
            attestor=frame.sender,
            final_at=frame.timestamp + self.params.attest_seconds,
            slashed=False,
            released=False,
            held=held,
            bond=needed,
            total_weight=total_weight,
            claimed_weight=0,
            dispute=0,
            score_root=score_root,
            uses_hash=keep_uses(slots, [loaded.use for loaded in order.uses]),
        )
        ATTESTATIONS.store(slots, attestation, receipt_id)
        frame.emit(d.ATTESTED, receipt_id, frame.sender, score_root, held, attestation.final_at)

    @method(
        "claimScored(bytes32 receiptId, Score score, bytes32[] proof)",
        gas=lambda _receipt, _score, proof: gas.proof_gas(len(proof)) + gas.PAYEE,
    )
    def claim_scored(self, frame: Frame, receipt_id: Hash32, score: Score, proof: tuple[Hash32, ...]) -> None:
        """Credit one attested score to its contribution's payout, once the scores are final. Anyone may. The first claim of a
        receipt also frees the attestor's bond."""
        slots = frame.storage
        attestation = self._require_final(frame, receipt_id, 0)
        if len(proof) > DEPTH_MAX:
            raise d.TOO_LONG("proof", len(proof), DEPTH_MAX)
        if root_from(leaf_of(*score), proof) != attestation.score_root:
            raise d.BAD_PROOF("this score is not in the tree")
        if CLAIMED_SCORES.get(slots, receipt_id, score.contribution_id):
            raise d.SCORE_CLAIMED(receipt_id, score.contribution_id)
        before, after = attestation.claimed_weight, attestation.claimed_weight + score.weight
        if after > attestation.total_weight:
            raise d.BAD_PROOF("the weights in the tree exceed its total")
        CLAIMED_SCORES.set(slots, 1, receipt_id, score.contribution_id)
        ATTESTATIONS.store(slots, replace(free_bond(slots, attestation), claimed_weight=after), receipt_id)
        held, total = attestation.held, attestation.total_weight
        self._pay(frame, receipt_id, attestation, score, Wei(held * after // total - held * before // total))

    @method("releaseScores(bytes32 receiptId) returns (uint256 released)", gas=gas.RELEASE)
    def release_scores(self, frame: Frame, receipt_id: Hash32) -> int:
        """Give what nobody has claimed of a receipt, `score_seconds` after its scores were final, to the pools of the model's
        uses: weights may sum to less than their total, and proofs be lost. Anyone may. It frees the attestor's bond, too."""
        attestation = self._require_final(frame, receipt_id, self.params.score_seconds)
        held, total = attestation.held, attestation.total_weight
        left = Wei(held - held * attestation.claimed_weight // total)
        closed = replace(free_bond(frame.storage, attestation), claimed_weight=total, released=True)
        ATTESTATIONS.store(frame.storage, closed, receipt_id)
        unplaced = pay_uses(frame, receipt_id, attested_uses(frame.storage, attestation), left)
        credit(frame.storage, {self.treasury: unplaced})
        frame.emit(d.RELEASED, receipt_id, left)
        return left

    def _require_final(self, frame: Frame, receipt_id: Hash32, seconds: int) -> Attestation:
        """Scores that were final so many seconds ago and can still be claimed."""
        attestation = require_attestation(frame.storage, receipt_id)
        since = attestation.final_at + seconds
        if attestation.slashed:
            raise d.SCORES_SLASHED(receipt_id)
        if attestation.released:
            raise d.SCORES_RELEASED(receipt_id)
        if attestation.dispute or frame.timestamp < since:
            raise d.SCORES_NOT_FINAL(receipt_id, since)
        return attestation

    def _pay(self, frame: Frame, receipt_id: Hash32, attestation: Attestation, score: Score, share: Wei) -> None:
        slots, contribution_id = frame.storage, score.contribution_id
        record, uses = require_contribution(slots, contribution_id), attested_uses(slots, attestation)
        use = self._use_with(slots, contribution_id, record, uses)
        amount = 0
        if use is not None and not is_dead(
            slots, contribution_id, RECEIPTS.load_field(slots, "block_number", receipt_id)
        ):
            [terms] = load_terms(slots, [use])
            amount = min(share, attestation.held * terms.soft_cap_bps // BPS)
        frame.emit(d.ATTRIBUTED, receipt_id, contribution_id, record.payout, score.weight, amount)
        pooled = Wei(share - amount)
        unplaced = pay_use(frame, receipt_id, use, pooled) if use else pay_uses(frame, receipt_id, uses, pooled)
        owed = {record.payout: amount}
        owed[self.treasury] = owed.get(self.treasury, 0) + unplaced
        credit(slots, owed)

    def _use_with(
        self, slots: Slots, contribution_id: int, record: Contribution, uses: Sequence[ModelUse]
    ) -> ModelUse | None:
        """The first of the uses whose version has a contribution."""
        upload, departure = UPLOADS.load(slots, contribution_id), DEPARTURES.load(slots, contribution_id)
        for use in uses:
            if use.datanet_id == record.datanet_id and is_in(slots, use.version, record, upload, departure):
                return use
        return None

    @method(
        "getAttestation(bytes32 receiptId) returns (address attestor, uint64 finalAt, bytes32 scoreRoot, "
        "uint256 totalWeight, uint256 claimedWeight, uint256 held, uint256 locked, bool slashed, uint64 disputeId)",
        view=True,
    )
    def get_attestation(self, frame: Frame, receipt_id: Hash32) -> tuple[object, ...]:
        """Attested scores as they stand: what waits for them, the bond locked for them, and the open dispute, if any."""
        a = require_attestation(frame.storage, receipt_id)
        weights = (a.total_weight, a.claimed_weight)
        return a.attestor, a.final_at, a.score_root, *weights, a.held, a.bond, a.slashed, a.dispute
