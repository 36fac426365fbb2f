"""A small chain with the staking contract on it: calls by name, blocks with evidence and absences, the books after each."""

import dataclasses
from typing import Any

from evm_runtime.native.abi import decode, encode
from evm_runtime.runtime import CallRequest, ExecutedBlock
from evm_runtime.staking.contract import StakingContract
from evm_runtime.staking.proof import possession_digest
from evm_runtime.transaction import Transaction
from genesis.chain_spec import STAKING_ADDRESS, BlockParams, StakingParams
from genesis.crypto import address_of_private_key, sign
from genesis.primitives import WEI_PER_OPEN, Address, Hash32, Height, Power, Round, Signature
from genesis.types import DuplicateVote, Evidence, Validator, Vote, VoteType
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, VALIDATOR_KEYS, Chain, make_spec, signed

OPEN = WEI_PER_OPEN
METHODS = {found.signature.name: found.signature for found in StakingContract.methods.values()}
ERROR_NAMES = {error.signature.selector: error.signature.name for error in StakingContract.errors}
NEW_KEYS = [bytes([0xE0 + i]) * 32 for i in range(4)]
NEW = [address_of_private_key(key) for key in NEW_KEYS]
OLD = [address_of_private_key(key) for key in VALIDATOR_KEYS]
UNBONDING_MS = 600_000
PARAMS = StakingParams(
    unbonding_ms=UNBONDING_MS,
    evidence_age_ms=500_000,
    trusting_period_ms=400_000,
    downtime_window_blocks=20,
    downtime_ms=40_000,
    jail_ms=30_000,
    commission_change_ms=60_000,
)
BLOCKS = BlockParams(interval_ms=500, empty_interval_ms=5_000)


class Reverted(AssertionError):
    """A call that failed, by the name of its error."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class World:
    """Its genesis validators `OLD` have powers 10 to 13 and belong to accounts 0 to 3."""

    def __init__(self, params: StakingParams = PARAMS, **changes: Any) -> None:
        members = tuple(Validator(address, Power(10 + place), ADDRESSES[place]) for place, address in enumerate(OLD))
        spec = make_spec(block=BLOCKS, staking=params, **changes)
        spec = dataclasses.replace(spec, validators=members)
        self.chain = Chain(spec, validator_keys=[*VALIDATOR_KEYS, *NEW_KEYS])
        self.nonces = [0] * len(KEYS)
        self.waiting: list[Transaction] = []

    # ------------------------------------------------------------ acting

    def queue(self, key: int, name: str, *args: Any, value: int = 0) -> None:
        """A transaction for the next block."""
        signature = METHODS[name]
        data = signature.selector + encode([parameter.type for parameter in signature.inputs], args)
        tx = signed(key, nonce=self.nonces[key], to=STAKING_ADDRESS, data=data, value=value, gas=3_000_000)
        self.nonces[key] += 1
        self.waiting.append(tx)

    def block(
        self, step_ms: int = 5_000, evidence: tuple[Evidence, ...] = (), absent: frozenset[Address] = frozenset()
    ) -> ExecutedBlock:
        """Build a block of what waits, and check the books."""
        waiting, self.waiting = self.waiting, []
        executed = self.chain.build(waiting, time_ms=self.chain.time_ms + step_ms, evidence=evidence)
        assert not executed.skipped, executed.skipped[0][1]
        voters = self.chain.runtime.state().validators().current
        places = frozenset(place for place, member in enumerate(voters.members) if member.address in absent)
        self.chain.accept(executed, places)
        self.check_books()
        return executed

    def act(self, key: int, name: str, *args: Any, value: int = 0) -> ExecutedBlock:
        """One call in a block of its own. Raises Reverted."""
        self.queue(key, name, *args, value=value)
        executed = self.block()
        if executed.receipts[0].status == 0:
            self.view(name, *args, sender=ADDRESSES[key], value=value)
            raise AssertionError(f"{name} failed in a block and succeeds in a call")
        return executed

    def view(self, name: str, *args: Any, sender: Address = ADDRESSES[0], value: int = 0) -> Any:
        """Call a method on the state as it is. Raises Reverted with the error's name."""
        signature = METHODS[name]
        data = signature.selector + encode([parameter.type for parameter in signature.inputs], args)
        request = CallRequest(sender=sender, to=STAKING_ADDRESS, data=data, value=value, gas=5_000_000)
        result = self.chain.runtime.call(self.chain.tip, request, gas_cap=10_000_000)
        if result.status != "success":
            raise Reverted(ERROR_NAMES.get(bytes(result.output[:4]), repr(result.error)))
        values = decode([parameter.type for parameter in signature.outputs], result.output)
        return values[0] if len(values) == 1 else values

    def create(self, key: int, which: int, stake: int, commission_bps: int = 0) -> ExecutedBlock:
        terms = (commission_bps, 5_000, 1_000)
        proof = self.proof(which, ADDRESSES[key])
        return self.act(key, "createValidator", NEW[which], ADDRESSES[key], *terms, proof, value=stake)

    def proof(self, which: int, owner: Address, chain_id: int = CHAIN_ID) -> bytes:
        return bytes(sign(NEW_KEYS[which], possession_digest(chain_id, NEW[which], owner)))

    # ------------------------------------------------------------ looking

    def check_books(self) -> None:
        state = self.chain.runtime.state()
        books, supply = state.stake_books(), state.supply()
        assert books.balanced, books
        assert supply.total == supply.genesis + supply.minted - supply.burned == self.chain.total_balance()
        escrow = state.slots(STAKING_ADDRESS).load(10)
        assert state.balance(STAKING_ADDRESS) == books.held + escrow

    def info(self, validator: Address) -> Any:
        return self.view("validator", validator)

    def balance(self, who: Address) -> int:
        return self.chain.runtime.state().balance(who)

    def sets(self) -> tuple[dict[Address, int], dict[Address, int]]:
        """(current, next): powers by address."""
        state = self.chain.runtime.state().validators()
        return tuple({m.address: m.power for m in found.members} for found in (state.current, state.next))

    def skip_ms(self, total_ms: int) -> list[ExecutedBlock]:
        """Blocks until so much time has passed."""
        end = self.chain.time_ms + total_ms
        found = []
        while self.chain.time_ms < end:
            found.append(self.block(step_ms=max(5_000, min(300_000, end - self.chain.time_ms))))
        return found


def duplicate_vote(offender: Address, height: int) -> DuplicateVote:
    """Evidence whose signatures are nobody's: execution does not look at them, consensus has."""
    votes = (
        Vote(VoteType.PREVOTE, Height(height), Round(0), Hash32(bytes([i]) * 32), offender, Signature(bytes(65)))
        for i in (1, 2)
    )
    return DuplicateVote(*votes)
