"""The shapes of answers, for the API document: one table, written as a person would write it down.

A shape is a name of this table (`quantity`), several (`block|null`), a list of one (`log[]`), a map (`{transaction}`), or an
object: a dict of fields, where a name that ends in `?` may be absent. `method(..., result="block or null")` names one, too.
"""

from typing import Any, Final

from node.rpc.schema.open_answers import OPEN_SHAPES

Shape = str | dict[str, Any]
Schema = dict[str, Any]

_HEX: Final = "^0x[0-9a-f]"
PRIMITIVES: Final[dict[str, Schema]] = {
    "quantity": {"type": "string", "pattern": "^0x(0|[1-9a-f][0-9a-f]{0,63})$"},
    "data": {"type": "string", "pattern": f"{_HEX}*$"},
    "address": {"type": "string", "pattern": f"{_HEX}{{40}}$"},
    "hash": {"type": "string", "pattern": f"{_HEX}{{64}}$"},
    "word": {"type": "string", "pattern": f"{_HEX}{{64}}$"},
    "nonce": {"type": "string", "pattern": f"{_HEX}{{16}}$"},
    "bloom": {"type": "string", "pattern": f"{_HEX}{{512}}$"},
    "signature": {"type": "string", "pattern": f"{_HEX}{{130}}$"},
    "fork id": {"type": "string", "pattern": f"{_HEX}{{8}}$"},
    "id": {"type": "string", "pattern": "^0x[0-9a-f]{1,32}$"},
    "text": {"type": "string"},
    "decimal": {"type": "string", "pattern": "^[0-9]+$"},
    "boolean": {"type": "boolean"},
    "false": {"type": "boolean", "const": False},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "null": {"type": "null"},
    "anything": {},
}

_HEADER: Final = {
    "number": "quantity",
    "hash": "hash",
    "parentHash": "hash",
    "sha3Uncles": "hash",
    "miner": "address",
    "stateRoot": "hash",
    "transactionsRoot": "hash",
    "receiptsRoot": "hash",
    "logsBloom": "bloom",
    "difficulty": "quantity",
    "gasLimit": "quantity",
    "gasUsed": "quantity",
    "timestamp": "quantity",
    "extraData": "data",
    "mixHash": "hash",
    "nonce": "nonce",
    "baseFeePerGas": "quantity",
    "withdrawalsRoot": "hash",
    "blobGasUsed": "quantity",
    "excessBlobGas": "quantity",
    "parentBeaconBlockRoot": "hash",
    "requestsHash": "hash",
}
_BODY: Final = {"size": "quantity", "uncles": "hash[]", "withdrawals": "withdrawal[]"}
_TRANSACTION: Final = {
    "hash": "hash",
    "type": "quantity",
    "from": "address",
    "to": "address|null",
    "nonce": "quantity",
    "gas": "quantity",
    "value": "quantity",
    "input": "data",
    "gasPrice": "quantity",
    "v": "quantity",
    "r": "quantity",
    "s": "quantity",
    "chainId?": "quantity",
    "yParity?": "quantity",
    "accessList?": "access list entry[]",
    "maxFeePerGas?": "quantity",
    "maxPriorityFeePerGas?": "quantity",
    "authorizationList?": "authorization[]",
}
_BY_SENDER: Final = {"pending": "{nonces}", "queued": "{nonces}"}

