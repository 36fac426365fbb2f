"""The light client at work: asks nodes over JSON-RPC, believes what `consensus.light` verifies, proves accounts.

One provider leads (the first); the others are witnesses. Nothing any of them says is taken on its word. A witness that shows
other final blocks than the leader, and can prove them, is the proof of a fork: then nothing more is believed from anybody.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from consensus.light import (
    Conflict,
    LightBlock,
    LightParams,
    check_first_block,
    check_light_block,
    cross_check,
    follow,
)
from genesis.errors import InvalidBlock, PeerFault
from genesis.primitives import Address, Hash32, Height
from genesis.types import ChainIdentity, ValidatorSet
from openledger.proofs import Account, ProvenStorage, prove_account, prove_slot
from openledger.provider import Provider, ProviderSilent

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ForkFound(InvalidBlock):
    """Two providers prove different final blocks at one height."""

    def __init__(self, conflict: Conflict) -> None:
        self.conflict = conflict
        super().__init__(
            f"FORK at height {conflict.height} ({conflict.attack.value}): blocks {conflict.first.hash.hex()} and "
            f"{conflict.second.hash.hex()} are both final by what block {conflict.common.height} vouches for; "
            f"{len(conflict.signed_both())} validators signed both. Trust neither until the chain's people have settled it. "
            "Keep this evidence, and show it to them (docs/light-client.md, 'When a fork is found')"
        )


# ---------------------------------------------------------------- where trust begins


@dataclass(frozen=True, slots=True)
class TrustedHash:
    """What the user knows from somebody reliable: this block is the chain's."""

    height: Height
    hash: Hash32


def begin_from_hash(
    leader: Provider, trust: TrustedHash, chain: ChainIdentity | None
) -> tuple[ChainIdentity, LightBlock]:
    """Complete the trusted block, and learn the chain's identity if it isn't given. Raises InvalidBlock.

    The identity needs no trust of its own: the trusted block's validators signed it together with the block's hash.
    """
    identity = leader.identity() if chain is None else chain
    block = leader.light_block(trust.height)
    if (block.height, block.hash) != (trust.height, trust.hash):
        raise InvalidBlock(
            f"{leader.name} has block {block.hash.hex()} at height {block.height}, not the trusted {trust.hash.hex()} at "
            f"{trust.height}: it is on another chain, or the trusted hash is wrong"
        )
    try:
        check_light_block(identity, block)
    except InvalidBlock as error:
        raise InvalidBlock(
            f"the trusted block was not signed for chain id {identity.chain_id}, genesis {identity.genesis_hash.hex()}: {error}"
        ) from None
    return identity, block


def begin_from_genesis(leader: Provider, chain: ChainIdentity, validators: ValidatorSet) -> LightBlock:
    """Block 1, held to the genesis file. Raises InvalidBlock."""
    block = leader.light_block(Height(1))
    check_first_block(chain, validators, block)
    return block


# ---------------------------------------------------------------- the client


