"""The native staking contract at 0x…0A01: its method groups put together. It holds no state but its account's."""

from evm_runtime.native.contract import NativeContract
from evm_runtime.staking.declarations import ERRORS, EVENTS, TYPES
from evm_runtime.staking.delegation_methods import DelegationMethods
from evm_runtime.staking.governance_methods import GovernanceMethods
from evm_runtime.staking.parameters import InForce
from evm_runtime.staking.validator_methods import ValidatorMethods
from evm_runtime.staking.view_methods import ViewMethods
from genesis.chain_spec import STAKING_ADDRESS, ChainSpec


class StakingContract(ValidatorMethods, DelegationMethods, GovernanceMethods, ViewMethods, NativeContract):
    """Validators, delegations, and what becomes of them. Its end-of-block operations are `rewards.end_block`'s."""

    types = TYPES
    events = EVENTS
    errors = ERRORS

    def __init__(self, spec: ChainSpec) -> None:
        self.address = STAKING_ADDRESS
        self.in_force = InForce(spec)
        self.fixed = spec.staking
        self.chain_id = spec.chain_id