SHAPES: Final[dict[str, Shape]] = {
    # -- Ethereum's
    "header": _HEADER,
    "block": {**_HEADER, **_BODY, "transactions": "hash|transaction[]"},
    "withdrawal": {"index": "quantity", "validatorIndex": "quantity", "address": "address", "amount": "quantity"},
    "access list entry": {"address": "address", "storageKeys": "hash[]"},
    "authorization": {
        "chainId": "quantity",
        "address": "address",
        "nonce": "quantity",
        "yParity": "quantity",
        "r": "quantity",
        "s": "quantity",
    },
    "unplaced transaction": _TRANSACTION,
    "transaction": {
        "blockHash": "hash|null",
        "blockNumber": "quantity|null",
        "blockTimestamp": "quantity|null",
        "transactionIndex": "quantity|null",
        **_TRANSACTION,
    },
    "receipt": {
        "blockHash": "hash",
        "blockNumber": "quantity",
        "transactionHash": "hash",
        "transactionIndex": "quantity",
        "type": "quantity",
        "from": "address",
        "to": "address|null",
        "contractAddress": "address|null",
        "status": "quantity",
        "gasUsed": "quantity",
        "cumulativeGasUsed": "quantity",
        "effectiveGasPrice": "quantity",
        "logs": "log[]",
        "logsBloom": "bloom",
    },
    "log": {
        "address": "address",
        "topics": "hash[]",
        "data": "data",
        "blockNumber": "quantity",
        "blockHash": "hash",
        "blockTimestamp": "quantity",
        "transactionHash": "hash",
        "transactionIndex": "quantity",
        "logIndex": "quantity",
        "removed": "boolean",
    },
    "call error": {"code": "integer", "message": "text", "data?": "data"},
    "simulated call": {
        "returnData": "data",
        "logs": "log[]",
        "gasUsed": "quantity",
        "maxUsedGas": "quantity",
        "status": "quantity",
        "error?": "call error",
    },
    "simulated block": {
        **_HEADER,
        **_BODY,
        "transactions": "hash|transaction[]",
        "calls": "simulated call[]",
    },
    "capability": {"disabled": "boolean", "oldestBlock": "quantity"},
    "head": {"number": "quantity", "hash": "hash"},
    "capabilities": {
        "head": "head",
        **dict.fromkeys(("state", "tx", "logs", "receipts", "blocks", "stateproofs"), "capability"),
    },
    "words": "word[]",
    "words by address": "{words}",
    "signed transaction": {"raw": "data", "tx": "unplaced transaction"},
    "receipts": "receipt[]",
    "logs": "log[]",
    "logs, hashes or transactions": "log|hash|transaction[]",
    "addresses": "address[]",
    "filter id": "id",
    "subscription id": "id",
    "decimal chain id": "decimal",
    "progress": {"startingBlock": "quantity", "currentBlock": "quantity", "highestBlock": "quantity"},
    "access list": {"accessList": "access list entry[]", "gasUsed": "quantity", "error?": "text"},
    "account proof": {
        "address": "address",
        "accountProof": "data[]",
        "balance": "quantity",
        "codeHash": "hash",
        "nonce": "quantity",
        "storageHash": "hash",
        "storageProof": "storage proof[]",
    },
    "storage proof": {"key": "data", "value": "quantity", "proof": "data[]"},
    "fee history": {
        "oldestBlock": "quantity",
        "gasUsedRatio": "numbers|null",
        "baseFeePerGas?": "quantity[]",
        "baseFeePerBlobGas?": "quantity[]",
        "blobGasUsedRatio?": "number[]",
        "reward?": "quantities[]",
    },
    "numbers": "number[]",
    "quantities": "quantity[]",
    "object of counts": {"pending": "quantity", "queued": "quantity"},
    "object of namespace to version": "{text}",
    "nonces": "{transaction|text}",
    "transactions by nonce": {"pending": "{transaction}", "queued": "{transaction}"},
    "transactions by sender and nonce": _BY_SENDER,
    "summaries by sender and nonce": _BY_SENDER,
    "blob schedule": {"baseFeeUpdateFraction": "integer", "max": "integer", "target": "integer"},
    "fork": {
        "activationTime": "integer",
        "blobSchedule": "blob schedule",
        "chainId": "quantity",
        "forkId": "fork id",
        "precompiles": "{address}",
        "systemContracts": "{address}",
    },
    "configuration": {"current": "fork", "next": "fork|null", "last": "fork|null"},
    "trace by transaction": {"txHash": "hash", "result": "anything"},
    "protocol": {"network": "integer", "genesis": "hash", "head": "hash"},
    "node info": {"id": "text|null", "name": "text", "listenAddr": "text|null", "protocols": "{protocol}"},
    "connection": {"remoteAddress": "text", "inbound": "boolean"},
    "admin peer": {"id": "text", "network": "connection", "validator": "address|null"},
    **OPEN_SHAPES,
}


def component(name: str) -> str:
    """The name of a shape in `components/schemas`: words as one, `light block` becoming `LightBlock`."""
    return "".join(word[:1].upper() + word[1:] for word in name.split())


def schema_of(shape: Shape) -> Schema:
    """The JSON schema of a shape, with references to the named ones. Raises KeyError for a name that is not in the table."""
    if isinstance(shape, dict):
        return {
            "type": "object",
            "required": [name for name in shape if not name.endswith("?")],
            "properties": {name.removesuffix("?"): schema_of(each) for name, each in shape.items()},
            "additionalProperties": False,
        }
    if shape in PRIMITIVES:
        return PRIMITIVES[shape]
    if shape in SHAPES:
        return {"$ref": f"#/components/schemas/{component(shape)}"}
    if shape.endswith("[]"):
        return {"type": "array", "items": schema_of(shape.removesuffix("[]"))}
    if shape.startswith("{"):
        return {"type": "object", "additionalProperties": schema_of(shape.strip("{}"))}
    if " or " in shape or "|" in shape:
        return {"anyOf": [schema_of(each) for each in shape.replace(" or ", "|").split("|")]}
    raise KeyError(f"no shape is called {shape!r}")


def all_shapes() -> dict[str, Schema]:
    """`components/schemas` of the document."""
    return {component(name): schema_of(shape) for name, shape in sorted(SHAPES.items())}