class LightClient:
    """Follows a chain from a trusted block. What witnesses do wrong is logged; those that lie are not asked again."""

    def __init__(
        self,
        chain: ChainIdentity,
        params: LightParams,
        trusted: LightBlock,
        leader: Provider,
        witnesses: Sequence[Provider],
        now_ms: Callable[[], int],
        *,
        skipping: bool = True,
    ) -> None:
        self.chain: Final = chain
        self.trusted = trusted
        self.fork: ForkFound | None = None
        self._params = params
        self._leader = leader
        self._witnesses = list(witnesses)
        self._now_ms = now_ms
        self._skipping = skipping

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Who is still believed to be worth asking."""
        return tuple(witness.name for witness in self._witnesses)

    def advance(self, target: Height | None = None) -> int:
        """Verify up to `target`, or the height that leader and witnesses have reached; returns how many confirmed it.

        Raises InvalidBlock or PeerFault if the leader is wrong, ForkFound (for good) at a fork, ProviderSilent.
        """
        if self.fork is not None:
            raise self.fork
        goal, ready = self._goal(target)
        if goal <= self.trusted.height:
            return len(ready)
        now_ms = self._now_ms()
        work = follow(self.chain, self._params, self.trusted, goal, now_ms, skipping=self._skipping)
        verified = _run(work, self._leader)
        confirmed = sum(self._ask_witness(witness, verified, now_ms) for witness in ready)
        self.trusted = verified[-1]
        return confirmed

    def account(self, address: Address) -> Account:
        """An account after the trusted block, proven. Raises InvalidBlock."""
        if self.fork is not None:
            raise self.fork
        proof = self._leader.proof(address, self.trusted.height)
        return prove_account(self.trusted.state_root, address, proof.account)

    def storage(self, address: Address, slots: Sequence[int]) -> ProvenStorage:
        """Slots of an account after the trusted block, proven; empty ones are proven to be so. Raises InvalidBlock."""
        if self.fork is not None:
            raise self.fork
        proof = self._leader.proof(address, self.trusted.height, slots)
        root = prove_account(self.trusted.state_root, address, proof.account).storage_root
        proven = {slot: prove_slot(root, slot, each) for slot, each in zip(slots, proof.slots, strict=True)}
        return ProvenStorage(address, proven)

    def _goal(self, target: Height | None) -> tuple[Height, list[Provider]]:
        """The height to go to, and the witnesses that have it; the slowest that is ahead sets the pace."""
        goal = self._leader.tip() if target is None else target
        ready = []
        for witness in tuple(self._witnesses):
            try:
                tip = witness.tip()
            except ProviderSilent as error:
                logger.warning("a witness is silent: %s", error)
                continue
            except PeerFault as error:
                self._drop(witness, error)
                continue
            if tip <= self.trusted.height < goal or (target is not None and tip < target):
                logger.warning("witness %s is behind, at height %d", witness.name, tip)
                continue
            ready.append(witness)
            goal = goal if target is not None else min(goal, tip)
        return max(goal, self.trusted.height), ready

    def _ask_witness(self, witness: Provider, verified: tuple[LightBlock, ...], now_ms: int) -> bool:
        """True if the witness has the same blocks. Raises ForkFound if it proves others."""
        work = cross_check(self.chain, self._params, self.trusted, verified, now_ms)
        try:
            conflict = _run(work, witness)
        except ProviderSilent as error:
            logger.warning("a witness is silent: %s", error)
            return False
        except (InvalidBlock, PeerFault) as error:
            self._drop(witness, error)
            return False
        if conflict is not None:
            self.fork = ForkFound(conflict)
            raise self.fork
        return True

    def _drop(self, witness: Provider, error: Exception) -> None:
        logger.warning("witness %s shows what it can't prove and is not asked again: %s", witness.name, error)
        self._witnesses.remove(witness)


def _run(work: Generator[Height, LightBlock, T], provider: Provider) -> T:
    """Give a generator of `consensus.light` the blocks it wants, from one provider."""
    try:
        wanted = next(work)
        while True:
            wanted = work.send(provider.light_block(wanted))
    except StopIteration as stop:
        result: T = stop.value
        return result


def conflict_json(conflict: Conflict) -> dict[str, Any]:
    """The evidence of a fork, for people and for other programs."""
    return {
        "height": conflict.height,
        "attack": conflict.attack.value,
        "common": {"height": conflict.common.height, "hash": "0x" + conflict.common.hash.hex()},
        "signedBoth": ["0x" + address.hex() for address in conflict.signed_both()],
        "blocks": [_block_json(block) for block in (conflict.first, conflict.second)],
    }


def _block_json(block: LightBlock) -> dict[str, Any]:
    return {
        "hash": "0x" + block.hash.hex(),
        "header": "0x" + block.header.hex(),
        "timeMs": block.time_ms,
        "round": block.commit.round,
        "validatorsHash": "0x" + block.consensus.validators_hash.hex(),
        "nextValidatorsHash": "0x" + block.consensus.next_validators_hash.hex(),
        "validators": ["0x" + member.address.hex() for member in block.validators.members],
        "powers": [member.power for member in block.validators.members],
        "signatures": ["0x" + signature.hex() if signature else None for signature in block.commit.signatures],
    }
