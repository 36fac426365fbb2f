"""Stock py-evm beside ours: the same genesis and block context, its own state, transactions and loop."""

from typing import Any

from eth.chains.base import MiningChain
from eth.consensus import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.vm.forks.prague import PragueVM

from evm_runtime.genesis_block import NATIVE_CODE
from evm_runtime.header import Header
from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE, HISTORY_ADDRESS, HISTORY_CODE
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, ChainSpec

SYSTEM_CODE = {
    BEACON_ROOTS_ADDRESS: BEACON_ROOTS_CODE,
    HISTORY_ADDRESS: HISTORY_CODE,
    ATTRIBUTION_ADDRESS: NATIVE_CODE,
    STAKING_ADDRESS: NATIVE_CODE,
}


class StockBlock:
    """Executes transactions one by one in the context of `header` (a block that our runtime has made on genesis)."""

    def __init__(self, spec: ChainSpec, genesis: Header, header: Header) -> None:
        vm_class = PragueVM.configure(consensus_class=NoProofConsensus)
        chain_class = MiningChain.configure(__name__="Stock", vm_configuration=((0, vm_class),), chain_id=spec.chain_id)
        state: dict[Any, Any] = {
            account.address: {
                "balance": account.balance,
                "nonce": account.nonce,
                "code": account.code,
                "storage": dict(account.storage),
            }
            for account in spec.alloc
        }
        for address, code in SYSTEM_CODE.items():
            state[address] = {"balance": 0, "nonce": 1, "code": code, "storage": {}}
        parameters: dict[str, Any] = {
            "difficulty": 0,
            "gas_limit": genesis.gas_limit,
            "timestamp": genesis.timestamp,
            "coinbase": genesis.coinbase,
            "extra_data": b"",
            "nonce": bytes(8),
            "mix_hash": bytes(32),
        }
        self.chain: Any = chain_class.from_genesis(AtomicDB(MemoryDB()), parameters, state)
        self.header: Any = (
            self.chain.get_vm()
            .get_block()
            .header.copy(
                coinbase=header.coinbase,
                timestamp=header.timestamp,
                mix_hash=header.prev_randao,
                gas_limit=header.gas_limit,
                base_fee_per_gas=header.base_fee_per_gas,
                block_number=header.number,
            )
        )
        self.vm: Any = self.chain.get_vm(self.header)

    def decode(self, raw: bytes) -> Any:
        return self.vm.get_transaction_builder().decode(raw)

    def apply(self, raw: bytes) -> tuple[Any, Any]:
        """(receipt, computation) of one transaction."""
        receipt, computation = self.vm.apply_transaction(self.header, self.decode(raw))
        self.header = self.vm.add_receipt_to_header(self.header, receipt)
        return receipt, computation

    @property
    def state(self) -> Any:
        return self.vm.state
