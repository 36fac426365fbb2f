"""The demo's people and their transactions: a datanet with three authors and a copier, a model, a payer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from attribution_precompile.rules.tokens import WORDS_V1, token_offsets
from genesis.errors import LocalError
from genesis.primitives import WEI_PER_OPEN, keccak256
from node.demo.client import RpcClient, Sender, devnet_account, events

MIN_SPAN: Final = 8
CURATOR_BPS: Final = 500
SOFT_CAP_BPS: Final = 9_000
MIN_FEE_PER_1K: Final = WEI_PER_OPEN // 1_000
OUTPUT_PER_1K: Final = 2 * WEI_PER_OPEN
INPUT_PER_1K: Final = WEI_PER_OPEN // 10
INPUT_TOKENS: Final = 120
OVERPAID: Final = 1_000
"""Wei sent above each fee; they come back as the payer's credit."""
SEGMENT_BYTES_MAX: Final = 22_000

CREATE_DATANET: Final = (
    "createDatanet((string,bytes32,bytes32,uint8,bool,bool,uint32,uint128,uint16,uint16,uint128,uint32))"
)
REGISTER_MODEL: Final = (
    "registerModel(string,bytes32,uint8,address,uint128,uint128,uint16,"
    "(uint64,uint16)[],(uint64,uint32,uint8,uint16)[])"
)
INFER: Final = "infer((uint64,uint64,bytes32,uint32,bytes,(uint256,uint64,bytes)))"
ATTRIBUTED: Final = "Attributed(bytes32,uint64,address,uint256,uint256)"
INFERRED: Final = "Inferred(bytes32,uint64,address,uint256,uint32,uint32)"
POOLED: Final = "Pooled(bytes32,uint64,uint32,uint256)"
MATCHED: Final = "Matched(bytes32,uint256)"


@dataclass(frozen=True, slots=True)
class Settled:
    """What the chain did with one inference, read from its final receipt."""

    receipt: dict[str, Any]
    fee: int
    tokens: int
    unmatched: int
    scores: tuple[tuple[int, int], ...]
    paid: dict[int, int]
    pooled: int
    matched: int
    reserve: int
    """What the reserve held before the block, in wei."""


