"""Requests that are right, nearly right and wrong, from a seed. Most of the time a method gets arguments of its own kinds."""

import random
from collections.abc import Sequence
from typing import Any

import orjson

from node.rpc.schema.declare import Method, Param

ATOMS: tuple[Any, ...] = (
    None, True, False, 0, -1, 5, 1.5, 2**53, 2**63, "", "0x", "0X1", "0x00", "0x0", "0x1", "1", "latest", "newest", [], {},
    "0x" + "f" * 64, "0x" + "f" * 65, "0xg", [[]],
    "\x00", "\u202e", "\u00e9" * 40, "0x" + "ab" * 3_000, [None] * 30, {"": {}}, [{"a": [1]}],
)  # fmt: skip
CODE = (
    "0x5b600056",
    "0x60006000fd",
    "0x602a60005260206000f3",
    "0xfe",
    "0x5f5f5f5f5f5ff1",
    "0x60ff600052",
    "0x3d3d3d3d3d3d5af4",
)
QUANTITIES = (
    "0x0",
    "0x1",
    "0x2",
    "0x3",
    "0x10",
    "0x5208",
    "0xffff",
    "0x3b9aca00",
    "0xffffffffffffffff",
    "0x" + "f" * 64,
)


PRECOMPILES = ("0x" + "01".rjust(40, "0"), "0x" + "04".rjust(40, "0"))

_TYPED_DATA: dict[str, Any] = {
    "types": {"EIP712Domain": [{"name": "name", "type": "string"}], "Mail": [{"name": "to", "type": "address"}]},
    "primaryType": "Mail",
    "domain": {"name": "Post"},
    "message": {"to": "0x" + "ab" * 20},
}


