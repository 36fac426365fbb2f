"""Answers as JSON: quantities as hex without leading zeros, bytes as 0x-hex, field names as in the Ethereum execution-apis.

Every function takes values of ours and returns plain dictionaries; there is one per kind of object, whoever asks for it.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from genesis.primitives import Address, Hash32, keccak256
from genesis.types import Withdrawal
from node.interfaces import StoredBlock

if TYPE_CHECKING:
    from evm_runtime.header import Header
    from evm_runtime.receipt import Log
    from evm_runtime.transaction import Authorization, Transaction

Json = dict[str, Any]
LEGACY: Final = 0
ACCESS_LIST: Final = 1
SET_CODE: Final = 4


def quantity(value: int) -> str:
    return hex(value)


def data(value: bytes) -> str:
    return "0x" + value.hex()


def checksum(address: Address) -> str:
    """An address as EIP-55 writes it: where geth has it as the key of an object."""
    digits = address.hex()
    nibbles = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if int(n, 16) >= 8 else c for c, n in zip(digits, nibbles, strict=False))


def word(value: int) -> str:
    """A 32-byte big-endian word."""
    return f"0x{value:064x}"


def optional_data(value: bytes | None) -> str | None:
    return None if value is None else "0x" + value.hex()


# ---------------------------------------------------------------- blocks


def header_json(header: "Header") -> Json:
    """The header's fields, as `newHeads` sends them and every block begins."""
    return {
        "number": hex(header.number),
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "sha3Uncles": data(header.ommers_hash),
        "miner": data(header.coinbase),
        "stateRoot": data(header.state_root),
        "transactionsRoot": data(header.transactions_root),
        "receiptsRoot": data(header.receipts_root),
        "logsBloom": data(header.bloom),
        "difficulty": hex(header.difficulty),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "extraData": data(header.extra_data),
        "mixHash": data(header.prev_randao),
        "nonce": data(header.nonce),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "withdrawalsRoot": data(header.withdrawals_root),
        "blobGasUsed": hex(header.blob_gas_used),
        "excessBlobGas": hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "requestsHash": data(header.requests_hash),
    }


def block_json(stored: StoredBlock, *, full: bool) -> Json:
    """A block with its transactions, whole or as hashes."""
    return block_of_parts(stored.header, stored.transactions, stored.block.withdrawals, full=full)


def block_of_parts(
    header: "Header", transactions: "Sequence[Transaction]", withdrawals: Sequence[Withdrawal], *, full: bool
) -> Json:
    """A block, stored or made up. `totalDifficulty` is absent, as in today's geth."""
    answer = header_json(header)
    answer["size"] = hex(ethereum_size(header.to_rlp(), [tx.raw for tx in transactions], withdrawals))
    answer["uncles"] = []
    answer["transactions"] = (
        [transaction_json(tx, header, place) for place, tx in enumerate(transactions)]
        if full
        else [data(tx.hash) for tx in transactions]
    )
    answer["withdrawals"] = [withdrawal_json(each) for each in withdrawals]
    return answer


def withdrawal_json(withdrawal: Withdrawal) -> Json:
    return {
        "index": hex(withdrawal.index),
        "validatorIndex": hex(withdrawal.validator_index),
        "address": data(withdrawal.address),
        "amount": hex(withdrawal.amount_gwei),
    }


def ethereum_size(header: bytes, transactions: Sequence[bytes], withdrawals: Sequence[Withdrawal]) -> int:
    """Bytes of Ethereum's RLP of a block: [header, transactions, ommers, withdrawals]."""
    tx_bytes = sum(len(tx) if tx[0] >= 0xC0 else _string_size(tx) for tx in transactions)
    withdrawal_bytes = sum(_list_size(sum(map(_string_size, each.to_rlp()))) for each in withdrawals)
    return _list_size(len(header) + _list_size(tx_bytes) + 1 + _list_size(withdrawal_bytes))


def _string_size(value: bytes) -> int:
    if len(value) == 1 and value[0] < 0x80:
        return 1
    return _list_size(len(value))


