"""The light client at work: asks nodes over JSON-RPC, believes what `consensus.light` verifies, proves accounts.

One provider leads (the first); the others are witnesses. Nothing any of them says is taken on its word. A witness that shows
other final blocks than the leader, and can prove them, is the proof of a fork: then nothing more is believed from anybody.
"""

import http.client
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from consensus.light import (
    Conflict,
    LightBlock,
    LightParams,
    check_first_block,
    check_light_block,
    cross_check,
    follow,
)
from evm_runtime.source import Account
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.codec import decode_json
from genesis.errors import InvalidBlock, LocalError, PeerFault, WireError
from genesis.limits import VALIDATORS_MAX
from genesis.primitives import Address, Hash32, Height, Power, Round
from genesis.types import ChainIdentity, Commit, ConsensusData, Validator, ValidatorSet
from node.proofs import ProvenStorage, prove_account, prove_slot

if TYPE_CHECKING:
    from attribution_precompile.queries import ReceiptInfo

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT_S: Final = 10
ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024
"""A light block of 256 validators takes some 150 KB of JSON; a proof takes less."""


class ProviderSilent(LocalError):
    """A provider can't be reached, or answers with an error of its own."""


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


class Proof(NamedTuple):
    """Trie nodes from the state root towards an account, and from its storage root towards each slot asked for."""

    account: tuple[bytes, ...]
    slots: tuple[tuple[bytes, ...], ...]


class Provider(Protocol):
    """Who is asked. Every method raises ProviderSilent, and PeerFault for an answer of the wrong shape."""

    @property
    def name(self) -> str: ...

    def identity(self) -> ChainIdentity: ...

    def tip(self) -> Height: ...

    def light_block(self, height: Height) -> LightBlock: ...

    def proof(self, address: Address, height: Height, slots: Sequence[int] = ()) -> Proof:
        """Under the state root after `height`."""
        ...


# ---------------------------------------------------------------- a provider over JSON-RPC