class Requests:
    """A stream of request bodies. `known` are addresses and hashes that mean something on the chain."""

    def __init__(self, seed: int, methods: Sequence[Method], addresses: Sequence[str], hashes: Sequence[str]) -> None:
        self.random = random.Random(seed)
        self._methods, self._addresses, self._hashes = (
            methods,
            [*addresses, "0x" + "ee" * 20],
            [*hashes, "0x" + "00" * 32],
        )

    def body(self) -> bytes:
        chance = self.random.random()
        request: Any = self._call()
        if chance < 0.08:
            request = [self._call() for _ in range(self.random.randrange(5))]
        elif chance < 0.16:
            request[self.random.choice(list(request))] = self.random.choice(ATOMS)
        elif chance < 0.2:
            del request[self.random.choice(list(request))]
        data = bytearray(_dump(request))
        if self.random.random() < 0.15:
            for _ in range(self.random.randint(1, 4)):
                place = self.random.randrange(len(data) + 1)
                data[place : place + self.random.randint(0, 3)] = self.random.randbytes(self.random.randint(0, 3))
        return bytes(data)

    def _call(self) -> dict[str, Any]:
        method = self.random.choice(self._methods)
        arguments = [self._argument(param) for param in method.params]
        required = sum(param.required for param in method.params)
        arguments = arguments[: self.random.randint(required, len(arguments))]
        if self.random.random() < 0.1:
            arguments.append(self.random.choice(ATOMS))
        call_id = self.random.choice((1, "x", None, 1.5, 2**70, "y" * 50)) if self.random.random() < 0.2 else 7
        return {"jsonrpc": "2.0", "id": call_id, "method": method.name, "params": arguments}

    def _argument(self, param: Param) -> Any:
        return self.random.choice(ATOMS) if self.random.random() < 0.12 else self._of(param.kind.name)

    def _of(self, kind: str) -> Any:
        pick = self.random.choice
        if kind == "call object":
            return self._call_object()
        if kind == "state overrides":
            return self._overrides()
        if kind == "simulation":
            return self._simulation()
        choices: dict[str, Any] = {
            "address": self._addresses,
            "hash": self._hashes,
            "data": [*CODE, "0x", "0x02f8", "0x" + "7f" * 100],
            "quantity": QUANTITIES,
            "uint64": QUANTITIES,
            "count": [0, 1, 2, 5, "0x1", "3", "0xffff"],
            "boolean": [True, False],
            "text": [
                "newHeads",
                "logs",
                "newPendingTransactions",
                "attributions",
                "0x1",
                "x",
                "/ip4/127.0.0.1/tcp/1/p2p/x",
            ],
            "storage key": ["0x0", "0x1", "0x" + "0" * 63 + "1"],
            "storage keys": [[], ["0x0"], ["0x0", "0x" + "11" * 32]],
            "storage requests": [{pick(self._addresses): ["0x0", "0x1"]}, {pick(self._hashes): []}, {}],
            "attribution filter": [
                {},
                {"model": 1},
                {"payout": pick(self._addresses)},
                {"receipt": pick(self._hashes)},
            ],
            "payment filter": [
                {"payout": pick(self._addresses)},
                {"contribution": 1, "model": "0x1"},
                {"model": pick(QUANTITIES)},
                {},
            ],
            "typed data": [_TYPED_DATA, {**_TYPED_DATA, "message": {"to": pick(self._addresses)}}, "{}", {}],
            "percentiles": [[], [10, 50, 90], [1.5], [50, 10]],
            "log filter": [self._filter()],
            "trace options": [
                {},
                {"tracer": "callTracer"},
                {"tracer": "prestateTracer"},
                {"tracer": "x"},
                {"limit": 5},
            ],
            "block overrides": [{}, {"number": pick(QUANTITIES)}, {"time": pick(QUANTITIES), "baseFeePerGas": "0x1"}],
        }
        return pick(choices.get(kind) or [*self._tags(), *ATOMS])

    def _tags(self) -> list[Any]:
        return [
            "latest", "earliest", "pending", "safe", "finalized", "0x0", "0x1", "0x2", "0xffff",
            self.random.choice(self._hashes), {"blockNumber": "0x1"}, {"blockHash": self.random.choice(self._hashes)},
        ]  # fmt: skip

    def _filter(self) -> dict[str, Any]:
        pick = self.random.choice
        entries = {
            "fromBlock": pick(self._tags()[:9]),
            "toBlock": pick(self._tags()[:9]),
            "address": pick([*self._addresses, self._addresses, []]),
            "topics": pick([[], [pick(self._hashes)], [None, [pick(self._hashes)]], [[], None, None, None]]),
            "blockHash": pick(self._hashes),
        }
        return self._some(entries)

    def _call_object(self) -> dict[str, Any]:
        pick = self.random.choice
        entries = {
            "from": pick(self._addresses),
            "to": pick([*self._addresses, None, PRECOMPILES[0], "0x" + "0a00".rjust(40, "0")]),
            "gas": pick(QUANTITIES),
            "gasPrice": pick(QUANTITIES),
            "maxFeePerGas": pick(QUANTITIES),
            "maxPriorityFeePerGas": pick(QUANTITIES),
            "value": pick(QUANTITIES),
            "nonce": pick(QUANTITIES),
            "input": pick([*CODE, "0x" + self.random.randbytes(self.random.randint(0, 100)).hex()]),
            "accessList": [{"address": pick(self._addresses), "storageKeys": [pick(self._hashes)]}],
        }
        return self._some(entries)

    def _overrides(self) -> dict[str, Any]:
        pick = self.random.choice
        account = {
            "balance": pick(QUANTITIES),
            "nonce": pick(QUANTITIES),
            "code": pick(CODE),
            "stateDiff": {pick(self._hashes): pick(self._hashes)},
            "movePrecompileToAddress": pick([*self._addresses, *PRECOMPILES]),
        }
        return {pick([*self._addresses, *PRECOMPILES]): self._some(account) for _ in range(pick((1, 1, 2, 3)))}

    def _simulation(self) -> dict[str, Any]:
        pick = self.random.choice
        blocks = [
            self._some(
                {
                    "calls": [self._call_object() for _ in range(self.random.randrange(4))],
                    "stateOverrides": self._overrides(),
                    "blockOverrides": pick([{}, {"number": pick(QUANTITIES)}, {"gasLimit": pick(QUANTITIES)}]),
                }
            )
            for _ in range(self.random.randrange(4))
        ]
        flags = {name: pick([True, False]) for name in ("traceTransfers", "validation", "returnFullTransactions")}
        return {"blockStateCalls": blocks, **self._some(flags)}

    def _some(self, entries: dict[str, Any]) -> dict[str, Any]:
        """Some of the members, and now and then one of them wrong."""
        kept = {name: value for name, value in entries.items() if self.random.random() < 0.5}
        if kept and self.random.random() < 0.1:
            kept[self.random.choice(list(kept))] = self.random.choice(ATOMS)
        return kept


def _dump(request: Any) -> bytes:
    try:
        return orjson.dumps(request)
    except TypeError:  # integers beyond 64 bits, which others send
        import json

        return json.dumps(request).encode()
