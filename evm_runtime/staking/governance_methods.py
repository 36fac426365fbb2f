"""Changing parameters by vote: a proposal, votes of validators by their power, a time lock, and only then the change.

    propose → more than 2/3 of the power for it: queue → time lock → still more than 2/3: enact

Votes are counted when a proposal is queued and again when it is enacted, both times by the power of the set that votes on that
block. So nobody's stake counts twice, a validator can change its mind while the lock runs, and delegators can leave a validator
whose vote they dislike. What may be voted, and between which bounds, is fixed (`genesis/governance.py`).
"""

from dataclasses import replace

from evm_runtime.native.contract import method
from evm_runtime.native.frame import Frame
from evm_runtime.staking import declarations as d
from evm_runtime.staking import sets
from evm_runtime.staking.base import SET_CHANGE_GAS, StakingBase, check, now_ms, require_owned
from evm_runtime.staking.candidates import mark_changed
from evm_runtime.staking.declarations import ProposalInfo
from evm_runtime.staking.layout import PROPOSAL_COUNT, PROPOSAL_NAMES, PROPOSALS, VOTES, Proposal, ProposalState
from evm_runtime.staking.parameters import set_value
from genesis.primitives import Address

TALLY_GAS = 5_000
TALLY_MEMBER_GAS = 5_000
CHANGE_GAS = 60_000
_NO, _YES = 1, 2


class GovernanceMethods(StakingBase):
    """The part of the contract that changes parameters."""

    @method("propose(address validator, string parameter, uint256 value) returns (uint64 id)", gas=CHANGE_GAS)
    def propose(self, frame: Frame, validator: Address, parameter: str, value: int) -> int:
        """Propose a value for a parameter, by the owner of a validator in the set. It must be possible as things are."""
        require_owned(frame, validator)
        check(validator in sets.read_current(frame.plain), "validator", "it is not in the set")
        self._check_change(frame, parameter, value)
        slots = frame.storage
        number = PROPOSAL_COUNT.add(slots, 1)
        deadline_ms = now_ms(frame) + self.fixed.governance_voting_ms
        PROPOSALS.store(slots, Proposal(value, deadline_ms, 0, ProposalState.OPEN), number)
        PROPOSAL_NAMES.set(slots, parameter.encode(), number)
        frame.emit(d.PROPOSED, number, validator, parameter, value)
        return number

    @method("vote(uint64 id, address validator, bool yes)")
    def vote(self, frame: Frame, number: int, validator: Address, yes: bool) -> None:
        """Vote, or vote otherwise than before, by the validator's owner. It counts with the power that the validator has when
        the votes are counted."""
        require_owned(frame, validator)
        self._open(frame, number)
        VOTES.set(frame.storage, _YES if yes else _NO, number, validator)
        frame.emit(d.VOTED, number, validator, yes)

    @method("queue(uint64 id)")
    def queue(self, frame: Frame, number: int) -> None:
        """Start the time lock of a proposal that more than two thirds of the power are for. By anybody."""
        proposal = self._open(frame, number)
        if proposal.state != ProposalState.OPEN:
            raise d.WRONG_PROPOSAL_STATE(number, proposal.state)
        self._check_majority(frame, number)
        earliest_ms = now_ms(frame) + self.fixed.governance_delay_ms
        deadline_ms = earliest_ms + self.fixed.governance_voting_ms
        queued = replace(proposal, state=ProposalState.QUEUED, earliest_ms=earliest_ms, deadline_ms=deadline_ms)
        PROPOSALS.store(frame.storage, queued, number)
        frame.emit(d.QUEUED, number, earliest_ms)

    @method("enact(uint64 id)", gas=CHANGE_GAS + SET_CHANGE_GAS)
    def enact(self, frame: Frame, number: int) -> None:
        """Put a proposal in force whose time lock is over, if more than two thirds of the power are for it still, and it fits
        what is in force by now. It acts from the next block on. By anybody."""
        proposal, slots = self._open(frame, number), frame.storage
        if proposal.state != ProposalState.QUEUED:
            raise d.WRONG_PROPOSAL_STATE(number, proposal.state)
        if frame.timestamp * 1_000 < proposal.earliest_ms:
            raise d.TOO_SOON(frame.timestamp, -(-proposal.earliest_ms // 1_000))
        self._check_majority(frame, number)
        parameter = PROPOSAL_NAMES.get(slots, number).decode()
        self._check_change(frame, parameter, proposal.value)
        set_value(frame.storage, parameter, proposal.value)
        PROPOSALS.store(slots, replace(proposal, state=ProposalState.ENACTED), number)
        frame.emit(d.ENACTED, number, parameter, proposal.value)
        mark_changed(slots, blocks=2)  # parameters act from the next block, so the set is chosen by them then

    @method("proposal(uint64 id) returns (ProposalInfo info)", view=True)
    def proposal(self, frame: Frame, number: int) -> ProposalInfo:
        """A proposal, and the power that would be for it and against it if votes were counted now."""
        found = PROPOSALS.load(frame.storage, number)
        if not found.deadline_ms:
            raise d.UNKNOWN_PROPOSAL(number)
        name = PROPOSAL_NAMES.get(frame.storage, number).decode()
        yes, no, total = self._tally(frame, number)
        return ProposalInfo(name, found.value, found.state, found.earliest_ms, found.deadline_ms, yes, no, total)

    def _open(self, frame: Frame, number: int) -> Proposal:
        """A proposal that is neither enacted nor past its deadline."""
        found = PROPOSALS.load(frame.storage, number)
        if not found.deadline_ms:
            raise d.UNKNOWN_PROPOSAL(number)
        if found.state == ProposalState.ENACTED:
            raise d.WRONG_PROPOSAL_STATE(number, found.state)
        if now_ms(frame) > found.deadline_ms:
            raise d.PROPOSAL_EXPIRED(number, found.deadline_ms)
        return found

    def _check_change(self, frame: Frame, parameter: str, value: int) -> None:
        changed = self.in_force.changed(frame.storage, parameter, value)
        if isinstance(changed, str):
            raise d.INVALID_PARAMETER(parameter[:64], changed[:256])

    def _check_majority(self, frame: Frame, number: int) -> None:
        yes, _, total = self._tally(frame, number)
        if not 3 * yes > 2 * total:
            raise d.NOT_ENOUGH_VOTES(yes, total)

    def _tally(self, frame: Frame, number: int) -> tuple[int, int, int]:
        """(power for it, power against it, all power) of the set that votes on this block."""
        frame.charge(TALLY_GAS, "validator set")
        members = sets.read_current(frame.plain)
        frame.charge(TALLY_MEMBER_GAS * len(members), "counting votes")
        votes = [(VOTES.get(frame.plain, number, member.address), member.power) for member in members.members]
        yes = sum(power for vote, power in votes if vote == _YES)
        no = sum(power for vote, power in votes if vote == _NO)
        return yes, no, members.total_power