class RpcProvider:
    """A node's JSON-RPC."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise LocalError(f"{url!r} is not an http:// or https:// URL")
        self.name: Final = url

    def identity(self) -> ChainIdentity:
        return self._read("open_status", (), lambda raw: ChainIdentity(_int(raw["chainId"]), _hash(raw["genesisHash"])))

    def tip(self) -> Height:
        return Height(self._read("eth_blockNumber", (), _int))

    def light_block(self, height: Height) -> LightBlock:
        return self._read("open_lightBlock", (hex(height),), read_light_block, f"block {height}")

    def proof(self, address: Address, height: Height, slots: Sequence[int] = ()) -> Proof:
        asked: tuple[Any, ...] = ("0x" + address.hex(), [f"0x{slot:064x}" for slot in slots], hex(height))

        def read(raw: Any) -> Proof:
            found = Proof(
                _nodes(raw["accountProof"]), tuple(_nodes(each["proof"]) for each in _list(raw["storageProof"]))
            )
            if len(found.slots) != len(slots):
                raise ValueError(f"{len(found.slots)} proofs for {len(slots)} slots")
            return found

        return self._read("eth_getProof", asked, read)

    def _read(self, method: str, params: tuple[Any, ...], read: Callable[[Any], T], what: str = "") -> T:
        raw = self._call(method, params)
        if raw is None:
            raise ProviderSilent(f"{self.name} has no {what or 'answer to ' + method}")
        try:
            return read(raw)
        except (KeyError, TypeError, ValueError) as error:
            raise PeerFault(f"{self.name} answers {method} with something else: {error!r}") from None

    def _call(self, method: str, params: tuple[Any, ...]) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.name, body, {"Content-Type": "application/json"})  # noqa: S310 - checked
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - checked in __init__
                content = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ProviderSilent(f"no node answers at {self.name}: {getattr(error, 'reason', error)}") from None
        try:
            answer = decode_json(content, size_max=ANSWER_BYTES_MAX, what="answer")
        except WireError as error:
            raise PeerFault(f"{self.name} answers {method} with no JSON: {error}") from None
        if not isinstance(answer, dict) or ("result" in answer) is ("error" in answer):
            raise PeerFault(f"{self.name} does not speak JSON-RPC 2.0")
        if "error" in answer:
            error_object = answer["error"]
            message = error_object.get("message") if isinstance(error_object, dict) else error_object
            raise ProviderSilent(f"{self.name}: {method}: {str(message)[:200]}")
        return answer["result"]


def read_light_block(raw: Any) -> LightBlock:
    """From the answer of open_lightBlock. Raises ValueError, TypeError or KeyError for another shape."""
    data = raw["consensusData"]
    return LightBlock(
        header=_bytes(raw["header"]),
        consensus=ConsensusData(
            time_ms=_int(data["timeMs"]),
            round=Round(_int(data["round"])),
            proposer=_address(data["proposer"]),
            last_commit_hash=_hash(data["lastCommitHash"]),
            evidence_hash=_hash(data["evidenceHash"]),
            validators_hash=_hash(data["validatorsHash"]),
            next_validators_hash=_hash(data["nextValidatorsHash"]),
            version=_int(data["version"]),
        ),
        commit=_read_commit(raw["commit"]),
        validators=_read_members(raw["validators"]),
        next_validators=_read_members(raw["nextValidators"]),
    )


def _read_commit(raw: Any) -> Commit:
    signatures = tuple(b"" if each is None else _bytes(each) for each in _list(raw["signatures"]))
    return Commit(Height(_int(raw["height"])), Round(_int(raw["round"])), _hash(raw["blockHash"]), signatures)


def _read_members(raw: Any) -> ValidatorSet:
    members = _list(raw)
    if len(members) > VALIDATORS_MAX:
        raise ValueError(f"{len(members)} validators")
    return ValidatorSet(
        tuple(Validator(_address(m["address"]), Power(_int(m["power"])), _address(m["payout"])) for m in members)
    )


def _list(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise TypeError("expected a list")
    return raw


def _nodes(raw: Any) -> tuple[bytes, ...]:
    return tuple(_bytes(node) for node in _list(raw))


def _int(raw: Any) -> int:
    if not isinstance(raw, str) or not raw.startswith("0x") or len(raw) > 66:
        raise ValueError("expected a quantity")
    return int(raw, 16)


def _bytes(raw: Any) -> bytes:
    if not isinstance(raw, str) or not raw.startswith("0x"):
        raise ValueError("expected hex data")
    return bytes.fromhex(raw[2:])


def _hash(raw: Any) -> Hash32:
    return Hash32(_sized(raw, 32))


def _address(raw: Any) -> Address:
    return Address(_sized(raw, 20))


def _sized(raw: Any, size: int) -> bytes:
    value = _bytes(raw)
    if len(value) != size:
        raise ValueError(f"expected {size} bytes, found {len(value)}")
    return value


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
        """(nonce, balance in wei, storage root, code hash) after the trusted block, proven. Raises InvalidBlock."""
        if self.fork is not None:
            raise self.fork
        proof = self._leader.proof(address, self.trusted.height)
        return prove_account(self.trusted.state_root, address, proof.account)

    def receipt(self, receipt_id: Hash32) -> "ReceiptInfo | None":
        """The receipt of an inference as it stands after the trusted block, proven; None if it proves that there is none.
        Raises InvalidBlock."""
        from attribution_precompile.audit import receipt_slots
        from attribution_precompile.queries import Queries

        if self.fork is not None:
            raise self.fork
        slots = receipt_slots(receipt_id)
        proof = self._leader.proof(ATTRIBUTION_ADDRESS, self.trusted.height, slots)
        storage_root = prove_account(self.trusted.state_root, ATTRIBUTION_ADDRESS, proof.account)[2]
        proven = {slot: prove_slot(storage_root, slot, each) for slot, each in zip(slots, proof.slots, strict=True)}
        return Queries(ProvenStorage(ATTRIBUTION_ADDRESS, proven), self.chain.chain_id).receipt(receipt_id)

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
