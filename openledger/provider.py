"""Who a light client asks, and how a node's answers over JSON-RPC are read: strictly, since they are believed by nobody."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from consensus.light import LightBlock
from genesis.errors import LocalError, PeerFault
from genesis.limits import VALIDATORS_MAX
from genesis.primitives import Address, Hash32, Height, Power, Round
from genesis.types import ChainIdentity, Commit, ConsensusData, Validator, ValidatorSet
from openledger.jsonrpc import CallRefused, JsonRpcClient, NodeSilent

T = TypeVar("T")

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024
"""A light block of 256 validators takes some 150 KB of JSON; a proof takes less."""


class ProviderSilent(LocalError):
    """A provider can't be reached, or answers with an error of its own."""


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
        self.name: Final = url
        self._client = JsonRpcClient(url, timeout_s=TIMEOUT_S, answer_bytes_max=ANSWER_BYTES_MAX)

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
        try:
            raw = self._client.call(method, *params)
        except NodeSilent as error:
            raise ProviderSilent(str(error)) from None
        except CallRefused as error:
            raise ProviderSilent(f"{self.name}: {error}") from None
        if raw is None:
            raise ProviderSilent(f"{self.name} has no {what or 'answer to ' + method}")
        try:
            return read(raw)
        except (KeyError, TypeError, ValueError) as error:
            raise PeerFault(f"{self.name} answers {method} with something else: {error!r}") from None


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