def _list_size(payload: int) -> int:
    """A list (or a string that is no single small byte) takes a prefix of 1 byte, and its length's length if above 55."""
    return payload + 1 + (0 if payload < 56 else (payload.bit_length() + 7) // 8)


# ---------------------------------------------------------------- transactions


def transaction_json(tx: "Transaction", header: "Header | None", place: int = 0) -> Json:
    """A transaction: at `place` in the block of `header`, or waiting (its place is null then)."""
    answer: Json = {
        "blockHash": data(header.hash) if header else None,
        "blockNumber": hex(header.number) if header else None,
        "blockTimestamp": hex(header.timestamp) if header else None,
        "transactionIndex": hex(place) if header else None,
        "hash": data(tx.hash),
        "type": hex(tx.kind),
        "from": data(tx.sender),
        "to": optional_data(tx.to),
        "nonce": hex(tx.nonce),
        "gas": hex(tx.gas_limit),
        "value": hex(tx.value),
        "input": data(tx.data),
        "gasPrice": hex(tx.effective_gas_price(header.base_fee_per_gas) if header else tx.max_fee_per_gas),
        "v": hex(tx.v),
        "r": hex(tx.r),
        "s": hex(tx.s),
    }
    if tx.chain_id is not None:
        answer["chainId"] = hex(tx.chain_id)
    if tx.kind != LEGACY:
        answer["yParity"] = hex(tx.y_parity)
        answer["accessList"] = access_list_json(tx.access_list)
    if tx.kind not in (LEGACY, ACCESS_LIST):
        answer["maxFeePerGas"] = hex(tx.max_fee_per_gas)
        answer["maxPriorityFeePerGas"] = hex(tx.max_priority_fee_per_gas)
    if tx.kind == SET_CODE:
        answer["authorizationList"] = [authorization_json(each) for each in tx.authorizations]
    return answer


def access_list_json(entries: tuple[tuple[Address, tuple[int, ...]], ...]) -> list[Json]:
    return [{"address": data(address), "storageKeys": [word(slot) for slot in slots]} for address, slots in entries]


def authorization_json(authorization: "Authorization") -> Json:
    return {
        "chainId": hex(authorization.chain_id),
        "address": data(authorization.address),
        "nonce": hex(authorization.nonce),
        "yParity": hex(authorization.y_parity),
        "r": hex(authorization.r),
        "s": hex(authorization.s),
    }


# ---------------------------------------------------------------- receipts and logs


def receipt_json(stored: StoredBlock, place: int) -> Json:
    """The receipt of the transaction at `place`."""
    tx, receipt, result = stored.transactions[place], stored.receipts[place], stored.results[place]
    first_log = sum(len(each.logs) for each in stored.receipts[:place])
    return {
        "blockHash": data(stored.hash),
        "blockNumber": hex(stored.header.number),
        "transactionHash": data(tx.hash),
        "transactionIndex": hex(place),
        "type": hex(tx.kind),
        "from": data(tx.sender),
        "to": optional_data(tx.to),
        "contractAddress": optional_data(result.contract_address),
        "status": hex(receipt.status),
        "gasUsed": hex(result.gas_used),
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "effectiveGasPrice": hex(result.effective_gas_price),
        "logs": [
            log_json(log, stored.header, tx.hash, place, first_log + offset) for offset, log in enumerate(receipt.logs)
        ],
        "logsBloom": data(receipt.bloom),
    }


def log_json(log: "Log", header: "Header", transaction_hash: Hash32, transaction_place: int, place: int) -> Json:
    """A log; `place` counts through the block. Nothing is ever removed on this chain."""
    return {
        "address": data(log.address),
        "topics": [data(topic) for topic in log.topics],
        "data": data(log.data),
        "blockNumber": hex(header.number),
        "blockHash": data(header.hash),
        "blockTimestamp": hex(header.timestamp),
        "transactionHash": data(transaction_hash),
        "transactionIndex": hex(transaction_place),
        "logIndex": hex(place),
        "removed": False,
    }


def logs_of(stored: StoredBlock) -> Iterator[tuple["Log", Hash32, int, int]]:
    """(log, transaction hash, transaction's place, log's place in the block) of a whole block."""
    place = 0
    for index, (tx, receipt) in enumerate(zip(stored.transactions, stored.receipts, strict=True)):
        for log in receipt.logs:
            yield log, tx.hash, index, place
            place += 1
