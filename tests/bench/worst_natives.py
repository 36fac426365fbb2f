"""Calls of the native contracts that take long: a datanet with content, and what one transaction can ask of it at most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attribution_precompile.contract import AttributionContract
from evm_runtime.native import NativeContract
from evm_runtime.staking.contract import StakingContract
from evm_runtime.transaction import decode_transaction
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS
from genesis.primitives import WEI_PER_OPEN, Address
from tests.bench.workload import Sender
from tests.unit.attribution.world import NONE, ZERO32, params
from tests.unit.native.harness import Bound
from tests.unit.node.local_chain import VALIDATOR, LocalChain

CONTENT_TOKENS = 4_800
OUTPUT_TOKENS = 4_800
MIN_SPAN = 8


@dataclass(frozen=True, slots=True)
class NativeCall:
    name: str
    to: Address
    data: bytes
    value: int = 0


def native_calls(chain: LocalChain, owner: Sender) -> list[NativeCall]:
    """Make a datanet, a version and a model on the chain, in blocks of `owner`'s transactions; then the calls to measure."""
    encode = _Encoder(AttributionContract, ATTRIBUTION_ADDRESS)
    content = _words(0, CONTENT_TOKENS)
    author = owner.address
    setup = [
        ("createDatanet", params(min_span=MIN_SPAN)),
        ("contribute", 1, content, ZERO32, author, ZERO32),
        ("contribute", 1, _words(30_000, CONTENT_TOKENS), ZERO32, author, ZERO32),
        ("review", 1, True, 10_000),
        ("publishVersion", 1),
    ]
    model = ("registerModel", "m", b"\x02" * 32, 0, bytes(20), 0, 10**9, 0, [], [(1, 1, 1, 10_000)])
    for nonce, (name, *arguments) in enumerate([*setup, model]):
        raw = owner.sign(chain.spec.chain_id, nonce, ATTRIBUTION_ADDRESS, data=encode(name, *arguments), gas=16_000_000)
        executed = chain.build(decode_transaction(raw, chain_id=chain.spec.chain_id))
        if not executed.receipts[0].status:
            raise RuntimeError(f"{name} failed: {executed.skipped}")
        chain.store.append(executed, chain.commit_for(executed.block))
    torn = _torn(OUTPUT_TOKENS)
    infer = (1, 0, ZERO32, 0, content, NONE)
    return [
        NativeCall("contribute", *encode.call("contribute", 1, _words(10_000, CONTENT_TOKENS), ZERO32, author, ZERO32)),
        NativeCall("trace of what is known", *encode.call("trace", 1, content)),
        NativeCall("trace of what is not", *encode.call("trace", 1, _words(20_000, OUTPUT_TOKENS))),
        NativeCall("trace of single windows", *encode.call("trace", 1, torn)),
        NativeCall("infer", *encode.call("infer", infer), value=WEI_PER_OPEN),
        NativeCall("review", *encode.call("review", 2, True, 9_000)),
        NativeCall("delegate", *_Encoder(StakingContract, STAKING_ADDRESS).call("delegate", VALIDATOR), WEI_PER_OPEN),
    ]


class _Encoder:
    def __init__(self, contract: type[NativeContract], address: Address) -> None:
        self._bound = Bound(None, contract, b"")  # type: ignore[arg-type]  # it is asked to encode, no more
        self._address = address

    def __call__(self, name: str, *arguments: Any) -> bytes:
        return self._bound.data(name, *arguments)

    def call(self, name: str, *arguments: Any) -> tuple[Address, bytes]:
        return self._address, self(name, *arguments)


def _words(first: int, count: int) -> bytes:
    return _join([f"{number:x}" for number in range(first, first + count)])


def _torn(count: int) -> bytes:
    """Windows of the content in turns with tokens that nobody owns."""
    known = [f"{number:x}" for number in range(count)]
    pieces = [[*known[at : at + MIN_SPAN], "unowned"] for at in range(0, count, MIN_SPAN)]
    return _join([token for piece in reversed(pieces) for token in piece][:count])


def _join(tokens: Sequence[str]) -> bytes:
    return " ".join(tokens).encode()
