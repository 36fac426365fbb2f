"""Prints what a number of executions came to, one a line: two interpreters, or one with and without -O, must print the same."""

import hashlib
from dataclasses import replace
from typing import Any

from eth.exceptions import VMError

from evm_runtime.precompiles import OSAKA_PRECOMPILES
from genesis.errors import InvalidBlock
from genesis.types import Block
from tests.fuzz.blocks import make_chain
from tests.fuzz.cases import make_case
from tests.fuzz.machines import TIERS, run_ours
from tests.unit.evm_runtime.chain import Chain, signed

INFINITY = b"\xc0" + bytes(47)
CASES, CHAINS = 5, 2


def digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def proof(y: int) -> str:
    """The point evaluation precompile on the zero polynomial at 5: true for y = 0 only."""
    versioned = b"\x01" + hashlib.sha256(INFINITY).digest()[1:]
    data = versioned + (5).to_bytes(32, "big") + y.to_bytes(32, "big") + INFINITY + INFINITY

    class Frame:
        output = b""

        def __init__(self) -> None:
            self.msg = self
            self.data = self.data_as_bytes = data

        def consume_gas(self, amount: int, reason: str) -> None: ...

    frame: Any = Frame()
    try:
        OSAKA_PRECOMPILES[bytes(19) + b"\x0a"](frame)  # type: ignore[index]  # an address
    except VMError as error:
        return f"refused: {error}"
    return digest(frame.output)


def refusal(chain: Chain, block: Block) -> str:
    try:
        chain.runtime.execute_block(chain.tip, chain.time_ms, block)
    except InvalidBlock as error:
        return str(error)
    return "taken"


def main() -> None:
    print(f"asserts: {__debug__}")
    for seed in range(CASES):
        case = make_case(seed)
        for tier, tiers in TIERS.items():
            run = run_ours(
                case.accounts(), case.transactions, tiers, case.fork, natives=case.natives(), traced=seed == 0
            )
            print(f"case {seed} {tier}: {digest(run)}")
    for seed in range(CHAINS):
        print(f"chain {seed}: {make_chain(seed, []).tip.hash.hex()}")
    print(f"proofs: {proof(0)}, {proof(1)}")
    chain = Chain()
    good = chain.build([signed(0, nonce=0, to=b"\x22" * 20, value=1)])
    for change in (
        {"header": good.header.replace(gas_used=1).to_rlp()},
        {"header": b"\xc0"},
        {"transactions": (b"\x02\xc0",)},
        {"transactions": (*good.block.transactions, *good.block.transactions)},
    ):
        print(f"block: {refusal(chain, replace(good.block, **change))}")  # type: ignore[arg-type]  # of several kinds
    for fields in ({"nonce": 5}, {"nonce": 0, "value": 10**30}):
        skipped = chain.build([signed(0, to=b"\x22" * 20, **fields)]).skipped
        print(f"left out: {skipped[0][1]}")


if __name__ == "__main__":
    main()
