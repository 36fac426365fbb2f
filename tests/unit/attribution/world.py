"""The attribution contract on a small chain, with short words for what tests do to it."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from attribution_precompile.contract import AttributionContract
from attribution_precompile.declarations import Method
from attribution_precompile.index.span_index import IndexView, SpanIndex
from attribution_precompile.index.vector_index import VectorIndex
from attribution_precompile.rules.tokens import WORDS_V1
from evm_runtime.native.reserve import DRAWN, RESERVE
from genesis.chain_spec import STAKING_ADDRESS, AttributionParams, ChainSpec
from genesis.primitives import WEI_PER_OPEN, Address, Power
from genesis.types import Validator
from tests.unit.native.harness import CHAIN_ID, Bound, Chain, Finals, address

OWNER, CURATOR, ADMIN, ALICE, BOB, CAROL, DEV, USER, TREASURY, COUNCIL = (address(0x10000 + i) for i in range(10))
ZERO32 = bytes(32)
NONE = (0, 0, b"")
REVIEW_SECONDS = 1_000


def make_spec(**changes: Any) -> ChainSpec:
    validator = Validator(address(0x99), Power(1), address(0x98))
    attribution = AttributionParams(**{"council": COUNCIL, **changes})
    return ChainSpec("test", CHAIN_ID, 1, (validator,), treasury=TREASURY, attribution=attribution)


def params(**changes: Any) -> tuple[Any, ...]:
    values: dict[str, Any] = {
        "uri": "ipfs://terms",
        "terms_hash": b"\x01" * 32,
        "tokenizer": WORDS_V1,
        "min_span": 8,
        "commit_only": False,
        "open_to_models": True,
        "use_mask": 31,
        "min_fee_per_1k": 0,
        "curator_bps": 0,
        "soft_cap_bps": 10_000,
        "bond_per_kib": 0,
        "review_seconds": REVIEW_SECONDS,
    }
    return tuple((values | changes).values())


class World(Bound):
    """`world.infer(…)` and the like call the contract; the helpers below are combinations of calls."""

    def __init__(self, **params: Any) -> None:
        finals = Finals()
        spec = make_spec(**params)
        blocks = spec.attribution.death_blocks
        indexes = SpanIndex(nullcontext(), finals, blocks), VectorIndex(nullcontext(), finals, blocks)
        contract = AttributionContract(spec, CHAIN_ID, *indexes)
        chain = Chain(contract, finals=finals)
        super().__init__(chain, contract, OWNER)
        for who in (OWNER, CURATOR, ADMIN, ALICE, BOB, CAROL, DEV, USER, COUNCIL):
            chain.fund(who, 1_000_000 * WEI_PER_OPEN)

    def fresh_index(self, lock: Any = None) -> SpanIndex:
        """An index that has seen nothing yet."""
        return SpanIndex(lock or nullcontext(), self.chain.finals, self.contract.params.death_blocks)

    def fresh_vectors(self) -> VectorIndex:
        return VectorIndex(nullcontext(), self.chain.finals, self.contract.params.death_blocks)

    def view(self, index: SpanIndex | None = None) -> IndexView:
        """What the block that is being executed may know."""
        return (index or self.contract.index).at(self.chain.state.base)

    def datanet(self, **changes: Any) -> int:
        return int(self.createDatanet(params(**changes)))

    def give(self, datanet: int, who: Address, text: str | bytes, payout: Address | None = None) -> int:
        content = text.encode() if isinstance(text, str) else text
        return int(self.contribute(datanet, content, ZERO32, payout or who, ZERO32, sender=who))

    def accept(self, contribution: int, quality: int = 10_000) -> None:
        """Review in the next block."""
        self.chain.next_block()
        self.review(contribution, True, quality)

    def publish(self, datanet: int) -> int:
        """Publish, and go to the next block, so that the version can be used."""
        version = int(self.publishVersion(datanet))
        self.chain.next_block()
        return version

    def model(
        self,
        uses: Sequence[tuple[int, int, int, int]],
        output_price: int = 0,
        input_price: int = 0,
        signer: bytes = bytes(20),
        sender: Address = DEV,
        parents: Sequence[tuple[int, int]] = (),
        min_royalty: int = 0,
        kind: Method = Method.SPAN,
    ) -> int:
        prices = (input_price, output_price, min_royalty)
        arguments = ("hf://model", b"\x02" * 32, int(kind), signer, *prices, list(parents), list(uses))
        return int(self.registerModel(*arguments, sender=sender))

    def run(self, model: int, output: str | bytes, value: int, signed: Any = NONE, **options: Any) -> bytes:
        content = output.encode() if isinstance(output, str) else output
        call = (model, 0, ZERO32, options.pop("input_tokens", 0), content, signed)
        return bytes(self.infer(call, sender=options.pop("sender", USER), value=value, **options))

    def fill_reserve(self, wei: int) -> None:
        """As if that much emission had been allotted to attribution."""
        self.chain.state.set_storage(STAKING_ADDRESS, RESERVE.slot, wei)

    def end_block(self) -> int:
        """What the end of a block does for this contract: drawn wei arrive, the stakers' part leaves (and is returned)."""
        state = self.chain.state
        drawn = state.get_storage(STAKING_ADDRESS, DRAWN.slot)
        state.set_storage(STAKING_ADDRESS, DRAWN.slot, 0)
        state.set_balance(self.contract.address, state.get_balance(self.contract.address) + drawn)
        return int(self.contract.end_block(state))

    def balance(self, who: bytes) -> int:
        return int(self.claimable(who)[0])


def words(first: int, count: int, prefix: str = "w") -> str:
    """Distinct words: `w5 w6 w7 …`."""
    return " ".join(f"{prefix}{i}" for i in range(first, first + count))
