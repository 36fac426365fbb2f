"""The shapes of answers, for the API document: one table, written as a person would write it down.

A shape is a name of this table (`quantity`), several (`block|null`), a list of one (`log[]`), a map (`{transaction}`), or an
object: a dict of fields, where a name that ends in `?` may be absent. `method(..., result="block or null")` names one, too.
"""

from typing import Any, Final

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
_BY_SENDER: Final = {"pending": "{nonces}", "queued": "{nonces}"}
_CONSENSUS: Final = {
    "height": "quantity",
    "version": "quantity",
    "timeMs": "quantity",
    "round": "quantity",
    "proposer": "address",
    "lastCommitHash": "hash",
    "evidenceHash": "hash",
    "validatorsHash": "hash",
    "nextValidatorsHash": "hash",
    "hash": "hash",
}

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
    "transaction": {
        "blockHash": "hash|null",
        "blockNumber": "quantity|null",
        "blockTimestamp": "quantity|null",
        "transactionIndex": "quantity|null",
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
    "receipts": "receipt[]",
    "logs": "log[]",
    "logs or hashes": "log|hash[]",
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
    # -- the chain's own
    "peer": {"id": "text", "address": "text", "direction": "text", "validator": "address|null"},
    "node status": {
        "version": "text",
        "chain": "text",
        "chainId": "quantity",
        "genesisHash": "hash",
        "height": "quantity",
        "hash": "hash",
        "timeMs": "quantity",
        "catchingUp": "boolean",
        "highest": "quantity",
        "validator": "address|null",
        "listening": "boolean",
        "p2pAddress": "text|null",
        "peers": "peer[]",
    },
    "validator": {"address": "address", "power": "quantity", "payout": "address", "priority?": "integer"},
    "validator sets": {
        "height": "quantity",
        "hash": "hash",
        "totalPower": "quantity",
        "proposer": "address",
        "validators": "validator[]",
        "nextHash": "hash",
        "nextValidators": "validator[]",
    },
    "commit": {
        "height": "quantity",
        "round": "quantity",
        "blockHash": "hash",
        "hash": "hash",
        "signatures": "signature|null[]",
    },
    "consensus data": {**_CONSENSUS, "lastCommit": "commit", "evidence": "quantity"},
    "sealed consensus data": _CONSENSUS,
    "light block": {
        "header": "data",
        "consensusData": "sealed consensus data",
        "commit": "commit",
        "validators": "validator[]",
        "nextValidators": "validator[]",
    },
    "supply": {
        "genesis": "quantity",
        "minted": "quantity",
        "burned": "quantity",
        "total": "quantity",
        "reserve": "quantity",
        "pendingRewards": "quantity",
        "emissionClockMs": "quantity",
    },
    "treasury": {"address": "address", "balance": "quantity"},
    "chain spec": {"hash": "hash", "json": "text"},
    "counts": {"datanets": "quantity", "contributions": "quantity", "models": "quantity", "receipts": "quantity"},
    "datanet": {
        "id": "quantity",
        "owner": "address",
        "uri": "text",
        "termsHash": "hash",
        "tokenizer": "hash",
        "minSpan": "quantity",
        "commitOnly": "boolean",
        "openToModels": "boolean",
        "useMask": "quantity",
        "minFeePer1k": "quantity",
        "curatorBps": "quantity",
        "softCapBps": "quantity",
        "bondPerKiB": "quantity",
        "reviewSeconds": "quantity",
        "contributions": "quantity",
        "versions": "quantity",
        "segments": "quantity",
        "poolWeight": "quantity",
        "poolPendingWeight": "quantity",
    },
    "version": {
        "datanet": "quantity",
        "version": "quantity",
        "time": "quantity",
        "blockNumber": "quantity",
        "contributions": "quantity",
        "contentRoot": "hash",
    },
    "contribution": {
        "id": "quantity",
        "datanet": "quantity",
        "contributor": "address",
        "payout": "address",
        "contentRoot": "hash",
        "provenance": "hash",
        "tokens": "quantity",
        "ownedWindows": "quantity",
        "quality": "quantity",
        "status": "text",
        "acceptedVersion": "quantity",
        "deadline": "quantity",
    },
    "segments": "data[]",
    "use": {
        "datanet": "quantity",
        "version": "quantity",
        "stage": "quantity",
        "bps": "quantity",
        "allowed": "boolean",
    },
    "model": {
        "id": "quantity",
        "owner": "address",
        "signer": "address",
        "uri": "text",
        "weights": "hash",
        "method": "text",
        "active": "boolean",
        "inputPer1k": "quantity",
        "outputPer1k": "quantity",
        "tokenizer": "hash",
        "uses": "use[]",
    },
    "inference receipt": {
        "id": "hash",
        "model": "quantity",
        "agent": "quantity",
        "payer": "address",
        "fee": "quantity",
        "blockNumber": "quantity",
        "tokens": "quantity",
        "unmatched": "quantity",
        "scoresHash": "hash",
    },
    "score": {"contribution": "quantity", "tokens": "quantity"},
    "span": {
        "startToken": "quantity",
        "tokens": "quantity",
        "byteStart": "quantity",
        "byteEnd": "quantity",
        "use": "quantity",
        "datanet": "quantity",
        "contribution": "quantity",
    },
    "trace": {
        "model": "quantity",
        "tokens": "quantity",
        "unmatched": "quantity",
        "scores": "score[]",
        "spans": "span[]",
    },
    "page of transactions": {"items": "transaction[]", "next": "quantity|null"},
    "page of datanets": {"items": "datanet[]", "next": "quantity|null"},
    "page of versions": {"items": "version[]", "next": "quantity|null"},
    "page of contributions": {"items": "contribution[]", "next": "quantity|null"},
    "page of models": {"items": "model[]", "next": "quantity|null"},
    "page of inference receipts": {"items": "inference receipt[]", "next": "quantity|null"},
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