@dataclass(slots=True)
class Scenario:
    """Everybody in the demo, as accounts of the devnet's mnemonic."""

    client: RpcClient
    owner: Sender = field(init=False)
    contributors: list[Sender] = field(init=False)
    developer: Sender = field(init=False)
    payer: Sender = field(init=False)
    datanet_id: int = 0
    model_id: int = 0

    def __post_init__(self) -> None:
        names = ["datanet owner", "Ada", "Ben", "Cleo", "Mallory (copier)", "model developer", "payer"]
        people = [Sender(self.client, devnet_account(place), name) for place, name in enumerate(names)]
        for person in people:
            if self.client.balance(person.address) < WEI_PER_OPEN:
                raise LocalError(
                    f"account {person.address} has no OPEN on this chain; the demo uses the devnet's well-known "
                    "accounts, so run it against `openledger devnet`"
                )
        self.owner, *self.contributors, self.developer, self.payer = people

    def create_datanet(self) -> None:
        terms = keccak256(b"PSF-2.0")
        params = ("demo:python-stdlib-docs", terms, WORDS_V1, MIN_SPAN, False, True, 31, MIN_FEE_PER_1K)
        receipt = self.owner.send(CREATE_DATANET, (*params, CURATOR_BPS, SOFT_CAP_BPS, 0, 3_600))
        [(topics, _)] = events(receipt, "DatanetCreated(uint64,address,bytes32)", ["bytes32"])
        self.datanet_id = topics[0]

    def contribute(self, sender: Sender, segments: Sequence[bytes]) -> int:
        """Upload segment by segment; returns the contribution's id."""
        arguments = (self.datanet_id, segments[0], bytes(32), sender.address, bytes(32))
        receipt = sender.send("contribute(uint64,bytes,bytes32,address,bytes32)", *arguments)
        contributed = "Contributed(uint64,uint64,address,bytes32,uint64)"
        [(topics, _)] = events(receipt, contributed, ["bytes32", "uint64"])
        for segment in segments[1:]:
            sender.send("appendContent(uint64,bytes)", topics[1], segment)
        return topics[1]

    def review_and_publish(self, qualities: dict[int, int]) -> None:
        for contribution_id, quality in qualities.items():
            self.owner.send("review(uint64,bool,uint16)", contribution_id, True, quality)
        self.owner.send("publishVersion(uint64)", self.datanet_id)

    def owned_windows(self, contribution_id: int) -> int:
        types = ["uint64", "address", "address", "bytes32", "uint64", "uint64", "uint16", "uint8"]
        return int(self.client.view("getContribution(uint64)", types, contribution_id)[5])

    def register_model(self) -> None:
        uses = [(self.datanet_id, 1, 2, 10_000)]
        weights = keccak256(b"a very small language model")
        nobody = "0x" + "00" * 20
        receipt = self.developer.send(
            REGISTER_MODEL, "demo:model", weights, 0, nobody, INPUT_PER_1K, OUTPUT_PER_1K, 0, [], uses
        )
        [(topics, _)] = events(receipt, "ModelRegistered(uint64,address,bytes32)", ["bytes32"])
        self.model_id = topics[0]

    def trace(self, output: bytes) -> tuple[tuple[tuple[int, int], ...], int, int]:
        """(scores, tokens, unmatched) as the contract's view answers."""
        returns = ["(uint64,uint128)[]", "uint256", "uint256"]
        scores, tokens, unmatched = self.client.view("trace(uint64,bytes)", returns, self.model_id, output)
        return tuple((who, score) for who, score in scores), tokens, unmatched

    def infer(self, output: bytes, tokens: int) -> Settled:
        """Report an output and pay for it, sending a little too much on purpose: the rest is credited back."""
        [fee] = self.client.view("quote(uint64,uint32,uint32)", ["uint256"], self.model_id, INPUT_TOKENS, tokens)
        call = (self.model_id, 0, keccak256(b"salt and prompt"), INPUT_TOKENS, output, (0, 0, b""))
        receipt = self.payer.send(INFER, call, value=fee + OVERPAID)
        [(_, (paid_fee, counted, unmatched))] = events(receipt, INFERRED, ["uint256", "uint32", "uint32"])
        attributed = [(t[1], data) for t, data in events(receipt, ATTRIBUTED, ["uint256", "uint256"])]
        return Settled(
            receipt,
            paid_fee,
            counted,
            unmatched,
            tuple((who, weight) for who, (weight, _) in attributed),
            {who: amount for who, (_, amount) in attributed},
            sum(amount for _, (_, amount) in events(receipt, POOLED, ["uint32", "uint256"])),
            sum(amount for _, (amount,) in events(receipt, MATCHED, ["uint256"])),
            self._reserve_before(receipt),
        )

    def _reserve_before(self, receipt: dict[str, Any]) -> int:
        """What the reserve held when the block of a receipt began."""
        before = hex(int(receipt["blockNumber"], 16) - 1)
        return int(self.client.call("open_supply", before)["reserve"], 16)

    def claimable(self, address: str) -> int:
        return int(self.client.view("claimable(address)", ["uint256", "uint256"], address)[0])

    def claim_pools(self, contribution_ids: Sequence[int]) -> None:
        """Move the pool shares of contributions to their payouts' balances; anybody may."""
        self.owner.send("claimPool(uint64[])", list(contribution_ids))

    def claim(self, sender: Sender) -> int:
        """Claim to the own account; returns what arrived, the gas aside. Raises LocalError if it is not what was due."""
        due, before = self.claimable(sender.address), self.client.balance(sender.address)
        receipt = sender.send("claim(address)", sender.address)
        gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        arrived = self.client.balance(sender.address) - before + gas
        if arrived != due:
            raise LocalError(f"{sender.name} could claim {due} wei, but {arrived} arrived")
        return arrived


def segments_of(text: str) -> list[bytes]:
    """Cut a text into calls of at most SEGMENT_BYTES_MAX, overlapping by k - 1 tokens so that no window is lost."""
    data, offsets = text.encode(), token_offsets(text.encode(), WORDS_V1)
    segments, first = [], 0
    while True:
        last = first
        while last + 1 < len(offsets) and offsets[last + 1][1] - offsets[first][0] <= SEGMENT_BYTES_MAX:
            last += 1
        segments.append(data[offsets[first][0] : offsets[last][1]])
        if last + 1 == len(offsets):
            return segments
        first = last + 1 - (MIN_SPAN - 1)
